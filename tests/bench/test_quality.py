"""`seclude-bench quality` as a person uses it, and what its figures are made of."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.structs import replace as replace_field

from bench.main import main
from bench.quality import command, report
from bench.quality.chat import SHORT, load_chat, load_chats
from bench.quality.engines import DRAWS, PLAIN, Made, at_random, first, last, sources
from bench.quality.report import SIZES, Trial, claims, interval, size_of, total
from bench.quality.score import Score, score
from bench.quality.speed import LIMITS_MS
from seclude.errors import ConfigError

CHATS = load_chats(command.OPEN)
FEW = ("01-film-night", "16-island-camp", "17-akasya-apartmani")
QUIET = ["--quiet"]


@pytest.fixture
def few(tmp_path: Path) -> Path:
    folder = tmp_path / "chats"
    folder.mkdir()
    for name in FEW:
        shutil.copy(command.OPEN / f"{name}.json", folder)
    return folder


def trial(name: str, text: str) -> Trial:
    return Trial(name, CHATS[name], Made(text), score(CHATS[name], text))


@pytest.mark.parametrize("engine", PLAIN)
@pytest.mark.parametrize("name", CHATS)
def test_a_plain_engine_keeps_to_the_words_there_are_and_uses_them(engine: str, name: str) -> None:
    for made in PLAIN[engine](CHATS[name]):
        found = score(CHATS[name], made.text)
        assert not found.over
        assert not found.unsupported
        longest = max(len(line.text.split()) for line in CHATS[name].messages)
        assert engine == "sources" or found.words > CHATS[name].budget - longest - 3


def test_plain_engines_choose_what_their_names_say() -> None:
    chat = CHATS["16-island-camp"]
    opening, closing = (f"{line.sender}: {line.text}" for line in (chat.messages[0], chat.messages[-1]))
    assert first(chat)[0].text.startswith(opening)
    assert last(chat)[0].text.endswith(closing)
    drawn = at_random(chat)
    assert len({made.text for made in drawn}) == DRAWS
    assert drawn == at_random(chat)


def test_no_choice_of_whole_messages_keeps_more_than_the_sources_of_the_facts() -> None:
    best = total([trial(name, sources(chat)[0].text) for name, chat in CHATS.items()]).recall
    for engine, make in PLAIN.items():
        made = [trial(name, made.text) for name, chat in CHATS.items() for made in make(chat)]
        assert total(made).recall <= best, engine


def test_the_mean_of_draws_is_what_a_chat_counts_for() -> None:
    chat = CHATS["01-film-night"]
    whole = "\n".join(f"{line.sender}: {line.text}" for line in chat.messages)
    found = total([trial("01-film-night", whole), trial("01-film-night", "")])
    assert (found.chats, found.facts, found.kept, found.over) == (1, 5, 2.5, 0.5)
    assert found.recall == 0.5
    assert found.length == 0.5


def test_an_interval_holds_the_recall_and_is_wider_where_chats_differ() -> None:
    def of(*kept: int) -> tuple[float, float]:
        found = [Score((True,) * many + (False,) * (8 - many), (), (), (), 0, 10, 100, over=False) for many in kept]
        chats = zip(CHATS.items(), found, strict=False)
        return interval([Trial(name, chat, Made(""), each) for (name, chat), each in chats])

    assert of(6, 6, 6, 6) == (0.75, 0.75)
    low, high = of(*[6, 2] * 11)
    assert 0.3 < low < 0.5 < high < 0.7
    narrow_low, narrow_high = of(*[5, 3] * 11)
    assert low < narrow_low < 0.5 < narrow_high < high
    assert of(*[6, 2] * 11) == (low, high)


def test_a_claim_does_not_hold_by_words_or_inventions_it_may_not_have() -> None:
    perfect = Score((True,) * 8, (), (), (), 0, 10, 100, over=False)
    chats = [(CHATS[name], name) for name in FEW]

    def missed(found: Score) -> set[str]:
        return {claim.name for claim in claims([Trial(n, c, Made(""), found) for c, n in chats]) if not claim.good}

    assert missed(perfect) == set()
    assert missed(replace(perfect, over=True)) == {"summaries too long"}
    assert missed(replace(perfect, falsehoods=("x",))) == {"inventions"}
    assert missed(replace(perfect, unsupported=("x",))) == {"inventions"}
    assert len(missed(replace(perfect, kept=(True,) * 6 + (False,) * 2))) == 2
    assert missed(replace(perfect, kept=(True,) * 7 + (False,))) == set()


def test_sizes_end_where_they_are_said_to() -> None:
    long = CHATS["21-cabbage-players"]
    cut = [size_of(replace_field(long, messages=long.messages[:count])) for count in (SHORT - 1, SHORT, 99, 100)]
    assert cut == [SIZES[0], SIZES[1], SIZES[1], SIZES[2]]


def test_the_sealed_half_is_not_run_by_accident(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    detour = tmp_path / "detour"
    detour.symlink_to(command.SEALED)
    for chats in ("sealed", str(command.SEALED), str(command.OPEN / ".." / "sealed"), str(detour)):
        assert main(["quality", "--chats", chats, "--engine", "first", *QUIET]) == 2
        captured = capsys.readouterr()
        assert "--sealed" in captured.err
        assert not captured.out


def test_the_sealed_half_is_said_to_be_it(
    few: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "SEALED", few)
    main(["quality", "--chats", "sealed", "--sealed", "--engine", "first", *QUIET])
    assert "This was the sealed half." in capsys.readouterr().out
    main(["quality", "--chats", "open", "--sealed", "--engine", "first", *QUIET])
    assert "sealed half" not in capsys.readouterr().out


def test_tables_and_json_have_every_engine_and_no_message(
    few: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = tmp_path / "scores.json"
    main(["quality", "--chats", str(few), "--model", str(model), "--json", str(stored), *QUIET])
    out = capsys.readouterr().out
    for word in (*FEW, *SIZES[::2], "highlights", *PLAIN, "tr", "recall, under 24 messages"):
        assert word in out
    found = json.loads(stored.read_text())
    assert found["schema"] == report.SCHEMA
    assert list(found["engines"]) == ["highlights", *PLAIN]
    assert len(found["engines"]["random"]) == DRAWS * len(FEW)
    row = found["engines"]["highlights"][0]
    assert (row["chat"], row["messages"], len(row["score"]["kept"])) == ("01-film-night", 10, 5)
    assert row["cpu_ms"] > 0
    assert row["encoded"] > 0
    assert "noodles" not in stored.read_text()
    assert str(tmp_path) not in stored.read_text()


@pytest.mark.parametrize("name", ["tiny-bart", "tiny-t5"])
def test_what_a_worker_with_a_summariser_answers_is_scored(
    few: Path, model: Path, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(os.environ.get("SECLUDE_TEST_MODELS", "")) / name
    if not (folder / "config.json").exists():
        pytest.skip("set SECLUDE_TEST_MODELS to the folder of tiny models")
    stored = tmp_path / "scores.json"
    words = ["--summariser", str(folder), "--model", str(model), "--engine", "highlights", "--json", str(stored)]
    main(["quality", "--chats", str(few), *words, *QUIET])
    engines = json.loads(stored.read_text())["engines"]
    assert list(engines) == [name, "highlights"]
    for abstract, own in zip(engines[name], engines["highlights"], strict=True):
        assert not abstract["fell_back"] or abstract["score"] == own["score"]
    fallen = sum(row["fell_back"] for row in engines[name])
    assert (f"{name}: {fallen} of 3 have no abstract" in capsys.readouterr().out) == (fallen > 0)


def test_a_model_in_a_place_for_another_kind_is_wrong_usage(
    few: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["quality", "--chats", str(few), "--summariser", str(model), "--model", str(model), *QUIET]) == 2
    assert "kind" in capsys.readouterr().err


def test_what_is_missed_is_shown_with_its_messages(few: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quality", "--chats", str(few), "--engine", "first", "--misses", "--show", *QUIET]) == 1
    out = capsys.readouterr().out
    assert "missed (question): Priya's question whether it is dubbed" in out
    assert "Priya: is that the dubbed one or subtitles??" in out
    assert "Josh: so the 7.15 is sold out." in out


def test_speed_is_of_as_many_messages_as_it_says(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["quality", "--speed", "--model", str(model), *QUIET])
    out = capsys.readouterr().out
    for count in LIMITS_MS:
        assert f"highlights of {count} messages, CPU" in out
        assert f"highlights of {count} messages, compared" in out


def test_too_few_messages_to_measure_are_said_to_be(few: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quality", "--speed", "--chats", str(few), "--model", str(model), *QUIET]) == 2
    assert "needs 1000 messages" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"needs"', '"need"'),
        ('"reader": "Priya"', '"readers": "Priya"'),
        ('"Josh"\n    ]', '""\n    ]'),
        ("    9\n   ]", "    10\n   ]"),
        ('"any": [\n', '"any": [\n"(",'),
        ("{", ""),
    ],
)
def test_a_chat_of_another_form_is_refused_by_its_name(tmp_path: Path, before: str, after: str) -> None:
    text = (command.OPEN / "01-film-night.json").read_text()
    assert before in text
    broken = tmp_path / "broken.json"
    broken.write_text(text.replace(before, after, 1))
    with pytest.raises(ConfigError, match=r"broken\.json"):
        load_chat(broken)


def test_a_folder_without_chats_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quality", "--chats", str(tmp_path), *QUIET]) == 2
    assert "no chat" in capsys.readouterr().err


def test_scores_that_cannot_be_written_are_said_to_be(few: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["quality", "--chats", str(few), "--engine", "first", "--json", str(few), *QUIET]
    assert main(words) == 2
    assert "directory" in capsys.readouterr().err


def test_the_command_explains_itself_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["quality", "--help"])
    assert ended.value.code == 0
    assert "seclude-bench quality" in capsys.readouterr().out.partition("example")[2]
