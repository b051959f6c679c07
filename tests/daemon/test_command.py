"""What the daemons' commands do alike: flags over files over defaults, and one way to say what is wrong."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import Struct

from seclude.daemon.command import CHECK_CONFIG, Command, DaemonConfig, listening_problems, show
from seclude.errors import ConfigError


class Config(DaemonConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    peer: str
    listen: str = "127.0.0.1:1"
    admin: str = "127.0.0.1:2"


class Nested(Struct, frozen=True, forbid_unknown_fields=True):
    launch: Config


def problems(config: Config) -> Iterator[str]:
    yield from listening_problems(config)
    if config.peer == "nobody":
        yield "peer: there is nobody"


def run(*arguments: str) -> int:
    command = Command("test", Config, problems, description="Test.", example="example: seclude-test")
    command.add_flag("peer", "--peer", metavar="NAME", help="whom to talk to")

    def act(flags: argparse.Namespace) -> int:
        config = command.load(flags)
        if flags.command == CHECK_CONFIG:
            return show(config)
        raise ConfigError("it cannot\nbe started")

    return command.run(arguments, act)


def test_flags_override_the_file_and_the_file_the_defaults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "test.toml"
    file.write_text('peer = "file"\nadmin = "[::1]:5"\n[timeouts]\ndrain = 7\n')
    assert run("check-config", "--config", str(file), "--peer", "flag") == 0
    lines = capsys.readouterr().out.splitlines()
    assert {'peer = "flag"', 'admin = "[::1]:5"', 'listen = "127.0.0.1:1"', "drain = 7.0"} <= set(lines)


def test_every_problem_is_a_line_that_names_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--peer", "nobody", "--listen", "0.0.0.0:1", "--admin", "x") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(": ")[:2] for line in err.splitlines()] == [
        ["seclude-test", "listen"],
        ["seclude-test", "admin"],
        ["seclude-test", "peer"],
    ]


def test_a_daemon_that_cannot_start_fails_in_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--peer", "x") == 2
    assert capsys.readouterr().err == "seclude-test: it cannot\nseclude-test: be started\n"


@pytest.mark.parametrize("arguments", [["--pee", "x"], ["--conf", "x"], ["frob"], ["--announce", "x"]])
def test_wrong_usage_ends_with_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A shortened flag is wrong usage too: it could come to mean another one."""
    with pytest.raises(SystemExit) as left:
        run(*arguments)
    assert left.value.code == 2
    assert "seclude-test: error: " in capsys.readouterr().err


@pytest.mark.parametrize("address", ["0.0.0.0:1", "192.0.2.1:1", "[::]:1", "name.example:1"])
def test_plaintext_leaves_the_machine_only_when_told_to_and_the_admin_port_never(address: str) -> None:
    assert [line[:8] for line in problems(Config(peer="x", listen=address))] == ["listen: "]
    assert list(problems(Config(peer="x", listen=address, insecure_plaintext=True))) == []
    assert [line[:7] for line in problems(Config(peer="x", admin=address, insecure_plaintext=True))] == ["admin: "]


def test_flags_reach_a_configuration_that_stands_in_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    def nested(config: Nested) -> Iterator[str]:
        return listening_problems(config.launch, "launch.")

    command = Command("test", Nested, nested, description="", example="", place="launch.")
    assert command.run(["--admin", "0.0.0.0:1"], lambda flags: show(command.load(flags))) == 2
    assert capsys.readouterr().err == "seclude-test: launch.peer: missing\n"
    command.add_flag("launch.peer", "--peer")
    assert command.run(["--admin", "0.0.0.0:1", "--peer", "x"], lambda flags: show(command.load(flags))) == 2
    assert capsys.readouterr().err.startswith("seclude-test: launch.admin: 0.0.0.0:1 is not loopback")
