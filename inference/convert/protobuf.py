"""Writes an ONNX file (onnx.proto, IR version 10): just the messages that a graph of ours has, and no reader.

Field numbers are those of onnx.proto. What a message holds is written in the order in which it was given, so the same
graph gives the same octets; the protobuf library promises no such thing. Large tensors go to a second file beside the
model, one after the other: protobuf ends at 2 GiB, and onnxruntime maps that file instead of reading it.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

IR_VERSION: Final = 10
OPSETS: Final = (("", 21), ("com.microsoft", 1))
PRODUCER: Final = "seclude"
PAGE: Final = 4096  # onnxruntime maps from whole pages (onnx.proto, external_data)
INLINE_OCTETS: Final = 1024  # smaller tensors stand in the model itself, where constant folding sees them
TYPES: Final = {"float32": 1, "uint8": 2, "int32": 6, "int64": 7}  # TensorProto.DataType
ATTRIBUTE_FLOAT, ATTRIBUTE_INT = 1, 2  # AttributeProto.AttributeType
EXTERNAL: Final = 1  # TensorProto.DataLocation

Array = NDArray[np.float32] | NDArray[np.uint8] | NDArray[np.int32] | NDArray[np.int64]
Shape = Sequence[int | str]
"""Dimensions; a name is one that differs from run to run."""


def varint(value: int) -> bytes:
    """Return a number in protobuf's variable length; negative ones are taken modulo 2^64, as int64 is."""
    value &= (1 << 64) - 1
    octets = bytearray()
    while value > 0x7F:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def integer(field: int, value: int) -> bytes:
    """Return a field that holds a number."""
    return varint(field << 3) + varint(value)


def octets(field: int, value: bytes | str) -> bytes:
    """Return a field that holds octets, text or a message."""
    data = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(data)) + data


def _attribute(name: str, value: float) -> bytes:
    """Return an AttributeProto."""
    if isinstance(value, int):
        return octets(1, name) + integer(3, value) + integer(20, ATTRIBUTE_INT)
    return octets(1, name) + varint(2 << 3 | 5) + struct.pack("<f", value) + integer(20, ATTRIBUTE_FLOAT)


def _value_info(name: str, dtype: str, shape: Shape) -> bytes:
    """Return a ValueInfoProto."""
    dimensions = b"".join(octets(1, integer(1, d) if isinstance(d, int) else octets(2, d)) for d in shape)
    tensor = integer(1, TYPES[dtype]) + octets(2, dimensions)
    return octets(1, name) + octets(2, octets(1, tensor))


class GraphWriter:
    """Collects a graph; large tensors leave for `data` as they come, and are not kept."""

    def __init__(self, name: str, data: BinaryIO, data_name: str) -> None:
        self._name = name
        self._data = data
        self._data_name = data_name
        self._nodes: list[bytes] = []
        self._tensors: list[bytes] = []
        self._inputs: list[bytes] = []
        self._outputs: list[bytes] = []

    def input(self, name: str, dtype: str, shape: Shape) -> str:
        """Add an input of the graph."""
        self._inputs.append(octets(11, _value_info(name, dtype, shape)))
        return name

    def output(self, name: str, dtype: str, shape: Shape) -> None:
        """Add an output of the graph."""
        self._outputs.append(octets(12, _value_info(name, dtype, shape)))

    def node(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: float) -> str:
        """Add a node and return its first output; a dot in its kind says that it is onnxruntime's own."""
        domain, _, operator = kind.rpartition(".")
        node = b"".join(octets(1, name) for name in inputs) + b"".join(octets(2, name) for name in outputs)
        node += octets(3, f"{outputs[0]}/{operator}") + octets(4, operator)
        node += b"".join(octets(5, _attribute(name, value)) for name, value in attributes.items())
        self._nodes.append(octets(1, node + octets(7, domain)))
        return outputs[0]

    def tensor(self, name: str, array: Array) -> str:
        """Add a constant."""
        if array.nbytes >= INLINE_OCTETS:
            return self.stream(name, array.dtype.name, array.shape, [array])
        head = _tensor_head(name, array.dtype.name, array.shape)
        self._tensors.append(octets(5, head + octets(9, array.tobytes())))
        return name

    def stream(self, name: str, dtype: str, shape: Sequence[int], pieces: Iterable[Array]) -> str:
        """Add a constant to the second file, some rows at a time."""
        self._data.write(b"\0" * (-self._data.tell() % PAGE))
        start = self._data.tell()
        for piece in pieces:
            assert piece.dtype.name == dtype
            self._data.write(np.ascontiguousarray(piece).data)
        place = {"location": self._data_name, "offset": str(start), "length": str(self._data.tell() - start)}
        external = b"".join(octets(13, octets(1, key) + octets(2, value)) for key, value in place.items())
        self._tensors.append(octets(5, _tensor_head(name, dtype, shape) + external + integer(14, EXTERNAL)))
        return name

    def model(self) -> bytes:
        """Return the file."""
        graph = b"".join(self._nodes) + octets(2, self._name) + b"".join(self._tensors + self._inputs + self._outputs)
        opsets = b"".join(octets(8, octets(1, domain) + integer(2, version)) for domain, version in OPSETS)
        return integer(1, IR_VERSION) + octets(2, PRODUCER) + octets(7, graph) + opsets


def _tensor_head(name: str, dtype: str, shape: Sequence[int]) -> bytes:
    """Return a TensorProto without what it holds."""
    return b"".join(integer(1, size) for size in shape) + integer(2, TYPES[dtype]) + octets(8, name)
