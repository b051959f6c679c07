"""A GPU for tests, under a root of its own, whose report can have any fault in it and is still signed properly."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

from seclude.attestation.nvidia import NvidiaEvidence, serialize_body
from tests.attestation.nitro_signer import LINKS, ROOT_NAME, Link, make_chain, sign_raw

NONCE: Final = bytes(range(32))
REQUEST: Final = bytes.fromhex("11e001ff") + NONCE + b"\0"
OPAQUE: Final = bytes.fromhex("03000400") + b"535\0"


def block(index: int, value: bytes = bytes(48), *, specification: int = 1, more: int = 0) -> bytes:
    """Return a measurement; `more` is what its outer length says beyond the truth."""
    inner = b"\1" + len(value).to_bytes(2, "little") + value
    return bytes([index, specification]) + (len(inner) + more).to_bytes(2, "little") + inner


RECORD: Final = b"".join(block(index) for index in range(1, 65))


def respond(
    record: bytes = RECORD, count: int = 64, *, head: bytes = bytes.fromhex("11600000"), opaque: bytes = OPAQUE
) -> bytes:
    """Return a response without its signature."""
    lengths = bytes([count]) + len(record).to_bytes(3, "little")
    return head + lengths + record + bytes(32) + len(opaque).to_bytes(2, "little") + opaque


class GPU:
    """Signs reports; `roots` is what a verifier of them has to pin."""

    def __init__(self, links: Sequence[Link] = LINKS) -> None:
        self.chain, self.key = make_chain(links)
        self.roots: Mapping[bytes, str] = {hashlib.sha256(self.chain[-1]).digest(): ROOT_NAME}

    def attest(self, response: bytes | None = None, *, request: bytes = REQUEST, trailing: bytes = b"") -> bytes:
        """Return the body over a request and a response to it."""
        message = request + (respond() if response is None else response)
        report = message + sign_raw(self.key, message) + trailing
        return serialize_body(NvidiaEvidence(report, tuple(self.chain)))
