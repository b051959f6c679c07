"""Chunked Oblivious HTTP: requests and responses sealed and opened piece by piece (draft-ietf-ohai-chunked-ohttp-08).

    request  = header 7 | enc | (length varint | sealed)* | 0 varint | final sealed, to the end of the stream
    response = nonce | the same chunks

What was opened of a message is authentic, and still may be cut short: only `finish`, which opens the final chunk, says
that it is whole (section 7.1). An opener that has failed once is of no more use. Bytes in, values out.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from seclude import hpke
from seclude.errors import DecodeError, TooLargeError, UsageError
from seclude.ohttp.encapsulation import (
    HeldKey,
    Labels,
    ResponseSecret,
    accept_request,
    find_key,
    new_response_nonce,
    start_request,
)
from seclude.ohttp.keyconfig import REQUEST_HEADER_LENGTH, KeyConfig
from seclude.ohttp.media import CHUNKED_REQUEST_LABEL, CHUNKED_RESPONSE_LABEL
from seclude.wire import Reader, Writer

MAX_CHUNK: Final = 1 << 14  # octets of a chunk before it is sealed: what everyone must take (section 3)
MAX_SEALED: Final = MAX_CHUNK + hpke.TAG_LENGTH
MAX_MESSAGE: Final = 1 << 30  # octets of one message, for which AES-128-GCM is good a million times (section 7.3)
FINAL: Final = b"final"  # the AAD of the last chunk, so that no other passes for it (section 6.1)
CHUNKED: Final = Labels(CHUNKED_REQUEST_LABEL, CHUNKED_RESPONSE_LABEL)

T = TypeVar("T")


class _Sealer(hpke.Unique):
    """Sends one message in chunks, after what it begins with."""

    __slots__ = ("_chunks", "_prefix")

    def __init__(self, prefix: bytes, seal: Callable[[bytes, bytes], bytes]) -> None:
        self._prefix = prefix
        self._chunks = _Sealing(seal)

    def seal(self, piece: bytes) -> bytes:
        """Return the octets that carry a piece of the message; it must not be empty."""
        return self._after_prefix(self._chunks.seal(piece))

    def finish(self, piece: bytes = b"") -> bytes:
        """Return the octets that carry the last piece and end the message."""
        return self._after_prefix(self._chunks.finish(piece))

    def _after_prefix(self, chunk: bytes) -> bytes:
        prefix, self._prefix = self._prefix, b""
        return prefix + chunk


class RequestSealer(_Sealer):
    """The device's right to send one request in chunks; only `encapsulate_chunked` makes one."""

    __slots__ = ()


class ResponseSealer(_Sealer):
    """The worker's right to send one response in chunks; only a `RequestOpener` gives one."""

    __slots__ = ()


class ResponseOpener(hpke.Unique):
    """The device's right to open one response; only `encapsulate_chunked` makes one."""

    __slots__ = ("_chunks", "_nonce", "_secret")

    def __init__(self, secret: ResponseSecret) -> None:
        self._secret = secret
        self._nonce = b""
        self._chunks: _Opening | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """Return the pieces that `data` completes, in order; raises DecodeError or OpenError, and then for good."""
        if self._chunks is None:
            self._nonce += data
            length = self._secret.nonce_length
            if len(self._nonce) < length:
                return []
            self._nonce, data = self._nonce[:length], self._nonce[length:]
            self._chunks = _Opening(_ResponseCipher(self._secret, self._nonce).open)
        return self._chunks.feed(data)

    def finish(self) -> bytes:
        """Return the last piece: the stream has ended here, and the message is whole."""
        if self._chunks is None:
            raise DecodeError("truncated in response nonce")
        return self._chunks.finish()


class RequestOpener(hpke.Unique):
    """Opens one request as it comes, with the key that it names."""

    __slots__ = ("_chunks", "_keys", "_prefix", "_secret", "enc", "key_id")

    def __init__(self, keys: Mapping[int, HeldKey]) -> None:
        self._keys: Mapping[int, HeldKey] | None = keys
        self._prefix = b""
        self._chunks: _Opening | None = None
        self._secret: ResponseSecret | None = None
        self.enc = b""
        """Unique to the request, once its beginning was read; authentic once a piece came out."""
        self.key_id = -1

    def feed(self, data: bytes) -> list[bytes]:
        """Return the pieces that `data` completes, in order; raises as `decapsulate` does, and then for good."""
        if self._chunks is None:
            data = self._begin(data)
            if self._chunks is None:
                return []
        return self._chunks.feed(data)

    def finish(self) -> bytes:
        """Return the last piece: the stream has ended here, and the message is whole."""
        if self._chunks is None:
            raise DecodeError("truncated before the first chunk")
        return self._chunks.finish()

    @property
    def authentic(self) -> bool:
        """Whether a chunk has opened: from then on the request counts, and errors are sealed to its sender."""
        return self._chunks is not None and self._chunks.opened

    def sealer(self, *, testing_only_nonce: bytes | None = None) -> ResponseSealer:
        """Return the one sealer of the response, once a chunk has opened."""
        if self._secret is None or not self.authentic:
            raise UsageError("nothing has opened yet, or the sealer was given out")
        secret, self._secret = self._secret, None
        nonce = new_response_nonce(secret, testing_only_nonce)
        return ResponseSealer(nonce, _ResponseCipher(secret, nonce).seal)

    def _begin(self, data: bytes) -> bytes:
        """Take the header and `enc`; return what follows them."""
        if self._keys is None:
            raise UsageError("this opener has failed")
        data = self._prefix + data
        keys, self._keys = self._keys, None  # until nothing was found wrong
        if len(data) >= REQUEST_HEADER_LENGTH:
            reader = Reader(data)
            header = reader.take(REQUEST_HEADER_LENGTH, "header")
            held, suite = find_key(header, keys)
            if reader.remaining >= suite.nenc:
                self.enc, self.key_id = reader.take(suite.nenc, "enc"), header[0]
                context, self._secret = accept_request(held, suite, CHUNKED, header, self.enc)
                self._prefix = b""
                self._chunks = _Opening(context.open)
                return reader.rest()
        self._prefix, self._keys = data, keys
        return b""


def encapsulate_chunked(
    config: KeyConfig,
    *,
    kdf: int = hpke.KDF_HKDF_SHA256,
    aead: int = hpke.AEAD_AES_128_GCM,
    testing_only_ephemeral: hpke.PrivateKey | None = None,
) -> tuple[RequestSealer, ResponseOpener]:
    """Begin a request to a key that the caller trusts, in a new HPKE context each time.

    Raises UsageError where the configuration does not offer the algorithms, DecodeError where its key is unusable.
    """
    prefix, context, secret = start_request(config, CHUNKED, kdf, aead, testing_only_ephemeral)
    return RequestSealer(prefix, context.seal), ResponseOpener(secret)


class _Sealing:
    """Chunks on their way out."""

    __slots__ = ("_left", "_seal")

    def __init__(self, seal: Callable[[bytes, bytes], bytes]) -> None:
        self._seal: Callable[[bytes, bytes], bytes] | None = seal
        self._left = MAX_MESSAGE

    def seal(self, piece: bytes) -> bytes:
        if not piece:
            raise UsageError("a chunk that is not the last must not be empty")  # section 6
        sealed = self._next(piece)(b"", piece)
        return Writer().varvec(sealed).getvalue()

    def finish(self, piece: bytes) -> bytes:
        seal, self._seal = self._next(piece), None
        return Writer().varint(0).raw(seal(FINAL, piece)).getvalue()

    def _next(self, piece: bytes) -> Callable[[bytes, bytes], bytes]:
        if self._seal is None:
            raise UsageError("the message has ended")
        if len(piece) > MAX_CHUNK:
            raise UsageError(f"a chunk of {len(piece)} octets, limit {MAX_CHUNK}")
        self._left -= len(piece)
        if self._left < 0:
            raise TooLargeError(f"a message of more than {MAX_MESSAGE} octets")
        return self._seal


class _Opening:
    """Chunks as they come; no more than one that is not whole is kept."""

    __slots__ = ("_held", "_in_last", "_left", "_open", "opened")

    def __init__(self, open_next: Callable[[bytes, bytes], bytes]) -> None:
        self._open: Callable[[bytes, bytes], bytes] | None = open_next
        self._held = b""
        self._in_last = False
        self._left = MAX_MESSAGE
        self.opened = False
        """Whether any chunk was authentic."""

    def feed(self, data: bytes) -> list[bytes]:
        return self._once(lambda opening: self._take(opening, data))

    def finish(self) -> bytes:
        def last(opening: Callable[[bytes, bytes], bytes]) -> bytes:
            if not self._in_last:
                raise DecodeError("truncated before the final chunk")
            return self._opened(opening(FINAL, self._held))

        piece = self._once(last)
        self._open, self._held = None, b""
        return piece

    def _once(self, act: Callable[[Callable[[bytes, bytes], bytes]], T]) -> T:
        """Act, unless it has failed before or the message has ended."""
        opening, self._open = self._open, None
        if opening is None:
            raise UsageError("the message has ended, or an opener that failed was used again")
        result = act(opening)
        self._open = opening
        return result

    def _take(self, opening: Callable[[bytes, bytes], bytes], data: bytes) -> list[bytes]:
        reader = Reader(self._held + data if self._held else data)
        pieces: list[bytes] = []
        held = 0
        while not self._in_last:
            held = reader.offset
            length = _chunk_length(reader)
            if length is None:
                break
            if length == 0:
                self._in_last = True
                held = reader.offset
            elif length > MAX_SEALED:
                raise TooLargeError(f"a chunk of {length} octets, limit {MAX_SEALED}")
            elif length <= hpke.TAG_LENGTH:
                raise DecodeError("a chunk that is not the last is empty")
            elif reader.remaining < length:
                break
            else:
                pieces.append(self._opened(opening(b"", reader.take(length, "chunk"))))
                held = reader.offset
        self._held = reader.data[held:]
        if self._in_last and len(self._held) > MAX_SEALED:
            raise TooLargeError(f"a final chunk of more than {MAX_SEALED} octets")
        return pieces

    def _opened(self, piece: bytes) -> bytes:
        self.opened = True
        self._left -= len(piece)
        if self._left < 0:
            raise TooLargeError(f"a message of more than {MAX_MESSAGE} octets")
        return piece


class _ResponseCipher:
    """The AEAD of one response, whose nonce counts the chunks (section 6.2)."""

    __slots__ = ("_counter", "_key", "_nonce", "_suite")

    def __init__(self, secret: ResponseSecret, response_nonce: bytes) -> None:
        self._suite = secret.suite
        self._key, nonce = secret.derive(response_nonce)
        self._nonce = int.from_bytes(nonce)
        self._counter = 0

    def seal(self, aad: bytes, piece: bytes) -> bytes:
        return hpke.aead_seal(self._suite, self._key, self._next(), aad, piece)

    def open(self, aad: bytes, sealed: bytes) -> bytes:
        return hpke.aead_open(self._suite, self._key, self._next(), aad, sealed)

    def _next(self) -> bytes:
        # MAX_MESSAGE octets in chunks that are not empty are far fewer than the nonces there are.
        nonce = self._nonce ^ self._counter
        self._counter += 1
        return nonce.to_bytes(self._suite.nn)


def _chunk_length(reader: Reader) -> int | None:
    """Return the length that comes next, or None where it is not whole yet."""
    if not reader.remaining or reader.remaining < 1 << (reader.data[reader.offset] >> 6):
        return None
    return reader.varint("chunk length")
