"""`seclude proxy`: an address on this device that apps made for OpenAI's API can use, and nobody else.

    $ seclude proxy
    $ OPENAI_BASE_URL=http://127.0.0.1:8642/v1 OPENAI_API_KEY=unused ./app

The pool is verified before it listens, and again whenever its keys change; where that fails, apps get errors.
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from seclude.attestation.verify import TrustedPool
from seclude.client.proxy.door import Door
from seclude.client.proxy.guard import Guard, load_token
from seclude.client.sdk import Client
from seclude.client.trust import Trust, load_trust
from seclude.daemon.addresses import ListenAddress, parse_listen
from seclude.errors import ConfigError

LISTEN: Final = "127.0.0.1:8642"
EXAMPLE: Final = "example: seclude proxy --token-file ~/.config/seclude/proxy.token"
PLAIN: Final = "what apps send there is not encrypted; listen on this machine alone, or add --insecure-beyond-loopback"
OPEN: Final = "every user of this machine can ask through this address; keep them out with --token-file"
WORTH: Final = {
    "simulated": "the attested hardware is SIMULATED and proves no machine",
    "tpm": "the evidence is of a TPM, which shows what was launched and encrypts no memory",
}

Opens = Callable[[argparse.Namespace, Trust], AbstractAsyncContextManager[Client]]
"""Gives the client of a command line."""


def fill_proxy(verb: argparse.ArgumentParser, trust_file: Callable[[argparse.Namespace], Path], opens: Opens) -> None:
    """Add what `proxy` takes."""
    verb.add_argument("--listen", metavar="HOST:PORT", default=LISTEN, help=f"where apps find it (default: {LISTEN})")
    verb.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="let in only who has the token in this file as API key; it is made where it is missing",
    )
    verb.add_argument(
        "--insecure-beyond-loopback",
        action="store_true",
        help="let other machines ask too, over a network that then sees everything; takes a token",
    )
    verb.set_defaults(run=partial(run_proxy, trust_file, opens))


async def run_proxy(
    trust_file: Callable[[argparse.Namespace], Path], opens: Opens, arguments: argparse.Namespace
) -> None:
    """Verify the pool, then answer apps until a signal; raises as the other verbs do."""
    from seclude.client.proxy.serving import serving  # aiohttp's server, which no other verb should wait for

    listen = _listen(arguments)
    token = None if arguments.token_file is None else load_token(arguments.token_file)
    trust = load_trust(trust_file(arguments))
    stopped = asyncio.Event()
    async with opens(arguments, trust) as client:
        if arguments.check_consistency:
            pool, agreement = await client.check_consistency()
            for url, reason in agreement.failed:
                _note(f"not compared with {url}: {reason}")
        else:
            pool = await client.verify()
        with _signals(stopped):
            async with serving(Door(client, trust.origin), Guard(token), listen) as url:
                _say(arguments, url, pool, guarded=token is not None)
                await stopped.wait()


def _listen(arguments: argparse.Namespace) -> ListenAddress:
    address = parse_listen(arguments.listen)
    if address.path is not None or address.descriptor is not None:
        raise ConfigError(f'--listen of the proxy is "HOST:PORT", such as {LISTEN}')
    if not address.is_local:
        if not arguments.insecure_beyond_loopback:
            raise ConfigError(f"{address} is not loopback: {PLAIN}")
        if arguments.token_file is None:
            raise ConfigError(f"{address} is not loopback: set --token-file, or everybody could ask")
    return address


@contextmanager
def _signals(stopped: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _say(arguments: argparse.Namespace, url: str, pool: TrustedPool, *, guarded: bool) -> None:
    """Say where it is and what was verified; it is all that this command ever prints, but for a failure."""
    worth = WORTH.get(pool.formats[0])
    if arguments.json:
        ready = {"listening": url, "origin": pool.core.origin, "epoch": pool.epoch, "formats": pool.formats}
        print(msgspec.json.encode({**ready, "token": guarded}).decode(), flush=True)
    else:
        print(f"The pool of {pool.core.origin} is trusted; apps reach it at\n      {url}", flush=True)
    for note in (worth, None if guarded else OPEN):
        if note is not None:
            _note(note)


def _note(sentence: str) -> None:
    print(f"seclude: note: {sentence}", file=sys.stderr, flush=True)
