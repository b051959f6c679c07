"""One request inside the worker: opened, checked, answered, sealed, padded. It keeps nothing.

Up to the first successful open an error is raised and becomes a plain HTTP problem (RFC 9458, section 5.2): the peer
has shown nothing yet. From then on every outcome, errors included, is an answer sealed to the one who asked.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import overload

from inference.answer import Decides, Events, Spoken, Task, collect, run_task
from inference.runner import Runner
from inference.scrub import bare
from inference.spoken import speak_whole
from seclude import bhttp
from seclude.errors import BusyError, Error, ReplayError
from seclude.ohttp.encapsulation import HeldKey, ResponseSealer, decapsulate
from seclude.padding import pad


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
        failure = bare(exc)
    return Opened(opened.message, opened.sealer, failure)


@overload
def answer_request(opened: Opened, task: Decides, now: float) -> bytes: ...


@overload
def answer_request(opened: Opened, task: Task, now: float) -> bytes | Spoken: ...


def answer_request(opened: Opened, task: Task, now: float) -> bytes | Spoken:
    """Run the task for an opened request; return the encapsulated answer, in its bucket, or what makes it."""
    answer = run_task(lambda: bhttp.parse_request(opened.message), opened.failure, task, now)
    if isinstance(answer, Spoken):
        return answer
    return _seal(opened, collect(answer, now) if isinstance(answer, Events) else answer)


async def respond(opened: Opened, task: Task, now: float, runner: Runner) -> bytes:
    """Return the encapsulated answer to an opened request: decided on a thread, and spoken on the loop if need be."""
    with runner.place():
        answer = await runner.run(answer_request, opened, task, now)
        return _seal(opened, await speak_whole(answer, now)) if isinstance(answer, Spoken) else answer


def _seal(opened: Opened, answer: bhttp.Response) -> bytes:
    return opened.sealer.seal(pad(bhttp.serialize_response(answer)))
