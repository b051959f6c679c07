"""The side by side without its processes: who is compared with whom, and what the proxies are told."""

import argparse
import asyncio
import os
import socket
import ssl
from pathlib import Path

import pytest

from bench.peers.certificate import make_certificate
from bench.peers.configs import haproxy, nginx
from bench.peers.start import Setting, serving
from bench.sidebyside import GATEWAY, RELAY, chosen, ratios
from bench.slow import (
    BODY,
    HEAD,
    KINDS,
    READER,
    SILENT,
    SlowClient,
    established,
    limits_of,
    opening_seconds,
    verdict,
)
from bench.targets import Place
from seclude.errors import ConfigError
from seclude.ohttp.media import GATEWAY_PATH
from tests.bench.samples import samples

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 0100007F:1F90 0200007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 2 1
   2: 0100007F:1F90 0300007F:C002 04 00000000:00000000 00:00000000 00000000     0        0 0 1
   3: 0100007F:1F91 0400007F:C003 01 00000000:00000000 00:00000000 00000000     0        0 3 1
"""


def flags(**options: object) -> argparse.Namespace:
    return argparse.Namespace(**{"role": "relay", "processes": 1, "tls": False, "only": [], **options})


def test_a_relay_stands_beside_four_others() -> None:
    names = [peer.name for peer in chosen(flags())]
    assert names == ["nginx", "HAProxy", "Go ReverseProxy", "Rust ohttp-relay", RELAY]


def test_other_comparisons_have_others() -> None:
    assert [peer.name for peer in chosen(flags(role="gateway"))] == ["nginx", GATEWAY]
    assert [peer.name for peer in chosen(flags(tls=True))] == ["nginx", RELAY]
    assert [peer.processes for peer in chosen(flags(processes=2))] == [1, 2]
    assert [peer.name for peer in chosen(flags(only=["NGINX", "seclude"]))] == ["nginx", RELAY]


def test_a_gateway_is_not_measured_with_tls() -> None:
    with pytest.raises(ConfigError):
        chosen(flags(role="gateway", tls=True))


def test_a_ratio_is_the_median_of_those_within_rounds() -> None:
    ours = [samples([1], proxy=cpu) for cpu in (20, 30, 100)]
    theirs = [samples([1], proxy=cpu) for cpu in (10, 20, 100)]
    [ratio] = ratios(chosen(flags(only=["nginx", "seclude"])), {RELAY: ours, "nginx": theirs}, RELAY)
    assert ratio.value == 1.5
    assert ratio.good


def test_a_ratio_above_its_limit_is_not_good() -> None:
    ours, theirs = [samples([1], proxy=60)], [samples([1], proxy=100)]
    rounds = {RELAY: ours, "Go ReverseProxy": theirs, "HAProxy": theirs}
    found = {figure.name: figure.good for figure in ratios(chosen(flags()), rounds, RELAY)}
    assert found == {f"CPU of {RELAY} / HAProxy": True, f"CPU of {RELAY} / Go ReverseProxy": False}


def test_a_round_without_one_of_the_two_makes_a_ratio_no_good() -> None:
    whole, empty = samples([1], proxy=10), samples([], failed=1)
    for ours, theirs in (([whole, empty], [whole, whole]), ([whole, whole], [empty, whole]), ([empty], [empty])):
        [ratio] = ratios(chosen(flags(only=["nginx", "seclude"])), {RELAY: ours, "nginx": theirs}, RELAY)
        assert not ratio.good


def test_nginx_passes_no_field_of_the_client(tmp_path: Path) -> None:
    text = nginx(tmp_path, 8080, "127.0.0.1:9", GATEWAY_PATH, None)
    assert "proxy_pass_request_headers off" in text
    assert "access_log off" in text
    assert " ssl" not in text
    assert text.count("{") == text.count("}")
    assert "listen 127.0.0.1:8080 ssl" in nginx(tmp_path, 8080, "u", "/", (tmp_path / "c", tmp_path / "k"))


def test_haproxy_has_one_thread() -> None:
    assert "nbthread 1" in haproxy(8080, "127.0.0.1:9")


def test_a_certificate_is_its_own_authority(tmp_path: Path) -> None:
    chain, key = make_certificate(tmp_path)
    ssl.create_default_context(cafile=str(chain))
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, key)
    assert key.stat().st_mode & 0o077 == 0


def test_open_connections_are_read_from_the_servers_end() -> None:
    assert established(TABLE, "127.0.0.1:8080") == {("127.0.0.2", 0xC001)}


def slow(closed_after: float | None, began: float = 0.0) -> list[SlowClient]:
    """One client of each kind."""
    return [SlowClient(0, kind, socket.socket(), began, b"", closed_after=closed_after) for kind in KINDS]


@pytest.mark.parametrize(
    ("clients", "good"),
    [
        (slow(2.5), True),
        (slow(2.5) + slow(None, began=99.0), True),  # the second ones have not had their time
        (slow(2.5) + slow(None), False),
        (slow(9.0), False),
        (slow(0.1), False),  # refused, which is no answer to slowness
        ([], False),
    ],
)
def test_slow_clients_must_be_closed_in_time_and_not_before(clients: list[SlowClient], good: bool) -> None:
    assert all(figure.good for figure in verdict(clients, limits_of(2.0), now=100.0)) is good
    for client in clients:
        client.peer.close()


async def test_a_peer_is_ended_with_its_children(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = ["/bin/sh", "-c", f"exec 3>{pipe}; sleep 60 & echo on >&3; sleep 60"]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        async with serving(Setting(Place(tmp_path), "127.0.0.1:9", "/", tmp_path), port, command):
            held = await asyncio.to_thread(pipe.open)
            assert await asyncio.to_thread(held.readline) == "on\n"
    async with asyncio.timeout(5):
        assert await asyncio.to_thread(held.read) == ""  # no process is left that holds the other end
    held.close()


def test_every_kind_of_slow_client_has_a_limit() -> None:
    assert set(limits_of(None)) == set(limits_of(2.0)) == set(KINDS) == {SILENT, HEAD, BODY, READER}
    assert set(limits_of(2.0).values()) == {2.0}
    assert opening_seconds(900) == pytest.approx(3)
