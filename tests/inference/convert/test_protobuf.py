"""ONNX files as they are written, read back by onnxruntime and by the engine's own reader."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from inference.convert.protobuf import INLINE_OCTETS, PAGE, GraphWriter, varint
from inference.engine.session import contents_of, load_session


@pytest.mark.parametrize(
    ("value", "octets"),  # protobuf.dev, encoding
    [(0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (150, "9601"), (-1, "ffffffffffffffffff01")],
)
def test_numbers_have_protobufs_length(value: int, octets: str) -> None:
    assert varint(value).hex() == octets


def graph(data: BytesIO) -> GraphWriter:
    writer = GraphWriter("sum", data, "model.onnx.data")
    x = writer.input("x", "float32", ("rows", 512))
    large = writer.tensor("large", np.arange(512, dtype=np.float32))
    again = writer.tensor("again", np.ones(512, dtype=np.float32))
    scaled = writer.node("Mul", (x, large), ("scaled",))
    writer.node("LeakyRelu", (writer.node("Add", (scaled, again), ("sum",)),), ("y",), alpha=0.25)
    writer.output("y", "float32", ("rows", 512))
    return writer


def test_a_graph_runs(tmp_path: Path) -> None:
    data = BytesIO()
    model = graph(data).model()
    (tmp_path / "model.onnx").write_bytes(model)
    (tmp_path / "model.onnx.data").write_bytes(data.getvalue())
    session = load_session(tmp_path / "model.onnx", 1, within=tmp_path)
    x = np.array([[1.0], [-2.0]], dtype=np.float32) * np.ones((1, 512), dtype=np.float32)
    sums = x * np.arange(512) + 1
    assert np.allclose(session.run(None, {"x": x})[0], np.where(sums < 0, sums * 0.25, sums))


def test_large_tensors_stand_in_the_second_file_on_pages_of_their_own() -> None:
    data = BytesIO()
    contents = contents_of(graph(data).model())
    assert contents.operators == {"Mul", "Add", "LeakyRelu"}
    assert contents.locations == {"model.onnx.data"}
    assert INLINE_OCTETS <= 512 * 4
    assert data.getvalue()[PAGE:] == np.ones(512, dtype=np.float32).tobytes()
