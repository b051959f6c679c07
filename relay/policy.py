"""What passes the relay, in both directions. Pure: values in, values out.

    request   POST /.well-known/ohttp-gateway, a media type of ANSWERED_BY, one body  ->  the same, written anew
    answer    200 and the media type that answers it, one body                        ->  the same, written anew
    refusal   a status of PASSED, a problem type of TYPES, a small number of seconds in Retry-After

Nothing else of either side is looked at or copied (RFC 9458, section 6.2: a relay SHOULD NOT forward unknown fields and
MUST NOT add what might identify a client).
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from seclude.daemon.accept import choose
from seclude.daemon.messages import Head, Response, UpstreamResponse
from seclude.daemon.problems import refusal
from seclude.errors import BLANK, OHTTP_KEY, DecodeError, MediaTypeError, TooLargeError
from seclude.ohttp.media import ANSWERED_BY, GATEWAY_PATH, INCREMENTAL, KEY_BUNDLES, OHTTP_KEYS, PROBLEM, media_type

OK: Final = 200
# Statuses that say something true and useful to a device about its request or about the next hop. All others become
# 502: a status is a field that the gateway chooses per request, so the fewer the better.
PASSED: Final = frozenset({400, 409, 413, 415, 422, 429, 500, 502, 503, 504})
TYPES: Final = frozenset({OHTTP_KEY})  # RFC 9458, section 5.3; everything else is about:blank
LATER: Final = frozenset({429, 503})  # with which Retry-After has a meaning
MAX_RETRY_AFTER: Final = 600  # seconds; one period of keys, after which a device asks for a new bundle anyway
MAX_PROBLEM_BYTES: Final = 4096  # octets; ours have a hundred


@dataclass(frozen=True, slots=True)
class Forward:
    """Pass the body on, as this media type."""

    media_type: str
    incremental: bool


_FORWARD: Final = {kind: Forward(kind, kind in INCREMENTAL) for kind in ANSWERED_BY}


@dataclass(frozen=True, slots=True)
class Serve:
    """Answer from the copy of the keys, as this media type."""

    media_type: str


class _Problem(msgspec.Struct):
    type: str = BLANK


def admit(request: Head, max_body_bytes: int) -> Forward | Serve | Response:
    """Decide about a request by its head alone; a Response is a refusal. Raises PeerError."""
    if request.path != GATEWAY_PATH:
        return refusal(404)
    if request.method == "GET":
        wanted = choose(request.accept, (OHTTP_KEYS, KEY_BUNDLES))
        return Serve(wanted) if wanted is not None else refusal(406)
    if request.method != "POST":
        return refusal(405, fields=(("Allow", "GET, POST"),))
    forward = _FORWARD.get(request.media_type)
    if forward is None:
        raise MediaTypeError("request is not of Oblivious HTTP")
    if forward.incremental and not request.is_http11:
        raise DecodeError("a client that knows no answers in chunks")
    if request.content_length is not None:
        check_length(request.content_length, max_body_bytes)
    return forward


def check_length(length: int, max_body_bytes: int) -> None:
    """Refuse what no gateway could use; for chunked bodies the length is known only after reading."""
    if length == 0:
        raise DecodeError("empty request")
    if length > max_body_bytes:
        raise TooLargeError(f"request over {max_body_bytes} octets")


def passes(asked: str, status: int, kind: str) -> str | None:
    """Return the media type under which the body of an answer is passed on, or None for an answer to be rebuilt.

    `asked` is the media type of the request: a chunked one is answered with chunks or not at all.
    """
    return kind if kind == ANSWERED_BY[asked] and status == OK else None


def rebuild(answer: UpstreamResponse) -> Response:
    """Write a refusal of the gateway's anew."""
    kind = media_type(answer.content_type)
    if answer.status not in PASSED:
        return refusal(502)
    problem = _problem_type(answer.body) if kind == PROBLEM else BLANK
    return refusal(answer.status, problem=problem, fields=_retry_after(answer))


def _problem_type(body: bytes) -> str:
    try:
        problem = msgspec.json.decode(body[: MAX_PROBLEM_BYTES + 1], type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return BLANK
    return problem.type if problem.type in TYPES else BLANK


def _retry_after(answer: UpstreamResponse) -> tuple[tuple[str, str], ...]:
    text = answer.retry_after or ""
    digits = text.isascii() and text.isdigit() and len(text) <= len(str(MAX_RETRY_AFTER))
    if answer.status not in LATER or not digits or int(text) > MAX_RETRY_AFTER:
        return ()
    return (("Retry-After", str(int(text))),)
