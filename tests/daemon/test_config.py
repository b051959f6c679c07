"""Configuration files: every mistake is found at once, with its path."""

from pathlib import Path
from typing import Annotated

import pytest
from msgspec import Meta, Struct

from seclude.daemon.config import MAX_CONFIG_BYTES, Delay, Seconds, load
from seclude.errors import ConfigError
from seclude.toml import render_toml as show


class Inner(Struct, frozen=True, forbid_unknown_fields=True):
    seconds: Annotated[float, Meta(ge=0)] = 1.5
    tags: tuple[str, ...] = ()


class Outer(Struct, frozen=True, forbid_unknown_fields=True):
    listen: str
    port: Annotated[int, Meta(ge=0, le=65535)] = 1
    flag: bool = False
    note: str | None = None
    inner: Inner = Inner()

    def __post_init__(self) -> None:
        if self.flag and self.port == 0:
            raise ValueError("flag needs a port")


class Times(Struct, frozen=True, forbid_unknown_fields=True):
    limit: Seconds
    delay: Delay = 1.0


def write(folder: Path, text: str) -> Path:
    path = folder / "x.toml"
    path.write_text(text)
    return path


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(write(folder, text), Outer)
    return sorted(str(caught.value).splitlines())


def test_flags_go_before_the_file_and_the_file_before_the_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, 'listen = "file"\nport = 7\n[inner]\ntags = ["a"]')
    config = load(path, Outer, {"listen": "flag", "port": None})
    assert config == Outer("flag", 7, inner=Inner(1.5, ("a",)))


def test_a_flag_replaces_one_key_of_a_table_and_leaves_the_others(tmp_path: Path) -> None:
    path = write(tmp_path, 'listen = "file"\n[inner]\nseconds = 3\ntags = ["a"]')
    assert load(path, Outer, {"inner.seconds": 4.0}) == Outer("file", inner=Inner(4.0, ("a",)))
    assert load(None, Outer, {"listen": "x", "inner.seconds": 4.0}) == Outer("x", inner=Inner(4.0))


def test_a_flag_for_a_table_that_is_none_hides_no_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="inner: Expected `object`, got `int`"):
        load(write(tmp_path, 'listen = "x"\ninner = 3'), Outer, {"inner.seconds": 4.0})


def test_a_missing_key_names_the_flag_that_gives_it() -> None:
    with pytest.raises(ConfigError, match=r"^listen: missing; give --listen, or set it in the file$"):
        load(None, Outer, flags={"listen": "--listen"})


@pytest.mark.parametrize("value", ["0", "0.0", "-1", "nan", "inf", "3601"])
def test_no_time_limit_is_none_or_endless(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match=r"^limit: "):
        load(write(tmp_path, f"limit = {value}"), Times)


def test_a_delay_may_be_none(tmp_path: Path) -> None:
    assert load(write(tmp_path, "limit = 1\ndelay = 0"), Times).delay == 0


def test_a_file_that_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not TOML"):
        load(write(tmp_path, "listen = " + "[" * 100_000), Outer)


def test_no_file_is_needed() -> None:
    assert load(None, Outer, {"listen": "x"}) == Outer("x")


def test_every_problem_is_named_with_its_path(tmp_path: Path) -> None:
    text = 'prot = 1\nport = 70000\nflag = "yes"\n[inner]\nseconds = -1\ntags = ["a", 2]\nsecnods = 1\n'
    assert problems(tmp_path, text) == [
        "flag: Expected `bool`, got `str`",
        "inner.secnods: no such key",
        "inner.seconds: Expected `float` >= 0.0",
        "inner.tags[1]: Expected `str`, got `int`",
        "listen: missing",
        "port: Expected `int` <= 65535",
        "prot: no such key",
    ]


def test_a_value_where_a_table_belongs_is_refused(tmp_path: Path) -> None:
    assert problems(tmp_path, 'listen = "x"\ninner = 3') == ["inner: Expected `object`, got `int`"]


def test_a_rule_between_keys_is_checked(tmp_path: Path) -> None:
    assert problems(tmp_path, 'listen = "x"\nflag = true\nport = 0') == ["flag needs a port"]


def test_what_is_not_toml_is_refused(tmp_path: Path) -> None:
    assert "not TOML" in problems(tmp_path, "listen = ")[0]
    (tmp_path / "x.toml").write_bytes(b"listen = '\xff'")
    with pytest.raises(ConfigError, match="not TOML"):
        load(tmp_path / "x.toml", Outer)


def test_a_missing_or_endless_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none.toml", Outer)
    with pytest.raises(ConfigError, match="longer than"):
        load(write(tmp_path, "#" * (MAX_CONFIG_BYTES + 1)), Outer)


def test_the_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LISTEN", "SECLUDE_LISTEN", "SECLUDE_RELAY__LISTEN"):
        monkeypatch.setenv(name, "environment")
    assert load(None, Outer, {"listen": "x"}).listen == "x"


def test_what_is_shown_loads_again(tmp_path: Path) -> None:
    config = Outer('a "quoted"\tone', 7, True, inner=Inner(0.25, ("x", "y")))
    assert load(write(tmp_path, show(config)), Outer) == config
