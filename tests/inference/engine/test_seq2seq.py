"""Encoder-decoder models against the reference implementation's output, alone and together, and what they leave."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnxruntime import InferenceSession

from inference.engine.layout import generation_of
from inference.engine.logits import Row, random_from
from inference.engine.seq2seq import Graphs, Seq2Seq, Steps
from inference.engine.session import load_session
from inference.runner import Runner
from seclude.errors import ConfigError, UsageError
from tests.exports import tiny
from tests.inference.engine.test_beam import Reference
from tests.inference.engine.test_layout import sentencepiece
from tests.inference.engine.test_session import FLOAT, INT64, field, graph, model, node, tensor, value_info, whole
from tests.privacy.residue import SMALL_IDS, Needles, memory_of, residue
from tests.running import ROOT

NAMES = ("tiny-bart", "tiny-t5")
MOST = 24  # new tokens of expected.json


@pytest.fixture(scope="module", params=NAMES)
def folder(request: pytest.FixtureRequest) -> Path:
    return tiny(request.param)


@pytest.fixture(scope="module")
def loaded(folder: Path) -> Seq2Seq:
    return Seq2Seq(folder)


@pytest.fixture(scope="module")
def expected(folder: Path) -> list[tuple[str, list[int], list[int], str]]:
    cases = json.loads((folder / "expected.json").read_text())
    return [(case["prompt"], case["input_ids"], case["greedy_ids"][1:], case["text"]) for case in cases]


Expected = list[tuple[str, list[int], list[int], str]]


def together(loaded: Seq2Seq, texts: Sequence[Sequence[int]], most: int = MOST) -> list[list[int]]:
    made: list[list[int]] = [[] for _ in texts]
    with closing(loaded.begin(texts, loaded.rules(most))) as batch:
        while batch.running:
            for text, tokens in batch.step().items():
                made[text] += tokens
    return made


def altered(folder: Path, path: Path, **settings: object) -> Path:
    """Return a copy of a model whose generation_config.json says more."""
    shutil.copytree(folder, path, copy_function=shutil.copyfile)
    path.chmod(0o755)
    own = json.loads((folder / "generation_config.json").read_text())
    (path / "generation_config.json").write_text(json.dumps(own | settings))
    return path


def test_a_prompt_has_the_reference_s_tokens_and_makes_its_text(loaded: Seq2Seq, expected: Expected) -> None:
    for prompt, ids, greedy, text in expected:
        assert loaded.encode(prompt) == ids
        made = list(loaded.generate(ids, loaded.rules(MOST)))
        assert made == greedy
        assert b"".join(map(loaded.piece, made)).decode(errors="replace") == text


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0), (1, 1, 0, 2, 2, 0), (2, 2, 2, 2, 2, 2, 2, 0)])
def test_ragged_batches_make_what_each_makes_alone(loaded: Seq2Seq, expected: Expected, order: Sequence[int]) -> None:
    assert together(loaded, [expected[each][1] for each in order]) == [expected[each][2] for each in order]


def test_a_batch_makes_the_same_tokens_whatever_the_others_hold(loaded: Seq2Seq) -> None:
    random = np.random.default_rng(5)
    texts = [random.integers(3, 300, random.integers(1, 60)).tolist() for _ in range(24)]
    alone = [list(loaded.generate(text, loaded.rules(40))) for text in texts]
    for start in range(0, 24, 6):
        assert together(loaded, texts[start : start + 6], 40) == alone[start : start + 6]


def test_rows_are_the_same_to_the_last_bit_whatever_the_other_rows_hold(loaded: Seq2Seq, folder: Path) -> None:
    """At the same shape: the encoder's output, the logits of each step, and all keys and values."""
    graphs = Graphs(folder / "encoder_model.onnx", folder / "decoder_model_merged.onnx", 1)
    random = np.random.default_rng(6)
    lengths = np.array([[9], [4], [12], [1]])

    def bits(ids: np.ndarray, lengths: np.ndarray, last: np.ndarray) -> list[bytes]:
        steps = Steps(graphs, ids, (np.arange(12) < lengths).astype(np.int64))
        seen = [steps._hidden[0].tobytes()]
        for step in range(6):
            logits = steps.step(last[:, step].tolist())
            seen += [logits[0].tobytes(), steps._kept[:, 0].tobytes(), steps._crossed[:, 0].tobytes()]
        return seen

    ids, last = random.integers(3, 300, (4, 12)), random.integers(3, 300, (4, 6))
    first = bits(ids, lengths, last)
    for _ in range(10):
        ids[1:], last[1:] = random.integers(0, 300, (3, 12)), random.integers(0, 300, (3, 6))
        lengths[1:] = random.integers(1, 13, (3, 1))
        assert bits(ids, lengths, last) == first


def test_a_text_that_is_dropped_leaves_the_others_as_they_are(loaded: Seq2Seq, expected: Expected) -> None:
    made: list[list[int]] = [[], [], []]
    with closing(loaded.begin([case[1] for case in expected], loaded.rules(MOST))) as batch:
        for step in range(MOST):
            if step == 5:
                batch.drop(1)
                batch.drop(1)
                assert batch.running == {0, 2}
            for text, tokens in batch.step().items():
                made[text] += tokens
        assert not batch.running
    assert made == [expected[0][2], expected[1][2][:5], expected[2][2]]


class Whole:
    """The decoder without any past: all tokens at every step, by a session of its own."""

    def __init__(self, folder: Path, ids: Sequence[int]) -> None:
        encoder = load_session(folder / "encoder_model.onnx", 1, within=folder)
        self._decoder: InferenceSession = load_session(folder / "decoder_model_merged.onnx", 1, within=folder)
        self._mask = np.ones((1, len(ids)), dtype=np.int64)
        (self._hidden,) = encoder.run(None, {"input_ids": np.array([ids]), "attention_mask": self._mask})

    def __call__(self, history: Sequence[int]) -> Row:
        feeds: dict[str, object] = {
            "input_ids": np.array([history]),
            "encoder_attention_mask": self._mask,
            "encoder_hidden_states": self._hidden,
            "use_cache_branch": np.array([False]),
        }
        for item in self._decoder.get_inputs():
            if item.name.startswith("past"):
                feeds[item.name] = np.zeros((1, item.shape[1], 1, item.shape[3]), dtype=np.float32)
        (logits,) = self._decoder.run(["logits"], feeds)
        row: Row = np.asarray(logits, dtype=np.float32)[0, -1]
        return row


LIKE_A_SUMMARISER = {
    "num_beams": 4,
    "no_repeat_ngram_size": 3,
    "length_penalty": 2.0,
    "min_length": 8,
    "max_length": 20,
    "early_stopping": True,
}


@pytest.mark.parametrize(
    "settings",
    [
        LIKE_A_SUMMARISER,
        {"num_beams": 3, "max_length": 12},
        {"num_beams": 2, "early_stopping": "never", "max_length": 16},
    ],
)
def test_a_beam_search_decides_as_the_reference_does_without_a_past(
    folder: Path, expected: Expected, tmp_path: Path, settings: dict[str, object]
) -> None:
    changed = altered(folder, tmp_path / "m", **settings)
    loaded, told = Seq2Seq(changed), generation_of(changed)
    wanted = []
    for _, ids, _, _ in expected:
        reference = Reference(Whole(changed, ids), told.rules, told.beams, told.length_penalty, told.early, told.start)
        wanted.append(reference.run()[1:])
        assert list(loaded.generate(ids)) == wanted[-1]
    made: list[list[int]] = [[], [], []]
    with closing(loaded.begin([case[1] for case in expected])) as batch:
        while batch.running:
            for text, tokens in batch.step().items():
                made[text] += tokens
    assert made == wanted


def test_what_a_request_asks_for_stays_within_the_model(loaded: Seq2Seq) -> None:
    assert loaded.rules().max_length == 40
    assert loaded.rules(7).max_length == 8
    assert loaded.rules(10**9).max_length == loaded.max_input
    assert len(list(loaded.generate([67, 2], loaded.rules(1)))) == 1


def test_chance_comes_from_the_seed_alone(loaded: Seq2Seq, expected: Expected) -> None:
    rules = replace(loaded.rules(MOST), temperature=1.5)
    texts = [case[1] for case in expected]

    def made(seed: int, text: int) -> list[int]:
        return list(loaded.generate(texts[text], rules, random_from(bytes([seed] * 16))))

    alone = [made(text, text) for text in range(3)]
    assert alone[0] == made(0, 0) != made(9, 0)
    batched: list[list[int]] = [[], [], []]
    with closing(loaded.begin(texts, rules, [random_from(bytes([text] * 16)) for text in range(3)])) as batch:
        while batch.running:
            for text, tokens in batch.step().items():
                batched[text] += tokens
    assert batched == alone


@pytest.mark.parametrize("length", [0, 1])
def test_texts_that_are_empty_or_too_long_are_refused(loaded: Seq2Seq, length: int) -> None:
    with pytest.raises(UsageError, match="tokens"):
        next(loaded.generate([5] * (length * (loaded.max_input + 1))))
    with pytest.raises(UsageError, match="tokens"):
        loaded.begin([])
    with pytest.raises(UsageError, match="end at"):
        loaded.begin([[5]], replace(loaded.rules(), max_length=None))


def test_the_longest_text_makes_the_longest_answer(loaded: Seq2Seq) -> None:
    longest = replace(loaded.rules(loaded.max_input), eos=frozenset())
    assert len(list(loaded.generate([5] * loaded.max_input, longest))) == loaded.max_input - 1


async def test_what_was_given_up_ends_within_one_step(loaded: Seq2Seq, expected: Expected) -> None:
    runner, reached, go_on = Runner(1, 1), threading.Event(), threading.Event()
    seen: list[int] = []

    def task() -> None:
        for token in loaded.generate(expected[0][1], loaded.rules(MOST)):
            seen.append(token)
            if len(seen) == 3:
                reached.set()
                go_on.wait()

    waiting = asyncio.ensure_future(runner.run(task))
    await asyncio.to_thread(reached.wait)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go_on.set()
    assert await runner.run(lambda: len(seen)) == 3  # on the same thread, so the task has ended before it
    runner.close()
    assert seen == expected[0][2][:3]


def test_arrays_are_filled_with_zeros_when_a_text_is_done_with(loaded: Seq2Seq, expected: Expected) -> None:
    batch = loaded.begin([case[1] for case in expected])
    batch.step()
    batch.step()
    steps = batch._steps
    held = [steps._kept, steps._crossed, steps._hidden, steps._mask, steps._last]
    assert all(array.any() for array in held)
    batch.step()
    assert not held[0].any()  # another array has taken its place
    held += [steps._kept, steps._logits]
    batch.close()
    assert not any(array.any() for array in held)


def encoder_of_rows(width: int) -> bytes:
    """An encoder whose output has in it the mean over all rows, by operators that are known for nothing of the kind."""
    nodes = [
        node("Cast", ["input_ids"], "f", whole("to", FLOAT)),
        node("Unsqueeze", ["f", "axis"], "u"),
        node("Mul", ["u", "w"], "h"),
        node("ReduceMean", ["h"], "m", field(1, "axes") + field(8, 0) + field(20, 7)),
        node("Add", ["h", "m"], "last_hidden_state"),
    ]
    weights = np.linspace(-0.01, 0.01, width, dtype=np.float32).tobytes()
    axis = tensor("axis", INT64, [1], np.array([2], dtype=np.int64).tobytes())
    ends = (value_info("input_ids", INT64, ["r", "s"]), value_info("last_hidden_state", FLOAT, ["r", "s", width]))
    return model(graph(nodes, [axis, tensor("w", FLOAT, [width], weights)], [ends[0]], [ends[1]]))


def test_a_model_whose_rows_move_each_other_takes_one_request_at_a_time(folder: Path, tmp_path: Path) -> None:
    changed = altered(folder, tmp_path / "m")
    (changed / "encoder_model.onnx").write_bytes(encoder_of_rows(32))
    loaded = Seq2Seq(changed)
    assert loaded.alone is not None
    assert "its encoder" in loaded.alone
    assert list(loaded.generate([5, 6, 7], loaded.rules(5)))
    with pytest.raises(UsageError, match="share a run"):
        loaded.begin([[5, 6], [7]])


def test_the_tiny_models_may_be_shared(loaded: Seq2Seq, folder: Path) -> None:
    assert loaded.alone is None
    assert (loaded.name, loaded.prefix) == (folder.name, "")
    assert (loaded.piece(-1), loaded.piece(10**6), loaded.piece(2 if "bart" in folder.name else 1)) == (b"", b"", b"")


@pytest.mark.parametrize(("graph_name", "other"), [("encoder_model.onnx", "decoder_model_merged.onnx")])
def test_graphs_that_are_not_a_pair_are_refused(folder: Path, tmp_path: Path, graph_name: str, other: str) -> None:
    for name in (graph_name, other):
        changed = altered(folder, tmp_path / name)
        (changed / name).write_bytes((folder / ({graph_name, other} - {name}).pop()).read_bytes())
        with pytest.raises(ConfigError, match="no merged decoder"):
            Seq2Seq(changed)


# Watched from inside, as the sentence encoder is: threads, files and sockets after the model was loaded.
PROBE = """
import os, sys
from pathlib import Path
events = []
watched = ("open", "socket.", "os.", "import")
from inference.engine.logits import random_from
from inference.engine.seq2seq import Seq2Seq
model = Seq2Seq(Path(sys.argv[1]))
from dataclasses import replace
sys.addaudithook(lambda name, args: events.append((name, str(args[:2]))) if name.startswith(watched) else None)
threads = len(os.listdir("/proc/self/task"))
files = set(os.listdir("/proc/self/fd"))
del events[:]
assert list(model.generate(model.encode("one two three " * 9), model.rules(9)))
assert list(model.generate(model.encode("one"), replace(model.rules(9), temperature=1.0), random_from(bytes(32))))
assert events == [], events
assert len(os.listdir("/proc/self/task")) == threads == 1, threads
assert set(os.listdir("/proc/self/fd")) == files
"""


def test_after_it_is_loaded_it_opens_nothing_and_starts_no_thread(folder: Path) -> None:
    environment = os.environ | {"ORT_DISABLE_TELEMETRY": "1", "OPENBLAS_NUM_THREADS": "1"}  # as the launcher sets them
    done = subprocess.run(
        [sys.executable, "-c", PROBE, folder], capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert done.returncode == 0, done.stderr


LOCKED = """
import sys
from dataclasses import replace
from pathlib import Path
from inference.engine.logits import random_from
from inference.engine.seq2seq import Seq2Seq
from inference.lockdown import lock_down
model = Seq2Seq(Path(sys.argv[1]))
lock_down(lock_memory=False)
assert list(model.generate(model.encode("one two three " * 9), model.rules(9)))
assert list(model.generate(model.encode("one"), replace(model.rules(9), temperature=1.0), random_from(bytes(32))))
"""


def test_it_works_where_everything_else_is_refused(folder: Path) -> None:
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", LOCKED, folder], capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert done.returncode == 0, done.stderr


# It is given texts, makes what the model makes of them, says the tokens, and waits to be looked at.
WORKS = """
import gc, os, sys
from pathlib import Path
from inference.engine.seq2seq import Seq2Seq
from inference.engine.layout import load_tokenizer
if sys.argv[2] == "remembers":
    import inference.engine.seq2seq
    from tokenizers import Tokenizer
    inference.engine.seq2seq.load_tokenizer = lambda path: Tokenizer.from_file(str(path))
model = Seq2Seq(Path(sys.argv[1]))
os.write(1, b"loaded\\n")
def serve():
    text = os.read(0, 1 << 16).decode()
    ids = model.encode(text)
    made = list(model.generate(ids[: model.max_input], model.rules(60)))
    os.write(1, (",".join(map(str, ids)) + ";" + ",".join(map(str, made)) + "\\n").encode())
for _ in range(3):
    serve()
os.read(0, 1)
"""
OVERWRITING = {
    "PYTHONMALLOC": "malloc",
    "GLIBC_TUNABLES": "glibc.malloc.perturb=165:glibc.malloc.tcache_count=0",
}


def words_found(folder: Path, way: str) -> Counter[str]:
    """Return how many runs of texts and tokens stand in the memory of a process that has worked on three of them."""
    random = np.random.default_rng(11)
    needles = Needles()
    command = [sys.executable, "-c", WORKS, str(folder), way]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=os.environ | OVERWRITING, bufsize=0
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"loaded\n"
        before = list(memory_of(process.pid))
        for _ in range(3):
            words = ["".join(map(chr, random.integers(97, 123, 16))) for _ in range(6)]
            process.stdin.write(" ".join(words).encode())
            ids, made = (list(map(int, part.split(b","))) for part in process.stdout.readline().split(b";"))
            needles.add_text("text", " ".join(words))
            needles.add_ids("tokens in", ids, SMALL_IDS)
            needles.add_ids("tokens out", made, SMALL_IDS)
        for piece in before:
            needles.forget(piece)
        found = residue(process.pid, needles)
        process.stdin.write(b".")
    return found


def test_nothing_of_a_request_stays_in_memory(folder: Path) -> None:
    assert words_found(folder, "forgets") == {}


def unigram(path: Path) -> Path:
    """A model with a tokenizer as published T5 models have it."""
    folder = altered(tiny("tiny-t5"), path)
    sentencepiece(folder / "tokenizer.json")
    return folder


def test_nothing_of_a_request_stays_in_memory_of_a_unigram_tokenizer(tmp_path: Path) -> None:
    assert words_found(unigram(tmp_path / "m"), "forgets") == {}


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_what_would_stay_is_found(kind: str, tmp_path: Path) -> None:
    """Words that a tokenizer remembers, as it does when it is not told otherwise."""
    folder = tiny("tiny-bart") if kind == "bpe" else unigram(tmp_path / "m")
    assert words_found(folder, "remembers")["text, utf-8"] > 50


# It says what stands at the begin of its arrays after each of some steps, closes the batch, and waits to be looked at.
HOLDS = """
import os, sys
from pathlib import Path
from inference.engine.seq2seq import Seq2Seq
model = Seq2Seq(Path(sys.argv[1]))
ids = model.encode(os.read(0, 1 << 16).decode())
def serve():
    batch = model.begin([ids[: model.max_input], ids[:9]], model.rules(20))
    for _ in range(5):
        batch.step()
        steps = batch._steps
        for name, parts in (("kept", steps._kept), ("crossed", steps._crossed), ("hidden", [steps._hidden])):
            for place, part in enumerate(parts):
                os.write(1, f"{name}{place} {part[0].tobytes()[:64].hex()}\\n".encode())
    os.write(1, b"held\\n")
    if sys.argv[2] == "open":
        return batch
    batch.close()
batch = serve()
os.read(0, 1)
os.write(1, b"done\\n")
os.read(0, 1)
"""


def arrays_found(folder: Path, way: str) -> set[str]:
    """Return the arrays of which four numbers in a row are found, after the batch was closed or was not."""
    needles, held = Needles(), 0
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(folder), way],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | OVERWRITING,
        bufsize=0,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"the plumber comes on tuesday at seven")
        for line in iter(process.stdout.readline, b"held\n"):
            name, octets = line.decode().split()
            needles.add_floats(name, np.frombuffer(bytes.fromhex(octets), dtype=np.float32))
            held += 1
        process.stdin.write(b".")
        assert process.stdout.readline() == b"done\n"
        found = residue(process.pid, needles)
        process.stdin.write(b".")
    assert held == 5 * 9  # steps, and two layers' four arrays beside what the encoder made
    return {label.split(",")[0] for label in found}


def test_keys_and_values_are_gone_when_a_batch_is_closed(folder: Path) -> None:
    assert len(arrays_found(folder, "open")) == 9
    assert arrays_found(folder, "closed") == set()


@pytest.mark.parametrize(
    "settings",
    [
        {"decoder_start_token_id": 1 << 20},
        {"forced_eos_token_id": 1 << 20},
        {"forced_bos_token_id": 1 << 20},
        {"pad_token_id": 1 << 20},
        {"eos_token_id": [1 << 20]},
        {"suppress_tokens": [1 << 20]},
        {"bad_words_ids": [[1, 1 << 20]]},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_settings_that_name_a_token_beyond_the_vocabulary_are_refused(
    folder: Path, tmp_path: Path, settings: dict[str, object]
) -> None:
    with pytest.raises(ConfigError, match="beyond the model's vocabulary"):
        Seq2Seq(altered(folder, tmp_path / "model", **settings))


def test_a_tokenizer_that_is_larger_than_the_model_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Graphs, "vocabulary", 40)
    with pytest.raises(ConfigError, match="beyond the model's vocabulary"):
        Seq2Seq(folder)
