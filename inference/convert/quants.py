"""The numbers of a packed tensor, as 32-bit floats: ggml's block formats (ggml-common.h, `block_q4_0` and so on).

Each unpacker takes whole blocks, one a row of octets, and returns one row of numbers for each. The formats pack two
four-bit numbers in an octet, first half of a group in the low bits, second half in the high ones. Those that end in _K
hold 256 numbers with scales that are themselves packed.
"""

from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from inference.convert.gguf import SIZES, Packed

GROUP: Final = 32  # elements that lie on one grid, in every format that has grids here
PIECE: Final = 1 << 22  # elements unpacked at a time: 16 MB of floats, and some of what leads to them

Floats = NDArray[np.float32]
Octets = NDArray[np.uint8]


def unpack(tensor: Packed) -> Floats:
    """Return a whole tensor."""
    return np.concatenate([_unpack(tensor.kind, some, tensor.shape[-1]) for some in _blocks(tensor)]).reshape(
        tensor.shape
    )


def unpack_rows(tensor: Packed) -> Iterator[tuple[Floats, Floats]]:
    """Return a tensor as a matrix, some rows at a time, and for each GROUP of a row how far its numbers lie apart.

    That distance is 0 where they lie on no grid of their own.
    """
    width = tensor.shape[-1]
    for some in _blocks(tensor):
        rows = _unpack(tensor.kind, some, width)
        if tensor.kind in STEPS:
            yield rows, np.abs(STEPS[tensor.kind](some)).reshape(len(rows), width // GROUP)
        else:
            yield rows, np.zeros((len(rows), width // GROUP), dtype=np.float32)


def _blocks(tensor: Packed) -> Iterator[Octets]:
    """Return the blocks of some rows at a time."""
    _, elements, octets = SIZES[tensor.kind]
    width = tensor.shape[-1]
    blocks = np.frombuffer(tensor.data, dtype=np.uint8).reshape(-1, width // elements, octets)
    step = max(1, PIECE // width)
    for start in range(0, len(blocks), step):
        yield blocks[start : start + step].reshape(-1, octets)


def _unpack(kind: str, blocks: Octets, width: int) -> Floats:
    return np.ascontiguousarray(UNPACKERS[kind](blocks).reshape(-1, width), dtype=np.float32)


def _half(octets: Octets) -> Floats:
    """Return 16-bit floats."""
    return np.ascontiguousarray(octets).view("<f2").astype(np.float32)


def _nibbles(octets: Octets, group: int) -> Octets:
    """Return the four-bit numbers of octets, where `group` octets hold a first half and then a second."""
    grouped = octets.reshape(len(octets), -1, 1, group)
    return np.concatenate([grouped & 0x0F, grouped >> 4], axis=2).reshape(len(octets), -1)


def _f32(blocks: Octets) -> Floats:
    return np.ascontiguousarray(blocks).view("<f4")


def _bf16(blocks: Octets) -> Floats:
    return (np.ascontiguousarray(blocks).view("<u2").astype(np.uint32) << 16).view(np.float32)


def _q4_0(blocks: Octets) -> Floats:
    return _half(blocks[:, :2]) * (_nibbles(blocks[:, 2:], 16).astype(np.float32) - 8)


def _q4_1(blocks: Octets) -> Floats:
    return _half(blocks[:, :2]) * _nibbles(blocks[:, 4:], 16).astype(np.float32) + _half(blocks[:, 2:4])


def _fives(high: Octets, low: Octets) -> Floats:
    """Return five-bit numbers, whose fifth bits stand together."""
    fifth = np.unpackbits(high, axis=1, bitorder="little")
    return (_nibbles(low, 16) | fifth << 4).astype(np.float32)


def _q5_0(blocks: Octets) -> Floats:
    return _half(blocks[:, :2]) * (_fives(blocks[:, 2:6], blocks[:, 6:]) - 16)


def _q5_1(blocks: Octets) -> Floats:
    return _half(blocks[:, :2]) * _fives(blocks[:, 4:8], blocks[:, 8:]) + _half(blocks[:, 2:4])


def _q8_0(blocks: Octets) -> Floats:
    return _half(blocks[:, :2]) * blocks[:, 2:].view(np.int8).astype(np.float32)


def _scales_k(blocks: Octets) -> tuple[Floats, Floats]:
    """Return the eight scales and the eight offsets of a block of Q4_K or Q5_K: six bits each, in twelve octets."""
    scale, offset, both = (blocks[:, start : start + 4] for start in (4, 8, 12))
    scales = np.concatenate([scale & 0x3F, both & 0x0F | scale >> 2 & 0x30], axis=1)
    offsets = np.concatenate([offset & 0x3F, both >> 4 | offset >> 2 & 0x30], axis=1)
    return (
        (_half(blocks[:, :2]) * scales.astype(np.float32))[:, :, None],
        (_half(blocks[:, 2:4]) * offsets.astype(np.float32))[:, :, None],
    )


def _q4_k(blocks: Octets) -> Floats:
    scales, offsets = _scales_k(blocks)
    return cast(Floats, scales * _nibbles(blocks[:, 16:], 32).reshape(-1, 8, 32).astype(np.float32) - offsets)


def _q5_k(blocks: Octets) -> Floats:
    scales, offsets = _scales_k(blocks)
    fifth = blocks[:, 16:48].reshape(-1, 1, 32) >> np.arange(8, dtype=np.uint8)[:, None] & 1
    numbers = _nibbles(blocks[:, 48:], 32).reshape(-1, 8, 32) | fifth << 4
    return cast(Floats, scales * numbers.astype(np.float32) - offsets)


def _q6_k(blocks: Octets) -> Floats:
    low = _nibbles(blocks[:, :128], 64).reshape(-1, 8, 32)
    high = blocks[:, 128:192].reshape(-1, 2, 1, 32) >> np.arange(0, 8, 2, dtype=np.uint8)[:, None] & 3
    numbers = (low | high.reshape(-1, 8, 32) << 4).astype(np.float32) - 32
    scales = _half(blocks[:, 208:]) * blocks[:, 192:208].view(np.int8).astype(np.float32)
    return cast(Floats, scales[:, :, None] * numbers.reshape(-1, 16, 16))


UNPACKERS: Final[MappingProxyType[str, Callable[[Octets], Floats]]] = MappingProxyType(
    {
        "F32": _f32,
        "F16": _half,
        "BF16": _bf16,
        "Q4_0": _q4_0,
        "Q4_1": _q4_1,
        "Q5_0": _q5_0,
        "Q5_1": _q5_1,
        "Q8_0": _q8_0,
        "Q4_K": _q4_k,
        "Q5_K": _q5_k,
        "Q6_K": _q6_k,
    }
)

STEPS: Final[MappingProxyType[str, Callable[[Octets], Floats]]] = MappingProxyType(
    dict.fromkeys(("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"), lambda blocks: _half(blocks[:, :2]))
    | dict.fromkeys(("Q4_K", "Q5_K"), lambda blocks: _scales_k(blocks)[0])
)
"""How far the numbers of each group lie apart; in Q6_K there are two grids to a group."""
