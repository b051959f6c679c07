"""`seclude-bench hpke`: what encryption costs a worker, beside the one operation in it that cannot be avoided.

That is an X25519 exchange on a key that is loaded. Everything runs in one process and in turns, call by call, so that
what slows down one slows down all; times are of the processor, and a figure is the median over the rounds of the ratio
or difference within each. What X-Wing costs is what it adds to X25519. Afterwards the front of a worker without a
model is put under load with X-Wing, as a process of its own: the same, and HTTP, and two threads.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import thread_time_ns
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bench.engine import Samples, Say, run_load
from bench.front import ORIGIN
from bench.job import Job, WorkloadSpec
from bench.output import add_options, deliver, say, silent
from bench.result import Case, Figure, Result, case_of
from bench.targets import WORKER, Place, pid_of, running
from seclude import hpke
from seclude.attestation.bundle import parse_bundle, parse_core
from seclude.daemon.upstream import Upstream
from seclude.ohttp.encapsulation import HeldKey, decapsulate, encapsulate_request
from seclude.ohttp.keyconfig import (
    KeyConfig,
    SymmetricAlgorithms,
    choose,
    parse_key_configs,
    serialize_key_config,
)
from seclude.ohttp.media import REQUEST_LABEL, RESPONSE_LABEL
from seclude.pool import OCTETS, Birth, Message, serialize_birth

BODY_BYTES: Final = 1024
CALLS: Final = 500  # of each operation in a round
LIMIT: Final = 2.2  # times an exchange; the exchange itself, ten HMACs and two ciphers make about 1.7
XWING_LIMIT: Final = 400.0  # us that X-Wing may add: ten times what it does, and still little beside a task
KEMS: Final = {"": hpke.KEM_X25519, "X-Wing, ": hpke.KEM_XWING}
WORK: Final = "open, export and seal, "
ADDED: Final = "X-Wing adds, "
AEADS: Final = {"AES-128-GCM": hpke.AEAD_AES_128_GCM, "ChaCha20-Poly1305": hpke.AEAD_CHACHA20_POLY1305}
EXCHANGE: Final = "X25519 exchange"
ONE: Final = (SymmetricAlgorithms(1, 1), SymmetricAlgorithms(1, 3))
SUPPLY: Final = 20_000  # requests that the load on the front encapsulates in advance
EXAMPLE: Final = """example:
  seclude-bench hpke --rounds 9 --json hpke.json
"""
Operation = Callable[[], object]


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "hpke",
        help="encryption beside a bare key exchange, and a worker's front",
        description="Open a request, export, and seal the answer, 1 KiB each way, beside a bare X25519 exchange.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=9, metavar="N", help="default: 9")
    parser.add_argument("--seconds", type=float, default=2.0, metavar="S", help="of load on the front (default: 2)")
    add_options(parser)
    parser.set_defaults(act=act)


def act(flags: argparse.Namespace) -> int:
    """Run the command."""
    tell = silent if flags.quiet else say
    rounds = measure(operations(), flags.rounds, tell)
    case, samples = asyncio.run(_front(flags.seconds, tell))
    result = Result(
        kind="hpke",
        config={"rounds": flags.rounds, "calls": CALLS, "body_bytes": BODY_BYTES, "seconds": flags.seconds},
        cases=[case],
        figures=figures(rounds),
    )
    return deliver(result, flags, {case.name: samples.latency})


def operations() -> dict[str, Operation]:
    """Return what is measured, by name; the exchange comes first."""
    ours, peer = X25519PrivateKey.generate(), X25519PrivateKey.generate().public_key()
    found: dict[str, Operation] = {EXCHANGE: lambda: ours.exchange(peer)}
    message = os.urandom(BODY_BYTES)
    for prefix, kem in KEMS.items():
        for name, aead in AEADS.items():
            found[WORK + prefix + name] = _answer(kem, aead, message)
    reference = _reference(message)
    if reference is not None:
        found["pyhpke: open and export alone, AES-128-GCM"] = reference
    return found


def _answer(kem: int, aead: int, message: bytes) -> Operation:
    """Return the whole of what encryption asks of a worker for one request."""
    key = hpke.PrivateKey.generate(kem)
    config = KeyConfig(1, kem, key.public_key, ONE)
    keys = {1: HeldKey(config, key)}
    body, _ = encapsulate_request(config, message, aead=aead)
    return lambda: decapsulate(body, keys).sealer.seal(message)


def _reference(message: bytes) -> Operation | None:
    """Return the same by pyhpke without sealing, which it has nothing for, where it is installed."""
    try:
        from pyhpke import AEADId, CipherSuite, KDFId, KEMId
    except ImportError:
        return None
    suite = CipherSuite.new(KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.AES128_GCM)
    key = hpke.PrivateKey.generate(hpke.KEM_X25519)
    config = KeyConfig(1, key.kem, key.public_key, ONE)
    private_key = suite.kem.deserialize_private_key(key.private_bytes())
    body, _ = encapsulate_request(config, message)
    header, enc, ct = body[:7], body[7:39], body[39:]

    def opened() -> object:
        context = suite.create_recipient_context(enc, private_key, REQUEST_LABEL + b"\0" + header)
        return context.open(ct, b""), context.export(RESPONSE_LABEL, 16)

    return opened


def measure(found: Mapping[str, Operation], rounds: int, tell: Say) -> dict[str, list[float]]:
    """Return the microseconds that each operation took, a mean for each round."""
    taken: dict[str, list[float]] = {name: [] for name in found}
    for number in range(rounds):
        spent = dict.fromkeys(found, 0)
        for _ in range(CALLS):
            for name, operation in found.items():
                began = thread_time_ns()
                operation()
                spent[name] += thread_time_ns() - began
        for name, nanoseconds in spent.items():
            taken[name].append(nanoseconds / CALLS / 1000)
        tell(f"round {number + 1} of {rounds}: an exchange took {taken[EXCHANGE][-1]:.1f} us")
    return taken


def figures(rounds: Mapping[str, Sequence[float]]) -> list[Figure]:
    """Return times, what X-Wing adds to them, and what the others are as multiples of an exchange."""
    found = [Figure(name, statistics.median(values), "us") for name, values in rounds.items()]
    for aead in AEADS:
        pairs = zip(rounds[f"{WORK}X-Wing, {aead}"], rounds[WORK + aead], strict=True)
        added = statistics.median(xwing - x25519 for xwing, x25519 in pairs)
        found.append(Figure(ADDED + aead, added, "us", XWING_LIMIT, added <= XWING_LIMIT))
    for name, values in rounds.items():
        if name == EXCHANGE or "X-Wing" in name:
            continue
        ratio = statistics.median(one / base for one, base in zip(values, rounds[EXCHANGE], strict=True))
        limit = LIMIT if name.startswith("open") else None
        found.append(Figure(f"{name} / exchange", ratio, "times", limit, limit is None or ratio <= limit))
    return found


async def _front(seconds: float, tell: Say) -> tuple[Case, Samples]:
    """Put a worker's front under load."""
    with tempfile.TemporaryDirectory(prefix="seclude-bench-") as folder:
        async with running(Place(Path(folder)), WORKER, "bench.front") as party:
            upstream = Upstream(f"http://{party.listen}")
            born = await upstream.exchange("POST", Message.BIRTH, content_type=OCTETS, body=serialize_birth(Birth(0)))
            await upstream.close()
            offered = parse_key_configs(parse_core(parse_bundle(born.body).core).key_configs)
            chosen = choose(offered, hpke.KEM_XWING, hpke.KDF_HKDF_SHA256, hpke.AEAD_AES_128_GCM)
            config = serialize_key_config(chosen)
            workload = WorkloadSpec("encapsulated", key_config=config, origin=ORIGIN, check_every=64)
            job = Job(
                url=f"http://{party.listen}{Message.REQUEST}",
                workload=workload,
                warmup_seconds=0.5,
                seconds=seconds,
                connections=16,
                arrivals=None,
                supply=SUPPLY,
            )
            tell("encapsulating requests for the front")
            samples = await run_load([job], {WORKER: pid_of(party)}, tell)
    return case_of("worker front without a model", [samples]), samples
