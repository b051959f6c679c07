"""Requests to models that write, with words that nobody else has, and what a model makes of those words inside.

A worker's model and the same model in the test compute the same: so the numbers that stood in a slot while a chat was
answered, or in the arrays of a summariser, are known here, and can be looked for there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, closing
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from aiohttp import ClientSession
from numpy.typing import NDArray

from inference.engine.batching import PIECE_TOKENS
from inference.engine.decoder import Decoder
from inference.engine.generation import template_of
from inference.engine.seq2seq import Seq2Seq
from inference.engine.template import Turn
from inference.engine.windows import cut, line_of
from inference.tasks.tone import INSTRUCTIONS
from seclude import bhttp
from seclude.attestation.verify import TrustedPool
from seclude.chat import CHAT_PATH, ChatChunk, ChatMessage, ChatRequest, ChatResponse
from seclude.client.events import EventReader
from seclude.client.sdk import Client
from seclude.ohttp.media import EVENT_STREAM
from seclude.tasks import RewriteRequest, RewriteResponse, Sentence, SummarizeResponse, Tone, decode, encode
from tests.privacy.canaries import IS_JSON, RANDOM, REWRITE, Asking, Canary, cancel, inner
from tests.privacy.residue import IDS, SMALL_IDS, Needles

CHAT: Final = CHAT_PATH.encode()
TOKENS: Final = 48  # of an answer
LONG_TOKENS: Final = 400  # of one that nobody reads to its end
LARGE: Final = 1024  # words of a tokenizer whose numbers say more than octets do
BUSY: Final = 503
PAUSE, TRIES = 1.0, 60  # seconds until a busy worker is asked again, and how often
PLACES: Final = 3  # of a prompt, whose keys and values are looked for
WANTED: Final = bhttp.Field(b"accept", EVENT_STREAM.encode())
T = TypeVar("T")
KINDS: Final = ("chat", "chat stream", "chat sampled", "chat given up", "abstract", "abstract given up", "tone")


class Writing(Asking):
    """One client of a stack whose workers have models that write."""

    def __init__(
        self, client: Client, session: ClientSession, pool: TrustedPool, workers: Sequence[str], model: str
    ) -> None:
        super().__init__(client, session, pool, workers)
        self.answers: Final[list[str]] = []
        """What the models wrote, as far as a device got to see it."""
        self._model = model
        self.kinds.update(
            {
                "chat": self._chat,
                "chat stream": self._chat_stream,
                "chat sampled": self._chat_sampled,
                "chat given up": self._chat_given_up,
                "abstract": self._abstract,
                "abstract given up": self._abstract_given_up,
                "tone": self._tone,
            }
        )

    async def _whole(self, message: bhttp.Request) -> bytes:
        """Return the content of an answer."""

        async def ask() -> bytes | None:
            answer = await self.client.request(message)
            assert answer.status in (200, BUSY)
            return answer.content if answer.status == 200 else None

        return await _patiently(ask)

    async def _chat(self, canary: Canary) -> None:
        content = await self._whole(inner(CHAT, encode(self._request(canary))))
        self.answers.append(decode(ChatResponse, content).choices[0].message.content)

    async def _chat_stream(self, canary: Canary) -> None:
        self.answers.append(await _patiently(lambda: self._read(self._request(canary, stream=True))))

    async def _chat_sampled(self, canary: Canary) -> None:
        request = self._request(canary, stream=canary.number % 2 == 0, temperature=1.2, stop=canary.words[1:3])
        await self._whole(inner(CHAT, encode(request)))

    async def _chat_given_up(self, canary: Canary) -> None:
        await cancel(self._read(self._request(canary, stream=True, max_tokens=LONG_TOKENS)))

    async def _abstract(self, canary: Canary) -> None:
        if canary.number % 2:
            answer = await self.client.summarize(canary.messages())
        else:
            events = [event async for event in self.client.summarize_stream(canary.messages())]
            assert isinstance(events[-1], SummarizeResponse)
            answer = events[-1]
            self.answers.extend(event.text for event in events if isinstance(event, Sentence))
        assert canary.words[0] in answer.text
        self.answers.append(answer.abstract or "")

    async def _abstract_given_up(self, canary: Canary) -> None:
        await cancel(self.client.summarize(canary.messages(4)))

    async def _tone(self, canary: Canary) -> None:
        tone: Tone = RANDOM.choice([tone for tone in INSTRUCTIONS if tone != "shorter"])
        request = inner(REWRITE, encode(RewriteRequest(text=canary.draft, tone=tone)))
        self.answers.append(decode(RewriteResponse, await self._whole(request)).text)

    def _request(
        self, canary: Canary, *, stream: bool = False, max_tokens: int = TOKENS, temperature: float = 0.0,
        stop: tuple[str, ...] = (),
    ) -> ChatRequest:  # fmt: skip
        said = tuple(ChatMessage(turn.role, turn.text) for turn in turns_of(canary))
        return ChatRequest(self._model, said, stream=stream, max_tokens=max_tokens, temperature=temperature, stop=stop)

    async def _read(self, request: ChatRequest) -> str | None:
        """Return a streamed answer's text; None if the worker is busy."""
        reader, text = EventReader(), ""
        async with self.client.stream(inner(CHAT, encode(request), (*IS_JSON, WANTED))) as answer:
            if answer.head.status == BUSY:
                return None
            assert answer.head.status == 200
            async with aclosing(answer.content()) as content:
                async for piece in content:
                    for event in reader.feed(piece):
                        if event.data.startswith(b"{"):
                            text += "".join(each.delta.content for each in decode(ChatChunk, event.data).choices)
        return text


async def _patiently(ask: Callable[[], Awaitable[T | None]]) -> T:
    """Return an answer, which is None as long as the worker is busy."""
    for _ in range(TRIES):
        if (answer := await ask()) is not None:
            return answer
        await asyncio.sleep(PAUSE)
    raise AssertionError("the worker is busy all the time")


def turns_of(canary: Canary) -> tuple[Turn, ...]:
    """Return the chat of a canary."""
    a, b, _, d = canary.words
    return (
        Turn("system", f"You answer briefly. The word is {b} {a}"),
        Turn("user", canary.draft),
        Turn("assistant", f"I see {d} {a}"),
        Turn("user", f"Once more: what of {canary.words[2]} {a}? {d}"),
    )


class Copies:
    """The models of a worker, once more."""

    def __init__(self, language: Path, summariser: Path | None) -> None:
        self._decoder = Decoder(language, 1, 1)
        self._template = template_of(language, self._decoder)
        self._summariser = Seq2Seq(summariser) if summariser else None
        self._count = SMALL_IDS if self._decoder.vocabulary < LARGE else IDS

    def add_to(self, needles: Needles, canary: Canary) -> None:
        """Look for what the models make of a canary of `KINDS`: its tokens, and what is computed from them."""
        if canary.kind.startswith("chat"):
            self.add_chat(needles, canary.kind, turns_of(canary), canary.words)
        elif canary.kind == "tone":
            self._add_tokens(needles, canary.kind, [Turn("user", canary.draft)], canary.words)
        elif self._summariser:
            self._add_abstract(needles, canary, self._summariser)
        else:
            for message in canary.messages():
                line = line_of(message.sender, message.text)
                self._add_tokens(needles, canary.kind, [Turn("user", line)], canary.words)

    def add_chat(self, needles: Needles, label: str, turns: Sequence[Turn], words: Sequence[str]) -> None:
        """Look for the tokens of a chat, and for keys and values of those in turns that hold one of the words."""
        ids, own = self._add_tokens(needles, label, turns, words)
        places = RANDOM.sample(own, PLACES)
        for start in range(0, len(ids), PIECE_TOKENS):  # the same pieces, for the same bits
            self._decoder.prefill(0, ids[start : start + PIECE_TOKENS])
        kept = self._decoder._kept[:, :, 0]
        for layer in (0, -1):
            needles.add_floats(f"{label}, keys and values", kept[layer][:, :, places].copy())
            turned = kept[layer][:, :, own].swapaxes(-1, -2)  # as they are multiplied: a number of each place in a row
            needles.add_floats(f"{label}, keys and values turned", turned[..., :PLACES, :].copy())
        self._decoder.clear(0)

    def _add_tokens(
        self, needles: Needles, label: str, turns: Sequence[Turn], words: Sequence[str]
    ) -> tuple[list[int], list[int]]:
        """Look for the tokens of what holds one of the words; return all tokens, and the places of those."""
        ids: list[int] = []
        own: list[int] = []
        for part in self._template.parts(turns):
            tokens = self._decoder.encode(part.text, special=part.special)
            if any(word in part.text for word in words):
                needles.add_ids(f"{label}, language", tokens, self._count)
                own += range(len(ids), len(ids) + len(tokens))
            ids += tokens
        return ids, own

    def _add_abstract(self, needles: Needles, canary: Canary, model: Seq2Seq) -> None:
        empty = len(model.encode(""))
        room = model.max_input - len(model.encode(model.prefix))
        windows = cut(canary.messages(), lambda text: len(model.encode(text)) - empty, room)
        texts = [model.encode(model.prefix + text) for text in windows.texts]
        for ids in texts:
            needles.add_ids(f"{canary.kind}, summariser", ids[1:-1], self._count)
        with closing(model.begin(texts)) as batch:
            batch.step()
            for array in _vectors(batch._steps._hidden, batch._steps._crossed):
                needles.add_floats(f"{canary.kind}, arrays", array)


def _vectors(hidden: NDArray[np.generic], crossed: NDArray[np.generic]) -> Iterator[NDArray[np.float32]]:
    """Yield some of what the encoder made, and of the keys and values that the decoder made of it, of every text."""
    place = min(hidden.shape[1], crossed.shape[3]) // 4  # behind the first words, and before any padding
    yield hidden[:, place : place + PLACES].astype(np.float32)
    yield crossed[:, :, :, place : place + PLACES].astype(np.float32)


async def add_all(copies: Copies, needles: Needles, canaries: Sequence[Canary]) -> None:
    """Look for what the models make of all canaries."""
    for canary in canaries:
        await asyncio.to_thread(copies.add_to, needles, canary)
