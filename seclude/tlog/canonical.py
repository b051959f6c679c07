"""The one text that each number and each octet string has in notes, checkpoints and proofs.

C2SP writes numbers in decimal without leading zeros and octets in the standard alphabet of RFC 4648, section 4. Base64
as most decoders read it has many texts for the same octets (loose bits before the padding, line ends inside): a
second text of what was signed or logged is refused here, so that equal values are equal bytes.
"""

import base64
import binascii
import re
from typing import Final

from seclude.errors import DecodeError

MAX_SIZE: Final = (1 << 63) - 1  # of a tree, and of a timestamp: tlog-cosignature's limit, and Go's int64
DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}")  # 2^63 - 1 has nineteen digits


def parse_decimal(text: str, field: str) -> int:
    """Return a number from 0 to 2^63 - 1 that is written without sign and without leading zeros."""
    if DECIMAL.fullmatch(text) is None or int(text) > MAX_SIZE:
        raise DecodeError(f"{field} is no decimal number from 0 to 2^63 - 1 without leading zeros")
    return int(text)


def parse_base64(text: str, field: str) -> bytes:
    """Return the octets whose only base64 text this is."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):  # the latter where a character is not ASCII
        raise DecodeError(f"{field} is no base64") from None
    if to_base64(data) != text:
        raise DecodeError(f"{field} is base64 in another form than the canonical one")
    return data


def to_base64(data: bytes) -> str:
    """Return the text that `parse_base64` takes."""
    return base64.b64encode(data).decode()


def parse_hash(text: str, field: str) -> bytes:
    """Return the 32 octets of a SHA-256 hash that stands in base64."""
    data = parse_base64(text, field)
    if len(data) != 32:
        raise DecodeError(f"{field} has {len(data)} octets, not the 32 of a hash")
    return data
