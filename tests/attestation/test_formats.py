"""Several items of evidence: what must come beside the platform, what may not, and what each of them binds.

Here a simulated platform has a TPM beside it, for the roots of both stand in the policy. The roots of vendors do not,
so where a GPU takes part, its format is registered with the roots of the tests.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace as replace_fields

from seclude.attestation import formats, nvidia, tpm
from seclude.attestation.accept import NitroTable, NvidiaTable
from seclude.attestation.bundle import (
    Bundle,
    birth_report_data,
    serialize_bundle,
    serialize_core,
    unlogged_checkpoint,
)
from seclude.attestation.evidence import (
    NVIDIA,
    SEV_SNP,
    SIMULATED,
    TPM,
    UnverifiedEvidence,
    bound_by,
    parse_evidence,
    serialize_evidence,
)
from seclude.attestation.formats import FORMATS, Format, Progress, verify_item
from seclude.attestation.joinpolicy import TABLES, serialize_join_policy
from seclude.attestation.judge import TITLES, open_evidence, verify_evidence
from seclude.attestation.launchlog import LaunchLog, Run
from seclude.attestation.policy import Demonstration, Policy, Production
from seclude.attestation.steps import Step
from seclude.attestation.verify import verify_bundle
from seclude.errors import DecodeError, EvidenceError, PolicyError, VerificationError
from tests.attestation.nitro_signer import LINKS
from tests.attestation.nvidia_signer import GPU, REQUEST
from tests.attestation.test_tpm import Platform as Tpm
from tests.attestation.test_tpm import attest, ecc_public
from tests.attestation.test_verify import (
    CORE,
    EPOCH,
    HARDWARE,
    MAX_AGE,
    MEASUREMENT,
    POLICY,
    accepting,
)
from tests.ledgers import NOBODYS

KEY = ec.generate_private_key(ec.SECP256R1())
DEVICE = Tpm(KEY, ecc_public(KEY))
NOW = 1_790_000_000.0
DATA = bytes(range(64))
NITRO_TABLE = NitroTable(measurements=("00" * 48,))
LAUNCHED = LaunchLog((Run(MEASUREMENT, 2),))
BOTH = replace(POLICY, document=replace_fields(POLICY.document, tpm=DEVICE.table))
TPM_ALONE = replace(POLICY, document=Demonstration(manifests=(MEASUREMENT.hex(),), tpm=DEVICE.table))


def platform(data: bytes = DATA, **changes: object) -> UnverifiedEvidence:
    """Return a simulated platform's item, dated and certified for the time at which the TPM's certificate is valid."""
    certificate = HARDWARE.certificate(start=NOW - 86_400)
    report = replace(HARDWARE.report(data), issued_at=int(NOW) - 10, **changes)  # type: ignore[arg-type]
    (item,) = parse_evidence(HARDWARE.evidence(report, certificate))
    return item


def quote(data: bytes = DATA, log: LaunchLog = LAUNCHED, safe: int = 1) -> UnverifiedEvidence:
    attested = attest(DEVICE.ak_public, log=log, bound=bound_by(TPM, data), safe=safe)
    return UnverifiedEvidence(TPM, tpm.serialize_body(DEVICE.evidence(attested, log)))


PINNED = HARDWARE.certificate(root=True, start=NOW - 86_400)
BOTH = replace(
    BOTH, document=replace_fields(BOTH.document, simulated=accepting(PINNED).document.platforms()[SIMULATED])
)


def assert_stops(
    step: int,
    words: str,
    *items: UnverifiedEvidence,
    policy: Policy = BOTH,
    passed: int | None = None,
    kind: type[VerificationError] = VerificationError,
) -> None:
    """Check where a verification stops, and that each step before it was told and none after."""
    observed: list[Step] = []
    with pytest.raises(kind, match=words) as caught:
        verify_evidence(serialize_evidence(*items), policy, DATA, NOW, observe=observed.append)
    assert caught.value.step == step
    assert [each.number for each in observed] == list(range(2, (step if passed is None else passed + 1)))


def test_every_format_of_a_policy_has_a_verifier_whose_steps_are_stages_in_order() -> None:
    assert {name.replace("_", "-") for name in TABLES} == set(FORMATS)
    for kind in FORMATS.values():
        assert list(kind.titles) == list(kind.stages) == list(range(1, len(kind.titles) + 1))
        assert set(kind.stages.values()) <= {2, 3, 4, 5}
        assert {2, 3, 4} <= set(kind.stages.values())


def test_a_platform_and_a_tpm_beside_it_pass_together() -> None:
    observed: list[Step] = []
    trusted = verify_evidence(serialize_evidence(platform(), quote()), BOTH, DATA, NOW, observe=observed.append)
    assert [report.format for report in trusted.reports] == [SIMULATED, TPM]
    assert trusted.platform.format == SIMULATED
    assert {report.measurement for report in trusted.reports} == {MEASUREMENT}
    assert trusted.expires_at == int(NOW) - 10 + MAX_AGE
    assert [(step.number, step.title) for step in observed] == [(number, TITLES[number]) for number in range(2, 9)]
    found = {step.number: step.found for step in observed}
    assert found[2].startswith("simulated; tpm; ")
    for number, words in ((3, ("root ", "root ")), (4, ("platform ", "key ")), (5, ("firmware 1", "reset count 5"))):
        assert all(word in found[number] for word in words)


def test_the_first_certificate_that_ends_ends_them_all() -> None:
    document = replace_fields(BOTH.document, max_age_seconds=1 << 31)
    trusted = verify_evidence(serialize_evidence(platform(), quote()), replace(BOTH, document=document), DATA, NOW)
    (simulated, device) = trusted.reports
    assert trusted.expires_at == device.expires_at < simulated.expires_at


# What comes, and in which order.


def test_what_must_come_beside_the_platform_is_missed() -> None:
    assert_stops(2, 'evidence of format "tpm" must come beside it, and does not', platform(), kind=PolicyError)


def test_what_nobody_here_would_judge_is_refused() -> None:
    alone = replace(BOTH, document=replace_fields(BOTH.document, tpm=None))
    words = 'evidence of format "{}" comes beside it, and nothing here would judge it'
    assert_stops(2, words.format("tpm"), platform(), quote(), policy=alone, kind=PolicyError)
    for name in ("arm-cca", "nvidia", "sev-snp"):
        stranger = UnverifiedEvidence(name, b"")
        assert_stops(2, words.format(name), platform(), quote(), stranger, kind=PolicyError)


def test_a_second_platform_is_no_addition() -> None:
    two = replace(BOTH, document=replace_fields(BOTH.document, nitro=NITRO_TABLE))
    stranger = UnverifiedEvidence("nitro", b"")
    assert_stops(2, 'format "nitro" comes beside it', platform(), quote(), stranger, policy=two, kind=PolicyError)


def test_two_items_of_one_format_are_refused() -> None:
    assert_stops(2, "two items are of one format", platform(), quote(), quote(), kind=EvidenceError)


def test_an_addition_is_never_first() -> None:
    assert_stops(2, 'evidence of format "tpm" is not accepted', quote(), platform(), kind=PolicyError)
    assert_stops(2, 'evidence of format "tpm" is not accepted', quote(), kind=PolicyError)


def test_the_order_of_two_additions_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = register_gpu(monkeypatch)
    policy = replace(BOTH, document=replace_fields(BOTH.document, nvidia=NvidiaTable()))
    for items in ((platform(), quote(), gpu(DATA)), (platform(), gpu(DATA), quote())):
        trusted = verify_evidence(serialize_evidence(*items), policy, DATA, NOW)
        assert [report.format for report in trusted.reports] == [item.format for item in items]
    assert_stops(2, 'format "nvidia" must come', platform(), quote(), policy=policy, kind=PolicyError)
    assert_stops(2, 'format "tpm" must come', platform(), gpu(DATA), policy=policy, kind=PolicyError)


def test_a_tpm_alone_passes_a_demonstration_that_says_so() -> None:
    trusted = verify_evidence(serialize_evidence(quote()), TPM_ALONE, DATA, NOW)
    assert [report.format for report in trusted.reports] == [TPM]
    assert trusted.expires_at == trusted.platform.expires_at  # nothing dates it but what it binds
    assert_stops(2, '"simulated" is not accepted', platform(), quote(), policy=TPM_ALONE, kind=PolicyError)


def test_a_tpm_alone_never_passes_a_production_policy() -> None:
    """None can be made; and one for another platform takes the TPM for an addition."""
    document = Production(ledger=NOBODYS, nitro=NITRO_TABLE, tpm=DEVICE.table)
    policy = replace(POLICY, document=document)
    assert_stops(2, '"tpm" is not accepted', quote(), policy=policy, kind=PolicyError)
    assert_stops(2, '"simulated" is not accepted', platform(), quote(), policy=policy, kind=PolicyError)


# What each item binds, and what it measured.


def test_each_item_binds_the_same_report_data() -> None:
    other = bytes(64)
    for items, guilty in (
        ((platform(other), quote()), "simulated"),
        ((platform(), quote(other)), "tpm"),
        ((platform(other), quote(other)), "simulated"),
    ):
        assert_stops(6, f"the {guilty} report binds something else than what came with it", *items, kind=EvidenceError)


def test_a_tpm_binds_the_hash_and_not_the_beginning_of_the_report_data() -> None:
    attested = attest(DEVICE.ak_public, log=LAUNCHED, bound=DATA[:32])
    cut = UnverifiedEvidence(TPM, tpm.serialize_body(DEVICE.evidence(attested, LAUNCHED)))
    assert_stops(6, "the tpm report binds something else", platform(), cut, kind=EvidenceError)


def test_each_item_that_measures_the_manifest_has_to_measure_an_accepted_one() -> None:
    other = hashlib.sha256(b"other software").digest()
    words = f'measurement {other.hex()} is not accepted for role "worker"'
    assert_stops(8, words, platform(measurement=other), quote(), kind=PolicyError)
    assert_stops(8, words, platform(), quote(log=LaunchLog((Run(other, 1),))), kind=PolicyError)


def test_two_accepted_manifests_that_differ_are_not_those_of_one_core() -> None:
    other = hashlib.sha256(b"another release").digest()
    document = replace_fields(BOTH.document, manifests=(MEASUREMENT.hex(), other.hex()))
    policy = replace(BOTH, document=document, slots=replace(BOTH.slots, t0=int(NOW) - 600 * EPOCH - 100))
    core = replace(CORE, join_policy=serialize_join_policy(policy), checkpoint=checkpoint_at(NOW - 20))
    encoded = serialize_core(core)
    data = birth_report_data(encoded)

    def bundle(log: LaunchLog) -> bytes:
        return serialize_bundle(Bundle(encoded, serialize_evidence(platform(data), quote(data, log))))

    pool = verify_bundle(bundle(LAUNCHED), policy, NOW, {})
    assert (pool.formats, pool.measurement) == ((SIMULATED, TPM), MEASUREMENT)
    with pytest.raises(EvidenceError, match="the core names another manifest than was measured") as caught:
        verify_bundle(bundle(LaunchLog((Run(other, 1),))), policy, NOW, {})
    assert caught.value.step == 9


def checkpoint_at(moment: float) -> bytes:
    return unlogged_checkpoint(int(moment))


@pytest.mark.parametrize(("made", "issued"), [(-MAX_AGE, -10), (-10, -MAX_AGE), (31, -10), (-10, 31)])
def test_the_older_and_the_newer_of_two_dates_both_count(made: int, issued: int) -> None:
    policy = replace(BOTH, slots=replace(BOTH.slots, t0=int(NOW) - 600 * EPOCH - 100))
    core = replace(CORE, join_policy=serialize_join_policy(policy), checkpoint=checkpoint_at(NOW + made))
    encoded = serialize_core(core)
    data = birth_report_data(encoded)
    report = replace(HARDWARE.report(data), issued_at=int(NOW) + issued)
    (item,) = parse_evidence(HARDWARE.evidence(report, HARDWARE.certificate(start=NOW - 86_400)))
    bundle = serialize_bundle(Bundle(encoded, serialize_evidence(item, quote(data))))
    words = "from the future" if max(made, issued) > 0 else "older than"
    with pytest.raises(VerificationError, match=words) as caught:
        verify_bundle(bundle, policy, NOW, {})
    assert caught.value.step == 7


def test_a_core_dates_evidence_of_a_tpm_which_does_not_date_itself() -> None:
    document = replace_fields(TPM_ALONE.document, max_age_seconds=MAX_AGE)
    policy = replace(TPM_ALONE, document=document, slots=replace(POLICY.slots, t0=int(NOW) - 600 * EPOCH - 100))

    def bundle(made: float) -> bytes:
        core = replace(CORE, join_policy=serialize_join_policy(policy), checkpoint=checkpoint_at(made))
        encoded = serialize_core(core)
        return serialize_bundle(Bundle(encoded, serialize_evidence(quote(birth_report_data(encoded)))))

    pool = verify_bundle(bundle(NOW - MAX_AGE + 5), policy, NOW, {})
    assert (pool.formats, pool.expires_at) == ((TPM,), int(NOW) + 5)
    with pytest.raises(PolicyError, match="older than") as caught:
        verify_bundle(bundle(NOW - MAX_AGE), policy, NOW, {})
    assert caught.value.step == 7


# A failure in one item, and what had passed before it.


def test_a_stage_has_passed_where_it_has_for_every_item() -> None:
    broken = replace(quote(), body=quote().body + b"\0")
    assert_stops(2, "tpm step 1: 1 trailing octets", platform(), broken, kind=EvidenceError)
    cut = replace(platform(), body=platform().body[:-1])
    assert_stops(2, "simulated step 1: truncated in signature", cut, quote(), kind=EvidenceError)


def test_a_failure_of_the_platform_hides_nothing_that_passed_and_shows_nothing_that_did_not() -> None:
    debug = platform(flags=1)
    # The platform passed its stages 2 to 4, but the TPM was not looked at, so nothing has passed for both.
    assert_stops(5, "simulated step 4: the platform is in debug mode", debug, quote(), passed=1, kind=PolicyError)
    alone = replace(BOTH, document=replace_fields(BOTH.document, tpm=None))
    assert_stops(5, "simulated step 4: the platform is in debug mode", debug, policy=alone, kind=PolicyError)


def test_a_failure_of_the_addition_comes_after_what_both_passed() -> None:
    assert_stops(5, "tpm step 7: the TPM's clock is not safe", platform(), quote(safe=0), kind=PolicyError)
    other = Tpm(KEY, ecc_public(KEY))
    foreign = replace(BOTH, document=replace_fields(BOTH.document, tpm=other.table))
    assert_stops(3, "tpm step 2: the AK chain does not end at a pinned", platform(), quote(), policy=foreign)


def test_an_error_of_a_format_names_its_own_step_and_carries_that_of_the_whole() -> None:
    with pytest.raises(PolicyError, match=r"^tpm step 7: ") as caught:
        verify_item(quote(safe=0), DEVICE.table, NOW)
    assert caught.value.step == tpm.STAGES[7] == 5
    assert isinstance(caught.value.__cause__, PolicyError)
    with pytest.raises(EvidenceError, match=r"^tpm step 1: ") as refused:
        verify_item(UnverifiedEvidence(TPM, b""), DEVICE.table, NOW)
    assert refused.value.step == 2
    assert not isinstance(refused.value, DecodeError)


@pytest.mark.parametrize("name", FORMATS)
def test_progress_is_through_a_stage_when_every_step_up_to_it_has_passed(name: str) -> None:
    kind = FORMATS[name]
    last = {stage: max(number for number, part in kind.stages.items() if part <= stage) for stage in (2, 3, 4, 5)}
    progress = Progress(name)
    for number, title in kind.titles.items():
        for stage, end in last.items():
            assert progress.is_through(stage) == (number > end)
        progress.observe(Step(number, title, f"found {number}"))
    assert all(progress.is_through(stage) for stage in last)
    found = [words for stage in (2, 3, 4, 5) for words in progress.found(stage)]
    assert sorted(found) == sorted(f"found {number}" for number in kind.titles)


def test_progress_that_skips_a_step_is_through_nothing_after_it() -> None:
    progress = Progress(TPM)
    for number, title in tpm.TITLES.items():
        if number != 3:
            progress.observe(Step(number, title, ""))
    assert [stage for stage in (2, 3, 4, 5) if progress.is_through(stage)] == [2, 3]


# A GPU, whose roots are no part of a policy.


def register_gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], UnverifiedEvidence]:
    """Let the verifier of GPUs pin a root of the tests, and return what makes an item under it."""
    gpu = GPU([replace(link, start=int(NOW) - 60, end=int(NOW) + 60) for link in LINKS])
    kind = Format(nvidia.TITLES, nvidia.STAGES, partial(nvidia.verify, roots=gpu.roots))
    monkeypatch.setattr(formats, "FORMATS", MappingProxyType({**FORMATS, NVIDIA: kind}))

    def attest_gpu(data: bytes) -> UnverifiedEvidence:
        request = REQUEST[:4] + bound_by(NVIDIA, data) + REQUEST[36:]
        return UnverifiedEvidence(NVIDIA, gpu.attest(request=request))

    return attest_gpu


def test_a_gpu_beside_the_platform_binds_the_same_and_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = register_gpu(monkeypatch)
    policy = replace(BOTH, document=replace_fields(BOTH.document, nvidia=NvidiaTable(), tpm=None))
    trusted = verify_evidence(serialize_evidence(platform(), gpu(DATA)), policy, DATA, NOW)
    assert [report.format for report in trusted.reports] == [SIMULATED, NVIDIA]
    assert not trusted.reports[1].measures_manifest
    assert trusted.launched == {}, "a GPU is not what the software was launched in"
    machine = replace(trusted.reports[0], format=SEV_SNP, measurement=bytes(48), measures_manifest=False)
    assert replace(trusted, reports=(machine, trusted.reports[1])).launched == {SEV_SNP: bytes(48)}
    assert trusted.expires_at == int(NOW) + 60
    assert_stops(6, "the nvidia report binds something else", platform(), gpu(bytes(64)), policy=policy)


def test_without_the_root_of_the_tests_that_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        item = register_gpu(patched)(DATA)
    policy = replace(BOTH, document=replace_fields(BOTH.document, nvidia=NvidiaTable(), tpm=None))
    assert_stops(3, "nvidia step 3: .* does not end at a pinned root", platform(), item, policy=policy)


# What else is made of them.


def test_evidence_that_is_opened_shows_each_item_and_holds_each_to_what_it_binds() -> None:
    old = replace(HARDWARE.report(DATA), issued_at=0)
    (item,) = parse_evidence(HARDWARE.evidence(old, HARDWARE.certificate(start=NOW - 86_400)))
    opened = open_evidence(serialize_evidence(item, quote()), BOTH, DATA, NOW)
    assert [report.format for report in opened.reports] == [SIMULATED, TPM]
    assert opened.expires_at == min(report.expires_at for report in opened.reports)
    with pytest.raises(PolicyError, match='"tpm" must come'):
        open_evidence(serialize_evidence(item), BOTH, DATA, NOW)
    with pytest.raises(EvidenceError, match="the simulated report binds"):
        open_evidence(serialize_evidence(item, quote()), BOTH, bytes(64), NOW)


def test_every_flipped_octet_of_two_items_is_refused() -> None:
    evidence = serialize_evidence(platform(), quote())
    for position in range(len(evidence)):
        flipped = bytearray(evidence)
        flipped[position] ^= 1 << position % 8
        with pytest.raises(VerificationError):
            verify_evidence(bytes(flipped), BOTH, DATA, NOW)
