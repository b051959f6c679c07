"""Which interpreters count as isolated, and that such a one overwrites what it frees."""

import subprocess
import sys
from collections.abc import Mapping, Sequence

import pytest

from inference.isolate import ENVIRONMENT, OPTIONS

ISOLATED = "from inference.isolate import is_isolated; print(is_isolated())"
OVERWRITES = "from inference.scrub import require_overwriting; require_overwriting(); print(True)"
REFUSED = "does not overwrite what is freed"
PERTURBED, NO_CACHE = ENVIRONMENT["GLIBC_TUNABLES"].split(":")


def run(code: str, options: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def isolated(options: Sequence[str], environment: Mapping[str, str]) -> str:
    done = run(ISOLATED, options, environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_our_options_and_our_environment_are() -> None:
    assert isolated(OPTIONS, ENVIRONMENT) == "True"


@pytest.mark.parametrize(
    "options", [OPTIONS[1:], OPTIONS[:1] + OPTIONS[2:], OPTIONS[:2] + OPTIONS[3:], OPTIONS[:3] + OPTIONS[5:]]
)
def test_none_of_the_options_may_be_missing(options: tuple[str, ...]) -> None:
    assert isolated(options, ENVIRONMENT) == "False"


@pytest.mark.parametrize("option", ["-I", "-E"])
def test_one_that_does_not_listen_to_the_environment_is_not(option: str) -> None:
    assert isolated((option, *OPTIONS), ENVIRONMENT) == "False"


@pytest.mark.parametrize("variable", ["LD_PRELOAD", "OPENSSL_CONF", "GCONV_PATH", "PYTHONPATH", "ANYTHING"])
def test_one_more_variable_is_not(variable: str) -> None:
    assert isolated(OPTIONS, {**ENVIRONMENT, variable: ""}) == "False"


@pytest.mark.parametrize("variable", sorted(ENVIRONMENT))
def test_one_variable_less_is_not(variable: str) -> None:
    assert isolated(OPTIONS, {name: value for name, value in ENVIRONMENT.items() if name != variable}) == "False"


def test_an_isolated_one_overwrites_what_it_frees() -> None:
    done = run(OVERWRITES, OPTIONS, ENVIRONMENT)
    assert done.stdout.strip() == "True", done.stderr


@pytest.mark.parametrize(
    "changed",
    [{"PYTHONMALLOC": "pymalloc"}, {"GLIBC_TUNABLES": PERTURBED}, {"GLIBC_TUNABLES": NO_CACHE}],
    ids=["python's own allocator", "a cache that is not overwritten", "nothing is overwritten"],
)
def test_one_that_does_not_is_refused(changed: Mapping[str, str]) -> None:
    done = run(OVERWRITES, OPTIONS, {**ENVIRONMENT, **changed})
    assert done.returncode == 1
    assert REFUSED in done.stderr
