"""The long commands. Their figures depend on the machine, so only their presence is tested."""

import shutil
from pathlib import Path

import pytest

from bench.main import main
from bench.result import IN_ALL, read

pytestmark = pytest.mark.drill


def test_the_quick_ladder_has_every_rung(model: Path, tmp_path: Path) -> None:
    stored = tmp_path / "ladder.json"
    main(["ladder", "--quick", "--model", str(model), "--json", str(stored), "--html", str(tmp_path / "ladder.html")])
    result = read(stored)
    rungs = ["HPKE, X25519", "X-Wing", "padding", "gateway", "relay"]
    assert [case.name for case in result.cases] == ["model direct", *rungs, "mixing"]
    assert [step.name for step in result.steps] == [*rungs, IN_ALL]
    assert not any(case.failed for case in result.cases)


def test_a_relay_is_measured_beside_nginx(tmp_path: Path) -> None:
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    stored = tmp_path / "peers.json"
    main(["peers", "--rounds", "2", "--seconds", "1", "--only", "nginx", "seclude", "--json", str(stored)])
    result = read(stored)
    assert {case.name for case in result.cases} == {"nginx", "seclude-relay"}
    assert len(result.figures) == 1


def test_slow_clients_are_closed(tmp_path: Path) -> None:
    stored = tmp_path / "slow.json"
    main(["slow", "--clients", "100", "--timeout", "6", "--json", str(stored)])
    figures = {figure.name: figure for figure in read(stored).figures}
    assert all(figure.good for name, figure in figures.items() if "closed" in name)
    assert figures["good requests failed"].good
    assert figures["slow clients there while they wait, at least"].good
