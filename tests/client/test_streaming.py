"""Streamed summaries on the device: what comes, and everything that may go wrong with it."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from contextlib import aclosing, asynccontextmanager, suppress
from email.utils import formatdate
from typing import NoReturn

import msgspec
import pytest

import seclude.client.asking
from inference.answer import event
from seclude import bhttp
from seclude.client.asking import Streaming, ask_streaming
from seclude.client.relays import Endpoint, Relays
from seclude.client.sdk import Told, summary_of
from seclude.client.sync import SyncClient
from seclude.daemon.messages import Response
from seclude.errors import DATE, OHTTP_KEY, BusyError, TaskError, UpstreamError, UsageError
from seclude.ohttp.chunked import encapsulate_chunked
from seclude.ohttp.media import GATEWAY_PATH, OHTTP_CHUNKED_RES, OHTTP_RES, PROBLEM
from seclude.padding import is_bucket, pad
from seclude.tasks import SUMMARIZE_PATH, Highlight, Sentence, SummarizeRequest, decode, encode
from tests.client.serving import ANSWER, MESSAGES, Relay, asking, trusting

PICKED = Highlight(0, "Ana", None, "hello", ("central",))
HIGHLIGHT = event("highlight", encode(PICKED))
SUMMARY = event("summary", encode(ANSWER))
FILLER = b":" + b" " * 100 + b"\n"
PREFIX = 7 + 1120


async def stream(relay: Relay) -> list[Told]:
    async with asking(relay) as client:
        return [each async for each in client.summarize_stream(MESSAGES)]


async def test_highlights_come_as_they_are_chosen_and_the_summary_last(relay: Relay) -> None:
    relay.events = (HIGHLIGHT + FILLER, HIGHLIGHT[:10], HIGHLIGHT[10:] + SUMMARY[:5], SUMMARY[5:], FILLER)
    assert await stream(relay) == [PICKED, PICKED, ANSWER]
    (request,) = relay.inners
    assert bhttp.get(request.fields, b"accept") == b"text/event-stream"
    (body,) = relay.posts
    assert is_bucket(len(body) - PREFIX - 1 - 16)  # one chunk, the last one


async def test_sentences_of_an_abstract_come_between_and_may_be_declined(relay: Relay) -> None:
    said = Sentence("They meet.")
    relay.events = (HIGHLIGHT, event("abstract", encode(said)), event("later", b"{}"), SUMMARY)
    assert await stream(relay) == [PICKED, said, ANSWER]
    async with asking(relay) as client:
        await anext(client.summarize_stream(MESSAGES, abstract=False))
    assert [decode(SummarizeRequest, request.content).abstract for request in relay.inners] == [True, False]


async def test_events_are_given_before_the_stream_ends(relay: Relay) -> None:
    relay.events = (HIGHLIGHT,) * 3 + (SUMMARY,)
    async with asking(relay) as client:
        answers = client.summarize_stream(MESSAGES)
        assert await anext(answers) == PICKED
        await answers.aclose()


@pytest.mark.parametrize("events", [(HIGHLIGHT,), (FILLER,), (SUMMARY[:-1],)])
async def test_a_stream_without_its_summary_is_not_whole(relay: Relay, events: tuple[bytes, ...]) -> None:
    relay.events = events
    with pytest.raises(UpstreamError, match="without the summary"):
        await stream(relay)


async def test_octets_that_never_make_a_chunk_do_not_keep_it_waiting(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seclude.client.asking, "SILENCE_SECONDS", 0.3)

    async def dribble() -> AsyncGenerator[bytes, None]:
        while True:
            yield b"\x7f"  # of the nonce, and then of a length that is never whole
            await asyncio.sleep(0.05)

    relay.stream = dribble
    with pytest.raises(UpstreamError, match="in time"):
        await stream(relay)


async def test_an_error_in_the_middle_is_raised(relay: Relay) -> None:
    relay.events = (HIGHLIGHT, event("error", b'{"status":503,"title":"Service Unavailable"}'))
    with pytest.raises(TaskError, match="Service Unavailable") as failure:
        await stream(relay)
    assert failure.value.status == 503


async def test_a_refusal_of_the_worker_is_raised(relay: Relay) -> None:
    problem = bhttp.Response(
        413, (bhttp.Field(b"content-type", PROBLEM.encode()),), b'{"status":413,"detail":"too much"}'
    )
    relay.inner = lambda _: problem
    with pytest.raises(TaskError, match="too much"):
        await stream(relay)


async def test_a_clock_that_is_off_is_corrected_once(relay: Relay) -> None:
    relay.events = (SUMMARY,)
    asked: list[bytes | None] = []
    right = formatdate(time.time() - 100, usegmt=True).encode()

    def choosy(request: bhttp.Request) -> bhttp.Response:
        asked.append(bhttp.get(request.fields, b"date"))
        if asked[-1] == right:
            return bhttp.Response(200)
        fields = (bhttp.Field(b"content-type", PROBLEM.encode()), bhttp.Field(b"date", right))
        return bhttp.Response(400, fields, msgspec.json.encode({"type": DATE, "status": 400}))

    relay.inner = choosy
    assert await stream(relay) == [ANSWER]
    assert len(asked) == 2
    assert asked[0] != right


async def test_a_clock_that_stays_off_is_an_error(relay: Relay) -> None:
    fields = (bhttp.Field(b"content-type", PROBLEM.encode()), bhttp.Field(b"date", b"x"))
    relay.inner = lambda _: bhttp.Response(400, fields, msgspec.json.encode({"type": DATE, "status": 400}))
    with pytest.raises(TaskError):
        await stream(relay)
    assert len(relay.posts) == 2


async def test_an_unknown_key_is_fetched_anew_once(relay: Relay) -> None:
    relay.outer = Response(422, PROBLEM, msgspec.json.encode({"type": OHTTP_KEY}))
    with pytest.raises(UpstreamError, match="twice"):
        await stream(relay)
    assert (relay.gets, len(relay.posts)) == (2, 2)
    assert relay.posts[0][7:PREFIX] != relay.posts[1][7:PREFIX]


@pytest.mark.parametrize(
    ("outer", "error"),
    [(Response(503), BusyError), (Response(502), UpstreamError), (Response(200, OHTTP_RES, b"x" * 100), UpstreamError)],
)
async def test_any_other_answer_is_not_asked_for_twice(relay: Relay, outer: Response, error: type[Exception]) -> None:
    relay.outer = outer
    with pytest.raises(error):
        await stream(relay)
    assert len(relay.posts) == 1


WAIT = 5.0  # seconds; what no test here takes unless something hangs
REQUEST = bhttp.Request(b"POST", b"https", b"a.example", SUMMARIZE_PATH.encode(), (), b"{}")
HEAD = b"HTTP/1.1 %d X\r\nContent-Type: " + OHTTP_CHUNKED_RES.encode() + b"\r\nTransfer-Encoding: chunked\r\n"


@asynccontextmanager
async def dribbling(beginning: bytes, octets: bytes) -> AsyncIterator[str]:
    """A relay that begins to answer at once, and then gives the same octets again and again for ever."""

    taking: set[asyncio.Task[object] | None] = set()

    async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taking.add(asyncio.current_task())
        await reader.readuntil(b"\r\n\r\n")
        with suppress(OSError):
            writer.write(beginning)
            while not writer.is_closing():
                writer.write(octets)
                await writer.drain()
                await asyncio.sleep(0.02)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(dribble, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server:
        yield f"http://{host}:{port}{GATEWAY_PATH}"
        await asyncio.gather(*(task for task in taking if task is not None))


@pytest.mark.parametrize(
    ("beginning", "octets"),
    [
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),  # no end of the head
        (HEAD % 200 + b"\r\n", b"1\r\n\x7f\r\n"),  # of the nonce, and then of a length that is never whole
        (HEAD % 200 + b"\r\n1;", b"x"),  # no piece of the body at all
        (HEAD % 503 + b"\r\n", b"1\r\nx\r\n"),  # a refusal without end
    ],
)
async def test_no_relay_keeps_a_stream_waiting_for_its_beginning(
    relay: Relay, monkeypatch: pytest.MonkeyPatch, beginning: bytes, octets: bytes
) -> None:
    monkeypatch.setattr(seclude.client.asking, "TOTAL_SECONDS", 0.5)
    async with asking(relay) as client, dribbling(beginning, octets) as url:
        relays = Relays([url])
        async with asyncio.timeout(WAIT):
            with pytest.raises(UpstreamError, match="the relay did not answer in time; try again later") as failure:
                async with ask_streaming(client._keys, relays, REQUEST):
                    pass
        assert failure.value.timed_out
        await relays.endpoints[0].hop.close()


class Played:
    """An answer whose pieces a test gives out as it likes."""

    def __init__(self, play: Callable[[], AsyncGenerator[bytes, None]]) -> None:
        self._play = play
        self.ended = False

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(self._play()) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            self.ended = True


async def play(
    relay: Relay, script: Callable[[Sequence[bytes]], AsyncGenerator[bytes, None]]
) -> tuple[Streaming, Played]:
    """Return a stream, begun, of what a script makes of a real answer, given chunk by chunk."""
    relay.events = (HIGHLIGHT, HIGHLIGHT, SUMMARY)
    async with asking(relay) as client:
        (config,) = (await client.verify()).key_configs
    sealer, opener = encapsulate_chunked(config)
    body = sealer.finish(pad(bhttp.serialize_request(REQUEST)))
    async with aclosing(relay.in_chunks(body)) as made:
        chunks = [chunk async for chunk in made]
    played = Played(lambda: script(chunks))
    streaming = Streaming(Endpoint.connect("https://a.example", "relay"), played, opener)  # type: ignore[arg-type]
    await streaming.begin()
    return streaming, played


async def test_silence_after_the_beginning_ends_a_stream(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seclude.client.asking, "SILENCE_SECONDS", 0.3)

    async def stop(chunks: Sequence[bytes]) -> AsyncGenerator[bytes, None]:
        for chunk in chunks[:2]:
            yield chunk
        await asyncio.sleep(10 * WAIT)

    streaming, played = await play(relay, stop)
    async with asyncio.timeout(WAIT):
        with pytest.raises(UpstreamError, match="did not answer in time") as failure:
            await streaming.read()
    assert failure.value.timed_out
    assert played.ended


async def test_a_caller_who_is_slow_is_no_silence(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seclude.client.asking, "SILENCE_SECONDS", 0.3)

    async def halve(chunks: Sequence[bytes]) -> AsyncGenerator[bytes, None]:
        for chunk in chunks:
            yield chunk[:5]
            await asyncio.sleep(0.01)
            yield chunk[5:]

    streaming, _ = await play(relay, halve)
    got = b""
    async with aclosing(streaming.content()) as pieces:
        async for piece in pieces:
            got += piece
            await asyncio.sleep(0.4)
    assert got == HIGHLIGHT + HIGHLIGHT + SUMMARY


@pytest.mark.parametrize("summary", [False, True])
async def test_who_stops_early_leaves_nothing_for_the_garbage_collector(relay: Relay, summary: bool) -> None:
    async def all_of_it(chunks: Sequence[bytes]) -> AsyncGenerator[bytes, None]:
        for chunk in chunks:
            yield chunk

    streaming, played = await play(relay, all_of_it)
    outer: AsyncGenerator[object, None] = summary_of(streaming) if summary else streaming.content()
    await anext(outer)
    assert not played.ended
    await outer.aclose()
    assert played.ended


async def test_a_synchronous_client_streams_too(relay: Relay) -> None:
    relay.events = (HIGHLIGHT, SUMMARY)
    async with relay.up() as url:

        def ask() -> list[Told]:
            with SyncClient(trusting(relay.platform, url)) as client:
                assert next(client.summarize_stream(MESSAGES)) == PICKED  # and leave the rest
                return list(client.summarize_stream(MESSAGES))

        assert await asyncio.to_thread(ask) == [PICKED, ANSWER]


async def in_a_thread(relay: Relay, use: Callable[[SyncClient], None]) -> None:
    """Use a synchronous client on a thread of its own; what its loop complains of is an error too."""
    relay.events = (HIGHLIGHT, SUMMARY)
    complaints: list[object] = []
    async with relay.up() as url:

        def run() -> None:
            with SyncClient(trusting(relay.platform, url)) as client:
                client._loop.set_exception_handler(lambda _, context: complaints.append(context))
                use(client)

        async with asyncio.timeout(WAIT):
            await asyncio.to_thread(run)
    assert complaints == []


async def test_a_stream_may_be_collected_on_the_clients_own_thread(relay: Relay) -> None:
    def use(client: SyncClient) -> None:
        answers = client.summarize_stream(MESSAGES)
        assert next(answers) == PICKED
        collected = threading.Event()

        def collect() -> None:
            answers.close()  # type: ignore[attr-defined] # what the garbage collector does to a generator
            collected.set()

        client._loop.call_soon_threadsafe(collect)
        assert collected.wait(WAIT / 2)
        assert list(client.summarize_stream(MESSAGES)) == [PICKED, ANSWER]

    await in_a_thread(relay, use)


async def test_a_client_may_be_closed_before_its_streams(relay: Relay) -> None:
    def use(client: SyncClient) -> None:
        left, asked_again = client.summarize_stream(MESSAGES), client.summarize_stream(MESSAGES)
        assert next(left) == next(asked_again) == PICKED
        client.close()
        left.close()  # type: ignore[attr-defined] # as above
        with pytest.raises(UsageError, match="closed"):
            next(asked_again)

    await in_a_thread(relay, use)


async def test_ctrl_c_while_a_piece_is_awaited_ends_the_stream(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    submit = asyncio.run_coroutine_threadsafe
    begun, ended = threading.Event(), threading.Event()

    async def wait() -> AsyncGenerator[bytes, None]:
        begun.set()
        try:
            await asyncio.sleep(10 * WAIT)
            yield b""
        finally:
            ended.set()

    def use(client: SyncClient) -> None:
        relay.stream = wait
        answers = client.summarize_stream(MESSAGES)

        def interrupted(*arguments: object) -> Future[object]:
            asked: Future[object] = submit(*arguments)  # type: ignore[arg-type]

            def result(timeout: float | None = None) -> NoReturn:
                assert begun.wait(WAIT / 2)
                raise KeyboardInterrupt

            asked.result = result  # type: ignore[method-assign]
            return asked

        with monkeypatch.context() as patch:
            patch.setattr(asyncio, "run_coroutine_threadsafe", interrupted)
            with pytest.raises(KeyboardInterrupt):
                next(answers)
        assert ended.wait(WAIT / 2), "nobody listens any more"
        relay.stream = None
        assert list(client.summarize_stream(MESSAGES)) == [PICKED, ANSWER]

    await in_a_thread(relay, use)
