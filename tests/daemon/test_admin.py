"""The admin port: probes, and counters that tell nothing about anyone."""

import json
from pathlib import Path

import pytest

from seclude.daemon.admin import Admin
from seclude.daemon.messages import Request
from seclude.daemon.metrics import OCTETS, SECONDS, Metrics
from seclude.daemon.server import Server
from seclude.errors import ConfigError


def get(path: str, method: str = "GET") -> Request:
    return Request(method, path, None, None, None, None)  # type: ignore[arg-type] # no answer reads a body


async def scrape(metrics: Metrics) -> str:
    return (await Admin(metrics.registry, list).handle(get("/metrics"))).body.decode()


async def test_liveness_does_not_depend_on_readiness() -> None:
    reasons = ["draining"]
    admin = Admin(Metrics("test").registry, lambda: reasons)
    assert (await admin.handle(get("/livez"))).status == 200
    unready = await admin.handle(get("/readyz"))
    assert (unready.status, json.loads(unready.body)) == (503, {"ready": False, "reasons": ["draining"]})
    reasons.clear()
    ready = await admin.handle(get("/readyz"))
    assert (ready.status, json.loads(ready.body)) == (200, {"ready": True, "reasons": []})


async def test_the_version_is_told() -> None:
    assert json.loads((await Admin(Metrics("test").registry, list).handle(get("/version"))).body)["version"]


async def test_other_paths_and_methods_are_refused() -> None:
    admin = Admin(Metrics("test").registry, list)
    assert (await admin.handle(get("/debug"))).status == 404
    refused = await admin.handle(get("/livez", "POST"))
    assert (refused.status, refused.fields) == (405, (("Allow", "GET"),))


async def test_requests_are_counted_by_code_and_reason() -> None:
    metrics = Metrics("test")
    metrics.observe(200, "ok", 0.003, 10, 20)
    metrics.observe(200, "ok", 0.003, 10, 20)
    metrics.observe(413, "too_large", 0.1, 10, 20)
    text = await scrape(metrics)
    assert 'seclude_test_requests_total{code="200",reason="ok"} 2.0' in text
    assert 'seclude_test_requests_total{code="413",reason="too_large"} 1.0' in text
    assert 'seclude_test_request_duration_seconds_bucket{le="0.005"} 2.0' in text
    assert "seclude_build_info{version=" in text


async def test_labels_come_from_closed_sets() -> None:
    metrics = Metrics("test")
    for number in range(300):
        metrics.observe(600 + number, f"192.0.2.{number}", 0.0, 0, 0)
    text = await scrape(metrics)
    assert 'seclude_test_requests_total{code="other",reason="other"} 300.0' in text
    assert "192.0.2" not in text


@pytest.mark.parametrize(("size", "shown"), [(0, 256), (256, 256), (257, 1024), (1 << 22, 1 << 22), (1 << 30, 1 << 22)])
async def test_even_the_sum_of_sizes_has_the_grain_of_a_bucket(size: int, shown: int) -> None:
    metrics = Metrics("test")
    metrics.observe(200, "ok", 0.0, size, size)
    text = await scrape(metrics)
    for name in ("request", "response"):
        line = next(line for line in text.splitlines() if line.startswith(f"seclude_test_{name}_size_bytes_sum"))
        assert float(line.split()[1]) == shown


async def test_what_a_server_holds_is_read_when_scraped() -> None:
    metrics, server = Metrics("test"), Server(lambda _: None)
    metrics.watch(server)
    assert "seclude_test_inflight_requests 0.0" in await scrape(metrics)
    server.load.admit(whole=True)
    server.dropped["full"] += 2
    text = await scrape(metrics)
    assert "seclude_test_inflight_requests 1.0" in text
    assert "seclude_test_open_connections 0.0" in text
    assert 'seclude_test_dropped_connections_total{reason="full"} 2.0' in text
    assert "seclude_test_certificate_expiry_timestamp_seconds NaN" in text


def test_buckets_span_what_requests_take() -> None:
    assert (SECONDS[0], SECONDS[-1]) == (0.0005, 60.0)
    assert list(SECONDS) == sorted(SECONDS)
    assert list(OCTETS) == sorted(OCTETS)


async def test_the_admin_port_stays_on_loopback() -> None:
    for address in ("0.0.0.0:0", "192.0.2.1:1", "[::]:0", "localhost.example.org:1"):
        with pytest.raises(ConfigError, match="not loopback: the admin port is for this machine only"):
            await Admin(Metrics("test").registry, list).start(address)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "unix:{}/admin"])
async def test_the_admin_port_is_bound_on_this_machine(listen: str, tmp_path: Path) -> None:
    admin = Admin(Metrics("test").registry, list)
    assert await admin.start(listen.format(tmp_path))
    await admin.close()
