"""The tasks of a worker: the JSON that devices and workers exchange inside the encapsulation.

One set of types for both sides, so that they cannot drift apart. Unknown fields are refused. These are a person's
private messages: no `repr` shows any of them, and an error names a path such as `$.messages[3].sender` and what was
expected there, never what was found.
"""

import re
from datetime import datetime
from typing import Annotated, Final, Literal, TypeVar, get_args

import msgspec
from msgspec import Meta

from seclude.errors import DecodeError

SUMMARIZE_PATH: Final = "/v1/summarize"
REWRITE_PATH: Final = "/v1/rewrite"
JSON: Final = "application/json"
HIGHLIGHT_EVENT: Final = "highlight"
"""Of a streamed summary (text/event-stream): a `Highlight`, when it is chosen; the most telling come first."""
ABSTRACT_EVENT: Final = "abstract"
"""After the highlights, where a model wrote an abstract that held: a `Sentence` of it, in their order."""
SUMMARY_EVENT: Final = "summary"
"""The last one: the whole `SummarizeResponse`."""
ERROR_EVENT: Final = "error"
"""The last one where it went wrong in the middle: a `Problem`."""

MAX_REQUEST_BYTES: Final = 1 << 20  # octets; a year of a busy chat fits: ten thousand messages of a hundred octets
MAX_MESSAGES: Final = 10_000  # what `MAX_REQUEST_BYTES` holds; a person reads the highlights of some hundreds
MAX_HIGHLIGHTS: Final = 50  # more is no longer a choice of what matters
MAX_TEXT: Final = 10_000  # characters of one message or text: an essay of four pages
MAX_SENDER: Final = 100  # characters; a display name

Reason = Literal[
    "decision",
    "promise",
    "request",
    "question",
    "problem",
    "time",
    "place",
    "amount",
    "event",
    "link",
    "central",
    "context",
]
"""Why a message is a highlight. `central`: much of the chat is like it. `context`: the next highlight depends on it."""

Tone = Literal["proofread", "shorter", "rephrase", "professional", "supportive", "funny"]
TONES: Final[tuple[Tone, ...]] = get_args(Tone)

Rule = Literal[
    "article",
    "capital",
    "closing",
    "contraction",
    "doubled word",
    "filler",
    "grammar",
    "greeting",
    "punctuation",
    "shouting",
    "slang",
    "spacing",
    "spelling",
    "wordy",
]
"""Which rule of writing changed a passage."""


class Private(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value whose `repr` tells nothing, since people's words end up in tracebacks that way."""

    def __repr__(self) -> str:
        """Return the type's name alone."""
        return f"{type(self).__name__}(...)"


class Message(Private, frozen=True):
    """One message of a chat."""

    sender: Annotated[str, Meta(min_length=1, max_length=MAX_SENDER, description="Display name of who wrote it.")]
    text: Annotated[str, Meta(max_length=MAX_TEXT, description="What was written; empty for media without words.")]
    time: Annotated[datetime | None, Meta(description="When, as RFC 3339; only shown, never interpreted.")] = None


class SummarizeRequest(Private, frozen=True, omit_defaults=True):
    """Asks for what matters in a chat."""

    messages: Annotated[
        tuple[Message, ...],
        Meta(min_length=1, max_length=MAX_MESSAGES, description="The chat, oldest message first."),
    ]
    max_highlights: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_HIGHLIGHTS)] | None,
        Meta(
            description="At most so many highlights; null: as many as fit in a third of the chat's words, or in half "
            "of one under 24 messages; 900 words at most."
        ),
    ] = None
    abstract: Annotated[
        bool, Meta(description="Whether a model may also write an abstract, where the worker has one that can.")
    ] = True


class Highlight(Private, frozen=True, omit_defaults=True):
    """One message that matters, in its writer's own words."""

    index: Annotated[int, Meta(ge=0, description="Position in the messages of the request, from 0.")]
    sender: Annotated[str, Meta(description="Display name, as in the request.")]
    time: Annotated[datetime | None, Meta(description="As in the request.")]
    text: Annotated[str, Meta(description="The message, or parts of it with '…' for what is left out.")]
    reasons: Annotated[tuple[Reason, ...], Meta(min_length=1, description="Why it was chosen.")]
    topic: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="What it belongs with, numbered from 0 in the order of their first highlights; null if few."),
    ] = None


class Sentence(Private, frozen=True):
    """One sentence of an abstract that a model wrote, in which the check found nothing that the chat lacks."""

    text: Annotated[str, Meta(description="The sentence.")]


class SummarizeResponse(Private, frozen=True, omit_defaults=True):
    """What matters in a chat: a choice of its messages, and perhaps a model's statement about them."""

    kind: Annotated[
        Literal["highlights", "abstract"],
        Meta(description="Messages chosen from the chat alone, or an abstract with them."),
    ]
    text: Annotated[str, Meta(description="The highlights as lines to read, each with its sender.")]
    highlights: Annotated[tuple[Highlight, ...], Meta(description="In the order of the chat.")]
    messages: Annotated[int, Meta(ge=0, description="How many messages came.")]
    considered: Annotated[int, Meta(ge=0, description="How many had words to consider.")]
    encoded: Annotated[int, Meta(ge=0, description="How many the model compared; fewer in a long chat.")]
    model: Annotated[str, Meta(description="Name of the sentence encoder.")]
    note: Annotated[str | None, Meta(description="What the reader should know, such as that nothing was found.")] = None
    abstract: Annotated[
        str | None,
        Meta(
            description="A model's statement about the chat. Its numbers, times, dates, names and links were looked up "
            "in the chat, where they could be told; who did what, and whether it was denied, was not checked."
        ),
    ] = None
    abstract_model: Annotated[str | None, Meta(description="Name of the model that wrote the abstract.")] = None


class RewriteRequest(Private, frozen=True):
    """Asks for another wording of a text that its writer has not sent yet."""

    text: Annotated[str, Meta(min_length=1, max_length=MAX_TEXT, description="The draft.")]
    tone: Annotated[Tone, Meta(description="How it should read.")]


class Change(Private, frozen=True):
    """One passage that differs between the draft and the suggestion."""

    rule: Annotated[Rule, Meta(description="Which rule of writing applied.")]
    before: Annotated[str, Meta(description="The passage as it was when the rule applied.")]
    after: Annotated[str, Meta(description="What stands there instead; empty if it was dropped.")]


class RewriteResponse(Private, frozen=True, omit_defaults=True):
    """A suggestion, made by rules or by a language model; its reader decides."""

    kind: Annotated[Literal["suggestion"], Meta(description="Never more than that.")]
    tone: Annotated[Tone, Meta(description="As in the request.")]
    text: Annotated[str, Meta(description="The suggested wording.")]
    changed: Annotated[bool, Meta(description="Whether it differs from the draft.")]
    changes: Annotated[tuple[Change, ...], Meta(description="What rules changed, in their order; none by a model.")]
    note: Annotated[str | None, Meta(description="What the writer should know, such as an unknown language.")] = None
    model: Annotated[str | None, Meta(description="Name of the language model that wrote it; null for rules.")] = None


class Problem(Private, frozen=True, forbid_unknown_fields=False):
    """An error, as application/problem+json (RFC 9457); members that we do not know are ignored, as it asks."""

    status: Annotated[int, Meta(ge=0, le=999, description="As in the status line; 0 where a peer left it out.")] = 0
    title: Annotated[str, Meta(description="What the status means.")] = ""
    detail: Annotated[str | None, Meta(description="What is wrong with this request; no content of it.")] = None
    type: Annotated[str, Meta(description="A URI; about:blank means no more than the status.")] = "about:blank"


T = TypeVar("T")

_PATH: Final = re.compile(r" - at `(\$[^`]*)`\Z")
_CHOICES: Final = {"$.tone": TONES}


def decode(type: type[T], data: bytes) -> T:
    """Read JSON as a value of `type`. Raises DecodeError that names path and expectation, never the content."""
    try:
        return msgspec.json.decode(data, type=type)
    except msgspec.ValidationError as exc:
        raise DecodeError(_explain(str(exc))) from None  # the cause may quote a value
    except (ValueError, RecursionError):  # msgspec's DecodeError, and Python's own for octets that are not UTF-8
        raise DecodeError("the content is not JSON in UTF-8") from None


def encode(value: msgspec.Struct) -> bytes:
    """Write a value as JSON."""
    return msgspec.json.encode(value)


def _explain(message: str) -> str:
    """Turn msgspec's words into "path: expectation", without the values that some of them quote."""
    at = _PATH.search(message)
    path = at.group(1) if at else "$"
    claim = message[: at.start()] if at else message
    if claim.startswith("Object contains unknown field"):
        return f"{path}: unknown field"
    if claim.startswith("Invalid enum value"):
        choices = ", ".join(_CHOICES.get(path, ())) or "the values of the schema"
        return f"{path}: expected one of {choices}"
    if claim.startswith(("Expected ", "Object missing required field ", "Invalid RFC3339 ")):
        return f"{path}: {claim.replace('`', '')}"  # these quote the schema alone
    return f"{path}: not as the schema wants it"
