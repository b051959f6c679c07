"""GGUF files: what they say is read, and what does not fit is refused."""

import contextlib
import struct
from pathlib import Path

import numpy as np
import pytest

from inference.convert.gguf import MAX_ITEMS, MAX_KEYS, MAX_TENSORS, Gguf, load_gguf, parse_gguf
from inference.convert.quants import unpack
from seclude.errors import ConfigError
from tests.inference.convert import tiny

SMALL: dict[str, object] = {"a.number": 7, "a.text": "grün", "a.list": ["x", "yz"], "a.flag": True, "a.float": 0.5}
HELD: tiny.Tensors = {
    "one": ("F32", (2, 3), np.arange(6, dtype="<f4").tobytes()),
    "two": ("F16", (4,), np.array([1, 0.5, -2, 0], dtype="<f2").tobytes()),
}
FILE = tiny.octets(SMALL, HELD)


def parsed(data: bytes) -> Gguf:
    return parse_gguf(memoryview(data))


def test_metadata_and_tensors_are_read() -> None:
    gguf = parsed(FILE)
    assert gguf.metadata == SMALL
    assert unpack(gguf.tensors["one"]).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert unpack(gguf.tensors["two"]).tolist() == [1, 0.5, -2, 0]


@pytest.mark.parametrize("cut", range(len(FILE)))
def test_every_truncation_is_refused(cut: int) -> None:
    with pytest.raises(ConfigError):
        parsed(FILE[:cut])


@pytest.mark.parametrize("bit", range(0, len(FILE) * 8, 3))
def test_a_flipped_bit_gives_a_file_or_a_refusal(bit: int) -> None:
    data = bytearray(FILE)
    data[bit // 8] ^= 1 << bit % 8
    with contextlib.suppress(ConfigError):
        parsed(bytes(data))


def test_other_versions_and_kinds_are_refused() -> None:
    for version in (0, 1, 4, 3 << 24):  # the last is big-endian
        with pytest.raises(ConfigError, match="version"):
            parsed(b"GGUF" + struct.pack("<I", version) + FILE[8:])
    with pytest.raises(ConfigError, match="not a GGUF file"):
        parsed(b"GGML" + FILE[4:])
    place = FILE.index(tiny.text("two")) + len(tiny.text("two")) + 12  # after n_dimensions and one dimension
    with pytest.raises(ConfigError, match="packs a tensor as type"):
        parsed(FILE[:place] + struct.pack("<I", 16) + FILE[place + 4 :])


def test_counts_have_limits() -> None:
    head = b"GGUF" + struct.pack("<I", 3)
    with pytest.raises(ConfigError, match="tensor_count"):
        parsed(head + struct.pack("<QQ", MAX_TENSORS + 1, 0))
    with pytest.raises(ConfigError, match="metadata_kv_count"):
        parsed(head + struct.pack("<QQ", 0, MAX_KEYS + 1))
    with pytest.raises(ConfigError, match="array length"):
        parsed(head + struct.pack("<QQ", 0, 1) + tiny.text("k") + struct.pack("<IIQ", 9, 0, MAX_ITEMS + 1))
    nested = struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 3
    with pytest.raises(ConfigError, match="type 9"):
        parsed(head + struct.pack("<QQ", 0, 1) + tiny.text("k") + nested)


def test_what_is_said_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="key twice"):
        parsed(FILE.replace(tiny.text("a.text"), tiny.text("a.list")))
    with pytest.raises(ConfigError, match="tensor twice"):
        parsed(FILE.replace(tiny.text("two"), tiny.text("one")))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name in ("empty", "missing"):
        with pytest.raises(ConfigError, match="cannot read"):
            load_gguf(tmp_path / name)


def test_values_of_another_type_are_refused() -> None:
    gguf = parsed(FILE)
    for ask, key in ((gguf.number, "a.text"), (gguf.integer, "a.float"), (gguf.integer, "a.flag"), (gguf.text, "none")):
        with pytest.raises(ConfigError, match=key):
            ask(key)
    with pytest.raises(ConfigError, match="list of texts"):
        gguf.texts("a.number")
