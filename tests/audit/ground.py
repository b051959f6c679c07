"""What several findings need: a policy for each kind of hardware, bundles under it, and workers that join."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Final

from bench.simulated import SimulatedHere, simulated_policy
from inference.join import Joiner, Member
from inference.keyring import Keyring
from inference.producers.simulated import SimulatedPlatform
from seclude.attestation import formats
from seclude.attestation.bundle import Bundle, Core, serialize_bundle, serialize_core, unlogged_checkpoint
from seclude.attestation.evidence import UnverifiedEvidence, serialize_evidence
from seclude.attestation.formats import Format
from seclude.attestation.joinpolicy import serialize_join_policy
from seclude.attestation.policy import Policy, PolicyDocument
from seclude.attestation.slots import Slots, x25519_key_id, xwing_key_id
from seclude.hpke import KEM_X25519, KEM_XWING, PrivateKey
from seclude.ohttp.keyconfig import KeyConfig, SymmetricAlgorithms, serialize_key_configs

NOW: Final = 1_700_000_000  # when the signers of tests sign
EPOCH: Final = 1000
SLOTS: Final = Slots(t0=NOW - EPOCH * 600 - 100, period_seconds=600)
MADE: Final = NOW - 50
ORIGIN: Final = "ai.example"
MANIFEST: Final = bytes(range(32))
OTHER_MANIFEST: Final = bytes(32)
ALGORITHMS: Final = (SymmetricAlgorithms(1, 1), SymmetricAlgorithms(1, 3))
XWING: Final = KeyConfig(xwing_key_id(EPOCH), KEM_XWING, PrivateKey.generate(KEM_XWING).public_key, ALGORITHMS)
X25519: Final = KeyConfig(x25519_key_id(EPOCH), KEM_X25519, PrivateKey.generate(KEM_X25519).public_key, ALGORITHMS)


def policy_of(document: PolicyDocument) -> Policy:
    return Policy(origin=ORIGIN, slots=SLOTS, document=document)


def core_of(policy: Policy, *, configs: tuple[KeyConfig, ...] = (XWING, X25519), **changes: object) -> bytes:
    """Return the core of this epoch's keys, with some of its fields changed."""
    fields: dict[str, object] = {
        "role": policy.role,
        "origin": policy.origin,
        "epoch": EPOCH,
        "key_configs": serialize_key_configs(configs),
        "manifest_digest": MANIFEST,
        "join_policy": serialize_join_policy(policy),
        "checkpoint": unlogged_checkpoint(MADE),
    }
    return serialize_core(Core(**{**fields, **changes}))  # type: ignore[arg-type]


def bundle_of(core: bytes, *items: UnverifiedEvidence) -> bytes:
    return serialize_bundle(Bundle(core, serialize_evidence(*items)))


def trusting(name: str, roots: Mapping[bytes, str]) -> Mapping[str, Format]:
    """Return the formats with a signer of tests in the place of one vendor."""
    real = formats.FORMATS[name]
    return MappingProxyType(
        {**formats.FORMATS, name: Format(real.titles, real.stages, partial(real.verify, roots=roots))}
    )


@dataclass
class Worker:
    """Both sides of one worker."""

    keyring: Keyring
    member: Member
    joiner: Joiner


Make = Callable[..., Worker]


def worker_on(platform: SimulatedPlatform, *, manifest: bytes = MANIFEST, role: str = "worker") -> Worker:
    """Return a worker without keys on a platform that everybody here pins."""
    document = simulated_policy(platform, manifests=(MANIFEST, OTHER_MANIFEST), role=role)
    here = SimulatedHere(platform, manifest, lambda: NOW)
    keyring = Keyring(policy_of(document), here, manifest)
    return Worker(keyring, Member(keyring), Joiner(keyring, here))


async def born(worker: Worker) -> Worker:
    """Let a worker make the keys of the slots around now."""
    for epoch in (EPOCH - 1, EPOCH, EPOCH + 1):
        await worker.keyring.birth(epoch, min(NOW, SLOTS.start(epoch)))
    return worker
