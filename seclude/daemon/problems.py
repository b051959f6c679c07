"""The one place where an error becomes an HTTP answer (RFC 9457).

A document holds the type, the title and the status, all from the tables below. Nothing of the exception's own text
leaves the process: it would tell a peer which check failed, and where.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from seclude import errors
from seclude.daemon.messages import Response
from seclude.ohttp.media import PROBLEM


class PeerTimeoutError(errors.PeerError):
    """Raised when a peer sends its body too slowly."""

    status = 408


class RateError(errors.PeerError):
    """Raised when one address asks more often than its share."""

    status = 429


@dataclass(frozen=True, slots=True)
class Row:
    """How one kind of error is answered, and the word it is counted under."""

    status: int
    title: str
    reason: str
    problem: str = errors.BLANK


# The row of the nearest base class counts; a class that is not listed anywhere is a bug and a plain 500.
TABLE: Final[dict[type[BaseException], Row]] = {
    errors.PeerError: Row(400, "Bad Request", "malformed"),
    errors.DecodeError: Row(400, "Bad Request", "malformed"),
    errors.TooLargeError: Row(413, "Content Too Large", "too_large"),
    errors.MediaTypeError: Row(415, "Unsupported Media Type", "media_type"),
    errors.UnknownKeyError: Row(422, "key identifier unknown", "unknown_key", errors.OHTTP_KEY),
    errors.OpenError: Row(400, "Bad Request", "open_failed"),
    errors.UnauthorizedError: Row(403, "Forbidden", "unauthorized"),
    errors.ReplayError: Row(409, "Conflict", "replay"),
    errors.DateError: Row(400, "date outside the window", "date", errors.DATE),
    PeerTimeoutError: Row(408, "Request Timeout", "peer_timeout"),
    RateError: Row(429, "Too Many Requests", "rate"),
    errors.BusyError: Row(503, "Service Unavailable", "busy"),
    errors.UpstreamError: Row(502, "Bad Gateway", "upstream_down"),
    # What follows is never a peer's doing, and the same answer as for a bug: it says nothing about us.
    errors.VerificationError: Row(500, "Internal Server Error", "internal"),
    errors.ConfigError: Row(500, "Internal Server Error", "internal"),
    errors.UsageError: Row(500, "Internal Server Error", "internal"),
    BaseException: Row(500, "Internal Server Error", "internal"),
}
TIMED_OUT: Final = Row(504, "Gateway Timeout", "upstream_timeout")

# Refusals and passed-on errors that no exception stands for.
STATUSES: Final[dict[int, Row]] = {
    400: Row(400, "Bad Request", "malformed"),
    403: Row(403, "Forbidden", "unauthorized"),
    404: Row(404, "Not Found", "not_found"),
    405: Row(405, "Method Not Allowed", "method"),
    406: Row(406, "Not Acceptable", "not_acceptable"),
    409: Row(409, "Conflict", "replay"),
    413: Row(413, "Content Too Large", "too_large"),
    415: Row(415, "Unsupported Media Type", "media_type"),
    417: Row(417, "Expectation Failed", "expectation"),
    422: Row(422, "Unprocessable Content", "unknown_key"),
    429: Row(429, "Too Many Requests", "rate"),
    431: Row(431, "Request Header Fields Too Large", "head_too_large"),
    500: Row(500, "Internal Server Error", "internal"),
    502: Row(502, "Bad Gateway", "upstream_down"),
    503: Row(503, "Service Unavailable", "busy"),
    504: Row(504, "Gateway Timeout", "upstream_timeout"),
}

OK: Final = "ok"
CLIENT_GONE: Final = "client_gone"  # counted under 499, which is never sent: nobody is there to read it
REASONS: Final = frozenset(
    {OK, CLIENT_GONE, TIMED_OUT.reason} | {row.reason for table in (TABLE, STATUSES) for row in table.values()}
)


def answer_for(exc: BaseException) -> Response:
    """Return the answer that `exc` deserves."""
    row = next(TABLE[kind] for kind in type(exc).__mro__ if kind in TABLE)
    if isinstance(exc, errors.UpstreamError) and exc.timed_out:
        row = TIMED_OUT
    fields: tuple[tuple[str, str], ...] = ()
    if isinstance(exc, errors.BusyError):
        fields = (("Retry-After", str(exc.retry_after_seconds)),)
    return _document(row, row.problem, fields)


def refusal(status: int, *, problem: str = errors.BLANK, fields: tuple[tuple[str, str], ...] = ()) -> Response:
    """Return a problem document for `status`, one of STATUSES."""
    row = STATUSES.get(status)
    if row is None:
        raise errors.UsageError(f"no refusal is defined for status {status}")
    return _document(row, problem, fields)


def _document(row: Row, problem: str, fields: tuple[tuple[str, str], ...]) -> Response:
    title = "key identifier unknown" if problem == errors.OHTTP_KEY else row.title
    body = msgspec.json.encode({"type": problem, "title": title, "status": row.status})
    return Response(row.status, PROBLEM, body, fields, row.reason)
