"""Who may use the local address."""

import stat
from pathlib import Path

import pytest

from seclude.client.proxy.guard import Guard, load_token
from seclude.client.proxy.refusals import LocalError
from seclude.errors import ConfigError

TOKEN = b"0123456789abcdef"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8642", "127.0.0.1", "127.0.0.1:8642", "[::1]:8642", "[::1]", "192.168.1.5:80"]
)
def test_this_machine_by_a_name_that_no_page_can_have(host: str) -> None:
    Guard(None).admit({"Host": host})


@pytest.mark.parametrize(
    "host", ["", "evil.example", "evil.example:8642", "localhost.evil.example", "127.0.0.1.evil.example", "localhost:x"]
)
def test_a_name_that_points_here_is_refused(host: str) -> None:
    with pytest.raises(LocalError) as caught:
        Guard(None).admit({"Host": host})
    assert (caught.value.status, caught.value.code) == (403, "host")


@pytest.mark.parametrize(
    "fields",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8642"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-origin"},
    ],
)
def test_web_pages_are_refused(fields: dict[str, str]) -> None:
    with pytest.raises(LocalError) as caught:
        Guard(TOKEN).admit({"Host": "localhost", "Authorization": f"Bearer {TOKEN.decode()}", **fields})
    assert (caught.value.status, caught.value.code) == (403, "origin")


def test_the_token_is_the_api_key() -> None:
    for word in ("Bearer", "bearer"):
        Guard(TOKEN).admit({"Host": "localhost", "Authorization": f"{word} {TOKEN.decode()}"})
    for value in ("", "Bearer ", "Bearer 0123456789abcdeF", TOKEN.decode(), "Bearer \udcff", "Basic 0123456789abcdef"):
        with pytest.raises(LocalError) as caught:
            Guard(TOKEN).admit({"Host": "localhost", "Authorization": value})
        assert caught.value.status == 401


def test_without_a_token_any_key_will_do() -> None:
    Guard(None).admit({"Host": "localhost", "Authorization": "Bearer sk-of-somebody-else"})


def test_a_token_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "token"
    token = load_token(file)
    assert len(token) == 43
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert load_token(file) == token
    assert repr(Guard(token)).find(token.decode()) == -1


def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    load_token(file)
    file.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_token(file)


@pytest.mark.parametrize("text", ["", "short", "two words of it all", "x" * 513, "ÄÖÜ" * 20])
def test_what_is_no_token_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text(text)
    with pytest.raises(ConfigError, match="one word"):
        load_token(file)


def test_a_place_where_none_can_be_made_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be used"):
        load_token(tmp_path / "missing" / "token")
