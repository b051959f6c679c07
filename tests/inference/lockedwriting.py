"""A process with models that write, on several threads each, which locks itself down and answers, to be looked at:

    python -m tests.inference.lockedwriting LANGUAGE_MODEL [SUMMARISER]

It says "locked" and waits for a line of input; then it answers several requests at once, says with which statuses and
how many of them in events, and waits for another line.
"""

import asyncio
import json
import os
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

from inference import lockdown
from inference.answer import EVENTS_FIELDS, Spoken
from inference.engine.decoder import Decoder
from inference.engine.encoder import SentenceEncoder
from inference.engine.generation import Options, template_of
from inference.engine.seq2seq import Seq2Seq
from inference.runner import Runner
from inference.spoken import speak_whole
from inference.tasks.language import LanguageModel
from inference.tasks.router import Tasks
from seclude import bhttp
from seclude.chat import CHAT_PATH, ChatMessage, ChatRequest
from seclude.ohttp.media import EVENT_STREAM
from seclude.tasks import REWRITE_PATH, SUMMARIZE_PATH, Message, RewriteRequest, SummarizeRequest, encode
from tests.running import MODEL

THREADS: Final = 2  # of each model: so there are pools of onnxruntime's own
SLOTS: Final = 4
TOKENS: Final = 24
LINES: Final = ("We decided to meet at 9 on Saturday at the harbour.", "I'll bring 20 euros and the keys.")
CHAT: Final = tuple(Message(sender=f"P{number % 2}", text=text) for number, text in enumerate(LINES))


def requests(model: str) -> list[bhttp.Request]:
    """Return one request of each kind, whole and streamed."""
    said = (ChatMessage("user", LINES[0]),)
    chats = [
        ChatRequest(model, said, stream=stream, max_tokens=TOKENS, temperature=temperature)
        for stream in (False, True)
        for temperature in (0.0, 1.2)
    ]
    summary, tone = SummarizeRequest(messages=CHAT), RewriteRequest(text=LINES[1], tone="funny")
    asked = [*((CHAT_PATH, encode(chat)) for chat in chats), (REWRITE_PATH, encode(tone))]
    made = [_request(path, content) for path, content in [*asked, (SUMMARIZE_PATH, encode(summary))]]
    return [*made, _request(SUMMARIZE_PATH, encode(summary), EVENT_STREAM)]


def _request(path: str, content: bytes, accept: str = "application/json") -> bhttp.Request:
    fields = ((b"content-type", b"application/json"), (b"accept", accept.encode()))
    named = tuple(bhttp.Field(name, value) for name, value in fields)
    return bhttp.Request(b"POST", b"https", b"a.example", path.encode(), named, content)


async def serve(language: Path, summariser: Path | None) -> None:
    """Load, lock down, and answer when told to."""
    encoder, decoder = SentenceEncoder(MODEL, THREADS), Decoder(language, THREADS, SLOTS)
    second = None if summariser is None else Seq2Seq(summariser, THREADS)
    template, runner = template_of(language, decoder), Runner(2, 16)
    options = Options(max_tokens=TOKENS, wait_seconds=30)
    model = LanguageModel("model", decoder, template, runner, waiting=16, defaults=options)
    with closing(runner), closing(Tasks(encoder, runner=runner, language=model, summariser=second)) as tasks:
        lockdown.lock_down(lock_memory=os.geteuid() == 0)
        print("locked", flush=True)
        sys.stdin.readline()

        async def answer(request: bhttp.Request) -> bhttp.Response:
            made = await runner.run(tasks.handle, request)
            assert isinstance(made, Spoken)
            return await speak_whole(made, 0.0)

        answers = await asyncio.gather(*map(answer, requests("model")))
        streamed = sum(each.fields == EVENTS_FIELDS for each in answers)
        print(json.dumps({"statuses": [each.status for each in answers], "streamed": streamed}), flush=True)
        sys.stdin.readline()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2]) if sys.argv[2:] else None))
