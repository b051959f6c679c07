"""Verification: a good bundle passes twelve steps, and everything else stops at the step that names its fault."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from msgspec.structs import replace as replace_fields

from seclude.attestation import simulated
from seclude.attestation.accept import SimulatedTable
from seclude.attestation.bundle import (
    Bundle,
    Core,
    birth_report_data,
    core_digest,
    parse_bundle,
    serialize_bundle,
    serialize_core,
    unlogged_checkpoint,
)
from seclude.attestation.evidence import UnverifiedEvidence, parse_evidence, serialize_evidence
from seclude.attestation.joinpolicy import serialize_join_policy
from seclude.attestation.judge import open_evidence, verify_evidence
from seclude.attestation.policy import Demonstration, Policy
from seclude.attestation.simulated import Report, SignedReport, serialize_body, serialize_report, signed_octets
from seclude.attestation.slots import Slots, x25519_key_id, xwing_key_id
from seclude.attestation.steps import Step
from seclude.attestation.verify import TrustedPool, verify_bundle
from seclude.errors import ConfigError, EvidenceError, PolicyError, VerificationError
from seclude.hpke import KEM_X25519, KEM_XWING, PrivateKey
from seclude.ohttp.keyconfig import KeyConfig, SymmetricAlgorithms, serialize_key_configs

SLOTS = Slots(t0=1_000_000_200, period_seconds=600)
EPOCH = 1_000_000
START = SLOTS.start(EPOCH)
NOW = START + 100.5
ISSUED = START - 500
MADE = START - 501  # a worker makes the core, then asks for evidence of it
MAX_AGE = 1800
MEASUREMENT = bytes(range(32))
PUBLIC_KEY = PrivateKey.generate(KEM_XWING).public_key
OTHER_PUBLIC_KEY = PrivateKey.generate(KEM_XWING).public_key
BOTH = (SymmetricAlgorithms(1, 1), SymmetricAlgorithms(1, 3))


@dataclass
class Hardware:
    """A root and a platform that will sign anything, right or wrong."""

    root_key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    def certificate(
        self,
        *,
        root: bool = False,
        name: str | None = None,
        start: float = START - 86_400,
        days: int = 365,
        ca: bool | None = None,
        sign_usage: bool | None = None,
        extra: bool = False,
        signer: Ed25519PrivateKey | None = None,
    ) -> bytes:
        key = self.root_key if root else self.key
        subject = name or (simulated.ROOT_NAME if root else simulated.PLATFORM_NAME)
        begin = datetime.fromtimestamp(start, UTC)
        usage = not root if sign_usage is None else sign_usage
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, simulated.ROOT_NAME)]))
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(begin)
            .not_valid_after(begin + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=root if ca is None else ca, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(usage, False, False, False, False, not usage, False, False, False),
                critical=True,
            )
        )
        if extra:
            names = x509.SubjectAlternativeName([x509.DNSName("ai.example")])
            builder = builder.add_extension(names, critical=True)
        return builder.sign(signer or self.root_key, None).public_bytes(Encoding.DER)

    def report(self, report_data: bytes) -> Report:
        return Report(0, 1, simulated.platform_id(self.key.public_key()), MEASUREMENT, report_data, ISSUED)

    def evidence(self, report: Report, certificate: bytes | None = None) -> bytes:
        certificate = certificate or self.certificate()
        encoded = serialize_report(report)
        signature = self.key.sign(signed_octets(certificate, encoded))
        body = serialize_body(SignedReport(certificate, encoded, signature))
        return serialize_evidence(UnverifiedEvidence("simulated", body))


HARDWARE = Hardware()
OTHER = Hardware()
ROOT = HARDWARE.certificate(root=True)
POLICY = Policy(
    origin="ai.example",
    slots=SLOTS,
    document=Demonstration(
        manifests=(MEASUREMENT.hex(),), max_age_seconds=MAX_AGE, simulated=SimulatedTable(roots=(ROOT,))
    ),
)


def accepting(*roots: bytes, minimum_firmware: int = 1) -> Policy:
    """Return the policy with another table for simulated hardware."""
    table = SimulatedTable(roots=roots or (ROOT,), minimum_firmware=minimum_firmware)
    return replace(POLICY, document=replace_fields(POLICY.document, simulated=table))


def key_configs(*configs: KeyConfig) -> bytes:
    return serialize_key_configs(configs)


CONFIG = KeyConfig(xwing_key_id(EPOCH), KEM_XWING, PUBLIC_KEY, BOTH)
CLASSICAL = KeyConfig(x25519_key_id(EPOCH), KEM_X25519, PrivateKey.generate(KEM_X25519).public_key, BOTH)
CORE = Core(
    role="worker",
    origin="ai.example",
    epoch=EPOCH,
    key_configs=key_configs(CONFIG, CLASSICAL),
    manifest_digest=MEASUREMENT,
    join_policy=serialize_join_policy(POLICY),
    checkpoint=unlogged_checkpoint(MADE),
)


def make(
    core: Core = CORE,
    change: Callable[[Report], Report] = lambda report: report,
    hardware: Hardware = HARDWARE,
    certificate: bytes | None = None,
) -> bytes:
    """Build a bundle whose evidence is genuine for its core, apart from what is changed."""
    encoded = serialize_core(core)
    report = change(hardware.report(birth_report_data(encoded)))
    return serialize_bundle(Bundle(encoded, hardware.evidence(report, certificate)))


GOOD = make()
DIGEST = core_digest(serialize_core(CORE))


def verify(bundle: bytes, now: float = NOW, policy: Policy = POLICY) -> TrustedPool:
    return verify_bundle(bundle, policy, now, {})


def assert_stops(
    step: int, bundle: bytes, words: str, *, now: float = NOW, policy: Policy = POLICY, kind: type = VerificationError
) -> None:
    passed: list[Step] = []
    with pytest.raises(kind, match=words) as caught:
        verify_bundle(bundle, policy, now, {}, observe=passed.append)
    assert isinstance(caught.value, VerificationError)
    assert caught.value.step == step
    assert [each.number for each in passed] == list(range(1, step))


def test_a_good_bundle_passes_twelve_steps_in_order() -> None:
    observed: list[Step] = []
    pool = verify_bundle(GOOD, POLICY, NOW, {}, observe=observed.append)
    assert tuple(observed) == pool.steps
    assert [step.number for step in pool.steps] == list(range(1, 13))
    assert all(step.title and step.found for step in pool.steps)
    assert (pool.core, pool.core_digest, pool.epoch, pool.measurement) == (CORE, DIGEST, EPOCH, MEASUREMENT)
    assert pool.formats == ("simulated",)
    assert pool.key_configs == (CONFIG,)
    assert pool.expires_at == SLOTS.end(EPOCH)


def test_the_format_step_says_that_it_is_simulated() -> None:
    assert "simulated" in verify(GOOD).steps[1].found


def test_every_flipped_bit_of_a_bundle_is_refused() -> None:
    core = range(
        GOOD.index(serialize_core(CORE)) * 8, (GOOD.index(serialize_core(CORE)) + len(serialize_core(CORE))) * 8
    )
    for position in range(len(GOOD) * 8):
        if position in core and position % 8 != position // 8 % 8:
            continue  # the core counts by its hash alone until step 9, so one bit of each of its octets is enough
        flipped = bytearray(GOOD)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises(VerificationError):
            verify(bytes(flipped))


def test_every_truncation_of_a_bundle_is_refused() -> None:
    for cut in range(len(GOOD)):
        assert_stops(1, GOOD[:cut], "truncated")


def test_trailing_octets_are_refused_in_every_layer() -> None:
    parsed = parse_bundle(GOOD)
    assert_stops(1, GOOD + b"\0", "trailing")
    assert_stops(1, serialize_bundle(replace(parsed, core=parsed.core + b"\0")), "trailing")
    assert_stops(2, serialize_bundle(replace(parsed, evidence=parsed.evidence + b"\0")), "trailing")


def test_octets_behind_the_body_of_an_item_are_refused() -> None:
    parsed = parse_bundle(GOOD)
    (item,) = parse_evidence(parsed.evidence)
    longer = serialize_evidence(replace(item, body=item.body + b"\0"))
    passed: list[Step] = []
    with pytest.raises(EvidenceError, match="simulated step 1: 1 trailing") as caught:
        verify_bundle(serialize_bundle(replace(parsed, evidence=longer)), POLICY, NOW, {}, observe=passed.append)
    assert caught.value.step not in [step.number for step in passed]


def test_step_1_refuses_proofs_that_nobody_would_check() -> None:
    assert_stops(1, serialize_bundle(replace(parse_bundle(GOOD), proofs=b"proof")), "proofs of a ledger")


@pytest.mark.parametrize(
    ("checkpoint", "words"),
    [
        (b"", "truncated in head of a checkpoint without a ledger"),
        (b"a signed checkpoint of a ledger", "not a checkpoint without a ledger of a version known here"),
        (unlogged_checkpoint(MADE)[:-1], "truncated in made_at"),
        (unlogged_checkpoint(MADE) + b"\0", "1 trailing octets after checkpoint"),
    ],
)
def test_step_1_refuses_a_checkpoint_that_nobody_would_check(checkpoint: bytes, words: str) -> None:
    assert_stops(1, make(replace(CORE, checkpoint=checkpoint)), words, kind=EvidenceError)


def test_step_2_refuses_other_formats() -> None:
    parsed = parse_bundle(GOOD)
    (item,) = parse_evidence(parsed.evidence)
    evidence = serialize_evidence(UnverifiedEvidence("sev-snp", item.body))
    assert_stops(2, serialize_bundle(replace(parsed, evidence=evidence)), "sev-snp", kind=PolicyError)


@pytest.mark.parametrize(
    "certificate",
    [
        HARDWARE.certificate(signer=OTHER.root_key),
        HARDWARE.certificate(signer=HARDWARE.key),
        HARDWARE.certificate(ca=True),
        HARDWARE.certificate(sign_usage=False),
        HARDWARE.certificate(extra=True),
        ROOT,
        b"no certificate",
    ],
    ids=["other root", "self-signed", "CA", "key usage", "another extension", "the root", "junk"],
)
def test_step_3_refuses_certificates_that_are_not_of_a_platform_under_the_root(certificate: bytes) -> None:
    assert_stops(3, make(certificate=certificate), "certificate", kind=EvidenceError)


def test_step_3_refuses_a_genuine_chain_to_a_root_that_is_not_pinned() -> None:
    assert_stops(3, make(hardware=OTHER), "not signed by a pinned root")


def test_step_3_refuses_a_platform_key_of_another_kind() -> None:
    key = generate_private_key(SECP256R1())
    begin = datetime.fromtimestamp(START, UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, simulated.ROOT_NAME)]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(True, False, False, False, False, False, False, False, False), critical=True)
    )
    assert_stops(3, make(certificate=certificate.sign(key, SHA256()).public_bytes(Encoding.DER)), "not an Ed25519")


def test_step_3_holds_certificates_to_their_dates() -> None:
    start = int(NOW) - 3600
    short = make(certificate=HARDWARE.certificate(start=start, days=1))
    assert verify(short, now=NOW).epoch == EPOCH
    assert_stops(3, short, "platform certificate is valid from", now=start - 1)
    assert_stops(3, short, "platform certificate is valid from", now=start + 86_400)


def test_step_3_holds_the_root_to_its_dates() -> None:
    policy = accepting(HARDWARE.certificate(root=True, days=1))
    assert_stops(3, GOOD, "root certificate is valid from", policy=policy)


def test_a_certificate_that_ends_before_the_slot_ends_the_trust() -> None:
    start = int(NOW) + 60 - 86_400
    assert verify(make(certificate=HARDWARE.certificate(start=start, days=1))).expires_at == int(NOW) + 60


def test_every_flipped_bit_of_a_certificate_is_refused_as_evidence() -> None:
    certificate = HARDWARE.certificate()
    for position in range(len(certificate) * 8):
        flipped = bytearray(certificate)
        flipped[position // 8] ^= 1 << position % 8
        try:
            platform = simulated.verify_chain(bytes(flipped), (ROOT,), NOW)
        except EvidenceError:
            continue
        # DER parsers forgive the unused bits of the signature; the report's signature does not.
        assert platform.platform_id == simulated.platform_id(HARDWARE.key.public_key())
        signed = simulated.parse_body(parse_evidence(parse_bundle(GOOD).evidence)[0].body)
        with pytest.raises(EvidenceError):
            simulated.verify_signature(replace(signed, certificate=bytes(flipped)), platform)


def test_a_certificate_with_serial_number_0_passes() -> None:
    certificate = HARDWARE.certificate()
    tbs = x509.load_der_x509_certificate(certificate).tbs_certificate_bytes
    zero = tbs.replace(b"\x02\x01\x01", b"\x02\x01\x00", 1)
    assert zero != tbs
    changed = certificate[:4] + zero + certificate[4 + len(tbs) : -64] + HARDWARE.root_key.sign(zero)
    assert verify(make(certificate=changed)).epoch == EPOCH


@pytest.mark.parametrize(
    "root",
    [
        b"no certificate",
        HARDWARE.certificate(),
        HARDWARE.certificate(root=True, name="Vendor root"),
        HARDWARE.certificate(root=True, ca=False),
        HARDWARE.certificate(root=True, signer=OTHER.root_key),
    ],
    ids=["junk", "platform", "another name", "no CA", "not self-signed"],
)
def test_only_a_simulated_root_can_be_pinned_as_one(root: bytes) -> None:
    with pytest.raises(ConfigError, match=r"policy: simulated\.roots\[1\]: a pinned simulated root is not"):
        accepting(ROOT, root)


def test_the_second_of_two_pinned_roots_counts_too() -> None:
    assert verify(GOOD, policy=accepting(OTHER.certificate(root=True), ROOT)).epoch == EPOCH


def test_step_4_refuses_a_report_that_another_platform_signed() -> None:
    sibling = Hardware(root_key=HARDWARE.root_key)
    assert_stops(4, make(hardware=sibling, certificate=HARDWARE.certificate()), "not signed by the platform")


def test_step_4_refuses_a_report_that_names_another_platform() -> None:
    bundle = make(change=lambda report: replace(report, platform_id=bytes(32)))
    assert_stops(4, bundle, "names another platform")


def test_step_5_refuses_debug() -> None:
    assert_stops(5, make(change=lambda report: replace(report, flags=1)), "debug", kind=PolicyError)


def test_step_5_refuses_flags_without_meaning() -> None:
    assert_stops(5, make(change=lambda report: replace(report, flags=2)), "flags")


def test_step_5_refuses_old_firmware() -> None:
    newer = accepting(minimum_firmware=2)
    assert_stops(5, GOOD, "firmware level 1 is below the minimum of 2", policy=newer, kind=PolicyError)


def test_step_6_refuses_evidence_for_another_core() -> None:
    other = serialize_core(replace(CORE, key_configs=key_configs(replace(CONFIG, public_key=OTHER_PUBLIC_KEY))))
    assert_stops(6, serialize_bundle(replace(parse_bundle(GOOD), core=other)), "binds something else")


@pytest.mark.parametrize(
    ("age", "passes"), [(MAX_AGE - 1, True), (MAX_AGE, False), (0, True), (-30, True), (-31, False)]
)
def test_step_7_holds_evidence_to_its_age(age: int, passes: bool) -> None:
    bundle = make(change=lambda report: replace(report, issued_at=START - age))
    if passes:
        assert verify(bundle, now=START).epoch == EPOCH
    else:
        assert_stops(7, bundle, "older than" if age > 0 else "from the future", now=START)


@pytest.mark.parametrize(
    ("age", "passes"), [(MAX_AGE - 1, True), (MAX_AGE, False), (0, True), (-30, True), (-31, False)]
)
def test_step_7_holds_the_core_to_its_own_date_too(age: int, passes: bool) -> None:
    bundle = make(replace(CORE, checkpoint=unlogged_checkpoint(START - age)))
    if passes:
        assert verify(bundle, now=START).epoch == EPOCH
    else:
        assert_stops(7, bundle, "older than" if age > 0 else "from the future", now=START)


def test_fresh_evidence_for_an_old_core_ends_with_the_core() -> None:
    core = replace(CORE, checkpoint=unlogged_checkpoint(START - MAX_AGE + 200))
    bundle = make(core, lambda report: replace(report, issued_at=START))
    assert verify(bundle).expires_at == START + 200
    assert verify(bundle).steps[6].found.startswith("issued 20")
    assert_stops(7, bundle, "older than", now=START + 200)


def test_step_7_says_a_date_that_no_calendar_holds() -> None:
    assert_stops(7, make(change=lambda report: replace(report, issued_at=(1 << 64) - 1)), "from the future: second")


def test_evidence_that_grows_too_old_within_the_slot_ends_the_trust() -> None:
    bundle = make(change=lambda report: replace(report, issued_at=START - MAX_AGE + 300))
    assert verify(bundle).expires_at == START + 300
    assert verify(bundle, now=START + 299).epoch == EPOCH
    assert_stops(7, bundle, "older than", now=START + 300)


def test_step_8_refuses_software_that_is_not_accepted() -> None:
    bundle = make(replace(CORE, manifest_digest=bytes(32)), lambda report: replace(report, measurement=bytes(32)))
    assert_stops(8, bundle, 'measurement 0{64} is not accepted for role "worker"', kind=PolicyError)


LAXER = accepting(ROOT, OTHER.certificate(root=True))


@pytest.mark.parametrize(
    ("core", "words"),
    [
        (replace(CORE, manifest_digest=bytes(32)), "another manifest"),
        (replace(CORE, role="ledger"), 'role "ledger"'),
        (replace(CORE, origin="evil.example"), 'origin "evil.example"'),
        (replace(CORE, join_policy=serialize_join_policy(LAXER)), r"laxer than we are: simulated\.roots"),
        (
            replace(CORE, join_policy=serialize_join_policy(accepting(minimum_firmware=0))),
            r"laxer than we are: simulated\.minimum_firmware",
        ),
        (replace(CORE, join_policy=b"junk"), "join policy"),
    ],
)
def test_step_9_refuses_a_core_of_another_pool(core: Core, words: str) -> None:
    assert_stops(9, make(core), words)


def test_step_10_accepts_the_current_slot_from_its_first_to_its_last_moment() -> None:
    assert verify(GOOD, now=START).epoch == EPOCH
    assert verify(GOOD, now=START + 599.999).epoch == EPOCH
    assert_stops(10, GOOD, "has not begun; it starts 20", now=START - 0.001, kind=PolicyError)
    assert_stops(10, GOOD, "is past its end, which was 20", now=START + 600, kind=PolicyError)


@pytest.mark.parametrize("epoch", [0, EPOCH - 1, EPOCH + 1, EPOCH + 256, (1 << 64) - 1])
def test_step_10_refuses_every_other_epoch(epoch: int) -> None:
    config = replace(CONFIG, key_id=xwing_key_id(epoch))
    assert_stops(10, make(replace(CORE, epoch=epoch, key_configs=key_configs(config))), "past its end|has not begun")


@pytest.mark.parametrize(("epoch", "passes"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_joiner_accepts_the_neighbouring_slots_and_no_more(epoch: int, passes: bool) -> None:
    number = EPOCH + epoch
    config = replace(CONFIG, key_id=xwing_key_id(number))
    bundle = make(replace(CORE, epoch=number, key_configs=key_configs(config)))
    if passes:
        assert verify_bundle(bundle, POLICY, NOW, {}, neighbours=True).epoch == number
    else:
        with pytest.raises(PolicyError) as caught:
            verify_bundle(bundle, POLICY, NOW, {}, neighbours=True)
        assert caught.value.step == 10


def test_a_clock_before_the_first_slot_trusts_nothing() -> None:
    policy = replace(POLICY, slots=Slots(int(NOW) + 1000, 600))
    bundle = make(replace(CORE, join_policy=serialize_join_policy(policy)))
    assert_stops(10, bundle, "t0", policy=policy)


def test_step_11_refuses_a_second_core_for_an_epoch() -> None:
    second = make(replace(CORE, key_configs=key_configs(replace(CONFIG, public_key=OTHER_PUBLIC_KEY))))
    assert verify_bundle(GOOD, POLICY, NOW, {EPOCH: DIGEST, EPOCH - 1: bytes(32)}).epoch == EPOCH
    with pytest.raises(EvidenceError, match=f"first seen with core {DIGEST.hex()}") as caught:
        verify_bundle(second, POLICY, NOW, {EPOCH: DIGEST})
    assert caught.value.step == 11


@pytest.mark.parametrize(
    ("configs", "words"),
    [
        (key_configs(replace(CONFIG, key_id=CONFIG.key_id ^ 2)), "not the one of epoch"),
        (key_configs(CONFIG, replace(CLASSICAL, key_id=CLASSICAL.key_id ^ 2)), "not the one of epoch"),
        (key_configs(replace(CONFIG, key_id=CLASSICAL.key_id)), "not the one of epoch"),
        (key_configs(CONFIG, replace(CONFIG, public_key=OTHER_PUBLIC_KEY)), "share an identifier"),
        (key_configs(CONFIG, replace(CLASSICAL, key_id=CONFIG.key_id)), "share an identifier"),
        (key_configs(replace(CONFIG, algorithms=BOTH[1:]), CLASSICAL), "X-Wing with HKDF-SHA256 and AES-128-GCM"),
        (b"\x00\x05\x01\xff\xffab", "no key configuration"),
        (key_configs(CONFIG) + b"\0", "truncated"),
    ],
)
def test_step_12_refuses_key_configurations_that_cannot_be_used(configs: bytes, words: str) -> None:
    assert_stops(12, make(replace(CORE, key_configs=configs)), words)


def test_step_12_never_falls_back_to_x25519() -> None:
    assert_stops(12, make(replace(CORE, key_configs=key_configs(CLASSICAL))), "no key configuration", kind=PolicyError)


def test_only_the_usable_configuration_is_handed_on() -> None:
    other = KeyConfig(CONFIG.key_id ^ 128, 0x0010, bytes(65), BOTH)
    for configs in ((other, CLASSICAL, CONFIG), (CONFIG,)):
        assert verify(make(replace(CORE, key_configs=key_configs(*configs)))).key_configs == (CONFIG,)


def test_evidence_is_verified_on_its_own_for_a_join() -> None:
    data = bytes(range(64))
    evidence = HARDWARE.evidence(HARDWARE.report(data))
    observed: list[Step] = []
    trusted = verify_evidence(evidence, POLICY, data, NOW, observe=observed.append)
    (report,) = trusted.reports
    assert trusted.platform == report
    assert (report.format, report.measurement, report.firmware) == ("simulated", MEASUREMENT, "level 1")
    assert (report.bound, report.issued_at, report.measures_manifest) == (data, ISSUED, True)
    assert trusted.expires_at == ISSUED + MAX_AGE
    assert [step.number for step in observed] == list(range(2, 9))
    with pytest.raises(EvidenceError, match="the simulated report binds something else"):
        verify_evidence(evidence, POLICY, bytes(64), NOW)


def test_evidence_that_is_only_opened_says_nothing_of_its_age_or_its_software() -> None:
    strange = replace(HARDWARE.report(bytes(64)), measurement=bytes(32), issued_at=0)
    opened = open_evidence(HARDWARE.evidence(strange), POLICY, bytes(64), NOW)
    assert (opened.platform.measurement, opened.platform.issued_at) == (bytes(32), 0)
    with pytest.raises(PolicyError, match="debug") as caught:
        open_evidence(HARDWARE.evidence(replace(strange, flags=1)), POLICY, bytes(64), NOW)
    assert caught.value.step == 5


def test_evidence_of_another_machine_does_not_open_as_ones_own() -> None:
    """Its software would become that which a worker lets in."""
    with pytest.raises(EvidenceError, match="binds something else") as caught:
        open_evidence(HARDWARE.evidence(HARDWARE.report(bytes(64))), POLICY, bytes(range(64)), NOW)
    assert caught.value.step == 6
