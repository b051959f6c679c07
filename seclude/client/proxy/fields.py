"""What of an app's request reaches a worker: an allow-list of fields, each with a decision (docs/proxy.md).

    carried   means the same to a worker, and goes to it as `chat.ChatRequest`
    dropped   tells who asks or how a company's service should account for it; nobody who answers needs it
    neutral   asks for nothing where it has this value, as libraries write it without being asked; refused otherwise

Everything else is refused with its name: an app that is told no can be changed, and one whose wish was dropped in
silence gets an answer that it did not ask for. No message of an error holds a value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, get_args

import msgspec

from seclude.chat import ChatRequest, Role
from seclude.errors import DecodeError
from seclude.tasks import decode

CARRIED: Final = frozenset({"model", "messages", "stream", "max_tokens", "temperature", "top_p", "stop", "seed", "n"})
RENAMED: Final = {"max_completion_tokens": "max_tokens"}  # OpenAI's newer word for the same limit
DROPPED: Final = frozenset(
    {
        "metadata",
        "parallel_tool_calls",  # of tools, which are refused
        "prediction",  # a guess at the answer, which only makes some services faster
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",  # nothing is ever stored
        "user",
    }
)
NEUTRAL: Final[Mapping[str, Sequence[object]]] = {
    "audio": (),
    "frequency_penalty": (0,),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "moderation": (),
    "presence_penalty": (0,),
    "reasoning_effort": ("none",),
    "response_format": ({"type": "text"},),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "verbosity": ("medium",),
    "web_search_options": (),
}
"""Beside null, which asks for nothing wherever it stands."""

STREAM_OPTIONS: Final = "stream_options"
INCLUDE_USAGE: Final = "include_usage"
OBFUSCATION: Final = "include_obfuscation"  # filler against those who see sizes; a worker's chunks are of one size

ROLES: Final = {"developer": "system"}  # OpenAI's newer word for the same
OF_A_MESSAGE: Final = frozenset({"role", "content"})
DROPPED_OF_A_MESSAGE: Final = frozenset({"name"})  # no chat template shows it to a model
EMPTY_OF_A_MESSAGE: Final = frozenset({"annotations", "audio", "function_call", "refusal", "tool_calls"})
"""What libraries write into an earlier answer that is sent back; refused where it holds anything."""


class FieldError(DecodeError):
    """Raised when an app asks for what a worker does not do; `param` names the field."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, slots=True, repr=False)
class Asked:
    """What an app asked for."""

    request: ChatRequest
    include_usage: bool
    """Whether a streamed answer should end with its count of tokens."""


def parse_asked(body: bytes) -> Asked:
    """Read the JSON of an app; raises FieldError, or DecodeError where it is none."""
    fields = {name: value for name, value in decode(dict[str, object], body).items() if name not in DROPPED}
    carried: dict[str, object] = {}
    for name, value in fields.items():
        if value is None or name == STREAM_OPTIONS:
            if name not in CARRIED and name not in RENAMED and name not in NEUTRAL and name != STREAM_OPTIONS:
                raise _unknown(name)
        elif name in CARRIED or name in RENAMED:
            carried[_renamed(name, fields)] = value
        elif name not in NEUTRAL:
            raise _unknown(name)
        elif not any(_same(value, each) for each in NEUTRAL[name]):
            raise FieldError(f"{name} is not supported", name)
    if not _same(carried.get("n", 1), 1):
        raise FieldError("n: one answer to a request is all there is", "n")
    for name in ("model", "messages"):
        if name not in carried:
            raise FieldError(f"{name} is missing", name)
    if isinstance(stop := carried.get("stop"), str):
        carried["stop"] = [stop]
    if isinstance(messages := carried.get("messages"), list):
        carried["messages"] = [_message(each, f"messages[{at}]") for at, each in enumerate(messages)]
    return Asked(_convert(carried), _include_usage(fields.get(STREAM_OPTIONS)))


def _renamed(name: str, fields: Mapping[str, object]) -> str:
    target = RENAMED.get(name, name)
    if target != name and fields.get(target) not in (None, fields[name]):
        raise FieldError(f"{name} and {target} differ; give one of them", name)
    return target


def _same(value: object, neutral: object) -> bool:
    """Whether two values of JSON are the same; Python also takes False for 0."""
    return value == neutral and isinstance(value, bool) is isinstance(neutral, bool)


def _unknown(name: str) -> FieldError:
    """Name the field, if it looks like a name: it might be anything."""
    if name.isascii() and name.isidentifier() and len(name) <= 40:
        return FieldError(f"{name} is not supported", name)
    return FieldError("a field of the request is not supported")


def _include_usage(options: object) -> bool:
    if options is None:
        return False
    if not isinstance(options, dict):
        raise FieldError(f"{STREAM_OPTIONS} is not an object", STREAM_OPTIONS)
    if set(options) - {INCLUDE_USAGE, OBFUSCATION}:
        raise FieldError(f"{STREAM_OPTIONS} has an option that is not supported", STREAM_OPTIONS)
    wanted = options.get(INCLUDE_USAGE)
    if wanted not in (None, True, False) or isinstance(wanted, (int, float)) is not isinstance(wanted, bool):
        raise FieldError(f"{STREAM_OPTIONS}.{INCLUDE_USAGE} is not true or false", STREAM_OPTIONS)
    return bool(wanted)


def _message(message: object, at: str) -> object:
    """Return one message with what a model reads of it; what is no message is left for the schema to refuse."""
    if not isinstance(message, dict):
        return message
    for name, value in message.items():
        if name in EMPTY_OF_A_MESSAGE:
            if value not in (None, [], ""):
                raise FieldError(f"{at}.{name} is not supported", at)
        elif name not in OF_A_MESSAGE and name not in DROPPED_OF_A_MESSAGE:
            raise FieldError(f"{at} has a field that is not supported", at)
    role, content = message.get("role"), message.get("content")
    if role in ("tool", "function"):
        raise FieldError(f"{at}: tools are not supported", at)
    if not isinstance(role, str) or role not in (*get_args(Role), *ROLES):
        raise FieldError(f"{at}.role is none of: {', '.join((*get_args(Role), *ROLES))}", at)
    if isinstance(content, list):
        content = "\n".join(_text_of(part, at) for part in content)
    if content is None:
        raise FieldError(f"{at} has no content", at)
    return {"role": ROLES.get(role, role), "content": content}


def _text_of(part: object, at: str) -> str:
    if isinstance(part, dict) and part.keys() == {"type", "text"} and part["type"] == "text":
        text = part["text"]
        if isinstance(text, str):
            return text
    raise FieldError(f"{at}: only text is supported", at)


def _convert(carried: Mapping[str, object]) -> ChatRequest:
    try:
        return decode(ChatRequest, msgspec.json.encode(carried))
    except DecodeError as exc:
        path, _, _ = str(exc).partition(":")
        param = path.removeprefix("$").removeprefix(".")
        raise FieldError(str(exc).removeprefix("$.").removeprefix("$: "), param or None) from None
