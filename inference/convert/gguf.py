"""Reads a GGUF file, versions 2 and 3, little-endian (ggml's docs/gguf.md): metadata, and where each tensor stands.

The file comes from a stranger: every length is checked against what is left before it is used, every count has a limit,
and tensors must lie inside the file. Nothing is executed, and a tensor is mapped, not read, until somebody wants it.
"""

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from seclude.errors import ConfigError

MAGIC: Final = b"GGUF"
VERSIONS: Final = (2, 3)  # version 1 had 32-bit counts and was gone within a month
ALIGNMENT: Final = 32  # unless general.alignment says otherwise
MAX_KEYS: Final = 4096  # a file has some 40
MAX_TENSORS: Final = 16_384  # a model of 126 layers has 1,138
MAX_ITEMS: Final = 1 << 21  # of an array: the largest vocabularies have 262,144 words, and some more merges
MAX_DEPTH: Final = 2  # arrays in arrays: the specification allows any, and no known key uses one
MAX_DIMENSIONS: Final = 4  # ggml's GGML_MAX_DIMS
MAX_ELEMENTS: Final = 1 << 40  # of one tensor, so that no product below grows without end

NUMBERS: Final = MappingProxyType(
    {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 10: "<Q", 11: "<q", 12: "<d"}
)
BOOL: Final = 7
STRING: Final = 8
ARRAY: Final = 9
SIZES: Final = MappingProxyType(
    {
        "F32": (0, 1, 4),
        "F16": (1, 1, 2),
        "Q4_0": (2, 32, 18),
        "Q4_1": (3, 32, 20),
        "Q5_0": (6, 32, 22),
        "Q5_1": (7, 32, 24),
        "Q8_0": (8, 32, 34),
        "Q4_K": (12, 256, 144),
        "Q5_K": (13, 256, 176),
        "Q6_K": (14, 256, 210),
        "BF16": (30, 1, 2),
    }
)
"""Of each way to pack numbers that is read here: its number in the file, and how many elements take how many octets."""
KINDS: Final = MappingProxyType({number: kind for kind, (number, _, _) in SIZES.items()})

Value = bool | int | float | str | list["Value"]


@dataclass(frozen=True, slots=True)
class Packed:
    """A tensor as it stands in the file."""

    kind: str
    """A key of SIZES."""
    shape: tuple[int, ...]
    """As numpy counts: the last dimension is the one whose elements are neighbours."""
    data: memoryview


@dataclass(frozen=True, slots=True)
class Gguf:
    """A file that was read."""

    metadata: dict[str, Value]
    tensors: dict[str, Packed]

    def number(self, key: str, default: float | None = None) -> float:
        """Return a metadata value that must be a number."""
        value = self.metadata.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"the GGUF file has no number {key}")
        return value

    def integer(self, key: str, default: int | None = None) -> int:
        """Return a metadata value that must be a positive whole number."""
        value = self.number(key, default)
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"the GGUF file has no positive number {key}")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        """Return a metadata value that must be text."""
        value = self.metadata.get(key, default)
        if not isinstance(value, str):
            raise ConfigError(f"the GGUF file has no text {key}")
        return value

    def texts(self, key: str) -> list[str]:
        """Return a metadata value that must be a list of texts."""
        value = self.metadata.get(key)
        texts = [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
        if not isinstance(value, list) or len(texts) != len(value):
            raise ConfigError(f"the GGUF file has no list of texts {key}")
        return texts


def load_gguf(path: Path) -> Gguf:
    """Read a file's metadata and map its tensors."""
    try:
        with path.open("rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as exc:  # ValueError: an empty file cannot be mapped
        raise ConfigError(f"cannot read {path}") from exc
    return parse_gguf(data)


def parse_gguf(data: memoryview) -> Gguf:
    """Return what the octets of a file say; raises ConfigError where they are not GGUF."""
    reader = _Reader(data)
    if bytes(reader.take(4, "magic")) != MAGIC:
        raise ConfigError("not a GGUF file")
    if (version := reader.number("<I", "version")) not in VERSIONS:
        raise ConfigError(f"GGUF version {version} is not read here: versions 2 and 3 are")
    tensor_count = reader.count("<Q", MAX_TENSORS, "tensor_count")
    metadata: dict[str, Value] = {}
    for _ in range(reader.count("<Q", MAX_KEYS, "metadata_kv_count")):
        key = reader.text("key")
        if key in metadata:
            raise ConfigError("the GGUF file says a key twice")
        metadata[key] = reader.value(int(reader.number("<I", "value_type")))
    described = [_describe(reader) for _ in range(tensor_count)]
    alignment = metadata.get("general.alignment", ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1 or alignment % 8:
        raise ConfigError("the GGUF file has a general.alignment that is no multiple of 8")
    start = -(-reader.offset // alignment) * alignment
    tensors: dict[str, Packed] = {}
    for name, kind, shape, offset in described:
        if name in tensors:
            raise ConfigError("the GGUF file has a tensor twice")
        tensors[name] = Packed(kind, shape, _place(data, start + offset, kind, shape))
    return Gguf(metadata, tensors)


def _describe(reader: "_Reader") -> tuple[str, str, tuple[int, ...], int]:
    """Return a tensor's name, kind, shape and offset (gguf_tensor_info_t)."""
    name = reader.text("tensor name")
    dimensions = [
        reader.count("<Q", MAX_ELEMENTS, "dimension") for _ in range(reader.count("<I", MAX_DIMENSIONS, "n_dimensions"))
    ]
    number = int(reader.number("<I", "tensor type"))
    if number not in KINDS:
        raise ConfigError(f"the GGUF file packs a tensor as type {number}; read here are {', '.join(SIZES)}")
    return name, KINDS[number], tuple(reversed(dimensions)), int(reader.number("<Q", "tensor offset"))


def _place(data: memoryview, offset: int, kind: str, shape: tuple[int, ...]) -> memoryview:
    """Return a tensor's octets."""
    _, elements, octets = SIZES[kind]
    if not shape or shape[-1] % elements:
        raise ConfigError(f"the GGUF file has a tensor whose rows are no whole blocks of {kind}")
    count = 1
    for dimension in shape:
        count *= dimension
    end = offset + count // elements * octets
    if count < 1 or end > len(data):
        raise ConfigError("the GGUF file ends within a tensor")
    return data[offset:end]


class _Reader:
    """Moves over the head of a file."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self.offset = 0

    def take(self, length: int, field: str) -> memoryview:
        """Return the next octets."""
        end = self.offset + length
        if end > len(self._data):
            raise ConfigError(f"the GGUF file ends within {field}")
        taken = self._data[self.offset : end]
        self.offset = end
        return taken

    def number(self, form: str, field: str) -> float:
        """Return the next number, packed as `form`."""
        number: float = struct.unpack(form, self.take(struct.calcsize(form), field))[0]
        return number

    def count(self, form: str, limit: int, field: str) -> int:
        """Return the next number, which may be at most `limit`."""
        count = int(self.number(form, field))
        if count > limit:
            raise ConfigError(f"the GGUF file has a {field} of {count}, which is over {limit}")
        return count

    def text(self, field: str) -> str:
        """Return the next string (gguf_string_t)."""
        octets = self.take(int(self.number("<Q", field)), field)
        try:
            return str(octets, "utf-8")
        except UnicodeDecodeError as exc:
            raise ConfigError(f"the GGUF file has a {field} that is not UTF-8") from exc

    def value(self, kind: int, depth: int = 0) -> Value:
        """Return the next metadata value (gguf_metadata_value_t)."""
        if kind == STRING:
            return self.text("string")
        if kind == BOOL:
            return self.number("<B", "bool") != 0
        if kind in NUMBERS:
            return self.number(NUMBERS[kind], "number")
        if kind == ARRAY and depth < MAX_DEPTH:
            inner = int(self.number("<I", "array type"))
            items = range(self.count("<Q", MAX_ITEMS, "array length"))
            return [self.value(inner, depth + 1) for _ in items]
        raise ConfigError(f"the GGUF file has a value of type {kind}, which is not known here")
