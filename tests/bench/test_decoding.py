"""The engine beside loops written by hand: they do the same work, and what is made of their times."""

from io import BytesIO
from pathlib import Path

import pytest

from bench.decoderloops import BareDecoder, Stretch, engine_decoder
from bench.decoding import BARE, ENGINE, ROWS, Rounds, figures, measure
from bench.loops import Loop, Taken, same
from bench.main import main
from bench.peers.llama import LlamaLoop
from bench.peers.start import SkippedError
from bench.result import read
from bench.seq2seqloops import BareSeq2Seq, EngineSeq2Seq
from inference.convert.folder import convert
from seclude.errors import ConfigError
from tests.exports import tiny
from tests.inference.convert import tiny as gguf

IDS = [7, 8, 9, 7]


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("decode")
    gguf.write(folder / "tiny.gguf")
    convert(folder / "tiny.gguf", folder / "tiny-llama")
    return folder / "tiny-llama"


@pytest.mark.parametrize("rows", ROWS)
def test_the_engine_and_the_bare_loop_write_the_same(language_model: Path, rows: int) -> None:
    with engine_decoder(language_model, 1, 8) as (engine, decoder):
        bare = BareDecoder(language_model, 1, 8, decoder.context)
        one, other = bare(IDS, rows, 12), engine(IDS, rows, 12)
        assert same(one.tokens, other.tokens)
        assert bare(IDS, rows, 12).tokens == one.tokens  # nothing of the run before is left
    assert [len(row) for row in one.tokens] == [12] * rows
    assert min(len(row) for row in other.tokens) >= 12
    assert min(one.cpu_us, one.wall_us, other.cpu_us, other.wall_us) > 0


@pytest.mark.parametrize("name", ["tiny-bart", "tiny-t5"])
@pytest.mark.parametrize("rows", ROWS)
def test_so_they_do_on_encoder_decoders(name: str, rows: int) -> None:
    folder = tiny(name)
    one, other = (loop(IDS, rows, 20) for loop in (BareSeq2Seq(folder, 1), EngineSeq2Seq(folder, 1)))
    assert one.tokens == other.tokens
    assert [len(row) for row in one.tokens] == [21] * rows


def test_rows_are_the_same_as_far_as_both_go() -> None:
    assert same([[1, 2], [3]], [[1, 2, 9], [3, 4]])
    assert not same([[1, 2]], [[1, 3]])
    assert not same([[]], [[]])


def test_a_stretch_begins_when_all_rows_write_and_counts_whole_steps() -> None:
    stretch = Stretch(2, 2)
    assert [stretch.take(0, 5), stretch.take(0, 6)] == [True, True]  # the other one reads its prompt
    assert [stretch.take(1, 7), stretch.take(0, 8), stretch.take(1, 9), stretch.take(0, 10)] == [True] * 4
    assert not stretch.take(1, 11)
    assert not stretch.take(0, 12)
    assert stretch.tokens == [[5, 6, 8, 10], [7, 9, 11]]


def rounds(bare: float, engine: float, peer: float) -> Rounds:
    def taken(cpu: float) -> list[Taken]:
        return [Taken(cpu * spread, 2 * cpu * spread, [[1]]) for spread in (1, 2, 3)]

    per_rows = {1: 1.0, 8: 0.25}
    each = {BARE: bare, ENGINE: engine, "llama.cpp q8": peer}
    return {(name, rows): taken(cpu * share) for rows, share in per_rows.items() for name, cpu in each.items()}


def test_ratios_are_of_the_same_round() -> None:
    found = {(figure.name, figure.unit): figure for figure in figures("m", rounds(100, 105, 210))}
    overhead = found["m, 8 at once: engine / bare loop", "times the CPU"]
    assert overhead.value == overhead.low == overhead.high == pytest.approx(1.05)
    assert overhead.good
    assert overhead.limit == 1.08
    assert found["m, 1 at once: engine / llama.cpp q8", "times the tokens/s"].value == pytest.approx(2)
    assert found["m, 1 at once: engine / llama.cpp q8", "times the CPU"].value == pytest.approx(0.5)
    assert found["m: a token of 8 at once / alone", "times the CPU"].value == pytest.approx(0.25)
    assert found["m, 1 at once: llama.cpp q8", "tokens/s"].value == pytest.approx(1e6 / 840)


def test_an_engine_that_costs_too_much_misses_its_limit() -> None:
    missed = [figure.name for figure in figures("m", rounds(100, 109, 210)) if not figure.good]
    assert missed == ["m, 1 at once: engine / bare loop", "m, 8 at once: engine / bare loop"]


def test_other_tokens_are_not_compared() -> None:
    def loop(token: int) -> Loop:
        return lambda ids, rows, steps: Taken(1, 1, [[token] * steps] * rows)

    with pytest.raises(ConfigError, match="other tokens"):
        measure({BARE: loop(1), ENGINE: loop(2)}, IDS, 1, 3, lambda _: None)
    taken = measure({BARE: loop(1), ENGINE: loop(1), "peer": loop(3)}, IDS, 2, 3, lambda _: None)
    assert {name: len(each) for name, each in taken.items()} == {
        (name, rows): 2 for rows in ROWS for name in (BARE, ENGINE, "peer")
    }


def test_where_there_is_no_llama_cpp_it_is_left_out_with_a_word(language_model: Path, tmp_path: Path) -> None:
    (tmp_path / "q8.gguf").touch()
    options = ["--gguf", str(tmp_path / "q8.gguf"), "--gguf", str(tmp_path / "none.gguf"), "--rounds", "1", "--quiet"]
    options += ["--llama-python", str(tmp_path / "nowhere"), "--json", str(tmp_path / "result.json"), "--steps", "4"]
    main(["decode", "--language-model", str(language_model), *options])
    result = read(tmp_path / "result.json")
    assert "nowhere: No such file" in result.skipped["llama.cpp q8"]
    assert "there is no" in result.skipped["llama.cpp none"]
    assert {figure.name for figure in result.figures} >= {f"tiny-llama, {rows} at once: engine" for rows in ROWS}


def test_a_peer_that_ends_is_no_measurement() -> None:
    with pytest.raises(SkippedError):
        LlamaLoop(BytesIO(), BytesIO())(IDS, 1, 1)


@pytest.mark.parametrize("words", [[], ["--gguf", "x.gguf", "--summariser", "y"]])
def test_without_a_model_there_is_nothing_to_measure(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["decode", *words]) == 2
    assert "--language-model" in capsys.readouterr().err
