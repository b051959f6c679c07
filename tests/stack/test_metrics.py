"""A worker's counters on a running stack: each one named in its README moves when it should, and not by polls."""

import re
import time
from collections import Counter

import pytest

from seclude.client.sync import SyncClient
from seclude.client.trust import load_trust
from seclude.tasks import Message
from tests.running import ROOT, Running
from tests.stack.conftest import ask

WORKERS = ("worker-0", "worker-1")
NAMED = sorted(set(re.findall(r"`(seclude_worker_\w+)`", (ROOT / "inference" / "README.md").read_text())))
OTHERS = {  # of the process or of the moment: a summary alone moves none of them for good
    "seclude_worker_inflight_requests",
    "seclude_worker_open_connections",
    "seclude_worker_dropped_connections_total",
    "seclude_worker_certificate_expiry_timestamp_seconds",
    "seclude_worker_reloads_total",
}


def counted(stack: Running) -> Counter[str]:
    """Return every metric of both workers together: of a histogram how often, of a counter its labels' sum."""
    total: Counter[str] = Counter()
    for worker in WORKERS:
        page = ask(f"{stack.admin(worker)}/metrics").body.decode()
        for name, value in re.findall(r"^(seclude_worker_\w+)(?:\{[^}]*\})? (\S+)$", page, re.MULTILINE):
            if not name.endswith(("_bucket", "_sum", "_created")) and value != "NaN":
                total[name.removesuffix("_count")] += int(float(value))
    return total


def summarize(stack: Running) -> None:
    with SyncClient(load_trust(stack.trust)) as client:
        assert client.summarize((Message(sender="Ana", text="We decided to meet at 9 on Saturday."),)).text


@pytest.mark.parametrize("name", [name for name in NAMED if name not in OTHERS])
def test_a_metric_that_the_readme_names_is_not_zero_after_a_summary(stack: Running, name: str) -> None:
    summarize(stack)
    assert counted(stack)[name] > 0


def test_one_summary_counts_as_one_request_and_the_gateways_polls_as_none(stack: Running) -> None:
    before = counted(stack)
    summarize(stack)
    time.sleep(1.2)  # the gateway polls each worker twice a second
    grown = Counter({name: count for name, count in (counted(stack) - before).items() if name not in OTHERS})
    assert set(grown) == set(NAMED) - OTHERS - {"seclude_worker_epochs"}
    assert set(grown.values()) == {1}
