"""Padmé buckets: lengths that tell next to nothing about what is inside.

Padmé (Nikitin and others, "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", PETS 2019)
rounds a length up so that its last bits are zero: a length of n octets tells O(log log n) bits, and costs at most 12 %
and, above a few kilobytes, less. Everything up to the smallest bucket looks the same: a short answer, an error, a no.
"""

from typing import Final

from seclude.errors import TooLargeError, UsageError

SMALLEST: Final = 1024  # octets; holds every error of ours, a short rewrite, and most requests for one
LARGEST: Final = (1 << 20) + (1 << 15)  # octets; the bucket of a request of 1 MiB, which is the largest task


def bucket(length: int) -> int:
    """Return the bucket that a message of `length` octets is padded to; raises TooLargeError above the largest."""
    if length < 0:
        raise UsageError("negative length")
    if length > LARGEST:
        raise TooLargeError(f"a message of {length} octets, limit {LARGEST}")
    if length <= SMALLEST:
        return SMALLEST
    exponent = length.bit_length() - 1
    granularity = 1 << (exponent - exponent.bit_length())
    return -(-length // granularity) * granularity


def is_bucket(length: int) -> bool:
    """Whether a message of this length could have been padded here."""
    return SMALLEST <= length <= LARGEST and bucket(length) == length


def pad(message: bytes) -> bytes:
    """Return a Binary HTTP message with the zeros that fill its bucket (RFC 9292, section 3.8)."""
    return message + bytes(bucket(len(message)) - len(message))
