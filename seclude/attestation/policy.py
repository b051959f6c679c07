"""What evidence must show before anyone encrypts to a worker or shares a key with it.

A device builds its policy from the trust file. The pool's members hold one too, for whom they let in; its canonical
encoding stands in every core (the *join policy*), so that a device sees who else may come to hold the key. It has no
measurements, for a member lets in its own measurement only.

    join policy = head, role vec8, origin vec8, t0 u64, period_seconds u32, minimum_firmware u32,
                  max_evidence_age_seconds u32, clock_skew_seconds u32, count u8, count roots vec16 in ascending order
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, Self

from seclude.attestation.bundle import DIGEST_BYTES, check_names, expect_head, read_name
from seclude.attestation.slots import Slots
from seclude.errors import ConfigError, DecodeError, PolicyError
from seclude.wire import Reader, Writer

JOIN_POLICY_HEAD: Final = b"SECLUDE-JOIN-POLICY\x01"

MAX_ROOTS: Final = 8  # today's and tomorrow's root of four vendors
MAX_ROOT: Final = 1536  # octets; the largest vendor root in use, an RSA-4096 one, takes 1.5 KiB
MAX_SKEW_SECONDS: Final = 300  # more than any clock that is kept by NTP is ever wrong
MAX_U32: Final = (1 << 32) - 1
LIVE_PERIODS: Final = 3  # a key is made in the slot before its own and opens for one slot after it


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is accepted; a policy that would accept nothing, or anything, is a `ConfigError`."""

    role: str
    origin: str
    slots: Slots
    measurements: frozenset[bytes]
    """SHA-256 digests of the manifests that may run in this role."""
    simulated_roots: tuple[bytes, ...]
    """DER certificates of roots of SIMULATED hardware, which proves nothing against the owner of the machine."""
    max_evidence_age_seconds: int
    minimum_firmware: int = 1
    clock_skew_seconds: int = 30
    """How far in the future evidence may seem to be dated."""

    def __post_init__(self) -> None:
        problem = check_names(self.role, self.origin)
        if problem is not None:
            raise ConfigError(f"policy: {problem}")
        if not self.measurements or any(len(digest) != DIGEST_BYTES for digest in self.measurements):
            raise ConfigError("policy: measurements must be at least one SHA-256 digest")
        if not 0 < len(self.simulated_roots) <= MAX_ROOTS:
            raise ConfigError(f"policy: simulated_roots must be 1 to {MAX_ROOTS} certificates")
        if any(not 0 < len(root) <= MAX_ROOT for root in self.simulated_roots):
            raise ConfigError(f"policy: a root certificate must have 1 to {MAX_ROOT} octets")
        if not 0 < self.max_evidence_age_seconds <= MAX_U32:
            raise ConfigError("policy: max_evidence_age_seconds must be positive")
        if not 0 <= self.minimum_firmware <= MAX_U32:
            raise ConfigError("policy: minimum_firmware must be a 32-bit number")
        if not 0 <= self.clock_skew_seconds <= MAX_SKEW_SECONDS:
            raise ConfigError(f"policy: clock_skew_seconds must be 0 to {MAX_SKEW_SECONDS}")

    def for_measurement(self, own: bytes) -> Self:
        """Return the policy of a worker, which shares keys with its own measurement and no other."""
        if self.max_evidence_age_seconds < LIVE_PERIODS * self.slots.period_seconds:
            raise ConfigError(
                f"policy: max_evidence_age_seconds must be at least {LIVE_PERIODS} periods, the life of a key"
            )
        return replace(self, measurements=frozenset({own}))


def serialize_join_policy(policy: Policy) -> bytes:
    """Return the canonical encoding of everything in a policy but its measurements."""
    roots = sorted(set(policy.simulated_roots))
    writer = (
        Writer()
        .raw(JOIN_POLICY_HEAD)
        .vec8(policy.role.encode("ascii"))
        .vec8(policy.origin.encode("ascii"))
        .u64(policy.slots.t0)
        .u32(policy.slots.period_seconds)
        .u32(policy.minimum_firmware)
        .u32(policy.max_evidence_age_seconds)
        .u32(policy.clock_skew_seconds)
        .u8(len(roots))
    )
    for root in roots:
        writer.vec16(root)
    return writer.getvalue()


def parse_join_policy(data: bytes, measurements: Iterable[bytes]) -> Policy:
    """Read a join policy and complete it with the measurements it is for."""
    reader = Reader(data)
    expect_head(reader, JOIN_POLICY_HEAD, "a join policy")
    role, origin = read_name(reader, "role"), read_name(reader, "origin")
    t0, period_seconds = reader.u64("t0"), reader.u32("period_seconds")
    minimum_firmware = reader.u32("minimum_firmware")
    max_evidence_age_seconds = reader.u32("max_evidence_age_seconds")
    clock_skew_seconds = reader.u32("clock_skew_seconds")
    roots = [reader.vec16("root", MAX_ROOT) for _ in range(reader.u8("count of roots"))]
    reader.finish("join policy")
    if any(left >= right for left, right in pairwise(roots)):
        raise DecodeError("the roots of the join policy are not in ascending order")
    try:
        return Policy(
            role=role,
            origin=origin,
            slots=Slots(t0=t0, period_seconds=period_seconds),
            measurements=frozenset(measurements),
            simulated_roots=tuple(roots),
            max_evidence_age_seconds=max_evidence_age_seconds,
            minimum_firmware=minimum_firmware,
            clock_skew_seconds=clock_skew_seconds,
        )
    except ConfigError as exc:
        raise DecodeError(f"join {exc}") from exc


def verify_join_policy(theirs: Policy, ours: Policy) -> Policy:
    """Return the pool's join policy, if whoever passes it would pass ours too; raises `PolicyError` otherwise.

    Age and skew are not compared: a joiner's evidence holds a nonce of the member's, which dates it better.
    """
    if theirs.role != ours.role or theirs.origin != ours.origin:
        raise PolicyError("the pool lets in workers of another role or origin")
    if theirs.slots != ours.slots:
        raise PolicyError("the pool divides time into other slots")
    if not set(theirs.simulated_roots) <= set(ours.simulated_roots):
        raise PolicyError("the pool lets in workers under a root that is not pinned")
    if theirs.minimum_firmware < ours.minimum_firmware:
        raise PolicyError(
            f"the pool lets in firmware level {theirs.minimum_firmware}, and {ours.minimum_firmware} is the minimum"
        )
    return theirs
