"""Errors in the form that OpenAI's libraries read: which status, which words, and whether to ask again by oneself.

Those libraries repeat a request on their own after most failures. One that may have been processed must not be
repeated without the caller's word (RFC 9458, section 6.5), and a relay that lies could make a device repeat itself to
be recognised. So `x-should-retry`, which they obey, says no but for two cases: nothing left this device, or the worker
itself, inside the encapsulation, said that it has no room.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from seclude.client.advice import explain
from seclude.client.hop import NotSentError
from seclude.client.proxy.fields import FieldError
from seclude.errors import BusyError, Error, MediaTypeError, PeerError, TaskError, UpstreamError, VerificationError

INVALID: Final = "invalid_request_error"
NOT_TRUSTED: Final = "pool_not_trusted"
NO_ANSWER: Final = "no_answer"
BUSY: Final = "busy"
INTERNAL: Final = "internal_error"
BY_THE_WORKER: Final = "refused_by_worker"
JSON_TYPE: Final = "application/json"
ALWAYS: Final = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))


class LocalError(Error):
    """Raised when a request on this machine is refused before anything is asked of a pool."""

    def __init__(self, message: str, *, status: int, code: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class WorkerBusyError(BusyError):
    """Raised when the worker itself, inside the encapsulation, says that it has no room: it did nothing."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error for an app. No word of it comes from a relay or a gateway, and none from a request."""

    status: int
    message: str
    kind: str
    code: str | None = None
    param: str | None = None
    again: bool = False
    """Whether a library may ask again by itself."""
    retry_after_seconds: int | None = None

    def body(self) -> bytes:
        """Return it as JSON, as an answer or as the last event of one."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return msgspec.json.encode({"error": error})

    def fields(self) -> tuple[tuple[str, str], ...]:
        """Return the fields of an answer that is this error."""
        wait = () if self.retry_after_seconds is None else (("Retry-After", str(self.retry_after_seconds)),)
        return (("Content-Type", JSON_TYPE), ("X-Should-Retry", "true" if self.again else "false"), *wait, *ALWAYS)


def refusal_for(exc: Exception) -> Refusal:
    """Return what to tell an app."""
    message = str(exc)
    match exc:
        case LocalError():
            return Refusal(exc.status, message, INVALID, exc.code)
        case FieldError():
            return Refusal(400, message, INVALID, "unsupported_value", exc.param)
        case VerificationError():
            return Refusal(502, " ".join(explain(exc).split()), NOT_TRUSTED, f"step_{exc.step}")
        case WorkerBusyError():
            wait = exc.retry_after_seconds
            return Refusal(503, message, BUSY, "worker_busy", again=True, retry_after_seconds=wait)
        case BusyError():
            return Refusal(503, message, BUSY, "busy", retry_after_seconds=exc.retry_after_seconds)
        case NotSentError():
            return Refusal(502, message, NO_ANSWER, "not_sent", again=True)
        case UpstreamError():
            return Refusal(504 if exc.timed_out else 502, message, NO_ANSWER, "late" if exc.timed_out else "no_answer")
        case TaskError():
            return _of_the_worker(exc)
        case MediaTypeError():
            return Refusal(415, message, INVALID, "media_type")
        case PeerError():
            return Refusal(exc.status, message, INVALID)
    return Refusal(500, "something went wrong inside the proxy; nothing of the request is shown", INTERNAL)


def _of_the_worker(exc: TaskError) -> Refusal:
    """Pass on what the worker said, whose software was verified."""
    status = exc.status if 400 <= exc.status <= 599 else 500
    code = {404: "model_not_found", 413: "too_long", 501: "no_language_model"}.get(status)
    return Refusal(status, str(exc), INVALID if status < 500 else BY_THE_WORKER, code)
