"""One process that makes load. It runs one job and reports; started by `engine`, never by a person.

An arrival is due at its intended start whatever the target does. Where no connection is free it waits, and its latency
goes on counting; where it waited too long it is dropped, and counted. So a target that stalls cannot hide it by being
asked less (coordinated omission). In a closed loop every connection sends as soon as it was answered.
"""

import asyncio
import ssl
import sys
from array import array
from collections import deque
from time import monotonic_ns
from typing import Final
from urllib.parse import urlsplit

import msgspec
import uvloop

from bench.arrivals import SECOND, schedule, share
from bench.connection import TIMED_OUT, Connection
from bench.hearing import Hearing
from bench.job import OVER, READY, REPORT, TICK, Job, Report
from bench.timer import Timer
from bench.workload import Check, build

OK: Final = "ok"
SWEEP_SECONDS: Final = 0.1  # how often waits and answers are looked at for having taken too long
CONNECT_PAUSE: Final = 0.05  # seconds before the next try where a connection was refused
CONNECT_SECONDS: Final = 3.0  # in which the first connections must be there; a target that is up takes them at once


class Recorder:
    """One entry for each request that was sent, in columns."""

    def __init__(self) -> None:
        self.intended, self.sent, self.first, self.done = (array("q") for _ in range(4))
        self.heard, self.counts, self.tokens = (array("q") for _ in range(3))
        self.outcome = array("B")
        self.kinds = [OK]
        self._later: list[tuple[int, Check, bytes]] = []

    def add(self, connection: Connection, done: int, kind: str, start: int) -> None:
        """Add a request that has ended."""
        self.intended.append(connection.intended - start)
        self.sent.append(connection.sent - start)
        self.first.append(connection.first - start if connection.first else 0)
        self.done.append(done - start)
        self.outcome.append(self._index(kind))
        heard = connection.check if isinstance(connection.check, Hearing) else None
        self.heard.extend([] if heard is None else [each - start for each in heard.times])
        self.counts.append(0 if heard is None else len(heard.times))
        self.tokens.append(0 if heard is None else heard.tokens)

    def check_later(self, check: Check, body: bytes) -> None:
        """Look at the answer of the request that was added last, once the load is over."""
        self._later.append((len(self.outcome) - 1, check, body))

    def settle(self) -> None:
        """Look at all of those."""
        for place, check, body in self._later:
            if (kind := check(body)) is not None:
                self.outcome[place] = self._index(kind)
        self._later.clear()

    def _index(self, kind: str) -> int:
        if kind not in self.kinds:
            self.kinds.append(kind)
        return self.kinds.index(kind)


class Generator:
    """Runs one job on the loop."""

    def __init__(self, job: Job, loop: asyncio.AbstractEventLoop) -> None:
        self._job = job
        self._loop = loop
        self._workload = build(job.workload, job.url, job.index, job.generators)
        self._records = Recorder()
        self._lags, self._dropped = array("q"), array("q")
        self._schedule = array("q")
        if job.arrivals is not None:
            whole = schedule(job.arrivals, job.warmup_seconds + job.seconds)
            self._schedule = share(whole, job.index, job.generators)
        self._next = 0
        self._start = 0
        self._end = 0
        self._free: deque[Connection] = deque()  # the one that has rested longest is next, so that all of them are used
        self._open: set[Connection] = set()
        self._waiting: deque[int] = deque()
        self._answered = 0
        self._failed = 0
        self._exhausted = False
        self._closing = False
        self._over = asyncio.Event()
        self._connecting: set[asyncio.Task[None]] = set()
        self._timer = Timer(loop, self._fire)
        parts = urlsplit(job.url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = ssl.create_default_context(cafile=job.ca_file) if parts.scheme == "https" else None

    async def prepare(self) -> None:
        """Make what can be made in advance, and connect; raises TimeoutError where that is impossible."""
        self._workload.prepare(len(self._schedule) if self._job.arrivals else self._job.supply)
        async with asyncio.timeout(CONNECT_SECONDS):
            for _ in range(self._job.connections):
                await self._connect()

    async def run(self, start: int) -> Report:
        """Make the load, from a moment of the monotonic clock on."""
        job = self._job
        self._start = start
        self._end = start + round((job.warmup_seconds + job.seconds + job.cooldown_seconds) * SECOND)
        self._timer.set(start)
        sweeping = asyncio.create_task(self._sweep())
        try:
            await self._over.wait()
            if self._exhausted:
                print(OVER, flush=True)
            else:  # what comes after the load must not fall into the measured window
                await asyncio.sleep(max(0.0, (self._end - monotonic_ns()) / SECOND))
        finally:
            sweeping.cancel()
            self._timer.close()
            self._closing = True
            for connection in list(self._open):
                connection.give_up(TIMED_OUT)
        self._records.settle()
        return self._report()

    # Arrivals.

    def _fire(self) -> None:
        if self._job.arrivals is None:
            while self._free and not self._exhausted:
                self._send(self._free.popleft(), monotonic_ns())
            return
        starts, start, warm = self._schedule, self._start, self._job.warmup_seconds * SECOND
        while self._next < len(starts):
            due, now = start + starts[self._next], monotonic_ns()
            if due > now:
                self._timer.set(due)
                return
            self._next += 1
            if starts[self._next - 1] >= warm:
                self._lags.append(now - due)
            if self._free:
                self._send(self._free.popleft(), due)
            else:
                self._waiting.append(due)
        self._end_if_idle()

    def _send(self, connection: Connection, intended: int) -> None:
        try:
            data, check = self._workload.request()
        except IndexError:
            self._exhausted = True
            self._freed(connection)
            return
        connection.send(data, intended, check)

    def _freed(self, connection: Connection) -> None:
        now = monotonic_ns()
        if self._job.arrivals is None:
            if now < self._end and not self._exhausted:
                self._send(connection, now)
                return
        else:
            self._drop_late(now)
            if self._waiting:
                self._send(connection, self._waiting.popleft())
                return
        self._free.append(connection)
        self._end_if_idle()

    def _drop_late(self, now: int) -> None:
        oldest = now - round(self._job.wait_seconds * SECOND)
        while self._waiting and self._waiting[0] < oldest:
            self._dropped.append(self._waiting.popleft() - self._start)

    def _end_if_idle(self) -> None:
        ended = self._exhausted or monotonic_ns() >= self._end if self._job.arrivals is None else self._is_sent
        if ended and not self._waiting and not any(connection.busy for connection in self._open):
            self._over.set()

    @property
    def _is_sent(self) -> bool:
        return self._next == len(self._schedule)

    # What the connections say; see `connection.Owner`.

    def finished(self, connection: Connection) -> None:
        """Record an answer, and use the connection again."""
        check, status = connection.check, connection.status
        assert check is not None
        kind = OK if status == 200 else f"status {status}"
        looked_at = status == 200 and len(self._records.done) % self._job.workload.check_every == 0
        if looked_at and self._job.workload.inline:
            kind = check(b"".join(connection.pieces)) or OK
        self._records.add(connection, monotonic_ns(), kind, self._start)
        if looked_at and not self._job.workload.inline:
            self._records.check_later(check, b"".join(connection.pieces))
        self._answered += kind == OK
        self._failed += kind != OK
        if connection.usable:
            self._freed(connection)

    def broke(self, connection: Connection, why: str) -> None:
        """Record a request without a whole answer."""
        self._failed += 1
        self._records.add(connection, monotonic_ns(), why, self._start)

    def lost(self, connection: Connection) -> None:
        """Connect again."""
        self._open.discard(connection)
        if connection in self._free:
            self._free.remove(connection)
        if not self._closing:
            task = self._loop.create_task(self._connect())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _connect(self) -> None:
        while not self._closing:
            try:
                _, connection = await self._loop.create_connection(
                    lambda: Connection(self), self._host, self._port, ssl=self._tls
                )
            except OSError:
                await asyncio.sleep(CONNECT_PAUSE)
                continue
            self._open.add(connection)
            if self._start:
                self._freed(connection)
            else:
                self._free.append(connection)
            return

    async def _sweep(self) -> None:
        """Drop arrivals that waited too long, give up answers that take too long, say how far it is."""
        patience, ticked = round(self._job.timeout_seconds * SECOND), self._start
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = monotonic_ns()
            self._drop_late(now)
            for connection in list(self._open):
                if connection.busy and now - connection.sent > patience:
                    connection.give_up(TIMED_OUT)
            if now - ticked >= SECOND:
                ticked = now
                print(TICK, self._answered, self._failed, flush=True)
            self._end_if_idle()

    def _report(self) -> Report:
        records = self._records
        return Report(
            intended=records.intended.tobytes(),
            sent=records.sent.tobytes(),
            first=records.first.tobytes(),
            done=records.done.tobytes(),
            outcome=records.outcome.tobytes(),
            kinds=records.kinds,
            dropped=self._dropped.tobytes(),
            lags=self._lags.tobytes(),
            exhausted=self._exhausted,
            heard=records.heard.tobytes(),
            counts=records.counts.tobytes(),
            tokens=records.tokens.tobytes(),
        )


async def work() -> int:
    """Do the job that stands on standard input, and return the exit status."""
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    generator = Generator(job, asyncio.get_running_loop())
    try:
        await generator.prepare()
    except TimeoutError:
        print(f"seclude-bench: cannot connect to {job.url}", file=sys.stderr)
        return 1
    print(READY, flush=True)
    start = int(sys.stdin.buffer.readline())
    report = msgspec.msgpack.encode(await generator.run(start))
    print(REPORT, len(report), flush=True)
    sys.stdout.buffer.write(report)
    sys.stdout.buffer.flush()
    sys.stdin.buffer.readline()  # its CPU clock is read until the end of the window, so it stays until it is let go
    return 0


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        status = runner.run(work())
    sys.exit(status)
