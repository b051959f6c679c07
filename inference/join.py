"""How a worker comes to hold the keys of a pool: four messages, which the gateway carries and cannot use.

    1. member -> joiner   nonce: used once, for half a minute
    2. joiner -> member   head, nonce 32, one_time_key 1216, evidence vec32: it binds both, role, origin and manifest
    3. member -> joiner   head, nonce 32, count u8, bundles vec32, enc 1120, sealed vec16: private keys for one_time_key
    4. joiner: every bundle verified and every public key computed again before the first key is used

The member lets in its own measurement exactly, under the roots of its measured configuration and, with a ledger, on the
machines that the newest snapshot names. The ledger's proofs come beside the third message. An epoch that they do not
show is left out: its keys are not logged yet, or never will be, and must not keep the others from whoever joins. So is
one that is about to expire anyway, whose checkpoint was a little older than the key and is now too old.

HPKE's `info` binds the nonce, the one-time key and the hash of every core, its `aad` the bundles as sent. The one-time
key is of X-Wing, for what it protects opens all that the X-Wing keys of an epoch do.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from inference.keyring import Attests, Epoch, Keyring, Taken
from seclude import hpke
from seclude.attestation.bundle import (
    MAX_BUNDLE,
    MAX_EPOCHS,
    MAX_EVIDENCE,
    core_digest,
    expect_head,
    join_report_data,
    parse_bundle,
    parse_core,
    serialize_bundle,
)
from seclude.attestation.judge import TrustedEvidence, verify_evidence
from seclude.attestation.slots import KEY_IDS
from seclude.attestation.verify import TrustedPool, verify_bundle
from seclude.errors import BusyError, DecodeError, EvidenceError, PolicyError, ReplayError, VerificationError
from seclude.hpke import PrivateKey, Suite
from seclude.wire import Reader, Writer

REQUEST_HEAD: Final = b"SECLUDE-JOIN-REQUEST\x01"
KEYS_HEAD: Final = b"SECLUDE-JOIN-KEYS\x01"
INFO_LABEL: Final = b"seclude join keys v1\x00"
SUITE: Final = Suite(hpke.KEM_XWING, hpke.KDF_HKDF_SHA256, hpke.AEAD_CHACHA20_POLY1305)

NONCE_BYTES: Final = 32
ONE_TIME_KEY_BYTES: Final = SUITE.npk
NONCE_SECONDS: Final = 30.0  # two round trips through the gateway take well under a second
MAX_NONCES: Final = 64  # joins under way at one member; more workers than that do not start at once
MAX_PENDING: Final = 8  # joins under way at one joiner: each gateway of the pool carries one, and there are few
MAX_SEALED: Final = 4096  # octets; three epochs of an X25519 and an X-Wing key take 230
LEFT_OUT: Final = (7, 14, 16)  # of `verify_bundle`: evidence, or the core, is no longer fresh; it is not what is logged
MAX_JOIN_REQUEST: Final = len(REQUEST_HEAD) + NONCE_BYTES + ONE_TIME_KEY_BYTES + 4 + MAX_EVIDENCE
MAX_JOIN_KEYS: Final = len(KEYS_HEAD) + NONCE_BYTES + 1 + MAX_EPOCHS * (4 + MAX_BUNDLE) + SUITE.nenc + 2 + MAX_SEALED


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """The second message, not verified."""

    nonce: bytes
    one_time_key: bytes
    evidence: bytes


@dataclass(frozen=True, slots=True)
class JoinKeys:
    """The third message, not opened."""

    nonce: bytes
    """Which of its requests this answers."""
    bundles: tuple[bytes, ...]
    enc: bytes
    sealed: bytes


def serialize_join_request(request: JoinRequest) -> bytes:
    """Return the encoding of the second message."""
    head = Writer().raw(REQUEST_HEAD).raw(request.nonce).raw(request.one_time_key)
    return head.vec32(request.evidence).getvalue()


def parse_join_request(data: bytes) -> JoinRequest:
    """Read the second message."""
    reader = Reader(data)
    expect_head(reader, REQUEST_HEAD, "a join request")
    request = JoinRequest(
        nonce=reader.take(NONCE_BYTES, "nonce"),
        one_time_key=reader.take(ONE_TIME_KEY_BYTES, "one_time_key"),
        evidence=reader.vec32("evidence", MAX_EVIDENCE),
    )
    reader.finish("join request")
    return request


def serialize_join_keys(keys: JoinKeys) -> bytes:
    """Return the encoding of the third message."""
    return Writer().raw(_head_of(keys.nonce, keys.bundles)).raw(keys.enc).vec16(keys.sealed).getvalue()


def parse_join_keys(data: bytes) -> JoinKeys:
    """Read the third message."""
    reader = Reader(data)
    expect_head(reader, KEYS_HEAD, "join keys")
    nonce = reader.take(NONCE_BYTES, "nonce")
    count = reader.u8("count of bundles")
    if not 0 < count <= MAX_EPOCHS:
        raise DecodeError(f"join keys for {count} epochs, of 1 to {MAX_EPOCHS}")
    keys = JoinKeys(
        nonce=nonce,
        bundles=tuple(reader.vec32("bundle", MAX_BUNDLE) for _ in range(count)),
        enc=reader.take(SUITE.nenc, "enc"),
        sealed=reader.vec16("sealed", MAX_SEALED),
    )
    reader.finish("join keys")
    return keys


class Member:
    """The side that holds keys and decides who gets them."""

    __slots__ = ("_keyring", "_nonces")

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._nonces: dict[bytes, float] = {}

    def nonce(self, now: float) -> bytes:
        """Return a fresh nonce, good for one join; raises `BusyError` while too many are out."""
        self._nonces = {nonce: expires for nonce, expires in self._nonces.items() if now < expires}
        if len(self._nonces) >= MAX_NONCES:
            raise BusyError("too many workers are joining")
        nonce = secrets.token_bytes(NONCE_BYTES)
        self._nonces[nonce] = now + NONCE_SECONDS
        return nonce

    def admit(self, join_request: bytes, now: float) -> bytes:
        """Return every live key, sealed to a worker that proves to be the same software as this one.

        The nonce is used up by the attempt, whatever becomes of it. Raises `DecodeError`, `ReplayError`,
        `VerificationError`, or `BusyError` while there is no key to share or the ledger was not seen for too long.
        """
        request = parse_join_request(join_request)
        expires = self._nonces.pop(request.nonce, None)
        if expires is None or now >= expires:
            raise ReplayError("the nonce is not ours, was used or has expired")
        self._verify(request, now)
        self._keyring.erase_expired(now)
        epochs = self._keyring.epochs()
        if not epochs:
            raise BusyError("there is no epoch to share yet")
        return _seal(epochs, request)

    def _verify(self, request: JoinRequest, now: float) -> TrustedEvidence:
        policy, own = self._keyring.policy, self._keyring.measurement
        bound = join_report_data(request.nonce, request.one_time_key, policy.role, policy.origin, own)
        return verify_evidence(request.evidence, self._keyring.ledger.policy(now), bound, now)


@dataclass(frozen=True, slots=True, repr=False)
class _Pending:
    """A join request that was sent: the one-time key it asks to be answered with, and until when."""

    one_time_key: PrivateKey
    expires: float


class Joiner:
    """The side that asks for keys."""

    __slots__ = ("_attester", "_keyring", "_pending")

    def __init__(self, keyring: Keyring, attester: Attests) -> None:
        self._keyring = keyring
        self._attester = attester
        self._pending: dict[bytes, _Pending] = {}  # by nonce, in order of request

    async def request(self, nonce: bytes, now: float) -> bytes:
        """Return a join request for a member's nonce; of too many that were not answered the oldest is given up."""
        if len(nonce) != NONCE_BYTES:
            raise DecodeError(f"the nonce has {len(nonce)} octets, not {NONCE_BYTES}")
        key = PrivateKey.generate(SUITE.kem)
        policy = self._keyring.policy
        bound = join_report_data(nonce, key.public_key, policy.role, policy.origin, self._keyring.measurement)
        try:
            evidence = await self._attester.attest(bound)
        except BaseException:
            key.erase()
            raise
        self.erase_expired(now)
        self._drop(nonce)  # that a nonce comes twice is the gateway's doing
        if len(self._pending) >= MAX_PENDING:
            self._drop(next(iter(self._pending)))
        self._pending[nonce] = _Pending(key, now + NONCE_SECONDS)
        return serialize_join_request(JoinRequest(nonce, key.public_key, evidence))

    def erase_expired(self, now: float) -> None:
        """Erase the one-time keys of joins that took too long: what was sealed to them may have been kept."""
        for nonce in [nonce for nonce, pending in self._pending.items() if now >= pending.expires]:
            self._drop(nonce)

    def erase(self) -> None:
        """Erase every one-time key."""
        for nonce in list(self._pending):
            self._drop(nonce)

    def _drop(self, nonce: bytes) -> None:
        pending = self._pending.pop(nonce, None)
        if pending is not None:
            pending.one_time_key.erase()

    def accept(self, join_keys: bytes, now: float, proofs: bytes = b"") -> tuple[int, ...]:
        """Install the keys of the third message, all that may be or none, and return their epochs.

        Where the policy names a ledger, these are the epochs that `proofs` show. The one-time key is used up by the
        attempt, whatever becomes of it. Raises `ReplayError` where no join is under way, `DecodeError`, `OpenError` or
        `VerificationError`.
        """
        message = parse_join_keys(join_keys)
        pending = self._pending.pop(message.nonce, None)
        if pending is None:
            raise ReplayError("no such join is under way here, or it took too long")
        try:
            if now >= pending.expires:
                raise ReplayError("no such join is under way here, or it took too long")
            now = self._keyring.ledger.take(proofs, now)
            pools = self._verify(message.bundles, proofs, now)
            private_keys = _open(message, pending)
        finally:
            pending.one_time_key.erase()
        taken = []
        for pool, bundle, keys in zip(pools, message.bundles, private_keys, strict=True):
            if pool is None:
                for key in keys:
                    key.erase()
            else:
                taken.append(Taken(pool, bundle, keys))
        try:
            self._keyring.install(taken, now)
        except BaseException:
            for key in (key for each in taken for key in each.private_keys):
                key.erase()
            raise
        return tuple(each.pool.epoch for each in taken)

    def _verify(self, bundles: Sequence[bytes], proofs: bytes, now: float) -> list[TrustedPool | None]:
        """Return the pool of each bundle, None for keys that are left out; one at least must not be."""
        policy, known = self._keyring.policy, self._keyring.ledger.known
        pools: list[TrustedPool | None] = []
        before, left_out = -1, None
        for bundle in bundles:
            parsed = parse_bundle(bundle)
            if parsed.proofs:  # it would be handed on with them
                raise EvidenceError("a bundle of the join keys holds proofs of its own", step=1)
            epoch = parse_core(parsed.core).epoch
            if epoch <= before:
                raise PolicyError("the epochs of the join keys are not in ascending order")
            before = epoch
            stapled = serialize_bundle(replace(parsed, proofs=proofs))
            try:
                pools.append(verify_bundle(stapled, policy, now, {}, known=known, neighbours=True))
            except VerificationError as exc:
                if exc.step not in LEFT_OUT:
                    raise
                left_out = exc
                pools.append(None)
        if left_out is not None and all(pool is None for pool in pools):
            raise left_out
        return pools


def _seal(epochs: Sequence[Epoch], request: JoinRequest) -> bytes:
    plaintext = Writer()
    for epoch in epochs:
        plaintext.u8(len(epoch.keys))
        for key in epoch.keys:
            plaintext.u16(key.config.kem).vec8(key.private_key.private_bytes())
    bundles = tuple(epoch.bundle for epoch in epochs)
    info = _info(request.nonce, request.one_time_key, [epoch.core_digest for epoch in epochs])
    enc, context = hpke.setup_sender(SUITE, request.one_time_key, info)
    sealed = context.seal(_head_of(request.nonce, bundles), plaintext.getvalue())
    return serialize_join_keys(JoinKeys(request.nonce, bundles, enc, sealed))


def _open(message: JoinKeys, pending: _Pending) -> list[tuple[PrivateKey, ...]]:
    """Return the private keys for each bundle; whether they are its core's is for the keyring to say."""
    digests = [core_digest(parse_bundle(bundle).core) for bundle in message.bundles]
    info = _info(message.nonce, pending.one_time_key.public_key, digests)
    context = hpke.setup_recipient(SUITE, pending.one_time_key, message.enc, info)
    reader = Reader(context.open(_head_of(message.nonce, message.bundles), message.sealed))
    keys = [tuple(_read_key(reader) for _ in range(reader.u8("count of keys"))) for _ in message.bundles]
    reader.finish("private keys")
    return keys


def _read_key(reader: Reader) -> PrivateKey:
    kem, secret = reader.u16("kem"), reader.vec8("private key")
    if kem not in KEY_IDS:
        raise DecodeError(f"a private key is for kem {kem:#06x}, which is not used here")
    return PrivateKey.from_bytes(kem, secret)


def _info(nonce: bytes, one_time_key: bytes, core_digests: Sequence[bytes]) -> bytes:
    return INFO_LABEL + Writer().vec8(nonce).vec16(one_time_key).vec16(b"".join(core_digests)).getvalue()


def _head_of(nonce: bytes, bundles: Sequence[bytes]) -> bytes:
    """Return the part of the third message that is in the clear, up to the last bundle."""
    head = Writer().raw(KEYS_HEAD).raw(nonce).u8(len(bundles))
    for bundle in bundles:
        head.vec32(bundle)
    return head.getvalue()
