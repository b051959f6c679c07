"""The command as a person uses it: short real runs against real parties."""

from pathlib import Path

import msgspec
import pytest

from bench import run as run_command
from bench.main import COMMANDS, main
from bench.result import read
from tests.languagemodel import small_model

NAMES = ["run", "ladder", "stream", "talk", "peers", "idle", "slow", "hpke", "decode", "quality", "compare"]
QUICK = ["--seconds", "0.5", "--warmup", "0.2", "--quiet"]


def run(tmp_path: Path, *arguments: str) -> int:
    return main([*arguments, "--json", str(tmp_path / "result.json")])


@pytest.mark.parametrize("command", NAMES)
def test_every_command_explains_itself_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"seclude-bench {command}" in capsys.readouterr().out.partition("example")[2]


def test_there_is_no_command_without_a_test_of_its_help() -> None:
    assert len(COMMANDS) == len(NAMES)


def test_no_command_is_wrong_usage() -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2


def test_an_unknown_target_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--target", "moon", *QUICK]) == 2
    assert "moon" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--check", "0"],
        ["run", "--seconds", "0"],
        ["run", "--rate", "nan"],
        ["run", "--warmup", "-1"],
        ["ladder", "--rounds", "0"],
        ["talk", "--language-model", ".", "--users", "0"],
        ["peers", "--connections", "x"],
        ["idle", "--connections", "0"],
        ["slow", "--timeout", "inf"],
    ],
    ids=" ".join,
)
def test_a_number_that_makes_no_load_is_wrong_usage(words: list[str]) -> None:
    target = ["--target", "relay"] if words[0] == "run" else []
    with pytest.raises(SystemExit) as ended:
        main([*words, *target])
    assert ended.value.code == 2


def test_a_ramp_without_an_end_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--target", "http://127.0.0.1:1/", "--arrivals", "ramp", *QUICK]) == 2
    assert "--to-rate" in capsys.readouterr().err


def test_an_error_in_our_own_code_is_not_taken_for_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(_: object) -> int:
        raise ValueError("ours")

    monkeypatch.setattr(run_command, "act", act)
    with pytest.raises(ValueError, match="ours"):
        main(["run", "--target", "relay"])


@pytest.mark.parametrize("arrivals", ["constant", "poisson", "ramp"])
def test_an_open_loop_against_a_relay(tmp_path: Path, arrivals: str) -> None:
    load = ["--arrivals", arrivals, "--rate", "200", "--to-rate", "200", "--generators", "2"]
    run(tmp_path, "run", "--target", "relay", *load, *QUICK)
    [case] = read(tmp_path / "result.json").cases
    assert case.name == "relay"
    assert case.completed > 20
    assert not case.failed
    assert {"relay", "stub", "client"} == set(case.cpu_us)
    assert case.cpu_us["relay"] > 0


def test_a_closed_loop_against_a_gateway(tmp_path: Path) -> None:
    run(tmp_path, "run", "--target", "gateway", "--closed", "4", *QUICK)
    result = read(tmp_path / "result.json")
    assert (result.config["closed"], result.config["arrivals"]) == (4, None)
    [case] = result.cases
    assert case.completed > 100
    assert not case.failed
    assert case.dropped == 0


@pytest.mark.parametrize("encap", ["inline", "advance"])
def test_the_whole_path_answers_and_is_opened(model: Path, tmp_path: Path, encap: str) -> None:
    load = ["--rate", "20", "--encap", encap, "--model", str(model)]
    files = ["--html", str(tmp_path / "page.html"), "--hdr", str(tmp_path / "path.hgrm")]
    run(tmp_path, "run", "--target", "path", *load, *files, "--goodput", "e2el:60000", *QUICK)
    result = read(tmp_path / "result.json")
    assert result.config["goodput"] == "e2el:60000"
    [case] = result.cases
    assert case.completed > 0
    assert not case.failed
    assert set(case.cpu_us) == {"relay", "gateway", "worker", "client"}
    assert case.streaming["request_goodput"] > 0
    assert "<svg" in (tmp_path / "page.html").read_text()
    assert "Percentile" in (tmp_path / "path.hgrm").read_text()


def test_a_worker_is_asked_without_gateway_and_relay(model: Path, tmp_path: Path) -> None:
    run(tmp_path, "run", "--target", "worker", "--rate", "20", "--model", str(model), *QUICK)
    [case] = read(tmp_path / "result.json").cases
    assert not case.failed
    assert set(case.cpu_us) == {"worker", "client"}


@pytest.mark.parametrize("command", [["run", "--target", "path"], ["ladder"]])
def test_a_missing_model_is_said_to_be(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--model", str(tmp_path), "--quiet"]) == 2
    assert "seclude-model install" in capsys.readouterr().err


def test_a_missing_language_model_is_said_to_be(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("talk", "ladder"):
        words = [command, "--language-model", str(tmp_path), "--model", str(model), "--quiet"]
        assert main(words) == 2
        assert "seclude-model install smollm2" in capsys.readouterr().err


@pytest.mark.timeout(120)
def test_people_talk_on_every_rung(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "--language-model",
        str(small_model(tmp_path)),
        "--model",
        str(model),
        "--html",
        str(tmp_path / "page.html"),
    ]
    run(tmp_path, "talk", *words, "--rounds", "1", "--seconds", "1", "--users", "3", "--quiet")
    result = read(tmp_path / "result.json")
    assert [case.name for case in result.streams] == ["model direct", "pace", "HPKE", "gateway", "relay"]
    for case in result.streams:
        assert case.completed > 0
        assert not case.failed
        assert case.tokens_per_second > 0
        assert case.streaming["median_ttft_ms"] < case.streaming["median_e2el_ms"]
        assert case.streaming["median_itl_ms"] >= 0
        assert {"worker", "client"} <= set(case.cpu_us_per_token)
    assert set(result.streams[-1].cpu_us_per_token) == {"relay", "gateway", "worker", "client"}
    assert [figure.name for figure in result.figures if "in all" in figure.name] == [
        "to the first token, in all",
        "to each after it, in all",
    ]
    assert "TTFT p50" in capsys.readouterr().out
    assert "TTFT p50" in (tmp_path / "page.html").read_text()


def test_a_target_that_is_not_there_is_said_to_be(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--target", "http://127.0.0.1:1/", "--connections", "1", *QUICK]) == 2
    assert "cannot connect to http://127.0.0.1:1/" in capfd.readouterr().err


def test_idle_connections_are_counted_and_used_again(tmp_path: Path) -> None:
    assert run(tmp_path, "idle", "--connections", "300", "--quiet") == 0
    figures = {figure.name: figure.value for figure in read(tmp_path / "result.json").figures}
    assert figures["still open"] >= 300
    assert figures["answered when used again"] >= 3


def test_a_stored_result_names_no_place(tmp_path: Path) -> None:
    run(tmp_path, "run", "--target", "relay", "--rate", "100", *QUICK)
    text = (tmp_path / "result.json").read_text()
    assert msgspec.json.decode(text)["config"]["target"] == "relay"
    for place in (str(Path.cwd()), str(tmp_path), str(Path.home())):
        assert place not in text or place == "/"
