"""Writes docs/tasks.md from the schemas themselves: `python docs/render_tasks.py > docs/tasks.md`."""

import json
from typing import Final

import msgspec

from seclude import tasks

HEAD: Final = """# Tasks

What a device asks a worker, inside the encapsulation: `POST` with `content-type: application/json`. Unknown fields are
refused. Errors are `application/problem+json` (RFC 9457): 400 for what does not fit the schema (the detail names the
path, never the content), 404, 405, 413, 415, 409 for a request that was opened before, 501 for what needs a language
model, 503 when a limit is reached. Chats with a language model are in [proxy.md](proxy.md#inside-the-encapsulation).
What is checked of a model's words: [abstracts.md](abstracts.md).

This page is made from `seclude/tasks.py` by `docs/render_tasks.py`; a test compares the two.
"""

SECTIONS: Final = (
    (
        f"`POST {tasks.SUMMARIZE_PATH}`",
        (tasks.SummarizeRequest, tasks.Message, tasks.SummarizeResponse, tasks.Highlight, tasks.Sentence),
    ),
    (f"`POST {tasks.REWRITE_PATH}`", (tasks.RewriteRequest, tasks.RewriteResponse, tasks.Change)),
    ("Errors", (tasks.Problem,)),
)


def render() -> str:
    """Return the page."""
    lines = [HEAD]
    for title, types in SECTIONS:
        lines.append(f"## {title}\n")
        for kind in types:
            lines += _table(kind)
    return "\n".join(lines)


def _table(kind: type[msgspec.Struct]) -> list[str]:
    (schema,), components = msgspec.json.schema_components((kind,))
    own = components[kind.__name__]
    assert schema["$ref"].endswith(kind.__name__)
    rows = [
        f"### {kind.__name__}\n",
        f"{(kind.__doc__ or '').strip()}\n",
        "| field | type | what it is |",
        "|---|---|---|",
    ]
    for name, value in own["properties"].items():
        optional = "" if name in own.get("required", ()) else ", optional"
        rows.append(f"| `{name}` | {_type(value)}{optional} | {value.get('description', '')} |")
    return [*rows, ""]


def _type(value: dict[str, object]) -> str:
    """Return a JSON Schema type in words, with its limits."""
    choices, enum = value.get("anyOf"), value.get("enum")
    if isinstance(choices, list):
        return " or ".join(_type(choice) for choice in choices)
    if isinstance(enum, list):
        return ", ".join(f"`{json.dumps(choice)}`" for choice in enum)
    if "$ref" in value:
        return str(value["$ref"]).rsplit("/", 1)[-1]
    items = value.get("items")
    word = f"list of ({_type(items)})" if isinstance(items, dict) else str(value.get("format", value.get("type", "")))
    names = {
        "minLength": "min. length",
        "maxLength": "max. length",
        "minItems": "min.",
        "maxItems": "max.",
        "minimum": "min.",
        "maximum": "max.",
    }
    limits = [f"{label} {value[key]}" for key, label in names.items() if key in value]
    return f"{word} ({', '.join(limits)})" if limits else word


if __name__ == "__main__":
    print(render(), end="")
