"""What a worker counts: numbers and closed sets of words, nothing of any request.

The gateway's polls and the messages of a join are not counted as requests: they come twice a second and would hide
what people wait for. Every number of a request leaves as the bound of its bucket.
"""

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from time import perf_counter
from typing import Final

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from inference.answer import Answer, Emit, Events, Spoken, Task
from inference.tasks.tally import Tally
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

    def watch_language(self, tally: Tally, slots: int) -> None:
        """Show how much a language model has to do, and what it has done."""
        self.gauge("language_slots", "Texts that the language model can write at once", lambda: slots)
        self.gauge("language_slots_used", "Requests that it serves, up to as many", lambda: min(tally.running, slots))
        self.gauge("language_waiting", "Requests beyond as many", lambda: max(0, tally.running - slots))
        self.registry.register(_Tallied(self.name("language"), tally))

    def opened(self, result: str, seconds: float) -> None:
        """Count one attempt to open a request; `result` is one of RESULTS."""
        self._opened.labels(result).inc()
        self._hpke_seconds.observe(round_up(HPKE_SECONDS, seconds))

    def timing(self, task: Task) -> Task:
        """Return the task with its time measured, wherever its answer is made."""

        def timed(request: bhttp.Request) -> Answer:
            started = perf_counter()
            answer: Answer | None = None
            try:
                answer = task(request)
                match answer:
                    case Events():
                        return Events(lambda emit: self._produce(answer, emit, started))
                    case Spoken():
                        return Spoken(lambda: self._respond(answer, started))
                    case _:
                        return answer
            finally:
                if not isinstance(answer, Events | Spoken):
                    self._observe_task(started)

        return timed

    def _produce(self, events: Events, emit: Emit, started: float) -> None:
        try:
            events.produce(emit)
        finally:
            self._observe_task(started)

    async def _respond(self, spoken: Spoken, started: float) -> bhttp.Response | AsyncGenerator[bytes, None]:
        answer: bhttp.Response | AsyncGenerator[bytes, None] | None = None
        try:
            answer = await spoken.respond()
            return self._timed(answer, started) if isinstance(answer, AsyncGenerator) else answer
        finally:
            if not isinstance(answer, AsyncGenerator):
                self._observe_task(started)

    async def _timed(self, events: AsyncGenerator[bytes, None], started: float) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(events):
                async for event in events:
                    yield event
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


class _Tallied(Collector):
    """Shows what a language model counted."""

    def __init__(self, prefix: str, tally: Tally) -> None:
        self._prefix = prefix
        self._tally = tally

    def collect(self) -> Iterator[Metric]:
        """Return the counters as they are now."""
        tally = self._tally
        yield CounterMetricFamily(f"{self._prefix}_refusals", "Requests without room in time", value=tally.refused)
        tokens = CounterMetricFamily(
            f"{self._prefix}_tokens", "Tokens of answers that ended, each rounded up to 2^n", labels=("what",)
        )
        tokens.add_metric(("read",), tally.read)
        tokens.add_metric(("written",), tally.written)
        yield tokens
