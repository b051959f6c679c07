"""What a worker answers the gateway, as handlers: values in, values out."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from bench.simulated import SimulatedHere, simulated_policy
from inference.answer import Task
from inference.chunked import OpenedChunks, Opening
from inference.front import Front
from inference.join import Joiner, Member
from inference.keyring import Attests, Keyring
from inference.lifetime import Lifetime
from inference.pace import Pace
from inference.producers.simulated import SimulatedPlatform, create_simulated_platform
from inference.runner import Runner, stop_if_given_up
from seclude import bhttp
from seclude.attestation.bundle import parse_bundle, parse_core
from seclude.attestation.policy import Policy
from seclude.attestation.slots import Slots
from seclude.daemon.messages import Request, Response, Streamed
from seclude.errors import (
    BusyError,
    DecodeError,
    MediaTypeError,
    OpenError,
    ReplayError,
    UnknownKeyError,
    UpstreamError,
    VerificationError,
)
from seclude.ohttp.chunked import encapsulate_chunked
from seclude.ohttp.encapsulation import encapsulate_request
from seclude.ohttp.keyconfig import parse_key_configs
from seclude.ohttp.media import KEY_BUNDLE, OHTTP_CHUNKED_REQ, OHTTP_REQ, OHTTP_RES, PROBLEM
from seclude.pool import Birth, Shared, serialize_birth, serialize_shared

NOW = 1_750_000_000.0
PERIOD = 600
T0 = 6000
MEASUREMENT = b"m" * 32
RENEW_REQUESTS, RENEW_SECONDS = 4, 100.0
QUESTION = bhttp.serialize_request(bhttp.Request(b"POST", b"https", b"a.example", b"/", (), b"hello"))


@dataclass
class Body:
    """A request's body that is there already."""

    data: bytes

    async def read(self) -> bytes:
        return self.data

    async def pieces(self) -> AsyncIterator[bytes]:
        yield self.data


@dataclass
class Ticks:
    """The clock that measures how long a worker lives."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Bench:
    """One worker on a bench, with the time under our hands."""

    front: Front
    keyring: Keyring
    seen: list[str]
    lifetime: Lifetime
    ticks: Ticks
    disbelieved: list[VerificationError]
    draining: bool = False
    engine_ended: bool = False
    now: float = NOW
    retired: int = 0

    def retire(self) -> None:
        self.retired += 1

    async def ask(self, method: str, path: str, body: bytes = b"", content_type: str | None = None) -> Response:
        answer = await self.front.handle(Request(method, path, content_type, None, len(body), Body(body)))
        assert isinstance(answer, Response)
        return answer

    async def status(self) -> dict[str, object]:
        return dict(msgspec.json.decode((await self.ask("GET", "/pool/status")).body))

    async def birth(self, epoch: int, proofs: bytes = b"") -> bytes:
        answer = await self.ask("POST", "/pool/birth", serialize_birth(Birth(epoch, proofs)))
        assert (answer.status, answer.content_type) == (200, KEY_BUNDLE)
        return answer.body

    async def serve(self, bundle: bytes) -> int:
        """Ask the echo task once and return the inner status."""
        config = parse_key_configs(parse_core(parse_bundle(bundle).core).key_configs)[0]
        data, opener = encapsulate_request(config, QUESTION)
        answer = await self.ask("POST", "/ohttp", data, OHTTP_REQ)
        assert (answer.status, answer.content_type) == (200, OHTTP_RES)
        return bhttp.parse_response(opener.open(answer.body)).status


@pytest.fixture
def platform(tmp_path: Path) -> SimulatedPlatform:
    return create_simulated_platform(tmp_path / "platform", NOW)


@pytest.fixture
def runner() -> Iterator[Runner]:
    runner = Runner(threads=1, waiting=0)
    yield runner
    runner.close()


def echo(request: bhttp.Request) -> bhttp.Response:
    return bhttp.Response(200, (), request.content)


def make(
    platform: SimulatedPlatform,
    runner: Runner,
    measurement: bytes = MEASUREMENT,
    task: Task = echo,
    replay_limit: int = 100,
    attester: Attests | None = None,
) -> Bench:
    document = simulated_policy(platform, manifests=(measurement,))
    policy = Policy(origin="a.example", slots=Slots(t0=T0, period_seconds=PERIOD), document=document)
    bench: Bench
    attester = attester or SimulatedHere(platform, measurement, lambda: bench.now)
    keyring = Keyring(policy, attester, measurement, replay_limit=replay_limit)
    seen: list[str] = []
    ticks = Ticks()
    lifetime = Lifetime(RENEW_REQUESTS, RENEW_SECONDS, ticks)
    front = Front(
        keyring,
        Member(keyring),
        Joiner(keyring, attester),
        task,
        runner=runner,
        pace=Pace(1024, 0.001),
        observe=lambda result, _seconds: seen.append(result),
        draining=lambda: bench.draining,
        engine_ended=lambda: bench.engine_ended,
        clock=lambda: bench.now,
        lifetime=lifetime,
        retire=lambda: bench.retire(),
        disbelieve=lambda exc: bench.disbelieved.append(exc),
    )
    bench = Bench(front, keyring, seen, lifetime, ticks, [])
    return bench


EPOCH = int(NOW - T0) // PERIOD


@pytest.fixture
def worker(platform: SimulatedPlatform, runner: Runner) -> Bench:
    return make(platform, runner)


async def test_a_worker_without_a_key_says_so(worker: Bench) -> None:
    status = await worker.status()
    assert status["ready"] is False
    assert status["reasons"] == ["no key for the current epoch"]
    assert status["manifest"] == MEASUREMENT.hex()


async def test_a_born_key_serves_and_is_the_same_when_asked_again(worker: Bench) -> None:
    bundle = await worker.birth(EPOCH)
    assert await worker.birth(EPOCH) == bundle
    assert (await worker.status())["ready"] is True
    assert await worker.serve(bundle) == 200
    assert worker.seen == ["ok"]


async def test_the_end_of_the_slot_makes_it_unready_but_the_key_still_opens(worker: Bench) -> None:
    bundle = await worker.birth(EPOCH)
    worker.now += PERIOD
    assert (await worker.status())["ready"] is False
    assert await worker.serve(bundle) == 200
    worker.now += PERIOD
    with pytest.raises(UnknownKeyError):
        await worker.serve(bundle)


async def test_a_draining_worker_says_so(worker: Bench) -> None:
    await worker.birth(EPOCH)
    worker.draining = True
    assert (await worker.status())["reasons"] == ["draining"]


async def test_a_worker_whose_engine_has_ended_says_so(worker: Bench) -> None:
    await worker.birth(EPOCH)
    worker.engine_ended = True
    assert (await worker.status())["reasons"] == ["the language model's engine has ended"]


async def test_a_joiner_serves_what_the_member_serves(
    worker: Bench, platform: SimulatedPlatform, runner: Runner
) -> None:
    bundle = await worker.birth(EPOCH)
    joiner = make(platform, runner)
    assert await join(worker, joiner) == 204
    assert await joiner.serve(bundle) == 200
    assert (await joiner.status())["epochs"] == (await worker.status())["epochs"]


async def join(member: Bench, joiner: Bench, proofs: bytes = b"") -> int:
    """Carry the four messages as the gateway does, and return the status at which it ends."""
    nonce = (await member.ask("POST", "/pool/nonce")).body
    request = (await joiner.ask("POST", "/pool/join", nonce)).body
    admitted = await member.ask("POST", "/pool/admit", request)
    if admitted.status != 200:
        assert admitted.content_type == PROBLEM, "it says nothing of why"
        return admitted.status
    return (await joiner.ask("POST", "/pool/keys", serialize_shared(Shared(admitted.body, proofs)))).status


async def test_other_software_is_not_let_in(worker: Bench, platform: SimulatedPlatform, runner: Runner) -> None:
    await worker.birth(EPOCH)
    stranger = make(platform, runner, b"x" * 32)
    assert await join(worker, stranger) == 422
    assert stranger.keyring.epochs() == ()
    assert [(exc.step, str(exc)) for exc in worker.disbelieved] == [
        (6, "the simulated report binds something else than what came with it")
    ]


async def test_software_of_another_manifest_is_not_let_in_even_if_its_platform_measured_ours(
    worker: Bench, platform: SimulatedPlatform, runner: Runner
) -> None:
    await worker.birth(EPOCH)
    stranger = make(platform, runner, b"x" * 32, attester=SimulatedHere(platform, MEASUREMENT, lambda: NOW))
    assert await join(worker, stranger) == 422
    assert [exc.step for exc in worker.disbelieved] == [6]
    assert stranger.keyring.epochs() == ()


async def test_births_under_way_at_once_make_one_core(worker: Bench) -> None:
    bundles = await asyncio.gather(*(worker.birth(EPOCH) for _ in range(3)))
    assert set(bundles) == {worker.keyring.bundle(EPOCH)}


async def test_while_a_platform_takes_its_time_the_worker_answers(platform: SimulatedPlatform, runner: Runner) -> None:
    class Slow:
        def __init__(self) -> None:
            self.begun, self.go_on = asyncio.Event(), asyncio.Event()

        async def attest(self, report_data: bytes) -> bytes:
            self.begun.set()
            await self.go_on.wait()
            return await SimulatedHere(platform, MEASUREMENT, lambda: NOW).attest(report_data)

    slow = Slow()
    worker, member = make(platform, runner, attester=slow), make(platform, runner)
    birth = asyncio.create_task(worker.birth(EPOCH))
    await slow.begun.wait()
    assert (await worker.status())["reasons"] == ["no key for the current epoch"]
    slow.go_on.set()
    bundle = await birth
    assert await worker.serve(bundle) == 200
    await member.birth(EPOCH)
    assert await join(member, worker) == 204


async def test_a_platform_that_does_not_attest_leaves_nothing_behind(
    platform: SimulatedPlatform, runner: Runner
) -> None:
    class Failing:
        async def attest(self, report_data: bytes) -> bytes:
            raise UpstreamError("the platform did not attest: no device")

    worker, member = make(platform, runner, attester=Failing()), make(platform, runner)
    with pytest.raises(UpstreamError):
        await worker.birth(EPOCH)
    await member.birth(EPOCH)
    with pytest.raises(UpstreamError):
        await join(member, worker)
    assert (await worker.status())["epochs"] == []
    assert not worker.keyring.keys(NOW)


async def retire(worker: Bench) -> int:
    return (await worker.ask("POST", "/pool/retire")).status


async def test_a_worker_retires_only_when_it_is_due(worker: Bench) -> None:
    assert (await worker.status())["due"] is False
    assert await retire(worker) == 409
    assert worker.retired == 0
    worker.ticks.now = RENEW_SECONDS
    assert (await worker.status())["due"] is True
    assert await retire(worker) == 204
    assert worker.retired == 1


async def test_every_request_that_opens_counts_towards_renewal_and_no_other(worker: Bench, runner: Runner) -> None:
    bundle = await worker.birth(EPOCH)
    config = parse_key_configs(parse_core(parse_bundle(bundle).core).key_configs)[0]
    data, _ = encapsulate_request(config, QUESTION)
    with pytest.raises(OpenError):
        await worker.ask("POST", "/ohttp", data[:-1] + bytes([data[-1] ^ 1]), OHTTP_REQ)
    assert worker.lifetime.served == 0
    assert await worker.serve(bundle) == 200
    await settled(runner)
    sealer, _ = encapsulate_chunked(config)
    body = sealer.finish(QUESTION)
    answer = await worker.front.handle(Request("POST", "/ohttp", OHTTP_CHUNKED_REQ, None, len(body), Body(body)))
    assert isinstance(answer, Streamed)
    assert b"".join([piece async for piece in answer.pieces])
    await settled(runner)
    assert worker.lifetime.served == 2
    for _ in range(RENEW_REQUESTS - 2):
        assert await worker.serve(bundle) == 200
        await settled(runner)
    assert (await worker.status())["due"] is True


async def test_giving_and_taking_keys_is_what_makes_them_shared(
    worker: Bench, platform: SimulatedPlatform, runner: Runner
) -> None:
    joiner = make(platform, runner)
    with pytest.raises(BusyError, match="no epoch"):
        await join(worker, joiner)
    assert [each.lifetime.shared for each in (worker, joiner)] == [False, False]
    await worker.birth(EPOCH)
    stranger = make(platform, runner, b"x" * 32)
    assert await join(worker, stranger) == 422
    assert [each.lifetime.shared for each in (worker, stranger)] == [False, False]
    await join(worker, joiner)
    assert [each.lifetime.shared for each in (worker, joiner)] == [True, True]


async def test_a_join_request_is_good_once(worker: Bench, platform: SimulatedPlatform, runner: Runner) -> None:
    await worker.birth(EPOCH)
    joiner = make(platform, runner)
    nonce = (await worker.ask("POST", "/pool/nonce")).body
    request = (await joiner.ask("POST", "/pool/join", nonce)).body
    keys = (await worker.ask("POST", "/pool/admit", request)).body
    with pytest.raises(ReplayError):
        await worker.ask("POST", "/pool/admit", request)
    shared = serialize_shared(Shared(keys))
    assert (await joiner.ask("POST", "/pool/keys", shared)).status == 204
    with pytest.raises(ReplayError):
        await joiner.ask("POST", "/pool/keys", shared)


async def test_what_does_not_open_is_counted_and_raised(worker: Bench) -> None:
    config = parse_key_configs(parse_core(parse_bundle(await worker.birth(EPOCH)).core).key_configs)[0]
    data, _ = encapsulate_request(config, QUESTION)
    with pytest.raises(OpenError):
        await worker.ask("POST", "/ohttp", data[:-1] + bytes([data[-1] ^ 1]), OHTTP_REQ)
    assert worker.seen == ["refused"]


@pytest.mark.parametrize("content_type", [None, "message/ohttp-res", "message/ohttp-req-x", "text/plain"])
async def test_another_media_type_is_refused(worker: Bench, content_type: str | None) -> None:
    with pytest.raises(MediaTypeError):
        await worker.ask("POST", "/ohttp", b"x", content_type)


WISH = serialize_birth(Birth(EPOCH))


@pytest.mark.parametrize("body", [b"", b'{"epoch": 1}', WISH[:-1], WISH + b"x", b"\xff" + WISH[1:]])
@pytest.mark.parametrize("path", ["/pool/birth", "/pool/keys"])
async def test_a_malformed_message_is_refused(worker: Bench, path: str, body: bytes) -> None:
    with pytest.raises(DecodeError):
        await worker.ask("POST", path, body)


@pytest.mark.parametrize("epoch", [EPOCH - 1, EPOCH + 2, EPOCH + 1000, (1 << 64) - 1])
async def test_no_key_is_born_for_another_time_and_the_gateway_is_told_so(worker: Bench, epoch: int) -> None:
    answer = await worker.ask("POST", "/pool/birth", serialize_birth(Birth(epoch)))
    assert (answer.status, answer.content_type) == (422, PROBLEM)
    assert "cannot be born in the slot" in str(worker.disbelieved[0])
    assert worker.keyring.epochs() == ()


@pytest.mark.parametrize("path", ["/pool/birth", "/ohttp"])
async def test_before_the_first_slot_nothing_is_born_or_opened(worker: Bench, path: str) -> None:
    worker.now = T0 - 1.0
    body, kind = (serialize_birth(Birth(0)), None) if path == "/pool/birth" else (bytes(100), OHTTP_REQ)
    with pytest.raises(BusyError, match="before the first slot"):
        await worker.ask("POST", path, body, kind)


async def test_proofs_that_nothing_here_would_judge_are_refused(
    worker: Bench, platform: SimulatedPlatform, runner: Runner
) -> None:
    answer = await worker.ask("POST", "/pool/birth", serialize_birth(Birth(EPOCH, b"proofs")))
    assert answer.status == 422
    assert [(exc.step, "names none" in str(exc)) for exc in worker.disbelieved] == [(13, True)]
    await worker.birth(EPOCH)
    joiner = make(platform, runner)
    assert await join(worker, joiner, b"proofs") == 422
    assert joiner.keyring.epochs() == ()


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("POST", "/"), ("GET", "/pool"), ("POST", "/pool/status/")])
async def test_anything_else_is_not_found(worker: Bench, method: str, path: str) -> None:
    assert (await worker.ask(method, path)).status == 404


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/ohttp", "POST"),
        ("PUT", "/ohttp", "POST"),
        ("POST", "/pool/status", "GET"),
        ("GET", "/pool/keys", "POST"),
        ("GET", "/pool/retire", "POST"),
    ],
)
async def test_another_method_is_told_which_one_is_right(worker: Bench, method: str, path: str, allowed: str) -> None:
    answer = await worker.ask(method, path)
    assert (answer.status, dict(answer.fields)["Allow"]) == (405, allowed)


async def test_a_clock_before_the_first_slot_is_a_reason(worker: Bench) -> None:
    worker.now = -1.0
    assert (await worker.status())["reasons"] == ["clock before the first slot"]


async def settled(runner: Runner) -> None:
    async with asyncio.timeout(5):
        while runner.busy:  # noqa: ASYNC110 - what changes is on another thread
            await asyncio.sleep(0.01)


async def test_a_full_worker_refuses_before_it_opens_and_its_status_still_answers(
    platform: SimulatedPlatform, runner: Runner
) -> None:
    gate = threading.Event()

    def wait(request: bhttp.Request) -> bhttp.Response:
        gate.wait(5)
        return echo(request)

    worker = make(platform, runner, task=wait)
    bundle = await worker.birth(EPOCH)
    running = asyncio.create_task(worker.serve(bundle))
    await asyncio.sleep(0)
    assert runner.busy == 1
    with pytest.raises(BusyError):
        await worker.serve(bundle)
    assert worker.seen == ["ok"]
    assert (await worker.status())["ready"]
    gate.set()
    assert await running == 200
    await settled(runner)
    assert await worker.serve(bundle) == 200


async def test_a_task_whose_device_went_away_ends_and_makes_room(platform: SimulatedPlatform, runner: Runner) -> None:
    begun = threading.Event()

    def work(request: bhttp.Request) -> bhttp.Response:
        begun.set()
        for _ in range(1000):
            time.sleep(0.01)
            stop_if_given_up()
        return echo(request)

    worker = make(platform, runner, task=work)
    bundle = await worker.birth(EPOCH)
    running = asyncio.create_task(worker.serve(bundle))
    await asyncio.to_thread(begun.wait, 5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert runner.busy == 1, "what still runs is counted"
    await settled(runner)


async def test_a_full_replay_set_refuses_in_plain_and_makes_unready(
    platform: SimulatedPlatform, runner: Runner
) -> None:
    worker = make(platform, runner, replay_limit=1)
    bundle = await worker.birth(EPOCH)
    assert await worker.serve(bundle) == 200
    await settled(runner)
    with pytest.raises(BusyError) as refusal:
        await worker.serve(bundle)
    assert refusal.value.retry_after_seconds == 60
    assert (await worker.status())["reasons"] == ["the replay set of the current epoch is full"]


async def test_a_request_in_chunks_that_finds_no_thread_in_the_end_is_answered_inside(
    platform: SimulatedPlatform, runner: Runner
) -> None:
    release = threading.Event()

    def slow(request: bhttp.Request) -> bhttp.Response:
        release.wait(10)
        return echo(request)

    worker = make(platform, runner, task=slow)
    config = parse_key_configs(parse_core(parse_bundle(await worker.birth(EPOCH)).core).key_configs)[0]
    sealer, opener = encapsulate_chunked(config)
    other = asyncio.create_task(asyncio.sleep(0))

    class Late(Body):
        async def pieces(self) -> AsyncIterator[bytes]:
            nonlocal other
            yield sealer.seal(QUESTION[:5])
            data, _ = encapsulate_request(config, QUESTION)
            other = asyncio.create_task(worker.ask("POST", "/ohttp", data, OHTTP_REQ))  # type: ignore[arg-type]
            await asyncio.sleep(0.05)  # it takes the only thread
            yield sealer.finish(QUESTION[5:])

    answer = await worker.front.handle(Request("POST", "/ohttp", OHTTP_CHUNKED_REQ, None, None, Late(b"")))
    assert isinstance(answer, Streamed)
    assert answer.fields == (("Incremental", "?1"),)
    data = b"".join([piece async for piece in answer.pieces])
    release.set()
    await other
    message = b"".join([*opener.feed(data), opener.finish()])
    assert bhttp.parse_response(message).status == 503


async def test_a_request_in_chunks_is_refused_in_plain_before_it_has_opened(worker: Bench) -> None:
    await worker.birth(EPOCH)
    for body, error in ((b"", DecodeError), (b"\xff" + bytes(100), UnknownKeyError)):
        with pytest.raises(error):
            await worker.front.handle(Request("POST", "/ohttp", OHTTP_CHUNKED_REQ, None, len(body), Body(body)))
    assert worker.seen == ["refused", "refused"]


async def test_what_a_last_chunk_takes_to_open_is_measured(platform: SimulatedPlatform, runner: Runner) -> None:
    seconds: list[float] = []
    worker = make(platform, runner)
    worker.front._observe = lambda _result, spent: seconds.append(spent)
    config = parse_key_configs(parse_core(parse_bundle(await worker.birth(EPOCH)).core).key_configs)[0]
    sealer, _ = encapsulate_chunked(config)
    body = sealer.finish(QUESTION)
    opened = Opening.finish

    def slow(opening: Opening) -> OpenedChunks:
        time.sleep(0.02)
        return opened(opening)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Opening, "finish", slow)
        answer = await worker.front.handle(Request("POST", "/ohttp", OHTTP_CHUNKED_REQ, None, len(body), Body(body)))
    assert isinstance(answer, Streamed)
    assert b"".join([piece async for piece in answer.pieces])
    assert len(seconds) == 1
    assert seconds[0] >= 0.02
