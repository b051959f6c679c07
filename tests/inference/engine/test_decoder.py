"""A language model's slots: together as alone, cleared before reuse, and nothing left beside them."""

import json
import shutil
import time
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.convert.folder import convert
from inference.convert.gguf import load_gguf
from inference.convert.protobuf import GraphWriter
from inference.engine import decoder as module
from inference.engine.decoder import Decoder
from seclude.errors import ConfigError, UsageError
from tests.inference.convert import tiny
from tests.inference.convert.smollm2 import smollm2

SLOTS = 5
WORDS = len(tiny.WORDS)
PROMPTS = {slot: np.random.default_rng(slot).integers(3, WORDS, 3 + 9 * slot).tolist() for slot in range(SLOTS)}

Logits = NDArray[np.float32]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("decoder")
    convert(tiny.write(place / "tiny.gguf"), place / "model")
    return place / "model"


@pytest.fixture(scope="module")
def shared(folder: Path) -> Decoder:
    return Decoder(folder, 1, SLOTS)


@pytest.fixture
def decoder(shared: Decoder) -> Decoder:
    for slot in range(SLOTS):
        shared.clear(slot)
    return shared


def alone(decoder: Decoder, prompt: list[int], steps: int) -> list[Logits]:
    """Return the logits of a greedy text in a slot of its own, with nothing in the others."""
    rows = [decoder.prefill(0, prompt)]
    while len(rows) <= steps:
        rows.append(decoder.step({0: int(rows[-1].argmax())})[0])
    decoder.clear(0)
    return rows


def held(decoder: Decoder, slot: int) -> NDArray[np.float32]:
    return decoder._kept[:, :, decoder._rows[slot]]


def test_sizes_are_the_models(decoder: Decoder) -> None:
    assert (decoder.slots, decoder.context, decoder.vocabulary) == (SLOTS, tiny.CONTEXT, WORDS)
    assert decoder.eos == {2}


def test_logits_are_the_models(decoder: Decoder, folder: Path) -> None:
    gguf = load_gguf(folder.parent / "tiny.gguf")
    expected = tiny.logits(gguf, PROMPTS[4])[-1]
    assert np.corrcoef(decoder.prefill(1, PROMPTS[4]), expected)[0, 1] > 0.999


def test_rows_of_all_lengths_are_what_they_are_alone_bit_by_bit(decoder: Decoder) -> None:
    expected = {slot: alone(decoder, prompt, 12) for slot, prompt in PROMPTS.items()}
    rows = {slot: decoder.prefill(slot, prompt) for slot, prompt in PROMPTS.items()}
    for step in range(12):
        assert all(np.array_equal(rows[slot], expected[slot][step]) for slot in PROMPTS)
        rows = decoder.step({slot: int(row.argmax()) for slot, row in rows.items()})
    assert {slot: decoder.length(slot) for slot in PROMPTS} == {s: len(p) + 12 for s, p in PROMPTS.items()}


@pytest.mark.parametrize("seed", range(8))
def test_requests_come_and_go_between_steps(decoder: Decoder, seed: int) -> None:
    random = np.random.default_rng(seed)
    expected = {slot: alone(decoder, prompt, 20) for slot, prompt in PROMPTS.items()}
    running: dict[int, tuple[int, list[Logits]]] = {}
    finished = 0
    while finished < 25:
        free = [slot for slot in range(SLOTS) if slot not in running]
        if free and random.random() < 0.6:
            slot, prompt = int(random.choice(free)), int(random.choice(SLOTS))
            running[slot] = prompt, [decoder.prefill(slot, PROMPTS[prompt])]
        some = [slot for slot in running if random.random() < 0.8]
        for slot, row in decoder.step({slot: int(running[slot][1][-1].argmax()) for slot in some}).items():
            running[slot][1].append(row)
        for slot, (prompt, rows) in list(running.items()):
            if len(rows) > 20 or random.random() < 0.05:
                assert all(np.array_equal(*pair) for pair in zip(rows, expected[prompt], strict=False))
                decoder.clear(slot)
                del running[slot]
                finished += 1
    assert sorted(decoder._rows) == list(range(SLOTS))


def test_a_prompt_may_come_in_pieces(decoder: Decoder) -> None:
    whole = decoder.prefill(0, PROMPTS[4])
    for start in range(0, len(PROMPTS[4]), 7):
        last = decoder.prefill(1, PROMPTS[4][start : start + 7])
    assert np.allclose(last, whole, atol=1e-4)
    assert np.allclose(held(decoder, 0), held(decoder, 1), atol=1e-4)


def test_a_long_prompt_is_cut_into_runs(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = decoder.prefill(0, PROMPTS[4])
    monkeypatch.setattr(module, "PIECE", 16)
    assert np.allclose(decoder.prefill(1, PROMPTS[4]), whole, atol=1e-4)


def test_what_others_hold_changes_no_bit(decoder: Decoder) -> None:
    found = []
    for seed in (1, 2):
        random = np.random.default_rng(seed)
        for slot in (0, 2, 3):
            decoder.prefill(slot, random.integers(3, WORDS, 5 + 30 * seed).tolist())
        row = decoder.prefill(1, PROMPTS[1])
        for _ in range(8):
            others = {slot: int(random.integers(3, WORDS)) for slot in (0, 2, 3)}
            row = decoder.step({**others, 1: int(row.argmax())})[1]
        found.append((row, held(decoder, 1).copy()))
        for slot in range(SLOTS):
            decoder.clear(slot)
    assert np.array_equal(found[0][0], found[1][0])
    assert np.array_equal(found[0][1], found[1][1])


def test_a_cleared_slot_holds_nothing_and_the_others_all(decoder: Decoder) -> None:
    for slot, prompt in PROMPTS.items():
        decoder.prefill(slot, prompt)
    decoder.step({4: 7, 2: 9})  # they move to the first rows
    before = {slot: held(decoder, slot).copy() for slot in PROMPTS}
    decoder.clear(2)
    assert not held(decoder, 2).any()
    assert decoder.length(2) == 0
    assert all(np.array_equal(held(decoder, slot), before[slot]) for slot in PROMPTS if slot != 2)
    for slot in PROMPTS:
        decoder.clear(slot)
    assert not decoder._kept.any()


def test_a_slot_that_was_used_is_as_good_as_new(decoder: Decoder) -> None:
    expected = alone(decoder, PROMPTS[1], 5)
    decoder.prefill(0, PROMPTS[4])
    decoder.clear(0)
    assert all(np.array_equal(*pair) for pair in zip(alone(decoder, PROMPTS[1], 5), expected, strict=True))


def test_moved_keys_leave_nothing_behind(decoder: Decoder) -> None:
    for slot in (1, 4):
        decoder.prefill(slot, PROMPTS[slot])
    assert [decoder._rows[slot] for slot in (1, 4)] == [0, 1]  # as they came
    decoder.clear(1)
    decoder.step({4: 5})
    assert decoder._rows[4] == 0
    assert not decoder._kept[:, :, 1:].any()


def test_nothing_else_of_a_request_stays(decoder: Decoder) -> None:
    decoder.step({slot: int(decoder.prefill(slot, PROMPTS[slot]).argmax()) for slot in (0, 3)})
    for array in (decoder._ids, decoder._positions, decoder._mask, decoder._logits):
        assert not array.any()


class _Failing:
    """A session that writes and then fails, as one that runs out of memory does."""

    def __init__(self, decoder: Decoder) -> None:
        self._session = decoder._session

    def run_with_iobinding(self, binding: object) -> None:
        self._session.run_with_iobinding(binding)
        raise RuntimeError("a token: 12345")


def test_a_run_that_fails_leaves_nothing(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    row = decoder.prefill(1, PROMPTS[1])
    with monkeypatch.context() as patch:
        patch.setattr(decoder, "_session", _Failing(decoder))
        for act in (lambda: decoder.step({3: 5, 1: 6}), lambda: decoder.prefill(2, PROMPTS[2])):
            with pytest.raises(UsageError, match="onnxruntime failed") as caught:
                act()
            assert "12345" not in str(caught.value)
            assert caught.value.__cause__ is None
    assert not any(array.any() for array in (decoder._ids, decoder._mask, decoder._logits))
    assert decoder.length(1) == len(PROMPTS[1])
    after = decoder.step({1: int(row.argmax())})[1]  # as if it had not been tried
    decoder.clear(1)
    assert np.array_equal(after, alone(decoder, PROMPTS[1], 1)[1])
    for slot in (2, 3):
        decoder.clear(slot)
    assert not decoder._kept.any()


@pytest.mark.parametrize(
    "act",
    [
        lambda d: d.prefill(0, []),
        lambda d: d.prefill(SLOTS, [1]),
        lambda d: d.prefill(-1, [1]),
        lambda d: d.prefill(0, [4] * (tiny.CONTEXT + 1)),
        lambda d: d.prefill(0, [WORDS]),
        lambda d: d.step({0: -1}),
    ],
)
def test_what_does_not_fit_is_refused_without_saying_what_it_was(
    decoder: Decoder, act: Callable[[Decoder], object]
) -> None:
    with pytest.raises(UsageError) as caught:
        act(decoder)
    assert str(WORDS) not in str(caught.value)
    assert not decoder._kept.any()


def test_a_slot_is_filled_to_its_last_place(decoder: Decoder) -> None:
    decoder.prefill(0, [4] * (tiny.CONTEXT - 1))
    decoder.step({0: 5})
    with pytest.raises(UsageError):
        decoder.step({0: 5})


def test_marks_are_words_unless_said_otherwise(decoder: Decoder) -> None:
    assert decoder.encode("a<|im_end|>", special=True)[-1] == 2
    plain = decoder.encode("a<|im_end|>")
    assert 2 not in plain
    assert b"".join(map(decoder.piece, plain)) == b"a<|im_end|>"
    assert decoder.piece(2) == b""


def test_octets_of_tokens_are_the_texts(decoder: Decoder) -> None:
    text = "Größe 12 €, the 🙂\n\x00\xa0"
    assert b"".join(map(decoder.piece, decoder.encode(text))) == text.encode()


def genai(folder: Path, *, every_position: bool = True, dynamic: bool = False) -> Path:
    """Write a folder as onnxruntime-genai's builder does: position_ids, and logits of all positions."""
    folder.mkdir()
    size = 16
    random = np.random.default_rng(5)
    data = BytesIO()
    graph = GraphWriter("genai", data, "model.onnx.data")
    ids = graph.input("input_ids", "int64", ("batch_size", "sequence_length"))
    mask = graph.input("attention_mask", "int64", ("batch_size", "total_sequence_length"))
    positions = graph.input("position_ids", "int64", ("batch_size", "sequence_length"))
    table = graph.tensor("table", random.normal(size=(WORDS, 3 * size)).astype(np.float32))
    places = graph.tensor("places", random.normal(size=(tiny.CONTEXT, 3 * size)).astype(np.float32))
    rows = graph.node("Gather", (table, ids), ("rows",), axis=0)
    packed = graph.node("Add", (rows, graph.node("Gather", (places, positions), ("there",), axis=0)), ("packed",))
    if dynamic:
        graph.node("DynamicQuantizeLinear", (packed,), ("q", "scale", "zero"))
        packed = graph.node("DequantizeLinear", ("q", "scale", "zero"), ("coarse",))
    one, axes = graph.tensor("one", np.array(1, dtype=np.int64)), graph.tensor("axes", np.array([1], dtype=np.int64))
    sums = graph.node("ReduceSum", (mask, axes), ("sums",), keepdims=0)
    before = graph.node("Cast", (graph.node("Sub", (sums, one), ("less",)),), ("before",), to=6)
    width = graph.node("Gather", (graph.node("Shape", (mask,), ("shape",)), one), ("width",), axis=0)
    total = graph.node("Cast", (width,), ("total",), to=6)
    past = [
        graph.input(f"past_key_values.0.{kind}", "float32", ("batch_size", 1, "past", size))
        for kind in ("key", "value")
    ]
    outputs = ("attended", "present.0.key", "present.0.value")
    inputs = (packed, "", "", *past, before, total)
    attended = graph.node("com.microsoft.GroupQueryAttention", inputs, outputs, num_heads=1, kv_num_heads=1)
    if not every_position:
        end = graph.tensor("end", np.array([-1], dtype=np.int64))
        attended = graph.node("Gather", (attended, end), ("last",), axis=1)
    head = graph.tensor("head", random.normal(size=(size, WORDS)).astype(np.float32))
    graph.node("MatMul", (attended, head), ("logits",))
    graph.output("logits", "float32", ("batch_size", "sequence_length", WORDS))
    for output in outputs[1:]:
        graph.output(output, "float32", ("batch_size", 1, "present", size))
    (folder / "model.onnx").write_bytes(graph.model())
    (folder / "model.onnx.data").write_bytes(data.getvalue())
    said = {"model": {"eos_token_id": 2, "context_length": tiny.CONTEXT, "decoder": {"filename": "model.onnx"}}}
    (folder / "genai_config.json").write_text(json.dumps(said))
    return folder


@pytest.mark.parametrize("every_position", [True, False])
def test_exports_of_onnxruntime_genai_are_loaded(folder: Path, tmp_path: Path, every_position: bool) -> None:
    place = genai(tmp_path / "genai", every_position=every_position)
    shutil.copy(folder / "tokenizer.json", place)
    decoder = Decoder(place, 1, SLOTS, context=64)
    assert (decoder.context, decoder.eos) == (64, frozenset({2}))
    expected = {slot: alone(decoder, prompt, 6) for slot, prompt in PROMPTS.items()}
    rows = {slot: decoder.prefill(slot, prompt) for slot, prompt in PROMPTS.items()}
    for step in range(6):
        assert all(np.allclose(rows[slot], expected[slot][step], atol=1e-4) for slot in PROMPTS)
        rows = decoder.step({slot: int(expected[slot][step].argmax()) for slot in PROMPTS})
    assert not decoder._logits.any()


def test_rows_that_share_a_scale_run_alone(folder: Path, tmp_path: Path) -> None:
    place = genai(tmp_path / "genai", dynamic=True)
    shutil.copy(folder / "tokenizer.json", place)
    decoder = Decoder(place, 1, SLOTS)
    expected = {slot: alone(decoder, prompt, 6) for slot, prompt in PROMPTS.items()}
    rows = {slot: decoder.prefill(slot, prompt) for slot, prompt in PROMPTS.items()}
    for step in range(6):
        assert all(np.array_equal(rows[slot], expected[slot][step]) for slot in PROMPTS)
        rows = decoder.step({slot: int(row.argmax()) for slot, row in rows.items()})


def edit(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    path = folder / "genai_config.json"
    said = json.loads(path.read_text())
    change(said)
    path.write_text(json.dumps(said))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda said: said.pop("model"), "says nothing of a model"),
        (lambda said: said["model"].pop("eos_token_id"), "names no eos_token_id"),
        (lambda said: said["model"].update(eos_token_id=["x"]), "names no eos_token_id"),
        (lambda said: said["model"].update(context_length="long"), "names no context_length"),
        (lambda said: said["model"].update(eos_token_id=[2, 1 << 20]), "beyond the model's vocabulary"),
    ],
)
def test_a_folder_that_does_not_say_enough_is_refused(
    folder: Path, tmp_path: Path, change: Callable[[dict[str, object]], object], word: str
) -> None:
    place = shutil.copytree(folder, tmp_path / "model")
    edit(place, change)
    with pytest.raises(ConfigError, match=word):
        Decoder(place, 1, 1)


def test_another_kind_of_graph_is_refused(folder: Path, tmp_path: Path) -> None:
    place = shutil.copytree(folder, tmp_path / "model")
    graph = GraphWriter("other", BytesIO(), "")
    graph.node("Identity", (graph.input("input_ids", "int64", ("n",)),), ("logits",))
    graph.output("logits", "int64", ("n",))
    (place / "model.onnx").write_bytes(graph.model())
    with pytest.raises(ConfigError, match="no decoder with grouped-query attention"):
        Decoder(place, 1, 1)


def test_untouched_places_take_no_memory(folder: Path) -> None:
    def resident() -> int:
        pages = Path("/proc/self/statm").read_text().split()[1]
        return int(pages) * 4096

    before = resident()
    kept = module._zeros((1, 1, 64, 1, 1 << 14, 64))  # 256 MiB
    kept[:, :, :, :, 0] = 1
    assert resident() - before < 32 << 20


@pytest.mark.drill
@pytest.mark.timeout(900)
def test_smollm2_eight_at_once_are_twice_as_fast_and_the_same(tmp_path: Path) -> None:
    convert(smollm2(tmp_path), tmp_path / "model")
    decoder = Decoder(tmp_path / "model", 1, 8, context=1024)
    prompts = [decoder.encode(f"{count} friends plan a trip to the sea. " * count) for count in range(1, 9)]
    expected = [alone(decoder, prompt, 20) for prompt in prompts]
    rows = {slot: decoder.prefill(slot, prompt) for slot, prompt in enumerate(prompts)}
    for step in range(20):
        assert all(np.array_equal(rows[slot], expected[slot][step]) for slot in rows)
        rows = decoder.step({slot: int(row.argmax()) for slot, row in rows.items()})

    def speed(tokens: Mapping[int, int]) -> float:
        begin = time.perf_counter()
        for _ in range(8):
            decoder.step(tokens)
        return 8 * len(tokens) / (time.perf_counter() - begin)

    pairs = [(speed({0: 5}), speed(dict.fromkeys(range(8), 5))) for _ in range(9)]
    one, eight = (median(column) for column in zip(*pairs, strict=True))
    print(f"tokens/s: {one:.0f} alone, {eight:.0f} with eight at once")
    assert median(eight / one for one, eight in pairs) >= 2.0
