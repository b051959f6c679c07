"""A graph and its session: one loader for all models, which first looks at what the ONNX file says of itself, and
whether rows of one run can move each other.

onnxruntime would follow any path that a file names for tensors kept outside it, so a file is read here, in part, before
it is loaded: its operators and those paths, by a walk over the protocol buffer that stands in `onnx.proto`, without the
package of that name. The octets that are looked at are the ones that are loaded. Files are read when a session is made
and never afterwards.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Final, cast

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from seclude.errors import ConfigError, UsageError

QUIET_VERSIONS: Final = ("1.22.", "1.23.", "1.24.", "1.25.", "1.26.")  # looked through and silent; 1.31 sends telemetry
FATAL_ONLY: Final = (
    4  # onnxruntime's severity; an error goes to standard error with what was in a tensor, such as a token
)
FAILED: Final = "onnxruntime failed in a model"
OUTSIDE_FOLDER: Final = "session.model_external_initializers_file_folder_path"  # for a model that is given as octets
MAX_DEPTH: Final = 64  # of messages in messages; a loop's body in a branch's body in a function needs about twenty

# What stands in which field of onnx.proto's messages, as far as it leads to operators and to tensors kept outside.
_NESTED: Final[Mapping[str, Mapping[int, str]]] = MappingProxyType(
    {
        "model": {7: "graph", 20: "training", 25: "function"},
        "training": {1: "graph", 2: "graph"},
        "function": {7: "node", 11: "attribute"},
        "graph": {1: "node", 5: "tensor", 15: "sparse"},
        "node": {5: "attribute"},
        "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
        "sparse": {1: "tensor", 2: "tensor"},
    }
)
_OP_TYPE: Final = ("node", 4)
_OUTSIDE: Final = ("tensor", 13)  # pairs of a key, which is field 1, and a value, field 2

# Their results for one row depend on what the other rows of the run hold: one scale for the whole tensor.
SHARED_SCALE: Final = frozenset({"DynamicQuantizeLinear", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul"})

TRIED_VOCABULARY: Final = 256  # every model has as many tokens
TYPES: Final = MappingProxyType(
    {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int64)": np.int64, "tensor(bool)": np.bool_}
)
"""numpy's names for the types of the inputs that are known here."""

Array = NDArray[np.generic]
Feeds = Mapping[str, Array]
Bind = Callable[..., None]
"""`bind_input` or `bind_output` of onnxruntime's IOBinding, which has no types."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What an ONNX file says of itself."""

    operators: frozenset[str]
    """The names of all operators, those of branches and functions included."""
    locations: frozenset[str]
    """The paths of the files that hold tensors for it, as they are written there."""


def contents_of(model: bytes | memoryview) -> Contents:
    """Return what a model says of itself; ValueError where it is no protocol buffer of this kind."""
    operators: set[str] = set()
    locations: set[str] = set()
    for field, value in _walk("model", memoryview(model), 0):
        if field == _OP_TYPE:
            operators.add(bytes(value).decode(errors="replace"))
        elif field == _OUTSIDE:  # in any order, and any of them more than once
            pair = [(number, bytes(part)) for (_, number), part in _walk("pair", value, 0)]
            if (1, b"location") in pair:
                locations.update(part.decode(errors="replace") for number, part in pair if number == 2)
    if not operators:
        raise ValueError("it has no operators")
    return Contents(frozenset(operators), frozenset(locations))


def load_session(path: Path, threads: int, *, within: Path) -> onnxruntime.InferenceSession:
    """Load a graph on `threads` threads; tensors kept in other files must stand inside `within`."""
    if not onnxruntime.__version__.startswith(QUIET_VERSIONS):
        raise ConfigError(f"onnxruntime {onnxruntime.__version__} sends telemetry: install 1.26.0")
    model = read_model(path)
    for location in _contents(path, model).locations:
        _require_inside(path, location, within)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # an arena would keep activations, which are people's words, for reuse
    options.enable_mem_pattern = False  # patterns are kept for every shape seen, without end
    options.log_severity_level = FATAL_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads must not burn a core
    options.add_session_config_entry(OUTSIDE_FOLDER, str(path.parent.resolve()))
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # onnxruntime's own errors share no base class
        raise ConfigError(f"{path} is not a model that onnxruntime can load") from exc


def run(session: onnxruntime.InferenceSession, feeds: Feeds) -> list[Array]:
    """Run a graph, and return all that it makes."""
    try:
        return cast(list[Array], session.run(None, dict(feeds)))
    except Exception:  # noqa: BLE001 - onnxruntime's errors share no base class, and may name what is in a tensor
        raise UsageError(FAILED) from None


def run_bound(session: onnxruntime.InferenceSession, binding: onnxruntime.IOBinding) -> None:
    """Run a graph on the arrays that are bound, which must be there for as long as it takes."""
    try:
        session.run_with_iobinding(binding)
    except Exception:  # noqa: BLE001 - onnxruntime's errors share no base class, and may name what is in a tensor
        raise UsageError(FAILED) from None


def bind_array(bind: Bind, name: str, array: Array) -> None:
    """Bind an input or output to an array, which must be contiguous and stay where it is."""
    bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)


def bind_parts(bind: Bind, names: Sequence[str], array: Array) -> None:
    """Bind each of these to its part along an array's first axis."""
    kind, shape, place, step = array.dtype.type, array.shape[1:], array.ctypes.data, array.strides[0]
    for name in names:
        bind(name, "cpu", 0, kind, shape, place)
        place += step


def batchable(path: Path) -> str | None:
    """Return why rows of different requests must not share a run of this graph; None if its operators allow it.

    Operators tell what is known to share; `leaks_across_rows` tries what is not known.
    """
    shared = _contents(path, read_model(path)).operators & SHARED_SCALE
    if not shared:
        return None
    return f"{path.name} has {', '.join(sorted(shared))}: one scale for all rows, so each moves the others' results"


def leaks_across_rows(session: onnxruntime.InferenceSession, one: Feeds, others: Sequence[Feeds]) -> bool:
    """Say whether any bit of a row's results changes with what the other rows hold, by running it.

    Rows are the first axis of `input_ids`. All feeds have one shape; inputs and outputs without rows are left alone.
    """
    rows = len(one["input_ids"])
    with_rows = {name for name, value in one.items() if value.shape[:1] == (rows,)}
    expected = run(session, one)
    for other in others:
        for row in range(rows):
            mixed = {name: value.copy() for name, value in other.items()}
            for name in one:
                if name in with_rows:
                    mixed[name][row] = one[name][row]
                else:
                    mixed[name] = one[name]
            for before, after in zip(expected, run(session, mixed), strict=True):
                if before.shape[:1] == (rows,) and before[row].tobytes() != after[row].tobytes():
                    return True
    return False


def by_chance(
    session: onnxruntime.InferenceSession,
    shapes: Mapping[str, Sequence[int]],
    given: Feeds,
    random: np.random.Generator,
) -> Feeds:
    """Return inputs to try a graph with: those that are given as far as it has them, and others of these shapes."""
    feeds: dict[str, Array] = {}
    for item in session.get_inputs():
        if item.name in given:
            feeds[item.name] = given[item.name]
        elif item.type == "tensor(int64)":
            feeds[item.name] = random.integers(0, TRIED_VOCABULARY, shapes[item.name])
        else:
            feeds[item.name] = random.standard_normal(shapes[item.name]).astype(TYPES[item.type])
    return feeds


def read_model(path: Path) -> bytes:
    """Return a model file's octets."""
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: install a model with seclude-model") from exc


def _contents(path: Path, model: bytes) -> Contents:
    try:
        return contents_of(model)
    except ValueError as exc:
        raise ConfigError(f"{path} is not an ONNX model: {exc}") from exc


def _require_inside(path: Path, location: str, within: Path) -> None:
    """Refuse a path that leaves the folder, by its words or by a link, and one that leads nowhere."""
    folder, named = within.resolve(), PurePosixPath(location)
    target = (path.parent / location.replace("\0", "?")).resolve()
    if named.is_absolute() or ".." in named.parts or not target.is_relative_to(folder):
        raise ConfigError(f"{path} keeps tensors outside {folder}: a model's files stand in its own folder")
    if not target.is_file():
        raise ConfigError(f"{path} keeps tensors in {target.name}, which is missing: copy it beside the model")


def _walk(message: str, data: memoryview, depth: int) -> Iterator[tuple[tuple[str, int], memoryview]]:
    """Go through a message and what it nests, and name each field that is octets (protobuf.dev, encoding)."""
    if depth > MAX_DEPTH:
        raise ValueError("it is nested too deeply")
    nested = _NESTED.get(message, {})
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, kind = (tag & 0xFFFFFFFF) >> 3, tag & 7  # protobuf's own reader drops what is beyond 32 bits
        if kind == 0:
            _, place = _varint(data, place)
        elif kind in (1, 5):
            place += 8 if kind == 1 else 4
        elif kind == 2:
            length, place = _varint(data, place)
            value = data[place : place + length]
            place += length
            if number in nested:
                yield from _walk(nested[number], value, depth + 1)
            else:
                yield (message, number), value
        else:
            raise ValueError("it has a field of an unknown kind")
        if place > len(data):
            raise ValueError("it is cut off")


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """Return a number of up to ten octets, seven bits in each, and where it ends."""
    number = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            raise ValueError("it is cut off")
        octet = data[place]
        place += 1
        number |= (octet & 0x7F) << shift
        if octet < 0x80:
            return number, place
    raise ValueError("it has a number that is too long")
