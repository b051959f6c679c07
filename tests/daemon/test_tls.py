"""TLS on a hop: who is let in, who is believed, what is wrong with a file, and how certificates are renewed."""

import asyncio
import datetime
import os
import shutil
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from seclude.daemon.answering import answering
from seclude.daemon.limits import ServerLimits
from seclude.daemon.messages import Request, Response
from seclude.daemon.outbound import ExchangeError
from seclude.daemon.quota import QuotaLimits, Quotas
from seclude.daemon.server import Server
from seclude.daemon.tls import ClientCertificates, ClientTLS, ServerCertificates, ServerTLS
from seclude.daemon.transaction import Transaction
from seclude.daemon.upstream import Upstream
from seclude.errors import ConfigError
from tests.authority import DAY, Authority
from tests.daemon.conftest import Carried

BIG = bytes(range(256)) * 4096  # octets; more than one record, and more than a socket's buffers


async def echo(request: Request) -> Response:
    return Response(200, "text/plain", await request.body.read())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@asynccontextmanager
async def serving(tls: ServerTLS, **options: object) -> AsyncIterator[tuple[Server, str]]:
    server = Server(answering(echo), tls=ServerCertificates(tls), **options)  # type: ignore[arg-type]
    address = await server.start("127.0.0.1:0")
    try:
        yield server, f"https://{address}"
    finally:
        await server.drain(within=0.2)
        assert server.connections == 0


@asynccontextmanager
async def reaching(address: str, tls: ClientTLS) -> AsyncIterator[Upstream]:
    upstream = Upstream(address, tls=ClientCertificates(tls))
    try:
        yield upstream
    finally:
        await upstream.close()


def write(path: str, text: str) -> None:
    Path(path).write_text(text)


def copy(source: str, target: str) -> None:
    shutil.copyfile(source, target)


async def asked(address: str, tls: ClientTLS, body: bytes = b"hello") -> bytes:
    async with reaching(address, tls) as upstream:
        return (await upstream.exchange("POST", "/", body=body)).body


async def test_small_and_large_messages_come_over_tls_on_kept_connections(authority: Authority) -> None:
    async with (
        serving(ServerTLS(*authority.issue("server"))) as (server, address),
        reaching(address, ClientTLS(authority.certificate)) as upstream,
    ):
        for body in (b"x", BIG, b"y" * 20_000):
            assert (await upstream.exchange("POST", "/", body=body)).body == body
        assert server.connections == upstream.connections == 1


async def test_many_at_once_are_each_answered(authority: Authority) -> None:
    async with (
        serving(ServerTLS(*authority.issue("server"))) as (_, address),
        reaching(address, ClientTLS(authority.certificate)) as upstream,
    ):
        bodies = [b"%d" % number * 3000 for number in range(40)]
        answers = await asyncio.gather(*(upstream.exchange("POST", "/", body=body) for body in bodies))
    assert [answer.body for answer in answers] == bodies


async def test_a_server_of_another_authority_or_another_name_is_not_believed(
    authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger")
    async with serving(ServerTLS(*authority.issue("server"))) as (_, address):
        with pytest.raises(ExchangeError) as caught:
            await asked(address, ClientTLS(stranger.certificate))
        assert not caught.value.sent
        with pytest.raises(ExchangeError):
            await asked(address.replace("127.0.0.1", "localhost"), ClientTLS(authority.certificate))


async def test_a_certificate_can_itself_be_what_is_known(authority: Authority) -> None:
    chain, key = authority.issue("server")
    async with serving(ServerTLS(chain, key)) as (_, address):
        assert await asked(address, ClientTLS(chain)) == b"hello"


async def test_only_known_clients_are_let_in(authority: Authority, tmp_path: Path) -> None:
    known, other = authority.issue("known"), authority.issue("other")
    believed = authority.certificate
    async with serving(ServerTLS(*authority.issue("server"), client_ca=known[0])) as (server, address):
        assert await asked(address, ClientTLS(believed, *known)) == b"hello"
        for shown in ((), other):
            with pytest.raises(ExchangeError):
                await asked(address, ClientTLS(believed, *shown))
        assert server.dropped["no_handshake"] == 2


async def test_nothing_older_than_tls_1_3_is_spoken_and_no_ticket_is_given(authority: Authority) -> None:
    async with serving(ServerTLS(*authority.issue("server"))) as (_, address):
        host, _, port = address.removeprefix("https://").rpartition(":")
        old = ssl.create_default_context(cafile=authority.certificate)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(host, int(port), ssl=old)
        fresh = ssl.create_default_context(cafile=authority.certificate)
        reader, writer = await asyncio.open_connection(host, int(port), ssl=fresh)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        shaken = writer.get_extra_info("ssl_object")
        assert (shaken.version(), shaken.session.has_ticket) == ("TLSv1.3", False)
        writer.close()


async def test_renewed_certificates_count_from_the_next_connection_on(authority: Authority, tmp_path: Path) -> None:
    chain, key = authority.issue("server")
    async with (
        serving(ServerTLS(chain, key)) as (server, address),
        reaching(address, ClientTLS(authority.certificate)) as upstream,
    ):
        await upstream.exchange("POST", "/", body=b"before")
        (before,) = server._open
        authority.issue("server", lifetime=5 * DAY)
        ends = server.certificate_expires_at
        server.renew_tls()
        assert server.certificate_expires_at == pytest.approx((ends or 0) + 4 * DAY.total_seconds(), abs=60)
        # The connection that was there is used once more, and is then replaced.
        await upstream.exchange("POST", "/", body=b"once more")
        assert (await upstream.exchange("POST", "/", body=b"after")).body == b"after"
        assert before not in server._open


async def test_what_cannot_be_renewed_stays_as_it_was(authority: Authority) -> None:
    chain, key = authority.issue("server")
    async with serving(ServerTLS(chain, key)) as (server, address):
        write(chain, "nonsense")
        with pytest.raises(ConfigError):
            server.renew_tls()
        assert await asked(address, ClientTLS(authority.certificate)) == b"hello"


async def test_a_client_reads_its_files_again(authority: Authority, tmp_path: Path) -> None:
    file = str(tmp_path / "believed.pem")
    copy(Authority(tmp_path, "stranger").certificate, file)
    async with (
        serving(ServerTLS(*authority.issue("server"))) as (_, address),
        reaching(address, ClientTLS(file)) as upstream,
    ):
        with pytest.raises(ExchangeError):
            await upstream.exchange("POST", "/", body=b"x")
        copy(authority.certificate, file)
        upstream.renew_tls()
        assert (await upstream.exchange("POST", "/", body=b"x")).body == b"x"


async def test_handshakes_count_as_connections(authority: Authority) -> None:
    """Also those that never end: they have their place until the time for them is over, and no more of them come in."""
    limits = ServerLimits(max_connections=3)
    async with serving(ServerTLS(*authority.issue("server")), limits=limits) as (server, address):
        host, _, port = address.removeprefix("https://").rpartition(":")
        silent = [await asyncio.open_connection(host, int(port)) for _ in range(5)]
        await asyncio.wait_for(asyncio.gather(*(reader.read() for reader, _ in silent[3:])), 5)
        assert server.dropped["full"] == 2
        with pytest.raises(ExchangeError):
            await asked(address, ClientTLS(authority.certificate))
        for _, writer in silent:
            writer.transport.abort()
        for _ in range(100):
            if server.dropped["no_handshake"] == 3:
                break
            await asyncio.sleep(0.02)
        assert await asked(address, ClientTLS(authority.certificate)) == b"hello"


async def test_one_address_has_its_share_of_handshakes(authority: Authority) -> None:
    quotas = Quotas(QuotaLimits(connections=2, loopback=True), 0.0)
    async with serving(ServerTLS(*authority.issue("server")), quotas=quotas) as (server, address):
        host, _, port = address.removeprefix("https://").rpartition(":")
        silent = [await asyncio.open_connection(host, int(port)) for _ in range(3)]
        assert await asyncio.wait_for(silent[2][0].read(), 5) == b""
        assert server.dropped["too_many_from_one_address"] == 1
        for _, writer in silent:
            writer.transport.abort()
        for _ in range(100):
            if server.dropped["no_handshake"] == 2:
                break
            await asyncio.sleep(0.02)
        assert await asked(address, ClientTLS(authority.certificate)) == b"hello"


async def test_plain_http_on_a_port_with_tls_is_dropped(authority: Authority) -> None:
    async with serving(ServerTLS(*authority.issue("server"))) as (server, address):
        host, _, port = address.removeprefix("https://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 5)
        assert b"HTTP" not in answer
        writer.close()
    assert server.dropped["no_handshake"] == 1


async def test_a_handshake_under_way_is_served_by_a_server_that_stops(authority: Authority) -> None:
    async with serving(ServerTLS(*authority.issue("server"))) as (server, address):
        context = ClientCertificates(ClientTLS(authority.certificate)).context
        host, _, port = address.removeprefix("https://").rpartition(":")
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        shaken = context.wrap_bio(incoming, outgoing, server_hostname=host)
        reader, writer = await asyncio.open_connection(host, int(port))
        with pytest.raises(ssl.SSLWantReadError):
            shaken.do_handshake()
        writer.write(outgoing.read())
        incoming.write(await reader.read(65536))
        drained = asyncio.create_task(server.drain(within=5))
        await asyncio.sleep(0.05)
        while True:
            try:
                shaken.do_handshake()
                break
            except ssl.SSLWantReadError:
                incoming.write(await reader.read(65536))
        shaken.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        writer.write(outgoing.read())
        incoming.write(await reader.read(65536))
        answer = shaken.read()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"Connection: close" in answer
        writer.close()
        assert await drained


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        ("missing", "server.key: No such file or directory"),
        ("others", "server.key: anybody on this machine can read this key"),
        ("foreign", "not the key of the certificate in"),
        ("nonsense", "not a certificate and its key in PEM"),
        ("password", "encrypted with a password, which a daemon cannot ask for"),
        ("expired", "server.pem: certificate has expired"),
        ("clients", "clients.pem: no certificate in PEM"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence(authority: Authority, spoil: str, complaint: str) -> None:
    lifetime = -5 * DAY if spoil == "expired" else DAY
    chain, key = authority.issue("server", lifetime=lifetime, password=b"x" if spoil == "password" else None)
    clients = None
    if spoil == "missing":
        Path(key).unlink()
    elif spoil == "others":
        os.chmod(key, 0o644)
    elif spoil == "foreign":
        key = authority.issue("another")[1]
    elif spoil == "nonsense":
        Path(chain).write_text("x")
    elif spoil == "clients":
        clients = str(Path(chain).parent / "clients.pem")
        Path(clients).write_text("x")
    with pytest.raises(ConfigError) as caught:
        ServerCertificates(ServerTLS(chain, key, clients))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_when_a_certificate_ends_is_known(authority: Authority) -> None:
    expected = (datetime.datetime.now(datetime.UTC) + 3 * DAY).timestamp()
    found = ServerCertificates(ServerTLS(*authority.issue("server", lifetime=3 * DAY))).expires_at
    assert found == pytest.approx(expected, abs=60)


def test_certificates_for_a_next_hop_need_both_files_and_https(authority: Authority, tmp_path: Path) -> None:
    chain, _ = authority.issue("server")
    with pytest.raises(ConfigError, match="give both or none"):
        ClientCertificates(ClientTLS(certificate=chain))
    with pytest.raises(ConfigError, match="not https"):
        Upstream("http://127.0.0.1:1", tls=ClientCertificates(ClientTLS(ca=chain)))
    with pytest.raises(ConfigError, match=r"missing\.pem: No such file"):
        Upstream("https://127.0.0.1:1", tls=ClientCertificates(ClientTLS(ca=str(tmp_path / "missing.pem"))))
    Upstream("https://127.0.0.1:1")


async def test_a_hop_with_tls_on_both_sides_carries_small_and_large_messages_in_turn(authority: Authority) -> None:
    tls, believed = ServerTLS(*authority.issue("server")), ClientTLS(authority.certificate)
    async with serving(tls) as (_, behind), reaching(behind, believed) as onward:

        def handle(transaction: Transaction) -> None:
            Carried(transaction, onward)

        hop = Server(handle, tls=ServerCertificates(tls))
        async with reaching(f"https://{await hop.start('127.0.0.1:0')}", believed) as upstream:
            for body in (b"x", b"y" * 1000, BIG, b"z" * 1000, b"x"):
                assert (await upstream.exchange("POST", "/", body=body)).body == body
            assert (hop.connections, onward.connections) == (1, 1)
        assert await hop.drain(within=1)


async def test_renewal_retires_those_whose_handshake_is_under_way_too(authority: Authority) -> None:
    async with serving(ServerTLS(*authority.issue("server"))) as (server, address):
        host, _, port = address.removeprefix("https://").rpartition(":")
        raw = socket.create_connection((host, int(port)))
        async with asyncio.timeout(5):
            while not server._arriving:  # noqa: ASYNC110 - a plain count
                await asyncio.sleep(0.01)
        server.renew_tls()
        context = ClientCertificates(ClientTLS(authority.certificate)).context
        reader, writer = await asyncio.open_connection(sock=raw, ssl=context, server_hostname=host)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"Connection: close" in await reader.readuntil(b"\r\n\r\n")
        writer.close()


async def test_an_idle_client_that_does_not_listen_keeps_no_drain_waiting(authority: Authority) -> None:
    async with serving(ServerTLS(*authority.issue("server"))) as (server, address):
        host, _, port = address.removeprefix("https://").rpartition(":")
        context = ClientCertificates(ClientTLS(authority.certificate)).context

        def connect() -> ssl.SSLSocket:
            return context.wrap_socket(socket.create_connection((host, int(port))), server_hostname=host)

        client = await asyncio.to_thread(connect)
        began = time.monotonic()
        assert await server.drain(within=20)
        assert time.monotonic() - began < 8
        client.close()
