"""What a task gives: one answer, whole, or events that are made one after the other.

    task(request) -> Response            decided and whole
    task(request) -> Events              accepted; `produce` makes them, on the task's thread
    task(request) -> Spoken              accepted; `respond` makes it on the event loop, beside others (`spoken.py`)

Whatever goes wrong with a request that was opened is an answer too, sealed to the one who asked, and says nothing of
what was found but its kind.
"""

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from inference.runner import GivenUpError
from seclude import bhttp
from seclude.daemon.problems import answer_for
from seclude.errors import DateError, DecodeError, Error
from seclude.ohttp.media import EVENT_STREAM, PROBLEM
from seclude.tasks import ERROR_EVENT, JSON, Problem, encode

DATE_WINDOW_SECONDS: Final = 300  # clocks of phones are seldom five minutes off; replays are refused by the exact set
EVENTS_FIELDS: Final = (
    bhttp.Field(b"content-type", EVENT_STREAM.encode()),
    bhttp.Field(b"cache-control", b"no-store"),
)

Emit = Callable[[bytes], None]
"""Takes one whole event; it may wait until there is room, and ends the task if nobody waits for it any more."""


@dataclass(frozen=True, slots=True, repr=False)
class Events:
    """An event stream (text/event-stream) in the making."""

    produce: Callable[[Emit], None]


@dataclass(frozen=True, slots=True, repr=False)
class Spoken:
    """An answer that is made on the event loop, by models that serve several requests at once."""

    respond: Callable[[], Awaitable[bhttp.Response | AsyncGenerator[bytes, None]]]
    """Gives the answer, whole or as events; what is raised before the first of them is the answer."""


Answer = bhttp.Response | Events | Spoken
Task = Callable[[bhttp.Request], Answer]
Decides = Callable[[bhttp.Request], bhttp.Response | Events]
"""A task that never speaks."""


def run_task(parse: Callable[[], bhttp.Request], failure: Error | None, task: Task, now: float) -> Answer:
    """Return what the task gives for an opened request, or the problem with it."""
    if failure is not None:
        return problem(failure, now)
    try:
        request = parse()
        check_date(request.fields, now)
        return task(request)
    except GivenUpError:
        raise
    except Exception as exc:  # noqa: BLE001 - whatever went wrong, the peer gets a sealed answer and no word about it
        return problem(exc, now)


def collect(events: Events, now: float) -> bhttp.Response:
    """Return an event stream as one answer, for who did not ask in chunks."""
    made: list[bytes] = []
    produce(events, made.append, now)
    return bhttp.Response(200, EVENTS_FIELDS, b"".join(made))


def produce(events: Events, emit: Emit, now: float) -> None:
    """Let all events be made; what goes wrong meanwhile becomes the last one, since the status is out."""
    try:
        events.produce(emit)
    except GivenUpError:
        raise
    except Exception as exc:  # noqa: BLE001 - as above
        emit(event(ERROR_EVENT, problem(exc, now).content))


def event(name: str | None, data: bytes) -> bytes:
    """Write one event (HTML, section 9.2); `data` must have no line break, as JSON has none."""
    return (b"" if name is None else b"event: %b\n" % name.encode()) + b"data: %b\n\n" % data


def check_date(fields: tuple[bhttp.Field, ...], now: float) -> None:
    """Refuse a Date outside the window; an absent one is accepted, as standard clients may omit it."""
    value = bhttp.get(fields, b"date")
    if value is None:
        return
    sent = None
    with contextlib.suppress(ValueError, OverflowError):
        sent = parsedate_to_datetime(value.decode("ascii"))
    if sent is None:
        raise DecodeError("malformed date")
    if sent.tzinfo is None:
        sent = sent.replace(tzinfo=UTC)
    if abs(sent.timestamp() - now) > DATE_WINDOW_SECONDS:
        raise DateError("date outside the window")


def reply(content: bytes) -> bhttp.Response:
    """Return what was asked for, as JSON."""
    return bhttp.Response(200, (bhttp.Field(b"content-type", JSON.encode()),), content)


def refuse(status: int, detail: str | None = None, fields: tuple[bhttp.Field, ...] = ()) -> bhttp.Response:
    """Return a problem document (RFC 9457) with a task's own words, which name what it expects and show nothing.

    Its title is the status's, since its type is about:blank.
    """
    content = encode(Problem(status=status, title=HTTPStatus(status).phrase, detail=detail))
    return bhttp.Response(status, (bhttp.Field(b"content-type", PROBLEM.encode()), *fields), content)


def problem(exc: Exception, now: float) -> bhttp.Response:
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
