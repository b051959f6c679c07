"""/dev/nsm without a hypervisor: the same ioctl, on the same memory, and documents that the tests' own root signs."""

import ctypes
import errno
import os
import struct
from dataclasses import dataclass, field
from typing import Final

from seclude.attestation.cbor import Value, expect_map, parse_item, serialize_item
from seclude.errors import DecodeError
from tests.attestation.nitro_signer import Module

NSM_IOCTL_RAW: Final = 0xC020_0A00
MAX_REQUEST: Final = 0x1000
MAX_RESPONSE: Final = 0x3000
MAX_FIELD: Final = 512  # octets of user_data and of nonce


@dataclass
class FakeNsm:
    """The device; `ioctl` stands in the place of the system call."""

    module: Module = field(default_factory=Module)
    errors: list[int] = field(default_factory=list)
    """Errors of the system call to come."""
    responses: list[bytes] = field(default_factory=list)
    """What it answers in place of documents."""
    requests: list[bytes] = field(default_factory=list)

    def ioctl(self, descriptor: int, request: int, argument: bytearray) -> int:
        os.fstat(descriptor)
        if request != NSM_IOCTL_RAW:
            raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
        address, length, response_address, room = struct.unpack("=QQQQ", argument)
        if length > MAX_REQUEST:
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        if self.errors:
            number = self.errors.pop(0)
            raise OSError(number, os.strerror(number))
        data = ctypes.string_at(address, length)
        self.requests.append(data)
        response = self.responses.pop(0) if self.responses else self.answer(data)
        written = response[: min(room, MAX_RESPONSE)]
        ctypes.memmove(response_address, written, len(written))
        argument[24:32] = len(response).to_bytes(8, "little")
        return 0

    def answer(self, data: bytes) -> bytes:
        """Return the response of the module itself."""
        try:
            request = expect_map(parse_item(data, "request"), "request")
            fields = expect_map(request["Attestation"], "Attestation")
        except (DecodeError, KeyError):
            return serialize_item({"Error": "InvalidOperation"})
        if set(fields) != {"user_data", "nonce", "public_key"}:
            return serialize_item({"Error": "InvalidOperation"})
        if any(isinstance(each, bytes) and len(each) > MAX_FIELD for each in fields.values()):
            return serialize_item({"Error": "InputTooLarge"})
        claims: dict[str, Value] = {str(name): value for name, value in fields.items()}
        return serialize_item({"Attestation": {"document": self.module.attest(**claims)}})
