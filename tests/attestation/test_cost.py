"""What verification costs a device, measured on request: it is done once for each epoch."""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from seclude.attestation.accept import SnpTable, SnpTcb
from seclude.attestation.bundle import serialize_bundle
from seclude.attestation.evidence import SEV_SNP
from seclude.attestation.formats import verify_item
from seclude.attestation.ledger import verify_proofs
from seclude.attestation.verify import verify_bundle
from seclude.client.evidencefile import read_exhibits
from seclude.tlog.keys import COSIGNATURE_ED25519, ML_DSA_44
from tests.attestation.test_ledger import DAY, service
from tests.attestation.test_ledger import NOW as NOW_LOGGED
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


@pytest.mark.drill
@pytest.mark.parametrize("algorithm", [COSIGNATURE_ED25519, ML_DSA_44], ids=["Ed25519", "ML-DSA-44"])
@pytest.mark.parametrize("maturity_seconds", [0, DAY])
def test_proofs_of_a_ledger_cost_a_device_about_two_milliseconds(algorithm: int, maturity_seconds: int) -> None:
    """A year of slots of ten minutes, three witnesses, and a release that stands for a day where it has to."""
    made = service(maturity_seconds=maturity_seconds, algorithm=algorithm, epoch=52_560)
    bundle, earlier = made.log(), NOW_LOGGED - maturity_seconds if maturity_seconds else None
    proofs = made.ledger.proofs(NOW_LOGGED, earlier=earlier)
    known = made.verify(bundle, proofs).ledger
    assert known is not None
    whole = cpu_milliseconds(lambda: made.verify(bundle, proofs, known=known.outlines))
    apart = cpu_milliseconds(lambda: verify_proofs(proofs, made.policy, NOW_LOGGED, known.outlines))
    whole_size = len(serialize_bundle(replace(bundle, proofs=proofs)))
    print(f"\nproofs {apart:.2f} ms, the eighteen steps {whole:.2f} ms; {len(proofs)} of {whole_size} octets")
    assert apart < (2.0 if algorithm == COSIGNATURE_ED25519 else 3.0)  # nine signatures of ML-DSA-44, five of Ed25519
