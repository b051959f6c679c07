"""Listen addresses: what they mean and which of them stay on this machine."""

import socket

import pytest

from seclude.daemon.addresses import ListenAddress, parse_listen
from seclude.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "address", "local"),
    [
        ("127.0.0.1:80", ListenAddress("127.0.0.1", 80), True),
        ("127.9.9.9:0", ListenAddress("127.9.9.9", 0), True),
        ("[::1]:65535", ListenAddress("::1", 65535), True),
        ("localhost:1", ListenAddress("localhost", 1), True),
        ("unix:/run/x", ListenAddress(path="/run/x"), True),
        ("0.0.0.0:1", ListenAddress("0.0.0.0", 1), False),
        ("[::]:1", ListenAddress("::", 1), False),
        ("[::ffff:192.0.2.1]:1", ListenAddress("::ffff:192.0.2.1", 1), False),
        ("10.0.0.1:1", ListenAddress("10.0.0.1", 1), False),
        ("localhost.example.org:1", ListenAddress("localhost.example.org", 1), False),
    ],
)
def test_addresses_are_read_and_written_alike(text: str, address: ListenAddress, local: bool) -> None:
    assert parse_listen(text) == address
    assert str(address) == text
    assert address.is_local is local


@pytest.mark.parametrize(("host", "local"), [("127.0.0.1", True), ("0.0.0.0", False)])
def test_an_inherited_socket_is_as_local_as_where_it_listens(host: str, local: bool) -> None:
    with socket.create_server((host, 0)) as sock:
        address = parse_listen(f"fd:{sock.fileno()}")
        assert address.descriptor == sock.fileno()
        assert str(address) == f"fd:{sock.fileno()}"
        assert address.is_local is local


@pytest.mark.parametrize(
    "text",
    [
        "fd:",
        "fd:-1",
        "fd:65536",
        "",
        ":80",
        "80",
        "host",
        "host:",
        "host:x",
        "host:65536",
        "host:-1",
        "host:٣",
        "::1:80",
        "[h]:80",
        "unix:",
        "unix:/a b",
        "unix:/" + "a" * 107,
        "[::1]",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_listen(text)
