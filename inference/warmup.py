"""Everything a request will need, loaded and used once before anything is measured.

What a module imports at its first use would otherwise be missing from the manifest. So one request of each kind goes
the whole way, and one with each KEM and AEAD, under keys that are thrown away: encapsulated, opened, answered, sealed.
A signature of each kind that the ledger's logs, witnesses and publishers make is verified as well.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from itertools import product
from pathlib import Path
from typing import Final

from inference.config import Measured
from inference.models import load_tasks
from inference.open import open_request, respond
from inference.runner import Runner
from inference.tasks.router import Tasks
from seclude import bhttp, hpke
from seclude.chat import CHAT_PATH, MODELS_PATH, ChatMessage, ChatRequest
from seclude.errors import ConfigError
from seclude.hpke import PrivateKey
from seclude.ohttp.encapsulation import HeldKey, encapsulate_request
from seclude.ohttp.keyconfig import KeyConfig, SymmetricAlgorithms
from seclude.tasks import REWRITE_PATH, SUMMARIZE_PATH, Message, RewriteRequest, SummarizeRequest, Tone, encode
from seclude.tlog.keys import COSIGNATURE_ED25519, ED25519, ML_DSA_44, generate_skey

NOW: Final = 0.0  # the warm-up carries no Date, so the time plays no part
JSON: Final = (bhttp.Field(b"content-type", b"application/json"),)
SUITES: Final = tuple(product((hpke.KEM_XWING, hpke.KEM_X25519), (hpke.AEAD_AES_128_GCM, hpke.AEAD_CHACHA20_POLY1305)))
DONE: Final = (200, 413)  # the second of a model with little context, which has no room for an instruction
TOKENS: Final = 4  # of an answer: the engine itself was warmed up when it was made
CHAT: Final = (Message(sender="A", text="We meet at 5 pm, I'll bring 20 €."),)
DRAFT: Final = "hey, cant make it tmrw"


@asynccontextmanager
async def at_work(folders: Mapping[str, Path], measured: Measured) -> AsyncIterator[tuple[Tasks, Runner]]:
    """Load the models and start what works with them, for the length of a block; every task was done when it begins."""
    runner = Runner(measured.tasks_at_once, max(0, measured.max_inflight - measured.tasks_at_once))
    with closing(runner), closing(load_tasks(folders, measured, runner)) as tasks:
        await warm_up(tasks, runner)
        yield tasks, runner


async def warm_up(tasks: Tasks, runner: Runner) -> None:
    """Let every task do its work once, and every suite protect a request; raises ConfigError where one does not."""
    models = _request(b"GET", MODELS_PATH, (), b"")
    for suite in SUITES:
        for request in (models,) if suite != SUITES[0] else (models, *requests_to(tasks)):
            answer = await _ask(suite, request, tasks, runner)
            if answer.status not in DONE:
                said = answer.content.decode(errors="replace")  # to a request of our own: nobody's words are in it
                raise ConfigError(f"the warm-up of {request.path.decode()} was answered with {answer.status}: {said}")
    for algorithm in (ED25519, COSIGNATURE_ED25519, ML_DSA_44):
        signer = generate_skey("warm-up.invalid", algorithm)
        signer.verifier.verify(signer.sign(b"warm-up"), b"warm-up")


async def _ask(suite: tuple[int, int], request: bhttp.Request, tasks: Tasks, runner: Runner) -> bhttp.Response:
    """Send a request the whole way, with a KEM and an AEAD, and return its answer."""
    kem, aead = suite
    key = PrivateKey.generate(kem)
    config = KeyConfig(0, kem, key.public_key, (SymmetricAlgorithms(hpke.KDF_HKDF_SHA256, aead),))
    data, opener = encapsulate_request(config, bhttp.serialize_request(request), aead=aead)
    opened = open_request(data, {0: HeldKey(config, key)}, lambda _id, _enc: None)
    return bhttp.parse_response(opener.open(await respond(opened, tasks.handle, NOW, runner)))


def requests_to(tasks: Tasks) -> list[bhttp.Request]:
    """Return one request of each kind that these tasks can answer."""
    tones: tuple[Tone, ...] = ("proofread", "professional") if tasks.language is None else ("proofread", "funny")
    asked = [
        (SUMMARIZE_PATH, encode(SummarizeRequest(messages=CHAT))),
        *((REWRITE_PATH, encode(RewriteRequest(text=DRAFT, tone=tone))) for tone in tones),
    ]
    if tasks.language is not None:
        said = (ChatMessage("user", DRAFT),)
        chats = (
            ChatRequest(tasks.language.name, said, stream=stream, max_tokens=TOKENS, temperature=temperature)
            for stream, temperature in ((False, 0.0), (True, 1.0))
        )
        asked += [(CHAT_PATH, encode(each)) for each in chats]
    return [_request(b"POST", path, JSON, content) for path, content in asked]


def _request(method: bytes, path: str, fields: tuple[bhttp.Field, ...], content: bytes) -> bhttp.Request:
    return bhttp.Request(method, b"https", b"warm-up.invalid", path.encode(), fields, content)
