"""ONNX files written here octet by octet, so that each says exactly what a test needs."""

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from inference.engine import session
from inference.engine.session import Contents, batchable, by_chance, contents_of, leaks_across_rows, load_session
from seclude.errors import ConfigError

FLOAT, INT64 = 1, 7  # TensorProto.DataType


def varint(number: int) -> bytes:
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*octets, number])


def field(number: int, value: bytes | str | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def node(op: str, inputs: list[str], output: str, *attributes: bytes) -> bytes:
    named = b"".join(field(1, name) for name in inputs)
    return named + field(2, output) + field(4, op) + b"".join(field(5, each) for each in attributes)


def whole(name: str, value: int) -> bytes:
    return field(1, name) + field(3, value) + field(20, 2)


def tensor(name: str, kind: int, dims: list[int], raw: bytes) -> bytes:
    return b"".join(field(1, size) for size in dims) + field(2, kind) + field(8, name) + field(9, raw)


def outside(name: str, size: int, *pairs: bytes) -> bytes:
    """A tensor that stands in another file."""
    return (
        field(1, size) + field(2, FLOAT) + field(8, name) + b"".join(field(13, pair) for pair in pairs) + field(14, 1)
    )


def located(path: str) -> bytes:
    return field(1, "location") + field(2, path)


def value_info(name: str, kind: int, dims: list[str | int]) -> bytes:
    shape = b"".join(field(1, field(1, dim) if isinstance(dim, int) else field(2, dim)) for dim in dims)
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, shape)))


def graph(nodes: list[bytes], tensors: list[bytes], inputs: list[bytes], outputs: list[bytes]) -> bytes:
    return (
        b"".join(field(1, each) for each in nodes)
        + field(2, "g")
        + b"".join(field(5, each) for each in tensors)
        + b"".join(field(11, each) for each in inputs)
        + b"".join(field(12, each) for each in outputs)
    )


def model(inner: bytes) -> bytes:
    return field(1, 8) + field(7, inner) + field(8, field(1, "") + field(2, 17))


def by_row(op: str, *more: bytes) -> bytes:
    """A model of a few operators, from x to y."""
    nodes = {
        "Relu": [node("Relu", ["input_ids"], "y")],
        "ReduceMean": [
            node("ReduceMean", ["input_ids"], "m", field(1, "axes") + field(8, 0) + field(20, 7)),
            node("Sub", ["input_ids", "m"], "y"),
        ],
        "DynamicQuantizeLinear": [
            field(1, "input_ids") + b"".join(field(2, name) for name in "qsz") + field(4, "DynamicQuantizeLinear"),
            node("DequantizeLinear", ["q", "s", "z"], "y"),
        ],
    }[op]
    ends = [value_info(name, FLOAT, ["rows", 4]) for name in ("input_ids", "y")]
    return model(graph(nodes, list(more), ends[:1], ends[1:]))


def adding(values: bytes) -> bytes:
    """A model that adds a tensor of four numbers."""
    ends = [value_info(name, FLOAT, ["rows", 4]) for name in ("x", "y")]
    return model(graph([node("Add", ["x", "w"], "y")], [values], ends[:1], ends[1:]))


def written(folder: Path, octets: bytes) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(octets)
    return path


def run(loaded: onnxruntime.InferenceSession, feeds: Mapping[str, object]) -> list[float]:
    (result,) = loaded.run(None, dict(feeds))
    return [float(number) for number in np.asarray(result).reshape(-1)]


def test_a_model_in_one_file_runs(tmp_path: Path) -> None:
    path = written(tmp_path, by_row("Relu"))
    loaded = load_session(path, 1, within=tmp_path)
    assert run(loaded, {"input_ids": np.array([[-1, 2, -3, 4]], dtype=np.float32)}) == [0, 2, 0, 4]


@pytest.mark.parametrize("name", ["model.onnx.data", "deep/weights"])
def test_tensors_inside_the_folder_are_found(tmp_path: Path, name: str) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / name).write_bytes(struct.pack("<4f", 1, 2, 3, 4))
    loaded = load_session(written(tmp_path, adding(outside("w", 4, located(name)))), 1, within=tmp_path)
    assert run(loaded, {"x": np.ones((1, 4), dtype=np.float32)}) == [2, 3, 4, 5]


@pytest.mark.parametrize("way", ["absolute", "above", "link", "back"])
def test_tensors_outside_the_folder_are_refused(tmp_path: Path, way: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    secret = tmp_path / "secret"
    secret.write_bytes(struct.pack("<4f", 1, 2, 3, 4))
    (folder / "link").symlink_to(secret)
    (folder / "inside").write_bytes(secret.read_bytes())
    named = {"absolute": str(secret), "above": "../secret", "link": "link", "back": "../model/inside"}[way]
    path = written(folder, adding(outside("w", 4, located(named))))
    with pytest.raises(ConfigError, match="outside"):
        load_session(path, 1, within=folder)


@pytest.mark.parametrize("name", ["weights", "we\0ghts", "", "."])
def test_tensors_that_are_missing_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="which is missing"):
        load_session(written(tmp_path, adding(outside("w", 4, located(name)))), 1, within=tmp_path)


FAR = outside("w", 4, located("../far"))
INNER = graph([node("Relu", ["a"], "b", field(1, "value") + field(5, FAR))], [], [], [])


def far_beyond(inner: bytes) -> bytes:
    """A model whose graph stands in field 7 only for a reader that takes 32 bits of a tag."""
    return field(1, 8) + varint((7 << 3 | 2) + (1 << 32)) + varint(len(inner)) + inner


@pytest.mark.parametrize(
    "octets",
    [
        adding(FAR),
        far_beyond(INNER),
        adding(outside("w", 4, field(2, "../far") + field(1, "location"))),
        adding(outside("w", 4, field(1, "offset") + field(1, "location") + field(2, "../far"))),
        adding(outside("w", 4, field(1, "length") + field(2, "4"), located("../far"))),
        model(INNER),
        model(graph([node("If", ["a"], "b", field(1, "then_branch") + field(6, INNER))], [], [], [])),
        model(graph([node("Scan", ["a"], "b", field(1, "bodies") + field(11, INNER))], [], [], [])),
        model(graph([node("Constant", [], "b", field(1, "values") + field(10, FAR))], [], [], [])),
        model(graph([node("Constant", [], "b", field(1, "sparse_value") + field(22, field(1, FAR)))], [], [], [])),
        model(graph([node("Relu", ["a"], "b")], [], [], []) + field(15, field(2, FAR))),
        model(graph([node("F", ["a"], "b")], [], [], [])) + field(25, field(7, node("C", [], "b", field(5, FAR)))),
        model(graph([node("F", ["a"], "b")], [], [], [])) + field(20, field(2, INNER)),
    ],
)
def test_a_path_is_found_wherever_it_stands(tmp_path: Path, octets: bytes) -> None:
    assert contents_of(octets).locations == {"../far"}
    with pytest.raises(ConfigError, match="outside"):
        load_session(written(tmp_path, octets), 1, within=tmp_path)


def test_operators_of_branches_are_counted() -> None:
    inner = graph([node("Relu", ["a"], "b")], [], [], [])
    octets = model(graph([node("If", ["a"], "b", field(1, "else_branch") + field(6, inner))], [], [], []))
    assert contents_of(octets) == Contents(frozenset({"If", "Relu"}), frozenset())


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    octets = by_row("Relu")
    last = len(octets) - len(
        field(8, field(1, "") + field(2, 17))
    )  # without the version it is whole for us, not for ORT
    for cut in set(range(len(octets))) - {last}:
        with pytest.raises(ConfigError):
            load_session(written(tmp_path, octets[:cut]), 1, within=tmp_path)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"ORTM",
        b"\x0b\x0c",
        b"\x08" + b"\xff" * 10,
        b"\xff" * 11,
        b"\x3a\x05ab",
        b"\x39\x00",
        b"PK\x03\x04 a zip file",
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, octets: bytes) -> None:
    with pytest.raises(ConfigError, match="is not an ONNX model"):
        load_session(written(tmp_path, octets), 1, within=tmp_path)


def test_deep_nesting_is_refused() -> None:
    inner = graph([node("Relu", ["a"], "b")], [], [], [])
    for _ in range(session.MAX_DEPTH):
        inner = graph([node("If", ["a"], "b", field(6, inner))], [], [], [])
    with pytest.raises(ValueError, match="deep"):
        contents_of(model(inner))


def test_what_onnxruntime_refuses_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="onnxruntime can load"):
        load_session(written(tmp_path, model(graph([node("Nonesuch", ["a"], "b")], [], [], []))), 1, within=tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_session(tmp_path / "model.onnx", 1, within=tmp_path)


def test_a_version_that_sends_telemetry_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "__version__", "1.31.1")
    with pytest.raises(ConfigError, match="telemetry"):
        load_session(written(tmp_path, by_row("Relu")), 1, within=tmp_path)


@pytest.mark.parametrize(
    ("op", "by_name", "by_running"),
    [("Relu", False, False), ("ReduceMean", False, True), ("DynamicQuantizeLinear", True, True)],
)
def test_rows_that_move_each_other_are_noticed(tmp_path: Path, op: str, by_name: bool, by_running: bool) -> None:
    path = written(tmp_path, by_row(op))
    assert (batchable(path) is not None) is by_name
    loaded = load_session(path, 1, within=tmp_path)
    random = np.random.default_rng(1)
    one, *others = (by_chance(loaded, {"input_ids": (3, 4)}, {}, random) for _ in range(3))
    assert leaks_across_rows(loaded, one, others) is by_running


def test_inputs_by_chance_have_the_shapes_and_types_asked_for(tmp_path: Path) -> None:
    loaded = load_session(written(tmp_path, by_row("Relu")), 1, within=tmp_path)
    given = np.zeros((2, 4), dtype=np.float32)
    assert by_chance(loaded, {}, {"input_ids": given, "other": given}, np.random.default_rng(1)) == {"input_ids": given}


def test_what_is_wrong_with_a_token_is_written_nowhere(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """onnxruntime's own words for it hold the token, which is a part of somebody's."""
    table = tensor("w", FLOAT, [4, 1], struct.pack("<4f", 1, 2, 3, 4))
    ends = value_info("input_ids", INT64, ["rows"]), value_info("y", FLOAT, ["rows", 1])
    octets = model(graph([node("Gather", ["w", "input_ids"], "y")], [table], [ends[0]], [ends[1]]))
    loaded = load_session(written(tmp_path, octets), 1, within=tmp_path)
    with pytest.raises(Exception, match="311"):
        run(loaded, {"input_ids": np.array([311])})
    assert capfd.readouterr() == ("", "")
