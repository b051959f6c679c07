"""The demo: a group chat summarised on "somebody else's" servers, and what each party saw of it.

    python deploy/demo.py

Everything runs on this machine in a temporary folder that is removed afterwards. What the parties saw is recorded by
taps between the processes. In the end one byte of the model is changed, and the device refuses software that is not in
the public log.
"""

import argparse
import asyncio
import contextlib
import os
import re
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from deploy.localledger import WITNESSES
from deploy.party import StackError
from deploy.stack import Stack
from deploy.tap import Direction, Piece, Tap
from seclude.attestation.judge import require_listed
from seclude.attestation.proofs import parse_proofs
from seclude.attestation.snapshot import parse_snapshot
from seclude.client.formats import parse_chat_file
from seclude.client.trust import render_trust
from seclude.errors import PolicyError
from seclude.ledger import Path as Place
from seclude.tlog.note import parse_note

MODEL: Final = Path("models/all-minilm-l6-v2")
CHAT: Final = Path(__file__).parent / "demo" / "chat.txt"
UNREAD: Final = 40  # a morning away from a lively group
ASKED: Final = (os.path.relpath(CHAT), "--unread", str(UNREAD))
SEALING: Final = 7 + 1120 + 16  # octets that the device adds: header, enc of X-Wing, tag (RFC 9458, section 4.3)
DEVICE: Final = "127.77.0.1"  # where the device connects from, so that its address can be told from the others
LOGGING: Final = ("ledger", WITNESSES[0])  # the others get what the first one gets
WIDTH: Final = 100


@dataclass(frozen=True, slots=True)
class Crossing:
    """One exchange as a tap saw it: who called, the two messages, and how long the far side took."""

    peer: str
    request: bytes
    response: bytes
    seconds: float

    @property
    def head(self) -> str:
        """The request's head."""
        return self.request.split(b"\r\n\r\n", 1)[0].decode("latin-1")

    @property
    def body(self) -> bytes:
        """The request's body."""
        return self.request.split(b"\r\n\r\n", 1)[1]


async def main() -> int:
    """Run the demo and return its exit status."""
    if not (MODEL / "model.onnx").exists():
        print("no model yet; run: seclude-model install", file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="seclude-demo-"))
    try:
        await show(folder)
    except* StackError as group:
        print(*(f"demo: {exc}" for exc in group.exceptions), sep="\n", file=sys.stderr)
        return_code = 1
    else:
        return_code = 0
    finally:
        shutil.rmtree(folder)
    return return_code


async def show(folder: Path) -> None:
    """Tell the whole story: ask, look at what everybody saw, tamper, be refused."""
    taps: dict[str, Tap] = {}
    title("1. Relay, gateway, two attested workers and a ledger with three witnesses start (attestation is SIMULATED)")
    async with running(Stack(folder / "pool", 2, MODEL, wrap=tapping(taps), say=say)) as stack:
        title("2. The device checks who would read the chat, then asks for the highlights of what is unread")
        await seclude(stack.trust_file, "verify")
        for name, tap in taps.items():
            if name not in LOGGING:  # which hear of keys and software beforehand, and of no request
                tap.pieces.clear()
        await seclude(stack.trust_file, "summarize", *ASKED)
        crossings = {name: crossing(tap) for name, tap in taps.items() if posted(tap)}
        title("3. What each party saw (recorded by taps between the processes)")
        show_views(crossings, {name: taps[name] for name in LOGGING}, worker_counters(stack, crossings))
        title("4. Where the time went")
        show_times(crossings)
        title("5. Somebody changes one byte of the model")
        await tamper(stack, folder)


class running:  # noqa: N801 - a context manager reads as a verb
    """Runs a stack for the length of a block."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    async def __aenter__(self) -> Stack:
        try:
            await self.stack.start()
        except BaseException:
            await self.stack.stop()
            raise
        return self.stack

    async def __aexit__(self, *_: object) -> None:
        await self.stack.stop()


def tapping(taps: dict[str, Tap]) -> Callable[[str, str], Awaitable[str]]:
    """Return a wrapper that puts a tap in front of every party."""

    async def wrap(name: str, address: str) -> str:
        host, _, port = address.rpartition(":")
        taps[name] = await Tap.open((host, int(port)), source=DEVICE if name == "relay" else None)
        return taps[name].address

    return wrap


async def seclude(trust: Path, *arguments: str) -> int:
    """Run the `seclude` command as a person would, and show both the command and its output."""
    print(f"\n$ seclude {' '.join(arguments)}\n", flush=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "seclude.client", "--trust", str(trust), *arguments, stderr=asyncio.subprocess.STDOUT
    )
    return await process.wait()


def posted(tap: Tap) -> bool:
    """Say whether an encapsulated request passed here; polls and key fetches do not count."""
    return any(_starts_post(piece) for piece in tap.pieces)


def _starts_post(piece: Piece) -> bool:
    return piece.direction == "request" and piece.data.startswith(b"POST ") and b"message/ohttp-req" in piece.data


def crossing(tap: Tap) -> Crossing:
    """Return the encapsulated exchange that passed a tap."""
    index, first = next((i, piece) for i, piece in enumerate(tap.pieces) if _starts_post(piece))
    same = [piece for piece in tap.pieces[index:] if piece.connection == first.connection]
    answer = next(i for i, piece in enumerate(same) if piece.direction == "response")
    rest = next((i for i, p in enumerate(same) if i > answer and p.direction == "request"), len(same))

    def joined(direction: Direction) -> bytes:
        return b"".join(piece.data for piece in same[:rest] if piece.direction == direction)

    return Crossing(first.caller, joined("request"), joined("response"), same[rest - 1].at - first.at)


def worker_counters(stack: Stack, crossings: dict[str, Crossing]) -> str:
    """Return what the worker that served counted, from its own metrics page."""
    name = next(name for name in crossings if name.startswith("worker"))
    with urllib.request.urlopen(f"http://{stack.parties[name].admin}/metrics") as page:
        text = page.read().decode()
    opened = re.search(r'^seclude_worker_decapsulations_total\{[^}]*result="ok"[^}]*\} (\S+)', text, re.MULTILINE)
    return f"counted {float(opened.group(1)) if opened else 0:.0f} opened"


def show_views(crossings: dict[str, Crossing], logging: dict[str, Tap], counters: str) -> None:
    """Print who saw what. Chat and address are searched for in everything that was recorded at each party's socket."""
    messages = parse_chat_file(CHAT.read_bytes()).messages
    words = {message.sender.encode() for message in messages}
    words |= {message.text.encode() for message in messages if len(message.text) > 12}  # "ok" may occur by chance
    worker = next(name for name in crossings if name.startswith("worker"))

    def row(who: str, peer: str, everything: bytes, held: str) -> None:
        known = peer.startswith(DEVICE) or DEVICE.encode() in everything
        found = f"{sum(word in everything for word in words)} of {len(words)} texts and names"
        print(f"  {who:<16}{peer:<20}{'seen' if known else 'not seen':<16}{found:<28}{held}")

    print(f"  {'party':<16}{'is called by':<20}{'device address':<16}{'chat':<28}holds")
    print(f"  {'device':<16}{'':<20}{'its own':<16}{f'all of it ({UNREAD} unread)':<28}everything of its own")
    for who, name in (("relay", "relay"), ("gateway", "gateway"), ("worker, outside", worker)):
        seen = crossings[name]
        held = f"{len(seen.body)} octets of ciphertext, {seen.body[7:19].hex()}..."
        row(who, seen.peer, seen.request + seen.response, held)
    held = f"the key, {len(crossings['relay'].body) - SEALING} octets of chat and padding; {counters}"
    print(f"  {'worker, inside':<16}{'':<20}{'not seen':<16}{'read, for one request':<28}{held}")
    for name, tap in logging.items():
        held = "public keys, evidence and releases" if name == "ledger" else "the root of each log"
        row(name, tap.pieces[0].caller, b"".join(piece.data for piece in tap.pieces), held)
    print("\n  What the relay got from the device, and what it made of it:\n")
    heads = [crossings[name].head.splitlines() for name in ("relay", "gateway")]
    for left, right in zip(*heads, strict=True):
        print(f"    {left:<48}{right}")


def show_times(crossings: dict[str, Crossing]) -> None:
    """Print the time that each hop added to the one request."""
    worker = next(name for name in crossings if name.startswith("worker"))
    whole, behind_relay, behind_gateway = (crossings[name].seconds for name in ("relay", "gateway", worker))
    for name, seconds in (
        ("relay", whole - behind_relay),
        ("gateway", behind_relay - behind_gateway),
        ("worker: open, highlights, seal", behind_gateway),
        ("whole path, as the device waits", whole),
    ):
        bar = "#" * max(1, round(50 * seconds / whole))
        print(f"  {name:<33} {seconds * 1000:8.2f} ms  {bar}")


async def tamper(stack: Stack, folder: Path) -> None:
    """Change one byte of the model: the worker will not start; who releases it elsewhere is refused by the device."""
    model = folder / MODEL.name
    shutil.copytree(MODEL, model)
    weights = model / "model.onnx"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 0x01
    weights.write_bytes(data)

    print("\nThe worker, started on it with the manifest of the release:")
    config = folder / "tampered.toml"
    config.write_text((stack.state / "worker.toml").read_text().replace(str(MODEL.resolve()), str(model.resolve())))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "inference", "--config", str(config), stderr=asyncio.subprocess.STDOUT
    )
    print(f"  exit status {await process.wait()}")

    print("\nAn operator who writes a new manifest for it, and releases it in logs of their own, gets it running:")
    evil = Stack(folder / "evil", 2, model, say=say)
    evil.state.mkdir()
    shutil.copytree(stack.state / "platform", evil.state / "platform")  # the same, genuine platform
    taps: dict[str, Tap] = {}
    evil.wrap = tapping(taps)
    evil.t0 = stack.t0
    async with running(evil):
        assert stack.trust is not None
        assert evil.trust is not None
        lured = folder / "lured.toml"
        lured.write_text(render_trust(msgspec.structs.replace(stack.trust, relays=evil.trust.relays)))
        print("\nA device that is led there, with the trust file it always had:")
        status = await seclude(lured, "summarize", *ASKED)
        sent = sum(piece.data.startswith(b"POST") for piece in taps["relay"].pieces)
        print(f"  exit status {status}; encapsulated requests that left the device: {sent}")
        if status == 0 or sent:
            raise StackError("the device was not supposed to trust that pool")
        print(f"\nIn the log that everybody sees: {await standing(stack, evil.manifest_digest())}")


async def standing(stack: Stack, manifest: str) -> str:
    """Return what the newest snapshot in the state log says of some software."""
    url = f"http://{stack.parties['ledger'].listen}{Place.PROOFS}"
    assert stack.trust is not None
    proofs = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read())
    snapshot = parse_snapshot(parse_note(parse_proofs(proofs).snapshot).text)
    try:
        return f"released: {require_listed(snapshot, stack.trust.policy(), bytes.fromhex(manifest)).source}"
    except PolicyError as exc:
        return str(exc)


def title(text: str) -> None:
    """Print a heading."""
    print(f"\n{'─' * WIDTH}\n{text}\n{'─' * WIDTH}", flush=True)


def say(line: str) -> None:
    """Print one line of progress."""
    print(f"  {line}", flush=True)


if __name__ == "__main__":
    argparse.ArgumentParser(prog="deploy/demo.py", description=__doc__, epilog="example: make demo").parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(asyncio.run(main()))
    sys.exit(130)
