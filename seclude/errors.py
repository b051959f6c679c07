"""Everything the library raises on purpose; a few modules refine one of these for their own use.

    Error                       everything we raise on purpose
    ├── UsageError              our own code broke a rule; a bug, never a peer's doing
    ├── ConfigError             cannot start; one sentence that says what to do
    ├── PeerError               the other side's fault; each has `status` and `problem`
    │   ├── DecodeError         bytes do not parse                              400
    │   │   ├── TooLargeError   a limit is exceeded                             413
    │   │   └── MediaTypeError  a media type that is not served here            415
    │   ├── UnknownKeyError     stale or unknown key configuration              422, ohttp-key
    │   ├── OpenError           authentication failed; says nothing more        400
    │   ├── ReplayError         this encapsulated request was served before     409
    │   ├── UnauthorizedError   a submission by nobody who may write            403
    │   └── DateError           the inner Date is outside the window            400, date
    ├── VerificationError       do not trust this worker
    │   ├── EvidenceError       names the step that failed
    │   └── PolicyError         genuine, but not what we accept
    ├── TaskError               the worker itself refuses what a device asked; has the inner `status`
    ├── BusyError               our own limit is reached; come back later       503
    └── UpstreamError           the next hop is down or slow                    502 / 504

Messages name fields, sizes and steps, never contents. Only `daemon/problems.py` turns one into an HTTP answer.
"""

from typing import ClassVar, Final

BLANK: Final = "about:blank"
OHTTP_KEY: Final = "https://iana.org/assignments/http-problem-types#ohttp-key"  # RFC 9458, section 5.3
DATE: Final = "https://iana.org/assignments/http-problem-types#date"  # RFC 9458, section 6.5.2


class Error(Exception):
    """Raised on purpose by this project; every other exception is a bug."""


class UsageError(Error):
    """Raised when our own code breaks a rule, such as opening twice."""


class ConfigError(Error):
    """Raised when a program cannot start; the message says what to change."""


class PeerError(Error):
    """Raised when the other side is at fault; `status` and `problem` say how to answer."""

    status: ClassVar[int] = 400
    problem: ClassVar[str] = BLANK


class DecodeError(PeerError):
    """Raised when a peer's bytes do not parse; names the field, never the content."""


class TooLargeError(DecodeError):
    """Raised when a peer's message exceeds a limit."""

    status = 413


class MediaTypeError(DecodeError):
    """Raised when a message has a media type that is not served here."""

    status = 415


class UnknownKeyError(PeerError):
    """Raised when a request names a key identifier that is not held (RFC 9458, sections 5.3 and 6.4)."""

    status = 422
    problem = OHTTP_KEY


class OpenError(PeerError):
    """Raised when a ciphertext does not authenticate; all causes look alike."""


class ReplayError(PeerError):
    """Raised when an encapsulated request was already served, or can no longer be told from one that was."""

    status = 409


class UnauthorizedError(PeerError):
    """Raised when a submission is authenticated by no secret that is known here."""

    status = 403


class DateError(PeerError):
    """Raised when the inner Date is too far from this clock (RFC 9458, section 6.5.2)."""

    problem = DATE


class VerificationError(Error):
    """Raised when a worker must not be trusted; `step` is the number of the check that failed."""

    def __init__(self, message: str, *, step: int = 0) -> None:
        super().__init__(message)
        self.step = step


class EvidenceError(VerificationError):
    """Raised when evidence is not genuine or does not bind what it should."""


class PolicyError(VerificationError):
    """Raised when evidence is genuine but not of a kind that the policy accepts."""


class TaskError(Error):
    """Raised on the device when the worker itself refuses a request; `status` is the inner HTTP status."""

    def __init__(self, message: str, *, status: int = 500) -> None:
        super().__init__(message)
        self.status = status


class BusyError(Error):
    """Raised when a limit of our own is reached; the peer may come back after `retry_after_seconds`."""

    def __init__(self, message: str, *, retry_after_seconds: int = 1) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class UpstreamError(Error):
    """Raised when the next hop is down (`timed_out` false) or slow (`timed_out` true)."""

    def __init__(self, message: str, *, timed_out: bool = False) -> None:
        super().__init__(message)
        self.timed_out = timed_out
