"""Packed numbers, against ggml's definitions read one element at a time (ggml-common.h, ggml-quants.c)."""

import struct
from collections.abc import Callable

import numpy as np
import pytest

from inference.convert.gguf import SIZES, Packed
from inference.convert.quants import GROUP, STEPS, unpack, unpack_rows


def half(block: bytes, place: int) -> float:
    value: float = struct.unpack_from("<e", block, place)[0]
    return value


def signed(octet: int) -> int:
    return octet - 256 if octet > 127 else octet


def four(octets: bytes, i: int, group: int) -> int:
    """Element `i`, where `group` octets hold twice as many elements."""
    octet = octets[i // (2 * group) * group + i % group]
    return octet >> 4 if i % (2 * group) >= group else octet & 15


def scale_min_k4(j: int, q: bytes) -> tuple[int, int]:
    """ggml's get_scale_min_k4."""
    if j < 4:
        return q[j] & 63, q[j + 4] & 63
    return (q[j + 4] & 0xF) | ((q[j - 4] >> 6) << 4), (q[j + 4] >> 4) | ((q[j] >> 6) << 4)


def q4_k(b: bytes, i: int) -> float:
    scale, offset = scale_min_k4(i // 32, b[4:16])
    return half(b, 0) * scale * four(b[16:], i, 32) - half(b, 2) * offset


def q5_k(b: bytes, i: int) -> float:
    scale, offset = scale_min_k4(i // 32, b[4:16])
    fifth = b[16 + i % 32] >> (i // 32) & 1
    return half(b, 0) * scale * (four(b[48:], i, 32) + 16 * fifth) - half(b, 2) * offset


def q6_k(b: bytes, i: int) -> float:
    n, quarter, j = i // 128, i % 128 // 32, i % 32
    low = b[n * 64 + j + 32 * (quarter % 2)] >> (4 * (quarter // 2)) & 15
    high = b[128 + n * 32 + j] >> (2 * quarter) & 3
    return half(b, 208) * signed(b[192 + i // 16]) * ((low | high << 4) - 32)


def five(b: bytes, place: int, i: int) -> int:
    return four(b[place + 4 :], i, 16) | (int.from_bytes(b[place : place + 4], "little") >> i & 1) << 4


ELEMENTS: dict[str, Callable[[bytes, int], float]] = {
    "F32": lambda b, _: float(struct.unpack("<f", b)[0]),
    "F16": lambda b, _: half(b, 0),
    "BF16": lambda b, _: float(struct.unpack("<f", b"\0\0" + b)[0]),
    "Q4_0": lambda b, i: half(b, 0) * (four(b[2:], i, 16) - 8),
    "Q4_1": lambda b, i: half(b, 0) * four(b[4:], i, 16) + half(b, 2),
    "Q5_0": lambda b, i: half(b, 0) * (five(b, 2, i) - 16),
    "Q5_1": lambda b, i: half(b, 0) * five(b, 4, i) + half(b, 2),
    "Q8_0": lambda b, i: half(b, 0) * signed(b[2 + i]),
    "Q4_K": q4_k,
    "Q5_K": q5_k,
    "Q6_K": q6_k,
}


@pytest.mark.parametrize("kind", SIZES)
def test_numbers_are_those_of_the_format(kind: str) -> None:
    _, elements, octets = SIZES[kind]
    random = np.random.default_rng(len(kind))
    blocks = [random.integers(0, 128, octets, dtype=np.uint8) for _ in range(6)]
    for block in blocks:  # half floats and floats that are finite
        for place in (1, 3, 209):
            if place < octets:
                block[place] = random.integers(0, 60)
    data = [block.tobytes() for block in blocks]
    found = unpack(Packed(kind, (2, 3 * elements), memoryview(b"".join(data)))).ravel()
    expected = [ELEMENTS[kind](block, i) for block in data for i in range(elements)]
    assert np.allclose(found, np.array(expected), rtol=1e-6, atol=1e-6)


def test_rows_come_in_pieces_that_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.convert.quants.PIECE", 64)
    data = np.arange(70 * 32, dtype="<f4")
    tensor = Packed("F32", (70, 32), memoryview(data.tobytes()))
    pieces = list(unpack_rows(tensor))
    assert len(pieces) == 35
    assert np.array_equal(np.concatenate([rows for rows, _ in pieces]), data.reshape(70, 32))
    assert not any(steps.any() for _, steps in pieces)


@pytest.mark.parametrize("kind", STEPS)
def test_numbers_of_a_group_lie_on_its_grid(kind: str) -> None:
    _, elements, octets = SIZES[kind]
    blocks = np.random.default_rng(1).integers(0, 128, (4, octets), dtype=np.uint8)
    blocks[:, [1, 3]] = 0x24  # the upper octet of half floats about 0.02
    ((rows, steps),) = unpack_rows(Packed(kind, (2, 2 * elements), memoryview(blocks.tobytes())))
    groups = rows.reshape(2, -1, GROUP)
    above = (groups - groups.min(axis=2, keepdims=True)) / steps[:, :, None]
    assert steps.shape == (2, 2 * elements // GROUP)
    assert np.allclose(above, np.rint(above), atol=1e-3)
