"""The key bundle: one epoch's keys, the evidence for them, and the proofs that they are public.

The *core* is what the evidence binds: two devices that hold the same core hold the same keys. Relay and gateway read
bundles to route and to cache, so this module knows no cryptography beyond hashes. It decides nothing about trust:
that is `verify.py`. Every layout has one encoding only: fixed order, big-endian integers, length prefixes.

    core   = head, role vec8, origin vec8, epoch u64, key_configs vec16, manifest_digest 32, join_policy vec16,
             checkpoint vec16
    checkpoint = head, made_at u64, where no ledger dates the core
    bundle = head, core vec16, evidence vec32, proofs vec32
    bundles = head, count u8, count bundles vec32 in ascending order of their epochs
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from seclude.errors import DecodeError, TooLargeError, UsageError
from seclude.wire import Reader, Writer

# A head is the magic and, as its last octet, the version of the layout that follows.
CORE_HEAD: Final = b"SECLUDE-CORE\x01"
BUNDLE_HEAD: Final = b"SECLUDE-BUNDLE\x01"
BUNDLES_HEAD: Final = b"SECLUDE-BUNDLES\x01"
UNLOGGED_HEAD: Final = b"SECLUDE-UNLOGGED\x01"

DIGEST_BYTES: Final = 32  # SHA-256
REPORT_DATA_BYTES: Final = 64  # what SEV-SNP and TDX reports carry

MAX_NAME: Final = 255  # octets of a role or an origin; a DNS name has at most 253
MAX_KEY_CONFIGS: Final = 4096  # octets; an X25519 and an X-Wing configuration take 1,280
MAX_JOIN_POLICY: Final = 24_576  # octets; eight pinned roots of 1.5 KiB in base64, and half as much again
MAX_CHECKPOINT: Final = 32_768  # octets; a log's signature and eight ML-DSA-44 cosignatures of 3.3 KiB
MAX_CORE: Final = (1 << 16) - 1  # octets; above the sum of its parts, so that the parts' limits decide
MAX_EVIDENCE: Final = 131_072  # octets; a TDX quote with all its collateral takes 40 KiB
# Octets. Two snapshots of 60 KiB, three checkpoints with Ed25519 cosignatures and two outlines take 150 KiB, eight
# ML-DSA-44 witnesses 90 KiB more: then snapshots have to be smaller. Above this, a list would be over what hops carry.
MAX_PROOFS: Final = 172_032
MAX_BUNDLE: Final = len(BUNDLE_HEAD) + 2 + MAX_CORE + 4 + MAX_EVIDENCE + 4 + MAX_PROOFS
MAX_EPOCHS: Final = 3  # that live at once: one that still opens, one that encrypts, one that is announced
MAX_BUNDLES: Final = len(BUNDLES_HEAD) + 1 + MAX_EPOCHS * (4 + MAX_BUNDLE)

# Lower case only, so that equal names are equal octets: a role is a word, an origin a host with an optional port.
ROLE: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
ORIGIN: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[1-9][0-9]{0,4})?")


@dataclass(frozen=True, slots=True)
class Core:
    """What every device must see alike for one epoch of one pool."""

    role: str
    """What the software is for, such as "assistant": a proof for one role is worth nothing in another."""
    origin: str
    """Authority of the inner requests that these keys open."""
    epoch: int
    key_configs: bytes
    """The `application/ohttp-keys` list (RFC 9458, section 3.2) that standard clients get, octet by octet."""
    manifest_digest: bytes
    """SHA-256 of the manifest of the software that made the keys."""
    join_policy: bytes
    """Whom the pool lets in to share these keys, as `policy.serialize_join_policy` writes it."""
    checkpoint: bytes
    """What dates the core: for a pool without a ledger, `unlogged_checkpoint` of the worker's own time."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A core and what supports it, none of it verified."""

    core: bytes
    evidence: bytes
    proofs: bytes = b""


def check_names(role: str, origin: str) -> str | None:
    """Say what is wrong with a role or an origin, if anything is."""
    if not ROLE.fullmatch(role):
        return "role is not a word in lower case"
    if len(origin) > MAX_NAME or not ORIGIN.fullmatch(origin):
        return "origin is not a host in lower case with an optional port"
    return None


def expect_head(reader: Reader, head: bytes, what: str) -> None:
    """Step over the magic and version that begin a layout; raises `DecodeError` where others stand there."""
    if reader.take(len(head), f"head of {what}") != head:
        raise DecodeError(f"not {what} of a version known here")


def read_name(reader: Reader, field: str) -> str:
    """Return a short ASCII string; its grammar is checked by `check_names`."""
    try:
        return reader.vec8(field).decode("ascii")
    except UnicodeDecodeError:
        raise DecodeError(f"{field} is not ASCII") from None


def serialize_core(core: Core) -> bytes:
    """Return the canonical encoding of a core; a value that could not be parsed again is a `UsageError`."""
    problem = _core_problem(core)
    if problem is not None:
        raise UsageError(problem)
    return (
        Writer()
        .raw(CORE_HEAD)
        .vec8(core.role.encode("ascii"))
        .vec8(core.origin.encode("ascii"))
        .u64(core.epoch)
        .vec16(core.key_configs)
        .raw(core.manifest_digest)
        .vec16(core.join_policy)
        .vec16(core.checkpoint)
        .getvalue()
    )


def parse_core(data: bytes) -> Core:
    """Read a core; the key configurations and the join policy inside it stay unread."""
    reader = Reader(data)
    expect_head(reader, CORE_HEAD, "a core")
    core = Core(
        role=read_name(reader, "role"),
        origin=read_name(reader, "origin"),
        epoch=reader.u64("epoch"),
        key_configs=reader.vec16("key_configs", MAX_KEY_CONFIGS),
        manifest_digest=reader.take(DIGEST_BYTES, "manifest_digest"),
        join_policy=reader.vec16("join_policy", MAX_JOIN_POLICY),
        checkpoint=reader.vec16("checkpoint", MAX_CHECKPOINT),
    )
    reader.finish("core")
    problem = _core_problem(core)
    if problem is not None:
        raise DecodeError(problem)
    return core


def serialize_bundle(bundle: Bundle) -> bytes:
    """Return the encoding of a bundle; parts over their limits are a `UsageError`."""
    if len(bundle.core) > MAX_CORE or len(bundle.evidence) > MAX_EVIDENCE or len(bundle.proofs) > MAX_PROOFS:
        raise UsageError("a part of the bundle is over its limit")
    return Writer().raw(BUNDLE_HEAD).vec16(bundle.core).vec32(bundle.evidence).vec32(bundle.proofs).getvalue()


def parse_bundle(data: bytes) -> Bundle:
    """Read a bundle; `parse_core(bundle.core)` is a step of its own."""
    if len(data) > MAX_BUNDLE:
        raise TooLargeError(f"bundle of {len(data)} octets, limit {MAX_BUNDLE}")
    reader = Reader(data)
    expect_head(reader, BUNDLE_HEAD, "a key bundle")
    bundle = Bundle(
        core=reader.vec16("core", MAX_CORE),
        evidence=reader.vec32("evidence", MAX_EVIDENCE),
        proofs=reader.vec32("proofs", MAX_PROOFS),
    )
    reader.finish("bundle")
    return bundle


def serialize_bundles(bundles: Sequence[bytes]) -> bytes:
    """Return the encoding of a list of bundles, of one to `MAX_EPOCHS` epochs in ascending order."""
    if not 0 < len(bundles) <= MAX_EPOCHS:
        raise UsageError(f"a list holds 1 to {MAX_EPOCHS} bundles: {len(bundles)}")
    writer = Writer().raw(BUNDLES_HEAD).u8(len(bundles))
    for bundle in bundles:
        writer.vec32(bundle)
    return writer.getvalue()


def parse_bundles(data: bytes) -> dict[int, bytes]:
    """Read what is published for one pool: the bundles by the epoch that each claims to be of, none of them verified.

    Which of them counts is for the reader's own clock to say.
    """
    if len(data) > MAX_BUNDLES:
        raise TooLargeError(f"bundles of {len(data)} octets, limit {MAX_BUNDLES}")
    reader = Reader(data)
    expect_head(reader, BUNDLES_HEAD, "a list of key bundles")
    count = reader.u8("count of bundles")
    if not 0 < count <= MAX_EPOCHS:
        raise DecodeError(f"a list of {count} bundles, of 1 to {MAX_EPOCHS}")
    found: dict[int, bytes] = {}
    for _ in range(count):
        bundle = reader.vec32("bundle", MAX_BUNDLE)
        epoch = parse_core(parse_bundle(bundle).core).epoch
        if found and epoch <= max(found):
            raise DecodeError("the bundles are not in ascending order of their epochs")
        found[epoch] = bundle
    reader.finish("list of bundles")
    return found


def core_digest(core: bytes) -> bytes:
    """Return the SHA-256 of a core's encoding, the name under which everyone compares it."""
    return hashlib.sha256(core).digest()


def birth_report_data(core: bytes) -> bytes:
    """Return the 64 octets that evidence must carry to vouch for a core."""
    return hashlib.sha512(b"seclude birth v1\x00" + core_digest(core)).digest()


def join_report_data(nonce: bytes, one_time_key: bytes, role: str, origin: str, manifest_digest: bytes) -> bytes:
    """Return the 64 octets that evidence must carry to ask a member of the pool for its keys.

    The manifest is bound because hardware that measures a machine's image says nothing of the files in it.
    """
    names = (role.encode("ascii"), origin.encode("ascii"))
    bound = Writer().vec8(nonce).vec16(one_time_key).vec8(names[0]).vec8(names[1]).vec8(manifest_digest).getvalue()
    return hashlib.sha512(b"seclude join v1\x00" + bound).digest()


def unlogged_checkpoint(made_at: int) -> bytes:
    """Return what stands for a checkpoint where there is no ledger: when the worker's clock said that it made the core.

    It dates evidence as far as the measured software is trusted with it; the owner of the machine sets its clock.
    """
    return Writer().raw(UNLOGGED_HEAD).u64(made_at).getvalue()


def parse_unlogged_checkpoint(checkpoint: bytes) -> int:
    """Return when a core was made, in seconds since 1970; raises `DecodeError` for anything else."""
    reader = Reader(checkpoint)
    expect_head(reader, UNLOGGED_HEAD, "a checkpoint without a ledger")
    made_at = reader.u64("made_at")
    reader.finish("checkpoint")
    return made_at


def _core_problem(core: Core) -> str | None:
    """Say why a core has no encoding, or none that may be accepted."""
    problem = check_names(core.role, core.origin)
    if problem is not None:
        return problem
    if len(core.manifest_digest) != DIGEST_BYTES:
        return "manifest_digest is not a SHA-256"
    if not 0 < len(core.key_configs) <= MAX_KEY_CONFIGS:
        return "key_configs is empty or over its limit"
    if not 0 < len(core.join_policy) <= MAX_JOIN_POLICY:
        return "join_policy is empty or over its limit"
    if len(core.checkpoint) > MAX_CHECKPOINT:
        return "checkpoint is over its limit"
    return None
