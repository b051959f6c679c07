"""Encapsulating requests and responses (RFC 9458, sections 4.3 and 4.4), and what the chunked form shares with that.

An opener of the response exists only where a request was encapsulated, and a sealer only where one was decapsulated.
Each works once. What the messages say (RFC 9292) is not looked at here.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from seclude import hpke
from seclude.errors import DecodeError, OpenError, UnknownKeyError, UsageError
from seclude.hpke import PrivateKey, RecipientContext, SenderContext, Suite
from seclude.ohttp.keyconfig import (
    REQUEST_HEADER_LENGTH,
    KeyConfig,
    RequestHeader,
    SymmetricAlgorithms,
    parse_request_header,
    serialize_request_header,
)
from seclude.ohttp.media import REQUEST_LABEL, RESPONSE_LABEL
from seclude.wire import Reader


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A private key and the configuration that was published for it; UsageError where they do not belong together."""

    config: KeyConfig
    private_key: PrivateKey
    suites: Mapping[bytes, Suite] = field(init=False, repr=False, compare=False)
    """What the key offers, by the octets with which a request's header names it: all that follow the key identifier."""

    def __post_init__(self) -> None:
        if (self.config.kem, self.config.public_key) != (self.private_key.kem, self.private_key.public_key):
            raise UsageError("the key configuration is for another private key")
        suites = {}
        for pair in self.config.algorithms:
            header = RequestHeader(self.config.key_id, self.config.kem, pair.kdf, pair.aead)
            suites[serialize_request_header(header)[1:]] = Suite(header.kem, header.kdf, header.aead)
        object.__setattr__(self, "suites", MappingProxyType(suites))


@dataclass(frozen=True, slots=True)
class Labels:
    """What keeps one format of messages apart from another (RFC 9458, section 4.6)."""

    request: bytes
    response: bytes


WHOLE: Final = Labels(REQUEST_LABEL, RESPONSE_LABEL)


@dataclass(frozen=True, slots=True, repr=False)
class ResponseSecret:
    """What both ends keep of a request to protect its one response."""

    suite: Suite
    enc: bytes
    secret: bytes

    @property
    def nonce_length(self) -> int:
        """Octets of the nonce that begins the response."""
        return len(self.secret)

    def derive(self, response_nonce: bytes) -> tuple[bytes, bytes]:
        """Return the AEAD key and nonce of the response (steps 3 to 5 of section 4.4)."""
        prk = hpke.extract(self.enc + response_nonce, self.secret)
        return hpke.expand(prk, b"key", self.suite.nk), hpke.expand(prk, b"nonce", self.suite.nn)


class ResponseOpener(hpke.Unique):
    """The device's right to open one response; only `encapsulate_request` makes one."""

    __slots__ = ("_secret",)

    def __init__(self, secret: ResponseSecret) -> None:
        self._secret: ResponseSecret | None = secret

    def open(self, encapsulated: bytes) -> bytes:
        """Return the response; a failure uses the opener up as success does."""
        if self._secret is None:
            raise UsageError("a response was already opened with this opener")
        secret, self._secret = self._secret, None
        reader = Reader(encapsulated)
        response_nonce = reader.take(secret.nonce_length, "response nonce")
        key, nonce = secret.derive(response_nonce)
        return hpke.aead_open(secret.suite, key, nonce, b"", reader.rest())


class ResponseSealer(hpke.Unique):
    """The worker's right to seal one response; only `decapsulate` makes one."""

    __slots__ = ("_secret",)

    def __init__(self, secret: ResponseSecret) -> None:
        self._secret: ResponseSecret | None = secret

    def seal(self, message: bytes, *, testing_only_nonce: bytes | None = None) -> bytes:
        """Return the encapsulated response."""
        if self._secret is None:
            raise UsageError("a response was already sealed with this sealer")
        secret, self._secret = self._secret, None
        response_nonce = new_response_nonce(secret, testing_only_nonce)
        key, nonce = secret.derive(response_nonce)
        return response_nonce + hpke.aead_seal(secret.suite, key, nonce, b"", message)


@dataclass(frozen=True, slots=True, repr=False)
class OpenedRequest:
    """A request that authenticated, and the means to answer it."""

    message: bytes
    enc: bytes
    """Unique to the request: a second one with the same key identifier is a replay (RFC 9458, section 6.5)."""
    key_id: int
    sealer: ResponseSealer


def encapsulate_request(
    config: KeyConfig,
    message: bytes,
    *,
    kdf: int = hpke.KDF_HKDF_SHA256,
    aead: int = hpke.AEAD_AES_128_GCM,
    testing_only_ephemeral: PrivateKey | None = None,
) -> tuple[bytes, ResponseOpener]:
    """Encapsulate a request to a key that the caller trusts, in a new HPKE context each time.

    Raises UsageError where the configuration does not offer the algorithms, DecodeError where its key is unusable.
    """
    prefix, context, secret = start_request(config, WHOLE, kdf, aead, testing_only_ephemeral)
    return prefix + context.seal(b"", message), ResponseOpener(secret)


def decapsulate(data: bytes, keys: Mapping[int, HeldKey]) -> OpenedRequest:
    """Open an encapsulated request with the key, by its identifier, that it names.

    Raises UnknownKeyError where the key is not held, DecodeError where the request is cut short or names another KEM
    than the key's, OpenError where it names algorithms that the key does not offer or does not authenticate.
    """
    reader = Reader(data)
    header = reader.take(REQUEST_HEADER_LENGTH, "header")
    held, suite = find_key(header, keys)
    enc = reader.take(suite.nenc, "enc")
    if reader.remaining < hpke.TAG_LENGTH:
        raise DecodeError(f"truncated in ciphertext: {reader.remaining} of at least {hpke.TAG_LENGTH}")
    context = hpke.setup_recipient(suite, held.private_key, enc, _info(WHOLE, header))
    message = context.open(b"", reader.rest())
    return OpenedRequest(message, enc, header[0], ResponseSealer(response_secret(WHOLE, suite, enc, context)))


def start_request(
    config: KeyConfig, labels: Labels, kdf: int, aead: int, testing_only_ephemeral: PrivateKey | None = None
) -> tuple[bytes, SenderContext, ResponseSecret]:
    """Return what every encapsulated request begins with, and the means to seal it and to open its response."""
    if SymmetricAlgorithms(kdf, aead) not in config.algorithms:
        raise UsageError("the key configuration does not offer these algorithms")
    header = serialize_request_header(RequestHeader(config.key_id, config.kem, kdf, aead))
    suite = _suite(config.kem, kdf, aead)
    enc, context = hpke.setup_sender(
        suite, config.public_key, _info(labels, header), testing_only_ephemeral=testing_only_ephemeral
    )
    return header + enc, context, response_secret(labels, suite, enc, context)


def find_key(header: bytes, keys: Mapping[int, HeldKey]) -> tuple[HeldKey, Suite]:
    """Return the key and the suite that a request's header names; raises as `decapsulate` does."""
    held = keys.get(header[0])
    if held is None or held.private_key.erased:  # in time, or while the request was on its way
        raise UnknownKeyError("key identifier unknown")
    suite = held.suites.get(header[1:])
    if suite is None:
        if parse_request_header(header).kem != held.config.kem:
            raise DecodeError("kem_id is not that of the key")
        raise OpenError(hpke.OPEN_FAILED)
    return held, suite


def accept_request(
    held: HeldKey, suite: Suite, labels: Labels, header: bytes, enc: bytes
) -> tuple[RecipientContext, ResponseSecret]:
    """Return the means to open a request of several messages and to seal its response; nothing is authentic yet."""
    context = hpke.setup_recipient(suite, held.private_key, enc, _info(labels, header))
    return context, response_secret(labels, suite, enc, context)


def response_secret(
    labels: Labels, suite: Suite, enc: bytes, context: SenderContext | RecipientContext
) -> ResponseSecret:
    """Return what protects the response to a request (steps 1 and 2 of section 4.4)."""
    return ResponseSecret(suite, enc, context.export(labels.response, max(suite.nn, suite.nk)))


def new_response_nonce(secret: ResponseSecret, testing_only_nonce: bytes | None) -> bytes:
    """Return what a response begins with."""
    if testing_only_nonce is None:
        return secrets.token_bytes(secret.nonce_length)
    if len(testing_only_nonce) != secret.nonce_length:
        raise UsageError("response nonce has a wrong length")
    return testing_only_nonce


def _info(labels: Labels, header: bytes) -> bytes:
    return labels.request + b"\0" + header


_suite = lru_cache(maxsize=8)(Suite)  # one for each combination that Suite accepts, and those are few
