"""What a worker counts: numbers and closed sets of words, nothing of any request.

The gateway's polls and the messages of a join are not counted as requests: they come twice a second and would hide
what people wait for. Every number of a request leaves as the bound of its bucket.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from time import perf_counter
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from inference.answer import Emit, Events, Task
from seclude import bhttp
from seclude.daemon.messages import Handler, Request, Response, Streamed
from seclude.daemon.metrics import SECONDS, Metrics, round_up
from seclude.daemon.problems import CLIENT_GONE, OK, answer_for
from seclude.daemon.transaction import GONE_STATUS
from seclude.pool import Message

HPKE_SECONDS: Final = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005)
RESULTS: Final = ("ok", "refused")


class WorkerMetrics(Metrics):
    """Rate, errors and duration of encapsulated requests, and where their time went."""

    def __init__(self, epochs: Callable[[], int]) -> None:
        super().__init__("worker", rounded=True)
        self._opened = Counter(
            "seclude_worker_decapsulations_total", "Requests by outcome of opening", ("result",), registry=self.registry
        )
        self._hpke_seconds = Histogram(
            "seclude_worker_hpke_seconds", "Time to open a request", buckets=HPKE_SECONDS, registry=self.registry
        )
        # Without the name of the task: what somebody asked for is for the device and the worker alone.
        self._task_seconds = Histogram(
            "seclude_worker_task_seconds", "Time in a task", buckets=SECONDS, registry=self.registry
        )
        for result in RESULTS:
            self._opened.labels(result)
        gauge = Gauge("seclude_worker_epochs", "Epochs whose keys are held", registry=self.registry)
        gauge.set_function(epochs)

    def opened(self, result: str, seconds: float) -> None:
        """Count one attempt to open a request; `result` is one of RESULTS."""
        self._opened.labels(result).inc()
        self._hpke_seconds.observe(round_up(HPKE_SECONDS, seconds))

    def timing(self, task: Task) -> Task:
        """Return the task with its time measured, on whatever thread it runs."""

        def timed(request: bhttp.Request) -> bhttp.Response | Events:
            started = perf_counter()
            answer: bhttp.Response | Events | None = None
            try:
                answer = task(request)
                return (
                    Events(lambda emit: self._produce(answer, emit, started)) if isinstance(answer, Events) else answer
                )
            finally:
                if not isinstance(answer, Events):
                    self._observe_task(started)

        return timed

    def _produce(self, events: Events, emit: Emit, started: float) -> None:
        try:
            events.produce(emit)
        finally:
            self._observe_task(started)

    def _observe_task(self, started: float) -> None:
        self._task_seconds.observe(round_up(SECONDS, perf_counter() - started))

    def counting(self, handle: Handler) -> Handler:
        """Return the handler with its encapsulated requests counted, by the answer that the server will give."""

        async def counted(request: Request) -> Response | Streamed:
            if request.path != Message.REQUEST:
                return await handle(request)
            started = perf_counter()
            answer: Response | Streamed = Response(GONE_STATUS, reason=CLIENT_GONE)
            try:
                answer = await handle(request)
            except Exception as exc:
                answer = answer_for(exc)
                raise
            finally:
                if isinstance(answer, Response):
                    seconds, taken = perf_counter() - started, request.content_length or 0
                    self.observe(answer.status, answer.reason, seconds, taken, len(answer.body))
            if isinstance(answer, Streamed):
                return replace(answer, pieces=self._counted(answer.pieces, request.content_length or 0, started))
            return answer

        return counted

    async def _counted(
        self, pieces: AsyncGenerator[bytes, None], taken: int, started: float
    ) -> AsyncGenerator[bytes, None]:
        status, reason, given = GONE_STATUS, CLIENT_GONE, 0
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    given += len(piece)
                    yield piece
            status, reason = 200, OK
        except Exception as exc:
            answer = answer_for(exc)
            status, reason = answer.status, answer.reason
            raise
        finally:
            self.observe(status, reason, perf_counter() - started, taken, given)
