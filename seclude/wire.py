"""Reading and writing octets: the one place that moves over a peer's bytes.

Integers are big-endian, as in TLS (RFC 8446, section 3) and HPKE; `varint` is QUIC's (RFC 9000, section 16).
A `Reader` checks before it takes, and its errors name the field and its sizes, never the content.
"""

from typing import Final, Self

from seclude.errors import DecodeError, TooLargeError, UsageError

MAX_VARINT: Final = (1 << 62) - 1  # two of the 64 bits say how long the integer is


class Reader:
    """A position in a peer's bytes that only moves forward."""

    __slots__ = ("data", "offset")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.offset = 0

    @property
    def remaining(self) -> int:
        """The number of octets not yet taken."""
        return len(self.data) - self.offset

    def take(self, length: int, field: str) -> bytes:
        """Return the next `length` octets."""
        if length < 0:
            raise UsageError(f"negative length for {field}")
        end = self.offset + length
        if end > len(self.data):
            raise DecodeError(f"truncated in {field}: {self.remaining} of {length}")
        piece = self.data[self.offset : end]
        self.offset = end
        return piece

    def u8(self, field: str) -> int:
        """Return an integer of one octet."""
        return self.take(1, field)[0]

    def u16(self, field: str) -> int:
        """Return an integer of two octets."""
        return int.from_bytes(self.take(2, field))

    def u32(self, field: str) -> int:
        """Return an integer of four octets."""
        return int.from_bytes(self.take(4, field))

    def u64(self, field: str) -> int:
        """Return an integer of eight octets."""
        return int.from_bytes(self.take(8, field))

    def varint(self, field: str) -> int:
        """Return a QUIC variable-length integer (RFC 9000, section 16); it need not be the shortest form."""
        first = self.take(1, field)[0]
        length = 1 << (first >> 6)  # the two top bits say 1, 2, 4 or 8 octets
        return int.from_bytes(bytes([first & 0x3F]) + self.take(length - 1, field))

    def vec8(self, field: str) -> bytes:
        """Return opaque bytes that one octet of length precedes."""
        return self.take(self.u8(field), field)

    def vec16(self, field: str, limit: int = 0xFFFF) -> bytes:
        """Return opaque bytes that two octets of length precede; more than `limit` raises TooLargeError."""
        return self._take_at_most(self.u16(field), field, limit)

    def vec32(self, field: str, limit: int) -> bytes:
        """Return opaque bytes that four octets of length precede; more than `limit` raises TooLargeError."""
        return self._take_at_most(self.u32(field), field, limit)

    def varvec(self, field: str, limit: int) -> bytes:
        """Return opaque bytes that a varint of length precedes; more than `limit` raises TooLargeError."""
        return self._take_at_most(self.varint(field), field, limit)

    def rest(self) -> bytes:
        """Return every octet that is left, perhaps none."""
        return self.take(self.remaining, "rest")

    def finish(self, what: str) -> None:
        """Refuse octets that follow the end of `what`."""
        if self.remaining:
            raise DecodeError(f"{self.remaining} trailing octets after {what}")

    def _take_at_most(self, length: int, field: str, limit: int) -> bytes:
        if length > limit:
            raise TooLargeError(f"{field} is too large: {length} of at most {limit}")
        return self.take(length, field)


class Writer:
    """Octets under construction; every method but `getvalue` returns the writer itself."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = bytearray()

    def u8(self, value: int) -> Self:
        """Append an integer of one octet."""
        return self._integer(value, 1)

    def u16(self, value: int) -> Self:
        """Append an integer of two octets."""
        return self._integer(value, 2)

    def u32(self, value: int) -> Self:
        """Append an integer of four octets."""
        return self._integer(value, 4)

    def u64(self, value: int) -> Self:
        """Append an integer of eight octets."""
        return self._integer(value, 8)

    def varint(self, value: int) -> Self:
        """Append a QUIC variable-length integer in its shortest form (RFC 9000, section 16)."""
        if not 0 <= value <= MAX_VARINT:
            raise UsageError("integer does not fit a varint")
        power = next(power for power in range(4) if value < 1 << ((8 << power) - 2))
        length = 1 << power
        return self._integer(value | power << (8 * length - 2), length)

    def raw(self, data: bytes) -> Self:
        """Append bytes as they are."""
        self._data += data
        return self

    def vec8(self, data: bytes) -> Self:
        """Append opaque bytes after one octet of length."""
        return self.u8(len(data)).raw(data)

    def vec16(self, data: bytes) -> Self:
        """Append opaque bytes after two octets of length."""
        return self.u16(len(data)).raw(data)

    def vec32(self, data: bytes) -> Self:
        """Append opaque bytes after four octets of length."""
        return self.u32(len(data)).raw(data)

    def varvec(self, data: bytes) -> Self:
        """Append opaque bytes after a varint of length."""
        return self.varint(len(data)).raw(data)

    def getvalue(self) -> bytes:
        """Return what was written so far."""
        return bytes(self._data)

    def _integer(self, value: int, length: int) -> Self:
        if not 0 <= value < 1 << (8 * length):
            raise UsageError(f"integer does not fit {length} octets")
        return self.raw(value.to_bytes(length))
