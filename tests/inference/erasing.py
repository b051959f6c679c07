"""A worker's keyring in a process whose memory a test reads: `python -m tests.inference.erasing FOLDER born|joined`.

It writes each private key of two epochs, one line a key and octet by octet, so that it makes no copy of its own. At
the first line of its input it goes past the last slot of the older epoch, at the second it erases everything.
"""

import asyncio
import sys
from pathlib import Path

from bench.simulated import SimulatedHere, simulated_policy
from inference.join import Joiner, Member
from inference.keyring import Keyring
from inference.producers.simulated import create_simulated_platform
from seclude.attestation.bundle import parse_bundle, parse_core
from seclude.attestation.policy import Policy
from seclude.attestation.slots import Slots
from seclude.ohttp.encapsulation import decapsulate, encapsulate_request
from seclude.ohttp.keyconfig import parse_key_configs

SLOTS = Slots(1_700_000_000, 600)
EPOCH = 1000
NOW = SLOTS.start(EPOCH) + 10.0
MEASUREMENT = bytes(range(32))


def serve(ring: Keyring, now: float) -> None:
    """Open one request under every key."""
    for epoch in ring.epochs():
        for config in parse_key_configs(parse_core(parse_bundle(epoch.bundle).core).key_configs):
            request, opener = encapsulate_request(config, b"question")
            opened = decapsulate(request, ring.keys(now))
            assert opener.open(opened.sealer.seal(b"answer")) == b"answer"


async def hold(policy: Policy, attester: SimulatedHere, way: str) -> list[Keyring]:
    """Return keyrings that hold two epochs: one that they were born in and, on the second way, one that joined it."""
    rings = [Keyring(policy, attester, MEASUREMENT)]
    for epoch in (EPOCH, EPOCH + 1):
        await rings[0].birth(epoch, NOW)
    if way == "joined":
        rings.append(Keyring(policy, attester, MEASUREMENT))
        member, joiner = Member(rings[0]), Joiner(rings[1], attester)
        joiner.accept(member.admit(await joiner.request(member.nonce(NOW), NOW), NOW), NOW)
    return rings


def main(folder: Path, way: str) -> None:
    """Hold keys, tell them, and erase them when told to."""
    platform = create_simulated_platform(folder, NOW - 86_400)
    policy = Policy(origin="ai.example", slots=SLOTS, document=simulated_policy(platform))
    rings = asyncio.run(hold(policy, SimulatedHere(platform, MEASUREMENT, lambda: NOW), way))
    for ring in rings:
        serve(ring, NOW)
    handed_out = [ring.keys(NOW) for ring in rings]
    for held in handed_out[0].values():
        print(held.config.key_id, held.config.kem, *held.private_key._sk)  # an int of one octet is shared, not made
    print("held", flush=True)
    sys.stdin.readline()
    for ring in rings:
        assert ring.erase_expired(SLOTS.end(EPOCH + 1)) == (EPOCH,)
    print("expired", flush=True)
    sys.stdin.readline()
    for ring in rings:
        ring.erase()
    print("erased", flush=True)
    sys.stdin.readline()
    assert all(key.private_key.erased for keys in handed_out for key in keys.values())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
