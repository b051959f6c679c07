"""The epoch keys that this worker holds: born here, or taken over from a member of the pool.

An epoch's keys exist from one slot before their own to one slot after it. They encrypt in their slot only, which is
the device's rule; what a slow or fast clock sends early or late still opens. Then the keys are overwritten, whoever
still refers to them, and the replay set is dropped. A key that was born here leaves nothing behind. Of one that was
handed on or taken over, the interpreter made copies: they stay until something else is written there.

The host owns the clock. The ring goes by the latest time it was ever told, so a clock set back revives no key. With a
ledger in the policy, no key is born without fresh proofs: what the core binds of them is what dates it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

from inference.ledger import LedgerView
from inference.replay import MAX_ENTRIES, RETRY_SECONDS, ReplaySet
from seclude import hpke
from seclude.attestation.bundle import (
    Bundle,
    Core,
    birth_report_data,
    core_digest,
    serialize_bundle,
    serialize_core,
)
from seclude.attestation.joinpolicy import serialize_join_policy
from seclude.attestation.judge import open_evidence, require_accepted
from seclude.attestation.policy import Policy
from seclude.attestation.slots import KEY_IDS, NOT_BEGUN
from seclude.attestation.verify import TrustedPool
from seclude.errors import (
    BusyError,
    DecodeError,
    EvidenceError,
    PolicyError,
    UnknownKeyError,
    UpstreamError,
    UsageError,
    VerificationError,
)
from seclude.hpke import PrivateKey
from seclude.ohttp.encapsulation import HeldKey
from seclude.ohttp.keyconfig import KeyConfig, SymmetricAlgorithms, parse_key_configs, serialize_key_configs

ALGORITHMS: Final = (
    SymmetricAlgorithms(hpke.KDF_HKDF_SHA256, hpke.AEAD_AES_128_GCM),
    SymmetricAlgorithms(hpke.KDF_HKDF_SHA256, hpke.AEAD_CHACHA20_POLY1305),
)
MAX_GIVEN_UP: Final = 16  # cores of one epoch; a pool that splits does so once or twice, not seventeen times


class Attests(Protocol):
    """Whatever states what runs here: `attester.Attester`, which asks the platform."""

    async def attest(self, report_data: bytes) -> bytes:
        """Return evidence that binds 64 octets; raises `BusyError` or `UpstreamError` where there is none now."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class Epoch:
    """One epoch's keys, with the evidence for them and what they have opened."""

    number: int
    core_digest: bytes
    bundle: bytes
    keys: tuple[HeldKey, ...]
    replays: ReplaySet

    @property
    def key_ids(self) -> tuple[int, ...]:
        """The identifiers of the keys, in the order of the configurations."""
        return tuple(key.config.key_id for key in self.keys)

    def erase(self) -> None:
        """Overwrite the private keys; what was opened with them can still be answered."""
        for key in self.keys:
            key.private_key.erase()

    def __repr__(self) -> str:
        return "<Epoch>"


@dataclass(frozen=True, slots=True, repr=False)
class Taken:
    """What a joiner got from a member: a verified bundle, and the private keys that are said to be its."""

    pool: TrustedPool
    bundle: bytes
    private_keys: tuple[PrivateKey, ...]

    def __repr__(self) -> str:
        return "<Taken>"


class Keyring:
    """All epochs of one worker."""

    __slots__ = (
        "_attester",
        "_births",
        "_epochs",
        "_erased",
        "_given_up",
        "_join_policy",
        "_latest",
        "_replay_limit",
        "ledger",
        "measurement",
        "policy",
    )

    def __init__(
        self,
        policy: Policy,
        attester: Attests,
        measurement: bytes,
        *,
        replay_limit: int = MAX_ENTRIES,
        raise_floor: Callable[[float], None] = lambda _moment: None,
    ) -> None:
        """`raise_floor` is told the times that the ledger's witnesses vouch for, by whoever keeps the clock."""
        self.policy: Final = policy.for_measurement(measurement)
        """The pool's join policy: our own software, on the platforms that we accept."""
        self.measurement: Final = measurement
        """The digest of this worker's own manifest."""
        self.ledger: Final = LedgerView(self.policy, measurement, raise_floor)
        """What this worker knows of the ledger, for the births and the joins alike."""
        self._join_policy: Final = serialize_join_policy(self.policy)  # ConfigError where no core has room for it
        self._births = asyncio.Lock()  # evidence takes a while, and an epoch is born once
        self._attester = attester
        self._replay_limit = replay_limit
        self._epochs: dict[int, Epoch] = {}
        self._given_up: dict[int, set[bytes]] = {}
        self._latest = 0.0
        self._erased = False

    async def birth(self, epoch: int, now: float, proofs: bytes = b"") -> bytes:
        """Make the keys of the current slot or the next, and return the bundle; the same one for as long as it is held.

        Raises `VerificationError` for another slot, for proofs that do not pass, and for software that they do not
        release; `BusyError` before the first slot.
        """
        async with self._births:
            now = self.ledger.take(proofs, now)
            self.ledger.require_release(now)
            current = self._advance(now)
            if epoch not in self._epochs and not current <= epoch <= current + 1:
                raise PolicyError(f"epoch {epoch} cannot be born in the slot of epoch {current}")
            if epoch not in self._epochs:
                made = await self._make(epoch, now)
                if self._erased or epoch in self._epochs:  # meanwhile, perhaps taken over from another member
                    made.erase()
                    self._check_alive()
                else:
                    self._epochs[epoch] = made
            return self._epochs[epoch].bundle

    def install(self, taken: Sequence[Taken], now: float) -> None:
        """Take over the keys of verified bundles, all or none, if they are the keys that their cores name.

        Another core for the same epoch takes the place of the one held, so that a pool that split can become one
        again. A core that was given up never comes back: its replay set is gone.
        """
        current = self._advance(now)
        epochs = [self._take_over(each, current) for each in taken]
        for epoch in epochs:
            held = self._epochs.get(epoch.number)
            if held is not None and held.core_digest != epoch.core_digest:
                held.erase()
                self._given_up.setdefault(epoch.number, set()).add(held.core_digest)
            self._epochs[epoch.number] = epoch

    def keys(self, now: float) -> Mapping[int, HeldKey]:
        """Return what opens requests now, by key identifier."""
        self._advance(now)
        return MappingProxyType({key.config.key_id: key for epoch in self._epochs.values() for key in epoch.keys})

    def insert(self, key_id: int, enc: bytes) -> None:
        """Remember an opened request; raises `ReplayError`, `BusyError`, or `UnknownKeyError` if its key is gone."""
        self._check_alive()
        for epoch in self._epochs.values():
            if key_id in epoch.key_ids:
                epoch.replays.insert(enc)
                return
        raise UnknownKeyError("the key was erased while the request was on its way")

    def require_room(self, key_id: int) -> None:
        """Raise `BusyError` if a request under this key could not be remembered, before any work goes into it."""
        if any(epoch.replays.is_full for epoch in self._epochs.values() if key_id in epoch.key_ids):
            raise BusyError("this epoch has opened all the requests it may", retry_after_seconds=RETRY_SECONDS)

    def bundle(self, epoch: int) -> bytes:
        """Return the bundle of an epoch that is held; raises `UnknownKeyError`."""
        self._check_alive()
        if epoch not in self._epochs:
            raise UnknownKeyError(f"epoch {epoch} is not held")
        return self._epochs[epoch].bundle

    def epochs(self) -> tuple[Epoch, ...]:
        """Return the epochs that are held, oldest first, the expired ones too until `erase_expired`."""
        self._check_alive()
        return tuple(self._epochs[number] for number in sorted(self._epochs))

    def erase_expired(self, now: float) -> tuple[int, ...]:
        """Erase the epochs whose last slot to open in has passed; return their numbers."""
        before = set(self._epochs)
        self._advance(now)
        return tuple(sorted(before - set(self._epochs)))

    def erase(self) -> None:
        """Erase everything for good; from now on every other call raises `UsageError`."""
        self._erased = True
        for epoch in self._epochs.values():
            epoch.erase()
        self._epochs.clear()
        self._given_up.clear()

    def __repr__(self) -> str:
        return "<Keyring>"

    def _check_alive(self) -> None:
        if self._erased:
            raise UsageError("the keyring was erased")

    def _advance(self, now: float) -> int:
        """Move to the latest time known, erase what expired on the way, and return the current epoch."""
        self._check_alive()
        self._latest = max(self._latest, now)
        if not self.policy.slots.have_begun(self._latest):
            raise BusyError(NOT_BEGUN)
        current = self.policy.slots.epoch_at(self._latest)
        for number in [number for number in self._epochs if number < current - 1]:
            self._epochs.pop(number).erase()
        self._given_up = {number: cores for number, cores in self._given_up.items() if number >= current - 1}
        return current

    def _take_over(self, taken: Taken, current: int) -> Epoch:
        """Return the epoch as it will be held; where its core is held already, that one with its replay set."""
        pool = taken.pool
        if not current - 1 <= pool.epoch <= current + 1:
            raise PolicyError(f"epoch {pool.epoch} is not alive in the slot of epoch {current}")
        keys = _match(pool.core, taken.private_keys)
        held = self._epochs.get(pool.epoch)
        if held is not None and held.core_digest == pool.core_digest:
            return held
        given_up = self._given_up.get(pool.epoch, set())
        if pool.core_digest in given_up or len(given_up) >= MAX_GIVEN_UP:
            raise PolicyError(f"this core of epoch {pool.epoch} was given up here, or too many were")
        return Epoch(pool.epoch, pool.core_digest, taken.bundle, keys, ReplaySet(self._replay_limit))

    def _check_own(self, evidence: bytes, report_data: bytes, now: float) -> None:
        """Refuse evidence that no device would believe: what is logged for a slot, or published, stays there."""
        policy = self.ledger.policy(now)
        try:
            require_accepted(open_evidence(evidence, policy, report_data, now).reports, policy)
        except (DecodeError, VerificationError) as exc:
            raise UpstreamError(f"the platform gave evidence that nobody would believe: {exc}") from exc

    async def _make(self, epoch: int, now: float) -> Epoch:
        keys = tuple(_generate(kem, key_id(epoch)) for kem, key_id in KEY_IDS.items())
        core = serialize_core(
            Core(
                role=self.policy.role,
                origin=self.policy.origin,
                epoch=epoch,
                key_configs=serialize_key_configs([key.config for key in keys]),
                manifest_digest=self.measurement,
                join_policy=self._join_policy,
                checkpoint=self.ledger.checkpoint(now),
            )
        )
        try:
            evidence = await self._attester.attest(birth_report_data(core))
            self._check_own(evidence, birth_report_data(core), now)
        except BaseException:
            for key in keys:
                key.private_key.erase()
            raise
        bundle = serialize_bundle(Bundle(core, evidence))
        return Epoch(epoch, core_digest(core), bundle, keys, ReplaySet(self._replay_limit))


def _generate(kem: int, key_id: int) -> HeldKey:
    private_key = PrivateKey.generate(kem)
    return HeldKey(KeyConfig(key_id, kem, private_key.public_key, ALGORITHMS), private_key)


def _match(core: Core, private_keys: Sequence[PrivateKey]) -> tuple[HeldKey, ...]:
    """Pair private keys with the configurations of a core; each public key is computed again, none believed."""
    configs = parse_key_configs(core.key_configs)
    if serialize_key_configs(configs) != core.key_configs or len(configs) != len(private_keys):
        raise EvidenceError("the keys are not as many as the core names")
    for config, key in zip(configs, private_keys, strict=True):
        if config.kem != key.kem or config.public_key != key.public_key:
            raise EvidenceError("a private key does not belong to the core")
    return tuple(HeldKey(config, key) for config, key in zip(configs, private_keys, strict=True))
