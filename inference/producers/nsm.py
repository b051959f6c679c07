"""AWS Nitro: the Nitro Security Module, which answers requests in CBOR on `/dev/nsm`.

    request  = {"Attestation": {"user_data": octets, "nonce": null, "public_key": null}}
    response = {"Attestation": {"document": octets}} or {"Error": text}

After the kernel's `linux/nsm.h`: an ioctl takes the addresses of two buffers, and sets the length of the second. The
document is the body as it is.
"""

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from seclude.attestation.cbor import expect, expect_map, parse_item, serialize_item
from seclude.attestation.evidence import NITRO
from seclude.errors import BusyError, ConfigError, DecodeError, UpstreamError

NSM_IOCTL_RAW: Final = 0xC020_0A00  # _IOWR(0x0A, 0, struct nsm_raw)
RAW: Final = struct.Struct("=QQQQ")  # struct nsm_raw: address and length of the request, then of the response
MAX_REQUEST: Final = 0x1000  # NSM_REQUEST_MAX_SIZE
MAX_RESPONSE: Final = 0x3000  # NSM_RESPONSE_MAX_SIZE

# The codes of the module's interface; others are not shown, as whoever sends them chooses their words.
ERRORS: Final = frozenset(
    {
        "InvalidArgument",
        "InvalidIndex",
        "InvalidResponse",
        "ReadOnlyIndex",
        "InvalidOperation",
        "BufferTooSmall",
        "InputTooLarge",
        "InternalError",
    }
)

Ioctl = Callable[[int, int, bytearray], int]


def _ioctl(descriptor: int, request: int, argument: bytearray) -> int:
    result: int = fcntl.ioctl(descriptor, request, argument, True)
    return result


class NitroProducer:
    """The module, open; raises `ConfigError` where there is none."""

    format: Final = NITRO

    def __init__(self, device: Path, ioctl: Ioctl = _ioctl) -> None:
        try:
            self._descriptor = os.open(device, os.O_RDWR | os.O_CLOEXEC)
        except OSError as exc:
            raise ConfigError(f"no Nitro Security Module at {device}: {exc.strerror}") from exc
        self._ioctl = ioctl

    def attest(self, bound: bytes) -> bytes:
        """Return a document that binds 64 octets in `user_data`."""
        response = self._ask(serialize_request(bound))
        try:
            return parse_response(response)
        except DecodeError as exc:
            raise UpstreamError(f"the response of the Nitro Security Module is none: {exc}") from exc

    def close(self) -> None:
        """Let go of the device."""
        os.close(self._descriptor)

    def _ask(self, request: bytes) -> bytes:
        sent = ctypes.create_string_buffer(request, len(request))
        received = ctypes.create_string_buffer(MAX_RESPONSE)
        raw = bytearray(RAW.pack(ctypes.addressof(sent), len(request), ctypes.addressof(received), MAX_RESPONSE))
        try:
            self._ioctl(self._descriptor, NSM_IOCTL_RAW, raw)
        except OSError as exc:
            if exc.errno in (errno.EBUSY, errno.EAGAIN, errno.EINTR):
                raise BusyError(f"the Nitro Security Module: {exc.strerror}") from exc
            raise UpstreamError(f"the Nitro Security Module failed: {exc.strerror}") from exc
        length = RAW.unpack(raw)[3]
        if length > MAX_RESPONSE:
            raise UpstreamError(f"the Nitro Security Module states {length} octets, limit {MAX_RESPONSE}")
        return received.raw[:length]


def serialize_request(user_data: bytes) -> bytes:
    """Return the request for a document."""
    return serialize_item({"Attestation": {"user_data": user_data, "nonce": None, "public_key": None}})


def parse_response(data: bytes) -> bytes:
    """Return the document; raises `DecodeError`, and `UpstreamError` where the module refuses."""
    response = expect_map(parse_item(data, "response"), "response")
    if list(response) == ["Error"]:
        code = expect(response["Error"], str, "Error")
        raise UpstreamError(f"the Nitro Security Module refuses: {code if code in ERRORS else 'an unknown error'}")
    if list(response) != ["Attestation"]:
        raise DecodeError("the response is neither Attestation nor Error")
    attestation = expect_map(response["Attestation"], "Attestation")
    if list(attestation) != ["document"]:
        raise DecodeError("Attestation has not exactly a document")
    return expect(attestation["document"], bytes, "document")
