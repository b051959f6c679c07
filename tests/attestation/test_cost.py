"""What verification costs a device, measured on request: it is done once for each epoch."""

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from seclude.attestation.accept import SnpTable, SnpTcb
from seclude.attestation.evidence import SEV_SNP
from seclude.attestation.formats import verify_item
from seclude.attestation.verify import verify_bundle
from seclude.client.evidencefile import read_exhibits
from tests.attestation.test_verify import GOOD, NOW, POLICY
from tests.vectors import vector

AT = datetime(2025, 10, 1, tzinfo=UTC).timestamp()
ROUNDS = 200
LIMIT_MILLISECONDS = 10.0


def cpu_milliseconds(work: Callable[[], object]) -> float:
    """Return the median CPU time of one call."""
    taken = []
    for _ in range(ROUNDS):
        started = time.process_time_ns()
        work()
        taken.append(time.process_time_ns() - started)
    return statistics.median(taken) / 1e6


@pytest.mark.drill
def test_a_bundle_with_evidence_of_sev_snp_costs_a_device_less_than_ten_milliseconds() -> None:
    """The genuine report is bound to no core of ours, so its ten steps and those of a bundle are measured apart."""
    chain = [vector("snp/trustee-test-vcek.der"), vector("snp/milan_ask_ark_asvk.pem")]
    (exhibit,) = read_exhibits(
        vector("snp/trustee-test-report.bin"), SEV_SNP, chain, vector("openpcc/sev_certificates.txt")
    )
    table = SnpTable(products=("milan",), minimum_tcb={"milan": SnpTcb()})
    item = cpu_milliseconds(lambda: verify_item(exhibit.items[0], table, AT))
    bundle = cpu_milliseconds(lambda: verify_bundle(GOOD, POLICY, NOW, {}))
    print(f"\nSEV-SNP's ten steps {item:.2f} ms; the twelve of a bundle with simulated evidence {bundle:.2f} ms")
    assert item + bundle < LIMIT_MILLISECONDS
