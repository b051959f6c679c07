"""Every parser of what workers, gateways and devices tell each other about keys, under seeded mutation.

Whatever the bytes, only a refusal comes out, and what is read has the one encoding that was read.
"""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from msgspec.structs import replace as replace_fields

from bench.simulated import simulated_evidence, simulated_policy
from inference.attesting import BUSY, EVIDENCE, READY, REFUSED, Answer, parse_answer, serialize_answer
from inference.join import (
    SUITE,
    JoinKeys,
    JoinRequest,
    parse_join_keys,
    parse_join_request,
    serialize_join_keys,
    serialize_join_request,
)
from inference.producers.simulated import SimulatedPlatform, create_simulated_platform
from seclude.attestation import simulated
from seclude.attestation.accept import Bit, NitroTable, NvidiaTable, SnpTable, SnpTcb, TdxTable, TpmTable
from seclude.attestation.bundle import (
    Bundle,
    Core,
    parse_bundle,
    parse_bundles,
    parse_core,
    parse_unlogged_checkpoint,
    serialize_bundle,
    serialize_bundles,
    serialize_core,
    unlogged_checkpoint,
)
from seclude.attestation.evidence import NVIDIA, TPM, UnverifiedEvidence, parse_evidence, serialize_evidence
from seclude.attestation.joinpolicy import parse_join_policy, serialize_join_policy
from seclude.attestation.judge import verify_evidence
from seclude.attestation.policy import Policy, PolicyDocument, Production
from seclude.attestation.policytext import parse_policy_document, render_policy_document
from seclude.attestation.slots import Slots
from seclude.errors import ConfigError, VerificationError
from tests.fuzz.damage import mutated, refuse_damage
from tests.ledgers import NOBODYS

EXECUTIONS: Final = 5_000
NOW: Final = 1_700_000_000.0
MANIFEST: Final = bytes(range(32))
DATA: Final = bytes(range(64))
SLOTS: Final = Slots(0, 600)
HARDWARE: Final = Production(
    manifests=(MANIFEST.hex(),),
    max_age_seconds=3600,
    ledger=NOBODYS,
    sev_snp=SnpTable(minimum_tcb={"genoa": SnpTcb(snp=23), "turin": SnpTcb(fmc=1)}, chips=("ab" * 64,)),
    tdx=TdxTable(chips=("cd" * 16,), perfmon=Bit.ALLOW),
    nitro=NitroTable(measurements=("ef" * 48,)),
    nvidia=NvidiaTable(),
)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> SimulatedPlatform:
    return create_simulated_platform(Path(tmp_path_factory.mktemp("platform")), NOW - 1)


def policy_of(document: PolicyDocument) -> Policy:
    return Policy(origin="ai.example", slots=SLOTS, document=document)


def again_evidence(data: bytes) -> None:
    assert serialize_evidence(*parse_evidence(data)) == data


def again_core(data: bytes) -> None:
    assert serialize_core(parse_core(data)) == data


def again_bundle(data: bytes) -> None:
    assert serialize_bundle(parse_bundle(data)) == data


def again_bundles(data: bytes) -> None:
    assert serialize_bundles(list(parse_bundles(data).values())) == data


def again_checkpoint(data: bytes) -> None:
    assert unlogged_checkpoint(parse_unlogged_checkpoint(data)) == data


def again_join_policy(data: bytes) -> None:
    assert serialize_join_policy(parse_join_policy(data)) == data


def again_join_request(data: bytes) -> None:
    assert serialize_join_request(parse_join_request(data)) == data


def again_join_keys(data: bytes) -> None:
    assert serialize_join_keys(parse_join_keys(data)) == data


def again_answer(data: bytes) -> None:
    assert serialize_answer(parse_answer(data)) == data


def again_simulated_body(data: bytes) -> None:
    signed = simulated.parse_body(data)
    assert simulated.serialize_body(signed) == data
    assert simulated.serialize_report(simulated.parse_report(signed.report)) == signed.report


Case = tuple[Callable[[bytes], None], list[bytes]]


def cases(platform: SimulatedPlatform) -> Iterator[Case]:
    evidence = simulated_evidence(platform, MANIFEST, DATA, NOW)
    (item,) = parse_evidence(evidence)
    more = serialize_evidence(item, UnverifiedEvidence(TPM, b"quote"), UnverifiedEvidence(NVIDIA, b""))
    policies = [policy_of(simulated_policy(platform)), policy_of(HARDWARE)]
    cores = [
        serialize_core(
            Core("worker", "ai.example", epoch, b"keys", MANIFEST, serialize_join_policy(each), unlogged_checkpoint(7))
        )
        for epoch, each in enumerate(policies)
    ]
    bundles = [serialize_bundle(Bundle(core, evidence)) for core in cores]
    yield again_evidence, [evidence, more]
    yield again_core, cores
    yield again_bundle, bundles
    yield again_bundles, [serialize_bundles(bundles), serialize_bundles(bundles[:1])]
    yield again_checkpoint, [unlogged_checkpoint(7)]
    yield again_join_policy, [serialize_join_policy(each) for each in policies]
    yield again_join_request, [serialize_join_request(JoinRequest(bytes(32), bytes(1216), evidence))]
    yield again_join_keys, [serialize_join_keys(JoinKeys(bytes(32), tuple(bundles), bytes(SUITE.nenc), b"sealed"))]
    answers = Answer(READY, b""), Answer(EVIDENCE, evidence), Answer(REFUSED, b"no device"), Answer(BUSY, b"later")
    yield again_answer, [serialize_answer(each) for each in answers]
    yield again_simulated_body, [item.body]


def test_only_a_refusal_comes_out_of_damaged_bytes(platform: SimulatedPlatform) -> None:
    for again, seeds in cases(platform):
        refuse_damage(again, seeds, EXECUTIONS)


def test_no_damage_to_evidence_passes(platform: SimulatedPlatform) -> None:
    policy = policy_of(simulated_policy(platform, manifests=(MANIFEST,)))
    good = simulated_evidence(platform, MANIFEST, DATA, NOW)
    assert verify_evidence(good, policy, DATA, NOW)
    rng = random.Random(5)
    for _ in range(EXECUTIONS):
        data = mutated([good], rng)
        if data == good:
            continue
        with pytest.raises(VerificationError) as refusal:
            verify_evidence(data, policy, DATA, NOW)
        assert 2 <= refusal.value.step <= 8


def test_a_policy_as_text_is_read_or_refused_in_words(platform: SimulatedPlatform) -> None:
    tpm = TpmTable(roots=(platform.root,), pcrs={"7": "00" * 32})
    documents: list[PolicyDocument] = [
        simulated_policy(platform, manifests=(MANIFEST,)),
        replace_fields(HARDWARE, nvidia=None),
        Production(ledger=NOBODYS, tpm=tpm),
    ]
    seeds = [render_policy_document(each).encode() for each in documents]
    assert [parse_policy_document(seed.decode()) for seed in seeds] == documents
    rng, refused = random.Random(7), 0
    for _ in range(EXECUTIONS // 5):
        text = mutated(seeds, rng).decode("utf-8", "replace")
        try:
            document = parse_policy_document(text)
        except ConfigError:
            refused += 1
        else:
            assert parse_policy_document(render_policy_document(document)) == document
    assert refused > EXECUTIONS // 100


def test_a_policy_as_text_keeps_a_format_that_has_no_keys() -> None:
    assert parse_policy_document(render_policy_document(HARDWARE)) == HARDWARE
