"""One request inside the worker: opened, checked, answered, sealed. It keeps nothing.

Up to the first successful open an error is raised and becomes a plain HTTP problem (RFC 9458, section 5.2): the peer
has shown nothing yet. From then on every outcome, errors included, is an answer sealed to the one who asked.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from typing import Final

from seclude import bhttp
from seclude.daemon.problems import answer_for
from seclude.errors import BusyError, DateError, DecodeError, Error, ReplayError
from seclude.ohttp.encapsulation import HeldKey, ResponseSealer, decapsulate
from seclude.ohttp.media import PROBLEM

DATE_WINDOW_SECONDS: Final = 300  # clocks of phones are seldom five minutes off; replays are refused by the exact set

Task = Callable[[bhttp.Request], bhttp.Response]


@dataclass(frozen=True, slots=True, repr=False)
class Opened:
    """A request that authenticated and was not seen before; `answer` may be called once, on any thread."""

    message: bytes
    sealer: ResponseSealer
    failure: Error | None
    """Why the request must be refused, inside the encapsulation, before it is looked at."""


def open_request(data: bytes, keys: Mapping[int, HeldKey], insert: Callable[[int, bytes], None]) -> Opened:
    """Open one encapsulated request and remember it; `insert` takes the key identifier and `enc`.

    Raises UnknownKeyError, DecodeError or OpenError, all of which are answered in plain.
    """
    opened = decapsulate(data, keys)
    failure: Error | None = None
    try:
        insert(opened.key_id, opened.enc)
    except (ReplayError, BusyError) as exc:
        failure = exc
    return Opened(opened.message, opened.sealer, failure)


def answer_request(opened: Opened, task: Task, now: float) -> bytes:
    """Run the task for an opened request; return the encapsulated answer."""
    try:
        if opened.failure is not None:
            raise opened.failure
        request = bhttp.parse_request(opened.message)
        check_date(request.fields, now)
        response = task(request)
    except Exception as exc:  # noqa: BLE001 - whatever went wrong, the peer gets a sealed answer and no word about it
        response = _problem(exc, now)
    return opened.sealer.seal(bhttp.serialize_response(response))


def check_date(fields: tuple[bhttp.Field, ...], now: float) -> None:
    """Refuse a Date outside the window; an absent one is accepted, as standard clients may omit it."""
    value = bhttp.get(fields, b"date")
    if value is None:
        return
    try:
        sent = parsedate_to_datetime(value.decode("ascii"))
    except (ValueError, OverflowError):
        raise DecodeError("malformed date") from None
    if sent.tzinfo is None:
        sent = sent.replace(tzinfo=UTC)
    if abs(sent.timestamp() - now) > DATE_WINDOW_SECONDS:
        raise DateError("date outside the window")


def _problem(exc: Exception, now: float) -> bhttp.Response:
    """Return the sealed form of an error; the Date lets a device correct its clock (RFC 9458, section 6.5.2)."""
    plain = answer_for(exc)
    fields = [
        bhttp.Field(b"content-type", PROBLEM.encode()),
        bhttp.Field(b"cache-control", b"no-store"),
        *(bhttp.Field(name.lower().encode(), value.encode()) for name, value in plain.fields),
    ]
    if isinstance(exc, DateError):
        fields.append(bhttp.Field(b"date", formatdate(now, usegmt=True).encode()))
    return bhttp.Response(plain.status, tuple(fields), plain.body)
