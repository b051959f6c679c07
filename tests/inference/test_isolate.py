"""Which interpreters count as isolated."""

import subprocess
import sys

import pytest

from inference.isolate import ENVIRONMENT, NO_BYTECODE

OPTIONS = ("-I", "-B", "-X", f"pycache_prefix={NO_BYTECODE}")
CODE = "from inference.isolate import is_isolated; print(is_isolated())"


def isolated(options: tuple[str, ...], environment: dict[str, str]) -> str:
    command = [sys.executable, *options, "-c", CODE]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_our_options_and_our_environment_are() -> None:
    assert isolated(OPTIONS, ENVIRONMENT) == "True"


@pytest.mark.parametrize("options", [OPTIONS[1:], OPTIONS[:1] + OPTIONS[2:], OPTIONS[:2]])
def test_none_of_the_options_may_be_missing(options: tuple[str, ...]) -> None:
    assert isolated(options, ENVIRONMENT) == "False"


@pytest.mark.parametrize("variable", ["LD_PRELOAD", "OPENSSL_CONF", "GCONV_PATH", "ANYTHING"])
def test_one_more_variable_is_not(variable: str) -> None:
    assert isolated(OPTIONS, {**ENVIRONMENT, variable: ""}) == "False"


@pytest.mark.parametrize("variable", sorted(ENVIRONMENT))
def test_one_variable_less_is_not(variable: str) -> None:
    assert isolated(OPTIONS, {name: value for name, value in ENVIRONMENT.items() if name != variable}) == "False"
