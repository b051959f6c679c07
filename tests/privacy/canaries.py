"""Requests of every kind, each with words that nobody else has: answered, refused, sent twice, given up in the middle.

The words are letters without a vowel, accented ones, characters of two octets and of four, so that an interpreter
keeps strings of each width.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import ClientSession
from tokenizers import Tokenizer

from seclude import bhttp
from seclude.attestation.verify import TrustedPool
from seclude.client.sdk import Client
from seclude.client.trust import Trust
from seclude.errors import Error
from seclude.ohttp.chunked import encapsulate_chunked
from seclude.ohttp.encapsulation import encapsulate_request
from seclude.ohttp.media import OHTTP_CHUNKED_REQ, OHTTP_REQ
from seclude.padding import pad
from seclude.pool import Message as PoolMessage
from seclude.tasks import JSON, REWRITE_PATH, SUMMARIZE_PATH, Message, RewriteRequest, SummarizeRequest, Tone, encode
from seclude.tasks import SummarizeResponse as Summary
from tests.privacy.residue import Needles

AT_ONCE: Final = 6
LONG: Final = 40  # times three messages: the model works on them for some tenths of a second
ALPHABETS: Final = (
    ("bdfhjmpqvxz358", 14),
    ("äöüßéèñçøåêîôûáíóúàìòùâëïõãþðæ", 12),
    ("".join(map(chr, (*range(0x10D0, 0x10F0), *range(0x430, 0x450), *range(0x4E00, 0x5E00)))), 8),
    ("".join(map(chr, range(0x20000, 0x22000))), 6),
)
TONES: Final[tuple[Tone, ...]] = ("proofread", "professional", "shorter")  # those that need no language model
IS_JSON: Final = (bhttp.Field(b"content-type", JSON.encode()),)
RANDOM: Final = random.SystemRandom()


@dataclass(frozen=True)
class Canary:
    """The words of one request: three of an alphabet, and one of plain letters."""

    kind: str
    number: int
    words: tuple[str, str, str, str]

    @classmethod
    def draw(cls, kind: str, number: int) -> "Canary":
        letters, length = ALPHABETS[number % len(ALPHABETS)]
        first, second, third = ("".join(RANDOM.choices(letters, k=length)) for _ in range(3))
        return cls(kind, number, (first, second, third, "".join(RANDOM.choices(*ALPHABETS[0][:1], k=14))))

    def add_to(self, needles: Needles, tokenizer: Tokenizer) -> None:
        """Look for the words as they are, as a rule of writing or the model's normaliser makes them, and as numbers."""
        for word in self.words:
            for form in {word, word.lower(), word.capitalize(), tokenizer.normalizer.normalize_str(word)}:
                needles.add_text(self.kind, form)
            needles.add_text(self.kind, f"{word} {self.words[0]}")
            unknown = tokenizer.token_to_id("[UNK]")
            ids = tokenizer.encode(word, add_special_tokens=False).ids
            needles.add_ids(self.kind, (each for each in ids if each != unknown))

    def messages(self, times: int = 1) -> tuple[Message, ...]:
        """Return a chat; its messages end with words, as the end of a piece of memory is what may stay."""
        a, b, c, d = self.words
        return tuple(
            Message(sender=sender, text=f"{text}{number or ''} {a}")
            for number in range(times)
            for sender, text in (
                (a, f"We decided to meet at 9 on Saturday, the word is {b}"),
                ("Ben", f"I'll bring 20 euros for {c} {a} and tell {d}"),
                (d, f"Where is {c} {a}? Shall we go at 7 to {d}"),
            )
        )

    @property
    def draft(self) -> str:
        a, b, c, d = self.words
        return f"hey, cant make it tmrw , {a} has {b} {a} and u know teh {c} {a}... {d} {a}"


def inner(path: bytes, content: bytes, fields: tuple[bhttp.Field, ...] = IS_JSON) -> bhttp.Request:
    return bhttp.Request(b"POST", b"https", b"canary.invalid", path, fields, content)


SUMMARIZE: Final = SUMMARIZE_PATH.encode()
REWRITE: Final = REWRITE_PATH.encode()


class Asking:
    """One client of a stack, who also reaches the workers where a gateway would."""

    def __init__(self, client: Client, session: ClientSession, pool: TrustedPool, workers: Sequence[str]) -> None:
        self.client: Final = client
        self._session = session
        self._config = pool.key_configs[0]
        self._workers = workers
        self.kinds: Final[dict[str, Callable[[Canary], Awaitable[None]]]] = {
            "summary": self._summary,
            "rewrite": self._rewrite,
            "stream": self._stream,
            "malformed": self._malformed,
            "other path": self._path,
            "other fields": self._fields,
            "malformed message": self._message,
            "replay": self._replay,
            "chunked replay": self._chunked_replay,
            "half a body": self._half,
            "given up": self._given_up,
            "stream given up": self._stream_given_up,
        }

    async def _summary(self, canary: Canary) -> None:
        answer = await self.client.summarize(canary.messages(1 + canary.number % 3 * 4))
        assert canary.words[0] in answer.text

    async def _rewrite(self, canary: Canary) -> None:
        tone = RANDOM.choice(TONES)
        assert canary.words[3] in (await self.client.rewrite(canary.draft, tone)).text

    async def _stream(self, canary: Canary) -> None:
        events = [event async for event in self.client.summarize_stream(canary.messages())]
        assert isinstance(events[-1], Summary)
        assert canary.words[0] in events[-1].text

    async def _malformed(self, canary: Canary) -> None:
        good, word = encode(SummarizeRequest(messages=canary.messages())), canary.words[0].encode()
        for content in (
            good[:-3],
            good + b"x" + word,
            b'{"messages":[{"sender":"a","text":"x","%b":1}]}' % word,
            word + b"\xff\xfe",
        ):
            assert (await self.client.request(inner(SUMMARIZE, content))).status == 400
        tone = b'{"text":"%b","tone":"%b"}' % (canary.words[1].encode(), word)
        assert (await self.client.request(inner(REWRITE, tone))).status == 400

    async def _path(self, canary: Canary) -> None:
        path = b"/v1/" + canary.words[3].encode()
        assert (await self.client.request(inner(path, canary.words[0].encode()))).status == 404

    async def _fields(self, canary: Canary) -> None:
        content = encode(RewriteRequest(text=canary.draft, tone="shorter"))
        date, kind = bhttp.Field(b"date", canary.words[1].encode()), b"text/" + canary.words[0].encode()
        other = bhttp.Field(b"content-type", kind)
        assert (await self.client.request(inner(REWRITE, content, (*IS_JSON, date)))).status == 400
        assert (await self.client.request(inner(REWRITE, content, (other,)))).status == 415
        funny = encode(RewriteRequest(text=canary.draft, tone="funny"))
        assert (await self.client.request(inner(REWRITE, funny))).status == 501

    async def _message(self, canary: Canary) -> None:
        body, opener = encapsulate_request(self._config, b"\x00\x04POST\x05https" + canary.words[0].encode() * 3)
        assert bhttp.parse_response(opener.open(await self._post(self._worker(), body, OHTTP_REQ))).status >= 400

    async def _replay(self, canary: Canary) -> None:
        message = bhttp.serialize_request(inner(REWRITE, encode(RewriteRequest(text=canary.draft, tone="shorter"))))
        body, opener = encapsulate_request(self._config, pad(message))
        worker = self._worker()
        assert bhttp.parse_response(opener.open(await self._post(worker, body, OHTTP_REQ))).status == 200
        await self._post(worker, body, OHTTP_REQ)

    async def _chunked_replay(self, canary: Canary) -> None:
        body, worker = b"".join(self._chunks(canary)), self._worker()
        for _ in range(2):
            await self._post(worker, body, OHTTP_CHUNKED_REQ)

    async def _half(self, canary: Canary) -> None:
        """Send the first of two chunks and go away, or let the second be a wrong one."""
        first, second = self._chunks(canary)
        host, _, port = self._worker().rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST {PoolMessage.REQUEST} HTTP/1.1\r\nHost: x\r\nContent-Type: {OHTTP_CHUNKED_REQ}\r\n"
        writer.write(f"{head}Content-Length: {len(first) + len(second)}\r\n\r\n".encode() + first)
        await writer.drain()
        await asyncio.sleep(0.05)
        if canary.number % 2:
            writer.write(second[:-16] + bytes(16))
            await reader.read(100)
        writer.close()

    async def _given_up(self, canary: Canary) -> None:
        await cancel(self.client.summarize(canary.messages(LONG)))

    async def _stream_given_up(self, canary: Canary) -> None:
        async def read() -> None:
            async with contextlib.aclosing(self.client.summarize_stream(canary.messages(LONG))) as events:
                async for _ in events:
                    pass

        await cancel(read())

    def _chunks(self, canary: Canary) -> tuple[bytes, bytes]:
        message = pad(bhttp.serialize_request(inner(SUMMARIZE, encode(SummarizeRequest(messages=canary.messages(3))))))
        sealer, _ = encapsulate_chunked(self._config)
        return sealer.seal(message[:900]), sealer.finish(message[900:])

    def _worker(self) -> str:
        return RANDOM.choice(self._workers)

    async def _post(self, worker: str, body: bytes, kind: str) -> bytes:
        url = f"http://{worker}{PoolMessage.REQUEST}"
        async with self._session.post(url, data=body, headers={"Content-Type": kind}) as answer:
            assert answer.status == 200
            return await answer.read()


async def cancel(asking: Awaitable[object]) -> None:
    """Give something up after a while in which it may have begun or be in the middle."""
    with contextlib.suppress(Error, TimeoutError):
        async with asyncio.timeout(RANDOM.uniform(0.02, 0.3)):
            await asking


def draw(count: int, kinds: Sequence[str], model: Path) -> tuple[list[Canary], Needles]:
    """Return canaries of all kinds in turn, and what to look for."""
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_padding()
    canaries = [Canary.draw(kinds[number % len(kinds)], number // len(kinds)) for number in range(count)]
    needles = Needles()
    for canary in canaries:
        canary.add_to(needles, tokenizer)
    return canaries, needles


async def ask_all(
    trust: Trust, workers: Sequence[str], canaries: Sequence[Canary], make: Callable[..., Asking] = Asking
) -> Counter[str]:
    """Send the requests, some at once and in any order, by what `make` makes, and return how many of each kind."""
    room = asyncio.Semaphore(AT_ONCE)
    async with Client(trust) as client, ClientSession() as session:
        asking = make(client, session, await client.verify(), workers)

        async def send(canary: Canary) -> None:
            async with room:
                await asking.kinds[canary.kind](canary)

        await asyncio.gather(*map(send, RANDOM.sample(canaries, len(canaries))))
    return Counter(canary.kind for canary in canaries)


KINDS: Final = (
    "summary",
    "rewrite",
    "stream",
    "malformed",
    "other path",
    "other fields",
    "malformed message",
    "replay",
    "chunked replay",
    "half a body",
    "given up",
    "stream given up",
)
