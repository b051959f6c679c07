"""How heads become published checkpoints: witnesses that work, are slow, are down, lie, or know better."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from ledger.add_checkpoint import PATH
from ledger.cosigning import FIRST, Cosigning
from ledger.files import Files
from ledger.store import Store
from ledger.witness.memory import Memory
from ledger.witness.protocol import Witness as Cosigner
from ledger.witnesses import Asker, connect, split_url
from seclude.daemon.answering import answering
from seclude.daemon.messages import Request, Response
from seclude.daemon.server import Server
from seclude.daemon.tls import ClientCertificates
from seclude.errors import BusyError, ConfigError
from seclude.tlog.cosigned import open_cosigned
from seclude.tlog.keys import COSIGNATURE_ED25519, ED25519, ML_DSA_44, SignerKey, generate_skey
from seclude.tlog.quorum import Quorum, parse_quorum

KEY = generate_skey("log.example/state", ED25519)
Behave = Callable[[bytes, Callable[[bytes], Response]], Response | None]


class Peer:
    """One witness on loopback, whose answers a test may change."""

    def __init__(self, folder: Path, name: str, algorithm: int = COSIGNATURE_ED25519) -> None:
        self.key: SignerKey = generate_skey(f"witness.example/{name}", algorithm)
        self.name = name
        self.delay = 0.0
        self.answer: Response | None = None
        self.asked = 0
        self.memory = Memory(folder / name, create=True)
        self._witness = self._begin()
        self._server = Server(answering(self._handle))
        self.url = ""

    def _begin(self) -> Cosigner:
        memory = self.memory
        return Cosigner([self.key], [KEY.verifier], lambda origin: memory.log(origin, create=True), time.time)

    def forget(self, folder: Path) -> None:
        """Go on with an empty memory, as nobody should."""
        self.memory.close()
        self.memory = Memory(folder, create=True)
        self._witness = self._begin()

    async def start(self) -> None:
        self.url = f"http://{await self._server.start('127.0.0.1:0')}"

    async def stop(self) -> None:
        if self.url:
            self.url = ""
            await self._server.drain(0.1)
            self.memory.close()

    async def _handle(self, request: Request) -> Response:
        body = await request.body.read()
        assert request.path == PATH
        self.asked += 1
        await asyncio.sleep(self.delay)
        return self.answer or self._witness.add_checkpoint(body).response


class Rig:
    """A log, its witnesses, and what publishes it."""

    def __init__(
        self, folder: Path, peers: list[Peer], threshold: int, seconds: float, *, accept_data: bool = False
    ) -> None:
        self.folder = folder
        self.peers = peers
        names = [peer.name for peer in peers]
        lines = [f"witness {peer.name} {peer.key.verifier} {peer.url}" for peer in peers]
        group = [f"group all {threshold} {' '.join(names)}", "quorum all"] if peers else ["quorum none"]
        self.quorum: Quorum = parse_quorum("\n".join([*lines, *group, ""]))
        self.disk = ThreadPoolExecutor(1)
        self.store = Store(Files(folder / "data"), Files(folder / "anchors"), "state", KEY, accept_data=accept_data)
        ways = [connect(witness, ClientCertificates(), insecure_plaintext=False) for witness in self.quorum.witnesses]
        self.upstreams = [upstream for upstream, _ in ways]
        self.results: list[tuple[str, str]] = []
        self.failures: list[OSError] = []
        self.cosigning = Cosigning(
            self.store,
            KEY.verifier,
            self.quorum,
            [Asker(witness, *way) for witness, way in zip(self.quorum.witnesses, ways, strict=True)],
            self.disk,
            seconds=seconds,
            keep_first=True,
            on_result=lambda asker, failure: self.results.append((asker.witness.name, type(failure).__name__)),
            on_published=lambda: None,
            on_failure=self.failures.append,
        )

    def grow(self, count: int = 1) -> int:
        size = self.store.head.tree.size + count
        self.store.commit([b"%d" % size] * count)
        self.cosigning.wake()
        return size

    @property
    def published(self) -> tuple[int, set[str]]:
        note = self.store.published()
        if note is None:
            return -1, set()
        cosigned = open_cosigned(note, KEY.verifier, self.quorum)
        return cosigned.checkpoint.size, set(cosigned.times)


@asynccontextmanager
async def running(
    folder: Path, peers: list[Peer], threshold: int = 2, seconds: float = 5.0
) -> AsyncIterator[tuple[Rig, "asyncio.Task[None]"]]:
    for peer in peers:
        if not peer.url:
            await peer.start()
    rig = Rig(folder, peers, threshold, seconds)
    task = asyncio.create_task(rig.cosigning.run())
    try:
        yield rig, task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, BaseExceptionGroup):
            await task
        for upstream in rig.upstreams:
            await upstream.close()
        for peer in peers:
            await peer.stop()
        rig.disk.shutdown()


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another process's or thread's time
            await asyncio.sleep(0.005)


@pytest.fixture
def peers(tmp_path: Path) -> list[Peer]:
    return [Peer(tmp_path, name) for name in ("w1", "w2", "w3")]


async def test_an_empty_log_is_cosigned_before_it_has_an_entry(tmp_path: Path, peers: list[Peer]) -> None:
    """A checkpoint of size 0 is one like any other: workers bind it before the first epoch is logged."""
    async with running(tmp_path, peers) as (rig, _):
        assert await rig.cosigning.stands(0) == 0
        size, names = rig.published
        assert size == 0
        assert len(names) >= 2


async def test_every_head_is_published_with_a_quorum(tmp_path: Path, peers: list[Peer]) -> None:
    async with running(tmp_path, peers) as (rig, _):
        for count in (1, 3, 300, 1):
            size = rig.grow(count)
            assert await rig.cosigning.stands(size) == size
            assert rig.published[0] == size


async def test_ml_dsa_witnesses_count_as_others_do(tmp_path: Path) -> None:
    peers = [Peer(tmp_path, "w1", ML_DSA_44), Peer(tmp_path, "w2")]
    async with running(tmp_path, peers) as (rig, _):
        size = rig.grow()
        await rig.cosigning.stands(size)
        assert rig.published == (1, {"w1", "w2"})


async def test_a_slow_witness_delays_nobody_and_is_added_later(tmp_path: Path, peers: list[Peer]) -> None:
    async with running(tmp_path, peers) as (rig, _):
        await until(lambda: peers[2].asked > 0)
        await until(lambda: rig.published[1] == {"w1", "w2", "w3"})
        peers[2].delay = 1.0
        began = time.perf_counter()
        for _ in range(5):
            await rig.cosigning.stands(rig.grow())
        assert time.perf_counter() - began < 5 * peers[2].delay
        await until(lambda: rig.published == (5, {"w1", "w2", "w3"}))


async def test_a_witness_that_is_down_delays_nobody(tmp_path: Path, peers: list[Peer]) -> None:
    async with running(tmp_path, peers) as (rig, _):
        await rig.cosigning.greeted.wait()
        await peers[0].stop()
        size = rig.grow()
        assert await rig.cosigning.stands(size) == size
        assert rig.published[1] == {"w2", "w3"}


async def test_a_witness_that_missed_much_catches_up_with_one_proof(tmp_path: Path, peers: list[Peer]) -> None:
    async with running(tmp_path, peers) as (rig, _):
        await until(
            lambda: rig.published[1] == {"w1", "w2", "w3"} if (tmp_path / "data/checkpoint").exists() else False
        )
        peers[2].answer = Response(503)
        for _ in range(3):
            await rig.cosigning.stands(rig.grow(100))
        peers[2].answer = None
        await rig.cosigning.stands(rig.grow())
        await until(lambda: rig.published == (301, {"w1", "w2", "w3"}))


async def test_without_a_quorum_nothing_is_published_and_whoever_waits_is_told(
    tmp_path: Path, peers: list[Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.cosigning.WAIT_SECONDS", 0.3)
    async with running(tmp_path, peers, seconds=0.1) as (rig, _):
        await rig.cosigning.greeted.wait()
        for peer in peers[:2]:
            peer.answer = Response(503)
        size = rig.grow()
        with pytest.raises(BusyError, match="too few witnesses"):
            await rig.cosigning.stands(size)
        assert rig.published[0] == 0
        peers[0].answer = None
        assert await rig.cosigning.stands(size) == size


async def test_freshness_is_renewed_where_nothing_changes(tmp_path: Path, peers: list[Peer]) -> None:
    async with running(tmp_path, peers, seconds=0.2) as (rig, _):
        await rig.cosigning.greeted.wait()
        first = rig.cosigning.published
        assert first is not None
        await until(lambda: rig.cosigning.published is not None and rig.cosigning.published.since > first.since)
        assert peers[0].asked >= 2


async def test_a_cosignature_that_is_not_valid_is_left_out(tmp_path: Path, peers: list[Peer]) -> None:
    line = "\u2014 {} AAAA{}\n"
    peers[0].answer = Response(200, "text/plain", line.format("witness.example/w1", "A" * 96).encode())
    peers[1].answer = Response(200, "text/plain", b"\xff not a line")
    async with running(tmp_path, peers, threshold=1) as (rig, _):
        size = rig.grow()
        await rig.cosigning.stands(size)
        assert rig.published[1] == {"w3"}
        assert {("w1", "EvidenceError"), ("w2", "DecodeError")} <= set(rig.results)


async def test_the_first_checkpoint_of_each_size_is_kept(tmp_path: Path, peers: list[Peer]) -> None:
    async with running(tmp_path, peers, seconds=0.1) as (rig, _):
        await rig.cosigning.stands(rig.grow())
        first = (tmp_path / "data" / FIRST / "1").read_bytes()
        await asyncio.sleep(0.3)
        await rig.cosigning.stands(rig.grow())
        assert (tmp_path / "data" / FIRST / "1").read_bytes() == first
        assert sorted(rig.cosigning.first) == [1, 2]
        again = Rig(tmp_path, peers, 2, 5.0)
        assert again.cosigning.first.keys() == rig.cosigning.first.keys()
        assert again.cosigning.published is not None
        again.disk.shutdown()


async def test_late_cosignatures_are_added_to_the_first_checkpoint(tmp_path: Path, peers: list[Peer]) -> None:
    """Or exchanging the key of one of the first two witnesses would make every release immature."""
    async with running(tmp_path, peers, seconds=0.1) as (rig, _):
        await rig.cosigning.greeted.wait()
        peers[2].answer = Response(503)
        await rig.cosigning.stands(rig.grow())
        early = rig.cosigning.first[1]
        assert set(early.times) == {"w1", "w2"}
        await asyncio.sleep(1.1)  # a time has seconds
        peers[2].answer = None
        await until(lambda: set(rig.cosigning.first[1].times) == {"w1", "w2", "w3"})
        kept = (tmp_path / "data" / FIRST / "1").read_bytes()
        assert kept == rig.cosigning.first[1].note
        late = open_cosigned(kept, KEY.verifier, rig.quorum)
        assert {name: late.times[name] for name in ("w1", "w2")} == dict(early.times)
        assert late.until == early.until < late.times["w3"]
        one_exchanged = [f"witness {peer.name} {peer.key.verifier}" for peer in peers[1:]]
        assert open_cosigned(
            kept, KEY.verifier, parse_quorum("\n".join([*one_exchanged, "group g 2 w2 w3", "quorum g"]))
        )


async def test_first_checkpoints_that_are_not_of_this_tree_are_left_out(tmp_path: Path, peers: list[Peer]) -> None:
    """As where a mirror copied them a moment after the checkpoint that became the head."""
    async with running(tmp_path, peers) as (rig, _):
        await rig.cosigning.stands(rig.grow())
        shutil.copytree(tmp_path / "data", tmp_path / "copy/data")
        await rig.cosigning.stands(rig.grow())
        shutil.copy(tmp_path / "data" / FIRST / "2", tmp_path / "copy/data" / FIRST / "2")
        copy = Rig(tmp_path / "copy", peers, 2, 5.0, accept_data=True)
        assert sorted(copy.cosigning.first) == [1]
        copy.disk.shutdown()


# Witnesses that know better.


def answer_size(size: int) -> Response:
    return Response(409, "text/x.tlog.size", b"%d\n" % size)


def sentence(task: "asyncio.Task[None]") -> str:
    group = task.exception()
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    assert isinstance(group, ConfigError)
    return str(group)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (answer_size(7), "it has cosigned 7 entries, and this log has 0"),
        (answer_size(0), "it has cosigned another tree of 0 entries"),
        (Response(409, "text/plain", b"split"), "it has cosigned another tree of 0 entries"),
        (Response(422), "is no beginning of this log"),
    ],
)
async def test_one_witness_that_knows_better_at_the_start_ends_it(
    tmp_path: Path, peers: list[Peer], answer: Response, words: str
) -> None:
    peers[0].answer = answer
    peers[0].delay = 0.2  # after the others, who are a quorum without it
    async with running(tmp_path, peers) as (rig, task):
        await asyncio.wait([task], timeout=5)
        assert words in sentence(task)
        assert "w1 contradicts" in sentence(task)
        assert not rig.cosigning.greeted.is_set()


async def test_one_witness_cannot_stop_a_log_that_runs(tmp_path: Path, peers: list[Peer]) -> None:
    async with running(tmp_path, peers) as (rig, task):
        await rig.cosigning.greeted.wait()
        peers[0].answer = answer_size(1000)
        size = rig.grow()
        assert await rig.cosigning.stands(size) == size
        assert ("w1", "ContradictionError") in rig.results
        assert not task.done()
        peers[0].answer = None
        size = rig.grow()
        await rig.cosigning.stands(size)
        await until(lambda: rig.published == (2, {"w1", "w2", "w3"}))
        assert rig.cosigning.askers[0].contradiction is None


async def test_a_witness_that_forgot_is_noticed_also_after_a_restart(tmp_path: Path, peers: list[Peer]) -> None:
    """It cannot notice an old backup of its memory by itself; whoever asks it can."""
    async with running(tmp_path, peers) as (rig, _):
        size = rig.grow(3)
        await rig.cosigning.stands(size)
        await until(lambda: rig.published == (size, {"w1", "w2", "w3"}))
        assert [asker.has_forgotten for asker in rig.cosigning.askers] == [False] * 3
        peers[2].forget(tmp_path / "empty")
        await rig.cosigning.stands(rig.grow())
        await until(lambda: rig.published == (size + 1, {"w1", "w2", "w3"}))
        assert [asker.has_forgotten for asker in rig.cosigning.askers] == [False, False, True]
        peers[2].forget(tmp_path / "empty again")
        again = Rig(tmp_path, peers, 2, 5.0)
        await again.cosigning.askers[2].ask(again.store.head, size + 1)
        assert again.cosigning.askers[2].has_forgotten
        for upstream in again.upstreams:
            await upstream.close()
        again.disk.shutdown()


async def test_too_many_that_know_better_end_it(tmp_path: Path, peers: list[Peer]) -> None:
    """As where a second ledger runs with a copy of the key and the data."""
    async with running(tmp_path, peers) as (rig, task):
        await rig.cosigning.greeted.wait()
        peers[0].answer = peers[1].answer = answer_size(1000)
        rig.grow()
        await asyncio.wait([task], timeout=5)
        assert "another ledger signs with its key" in sentence(task)


async def test_a_disk_that_does_not_take_a_checkpoint_is_told(tmp_path: Path, peers: list[Peer]) -> None:
    async with running(tmp_path, peers, seconds=0.1) as (rig, _):
        await rig.cosigning.greeted.wait()
        (tmp_path / "data/.writing").mkdir()
        await until(lambda: bool(rig.failures))
        assert rig.cosigning.failure is not None
        (tmp_path / "data/.writing").rmdir()
        await until(lambda: rig.cosigning.failure is None)


async def test_with_a_quorum_of_nobody_a_head_is_published_as_it_is(tmp_path: Path) -> None:
    async with running(tmp_path, []) as (rig, _):
        size = rig.grow()
        assert await rig.cosigning.stands(size) == size
        assert rig.published == (1, set())


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://w.example", ("https://w.example", "")),
        ("https://w.example/", ("https://w.example", "")),
        ("https://w.example:8443/one/two/", ("https://w.example:8443", "/one/two")),
        ("unix:/run/w.sock", ("unix:/run/w.sock", "")),
    ],
)
def test_a_witness_may_have_a_prefix(url: str, parts: tuple[str, str]) -> None:
    assert split_url(url) == parts


@pytest.mark.parametrize("url", ["https://w.example/?a", "https://w.example/#a", "http://[", "https://w.example/ü"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        split_url(url)
