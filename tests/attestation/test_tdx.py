"""Intel TDX: real quotes and collateral of Intel's, and every fault that one can have, made by an Intel for tests.

The vectors are in SECLUDE_VECTORS; docs/evidence-tdx.md says at which time each of them verifies, or why none does.
"""

import base64
import json
import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from seclude.attestation.accept import Bit, TdxTable
from seclude.attestation.certificates import Revocations, load_certificate
from seclude.attestation.evidence import TrustedReport
from seclude.attestation.steps import Steps
from seclude.attestation.tdx import (
    ROOTS,
    STAGES,
    TITLES,
    TdxEvidence,
    measure,
    parse_body,
    registers,
    serialize_body,
    verify,
)
from seclude.attestation.tdx_collateral import (
    MAX_JSON,
    Collateral,
    Signed,
    collateral_from_json,
    parse_collateral,
    serialize_collateral,
    verify_tcb_info,
)
from seclude.attestation.tdx_quote import parse_pem_chain, parse_platform, parse_quote, serialize_pem_chain
from seclude.errors import DecodeError, EvidenceError, PolicyError, UsageError, VerificationError
from tests.attestation import tdx_signer
from tests.attestation.tdx_signer import (
    END,
    NOW,
    PLATFORM,
    PROCESSOR,
    ROOT,
    START,
    TCB,
    Intel,
    der,
    level,
    module,
    qe_identity,
    software_level,
    tcb_info,
)

TABLE: Final = TdxTable()
ANY_BIT: Final[dict[str, Any]] = dict.fromkeys(("sept_ve_disable", "perfmon", "pks", "key_locker"), Bit.ALLOW)
JUNE_2023: Final = 1_687_219_200  # 2023-06-20, within all of Google's collateral
JUNE_2025: Final = 1_750_377_600  # 2025-06-20, within all of Phala's
JULY_2025: Final = 1_751_328_000  # 2025-07-01
EXPIRED: Final = 1_752_921_000  # 2025-07-19, after Phala's
FEBRUARY_2026: Final = 1_770_681_600  # 2026-02-10, within the newest TCB information
EXTRA: Final = b"\nextra bytes(only for testing purpose)\n"  # follow the quote in Google's sample

# "Intel SGX TCB Signing", valid from 2018 to 2025, as Intel's service sent it with Google's collateral. The certificate
# that followed has the same key.
TCB_SIGNING_2018: Final = base64.b64decode(
    "MIICizCCAjKgAwIBAgIUfjiC1ftVKUpASY5FhAPpFJG99FUwCgYIKoZIzj0EAwIwaDEaMBgGA1UEAwwRSW50ZWwgU0dYIFJvb3QgQ0ExGjAYBgNV"
    "BAoMEUludGVsIENvcnBvcmF0aW9uMRQwEgYDVQQHDAtTYW50YSBDbGFyYTELMAkGA1UECAwCQ0ExCzAJBgNVBAYTAlVTMB4XDTE4MDUyMTEwNTAx"
    "MFoXDTI1MDUyMTEwNTAxMFowbDEeMBwGA1UEAwwVSW50ZWwgU0dYIFRDQiBTaWduaW5nMRowGAYDVQQKDBFJbnRlbCBDb3Jwb3JhdGlvbjEUMBIG"
    "A1UEBwwLU2FudGEgQ2xhcmExCzAJBgNVBAgMAkNBMQswCQYDVQQGEwJVUzBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABENFG8xzydWRfK92bmGv"
    "P+mAh91PEyV7Jh6FGJd5ndE9aBH7R3E4A7ubrlh/zN3C4xvpoouGlirMba+W2ljuypajgbUwgbIwHwYDVR0jBBgwFoAUImUM1lqdNInzg7SVUr9Q"
    "GzknBqwwUgYDVR0fBEswSTBHoEWgQ4ZBaHR0cHM6Ly9jZXJ0aWZpY2F0ZXMudHJ1c3RlZHNlcnZpY2VzLmludGVsLmNvbS9JbnRlbFNHWFJvb3RD"
    "QS5kZXIwHQYDVR0OBBYEFH44gtX7VSlKQEmORYQD6RSRvfRVMA4GA1UdDwEB/wQEAwIGwDAMBgNVHRMBAf8EAjAAMAoGCCqGSM49BAMCA0cAMEQC"
    "IB9C8wOAN/ImxDtGACV246KcqjagZOR0kyctyBrsGGJVAiAjftbrNGsGU8YH211dRiYNoPPu19Zp/ze8JmhujB0oBw=="
)


def check(
    body: bytes, now: float, table: TdxTable = TABLE, roots: Any = ROOTS, steps: Steps | None = None
) -> TrustedReport:
    """Verify a body."""
    return verify(body, table, now, steps or Steps(TITLES), roots=roots)


def vector(name: str) -> bytes:
    """Return a file of SECLUDE_VECTORS."""
    root = os.environ.get("SECLUDE_VECTORS")
    if root is None:
        pytest.skip("SECLUDE_VECTORS is not set")
    return (Path(root) / "tdx" / name).read_bytes()


def phala() -> TdxEvidence:
    """The one pair of a quote and all its collateral."""
    text = vector("phala-tdx_quote_collateral.json").decode()
    return TdxEvidence(vector("phala-tdx_quote"), collateral_from_json(text))


def pcs_answer(name: str, key: str) -> tuple[bytes, bytes]:
    """Return a document and its signature out of an answer of Intel's service, as they stand there."""
    document, _, rest = vector(name).partition(b',"signature":"')
    return document.removeprefix(b'{"' + key.encode() + b'":'), bytes.fromhex(rest[:128].decode())


def google() -> Collateral:
    """Google's collateral of June 2023, with the chains that Intel sends beside it."""
    _, platform_ca, root = parse_quote(vector("trustee-tdx_quote_4.dat")).certificates
    return Collateral(
        root_crl=vector("google-rootcrl.der"),
        pck_crl=vector("google-pckcrl"),
        pck_crl_chain=(platform_ca, root),
        tcb_info=Signed(*pcs_answer("google-sample_tcbInfo_response", "tcbInfo"), (TCB_SIGNING_2018, root)),
        qe_identity=Signed(
            *pcs_answer("google-sample_qeIdentity_response", "enclaveIdentity"), (TCB_SIGNING_2018, root)
        ),
    )


def assert_refused(
    body: bytes, step: int, words: str, now: float, table: TdxTable = TABLE, roots: Any = ROOTS, kind: Any = None
) -> None:
    """Check that a body fails at one step, with these words, after all steps before it passed."""
    steps = Steps(TITLES)
    with pytest.raises(kind or (EvidenceError, PolicyError), match=words) as caught:
        check(body, now, table, roots, steps)
    assert (caught.value.step, [each.number for each in steps.passed]) == (step, list(range(1, step))), caught.value


class TestGenuine:
    """Intel's own."""

    @pytest.mark.parametrize("now", [JUNE_2025, JULY_2025])
    def test_a_quote_with_its_collateral_verifies(self, now: int) -> None:
        steps = Steps(TITLES)
        report = check(serialize_body(phala()), now, steps=steps)
        assert [step.number for step in steps.passed] == list(TITLES)
        assert report.firmware == "TCB UpToDate of 2024-03-13, evaluation 17"
        assert report.platform_id.hex() == "811dca2a26b952e85bb6448b097ba4fd"
        assert report.bound == parse_quote(phala().quote).report.report_data
        assert report.bound.hex().startswith("9a9d48e7f6799642")
        assert report.expires_at == 1_752_919_235  # 2025-07-19 10:00:35, nextUpdate of the PCK revocation list
        assert (report.issued_at, report.measures_manifest) == (None, False)
        assert f"measurement {report.measurement.hex()}; MRTD 91eb2b44" in steps.passed[5].found

    @pytest.mark.parametrize(
        ("now", "step", "words"),
        [
            (1_738_800_000, 3, "certificate 0 of the PCK chain is valid from 2025-02-06"),
            (1_750_300_000, 7, "the PCK revocation list is valid from 2025-06-19 10:00"),
            (1_750_327_500, 8, "the TCB information is valid from 2025-06-19 10:16:03"),
            (1_750_328_500, 9, "the QE identity is valid from 2025-06-19 10:32:27"),
            (EXPIRED, 7, "the PCK revocation list is valid from 2025-06-19 10:00 to 2025-07-19 10:00"),
        ],
    )
    def test_it_does_not_at_another_time(self, now: int, step: int, words: str) -> None:
        assert_refused(serialize_body(phala()), step, words, now)

    def test_a_quote_in_debug_mode_passes_every_step_but_that(self) -> None:
        body = serialize_body(TdxEvidence(vector("trustee-tdx_quote_4.dat"), google()))
        assert_refused(body, 13, "runs in debug mode", JUNE_2023, kind=PolicyError)
        assert_refused(body, 13, "runs in debug mode", JUNE_2023, TdxTable(**ANY_BIT))

    def test_octets_after_a_quote_are_refused(self) -> None:
        body = serialize_body(TdxEvidence(vector("google-quote-v4-SPR.dat"), google()))
        assert_refused(body, 2, "octets that are not zero follow the quote", JUNE_2023, kind=EvidenceError)

    def test_a_platform_below_all_levels_is_refused(self) -> None:
        quote = vector("google-quote-v4-SPR.dat").removesuffix(EXTRA)
        body = serialize_body(TdxEvidence(quote, google()))
        assert_refused(body, 12, "Intel knows no level that the platform reaches", JUNE_2023, kind=PolicyError)

    def test_a_quote_of_version_5_is_genuine_and_has_no_collateral(self) -> None:
        quote = vector("trustee-tdx_quote_5.dat")
        body = serialize_body(TdxEvidence(quote, Collateral()))
        assert_refused(body, 7, "the collateral has no revocation list of the root", FEBRUARY_2026)
        assert list(registers(parse_quote(quote)))[-1] == "MRSERVICETD"
        body = serialize_body(TdxEvidence(quote, phala().collateral))
        assert_refused(body, 8, "for FMSPC b0c06f000000, not 90c06f000000", JUNE_2025, kind=EvidenceError)

    def test_the_newest_tcb_information_is_genuine(self) -> None:
        signed = Signed(*pcs_answer("google-sample_tcbinfo_response_v5", "tcbInfo"), phala().collateral.tcb_info.chain)
        nothing = Revocations(frozenset(), 0)
        info, _ = verify_tcb_info(signed, nothing, ROOTS, FEBRUARY_2026)
        assert (info.fmspc, info.tcb_evaluation_data_number) == ("90c06f000000", 18)
        platform = parse_platform(load_certificate(parse_quote(vector("trustee-tdx_quote_5.dat")).certificates[0], ""))
        assert platform.fmspc.hex() == info.fmspc
        with pytest.raises(EvidenceError, match="valid from 2026-02-01 14:49:26 UTC to 2026-03-03 14:49:26"):
            verify_tcb_info(signed, nothing, ROOTS, FEBRUARY_2026 + 86_400 * 30)

    def test_the_pinned_root_is_intels(self) -> None:
        (root,) = parse_pem_chain(vector("intel-sgx-root.pem"), "root")
        assert list(ROOTS) == [load_certificate(root, "root").fingerprint(hashes.SHA256())]

    @pytest.mark.parametrize("number", range(4))
    def test_every_flipped_octet_of_a_quote_is_refused(self, number: int) -> None:
        name = ("phala-tdx_quote", "trustee-tdx_quote_4.dat", "trustee-tdx_quote_5.dat", "google-quote-v4-SPR.dat")[
            number
        ]
        quote = vector(name).removesuffix(EXTRA)
        collateral, now = (phala().collateral, JUNE_2025) if number == 0 else (Collateral(), FEBRUARY_2026)
        assert_flips_refused(quote, lambda each: serialize_body(TdxEvidence(each, collateral)), now, by_step=6)

    def test_every_flipped_octet_of_collateral_is_refused(self) -> None:
        evidence = phala()
        body = serialize_body(evidence)
        start = len(body) - len(serialize_collateral(evidence.collateral))
        for offset in sampled(body, start, evidence):
            with pytest.raises(VerificationError) as caught:
                check(flipped(body, offset), JUNE_2025)
            assert caught.value.step in (1, 7, 8, 9), offset

    def test_every_truncation_is_refused(self) -> None:
        body = serialize_body(phala())
        for cut in range(0, len(body), 7):
            with pytest.raises(EvidenceError) as caught:
                check(body[:cut], JUNE_2025)
            assert caught.value.step == 1
        evidence = phala()
        quote = evidence.quote.rstrip(b"\0")
        for cut in range(len(quote)):
            with pytest.raises(EvidenceError) as caught:
                check(serialize_body(replace(evidence, quote=quote[:cut])), JUNE_2025)
            assert caught.value.step == 2


def flipped(data: bytes, offset: int) -> bytes:
    """Return the data with one octet changed; which bit depends on the octet's place, so that all are met."""
    return data[:offset] + bytes([data[offset] ^ 1 << offset % 8]) + data[offset + 1 :]


def assert_flips_refused(quote: bytes, wrap: Any, now: int, by_step: int) -> None:
    """Check that each changed octet makes one of the first steps fail, which need no collateral."""
    for offset in range(len(quote)):
        with pytest.raises(VerificationError) as caught:
            check(wrap(flipped(quote, offset)), now)
        assert caught.value.step <= by_step, offset


def sampled(body: bytes, start: int, evidence: TdxEvidence) -> Iterable[int]:
    """Return offsets of collateral: all, but for one in seven within its long list, its JSON and its last chains."""
    collateral = evidence.collateral
    documents = (collateral.tcb_info, collateral.qe_identity)
    chosen = set(range(start - 4, len(body)))
    for part in (collateral.pck_crl, *(each.document for each in documents), *documents[0].chain):
        for found in re.finditer(re.escape(part), body):
            chosen -= set(range(found.start() + 80, found.end() - 80))
    return sorted(chosen | set(range(start, len(body), 7)))


@pytest.fixture(scope="module")
def intel() -> Intel:
    """One Intel for all tests that need no other."""
    return Intel()


def accepted(intel: Intel, body: bytes, now: float = NOW, **table: Any) -> TrustedReport:
    """Verify what this Intel signed."""
    return check(body, now, TdxTable(**table), intel.roots)


def refused(intel: Intel, body: bytes, step: int, words: str, now: float = NOW, **table: Any) -> None:
    """Check that what this Intel signed fails at one step."""
    assert_refused(body, step, words, now, TdxTable(**table), intel.roots)


class TestMade:
    """What an Intel of tests signed."""

    @pytest.mark.parametrize(("version", "body_type"), [(4, 2), (5, 2), (5, 3)])
    @pytest.mark.parametrize("ca", [PLATFORM, PROCESSOR])
    def test_good_evidence_verifies(self, version: int, body_type: int, ca: str) -> None:
        intel = Intel(ca)
        report = accepted(intel, intel.body(intel.quote(version, body_type)))
        assert (report.bound, report.platform_id) == (bytes(range(64)), tdx_signer.PPID)
        assert report.firmware == "TCB UpToDate of 2025-05-14, evaluation 17"
        assert report.expires_at == END
        with pytest.raises(EvidenceError, match="does not end at a pinned root"):
            check(intel.body(), NOW)

    def test_the_measurement_covers_every_register(self, intel: Intel) -> None:
        plain = {measure(parse_quote(intel.quote(*form))) for form in ((4, 2), (5, 2), (5, 3))}
        assert len(plain) == 1, "one trust domain has one measurement in all forms of quotes"
        names = ("mrtd", "mrconfigid", "mrowner", "mrownerconfig", "mrservicetd")
        changed = {measure(parse_quote(intel.quote(5, 3, report={name: bytes([77]) * 48}))) for name in names}
        for number in range(4):
            rtmrs = b"".join(bytes([77 if each == number else each + 6]) * 48 for each in range(4))
            changed.add(measure(parse_quote(intel.quote(report={"rtmrs": rtmrs}))))
        assert len(changed | plain) == 10
        assert list(registers(parse_quote(intel.quote()))) == [
            *("MRTD", "RTMR0", "RTMR1", "RTMR2", "RTMR3", "MRCONFIGID", "MROWNER", "MROWNERCONFIG")
        ]

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"header": {"version": b"\3\0"}}, "of version 3, not 4 or 5"),
            ({"header": {"key_type": b"\3\0"}}, "of type 3, not ECDSA over P-256"),
            ({"header": {"tee": bytes(4)}}, "of TEE type 0x0, not of TDX"),
            ({"header": {"vendor": bytes(16)}}, "of another vendor than Intel"),
            ({"version": 5, "descriptor": bytes((1, 0)) + (584).to_bytes(4, "little")}, "of type 1 with 584 octets"),
            ({"version": 5, "descriptor": bytes((2, 0)) + (648).to_bytes(4, "little")}, "of type 2 with 648 octets"),
            ({"certification": (5, 5)}, "of the attestation key is of type 5, not 6"),
            ({"certification": (6, 1)}, "of the QE report is of type 1, not 5"),
            ({"pem_tail": b"\n"}, "not in the one form of PEM"),
            ({"pem_tail": b"\0\0"}, "not in the one form of PEM"),
            ({"padding": bytes(63) + b"\1"}, "octets that are not zero follow"),
        ],
    )
    def test_a_quote_of_another_form_fails_step_2(self, intel: Intel, changes: dict[str, Any], words: str) -> None:
        refused(intel, intel.body(intel.quote(**changes)), 2, words)

    def test_what_is_documented_as_not_signed_may_vary(self, intel: Intel) -> None:
        accepted(intel, intel.body(intel.quote(padding=bytes(100))))
        quote = intel.quote(pem_tail=b"")
        cut = quote[: len(quote) - 1]  # the last line break, and the three lengths around it
        for offset, width in ((632, 4), (632 + 4 + 130, 4), (632 + 4 + 134 + 384 + 64 + 2 + 32 + 2, 4)):
            length = int.from_bytes(cut[offset : offset + width], "little") - 1
            cut = cut[:offset] + length.to_bytes(width, "little") + cut[offset + width :]
        accepted(intel, intel.body(cut))

    def test_pck_chains_of_other_forms_fail_step_3(self, intel: Intel) -> None:
        pck = intel.pck.public_bytes(Encoding.DER)
        other = Intel()
        extension = tdx_signer.sgx_extension()
        wrong_name = intel.issue("PCK", intel.pck_key, PLATFORM, extension=extension)
        sha384 = intel.issue("PCK Certificate", intel.pck_key, PLATFORM, extension=extension, digest=hashes.SHA384())
        p384 = intel.issue("PCK Certificate", ec.generate_private_key(ec.SECP384R1()), PLATFORM, extension=extension)
        expired = intel.issue("PCK Certificate", intel.pck_key, PLATFORM, extension=extension, end=NOW)
        bare = intel.issue("PCK Certificate", intel.pck_key, PLATFORM)
        cas = intel.chain(PLATFORM, ROOT)
        for chain, words in (
            ((pck, *other.chain(PLATFORM, ROOT)), "does not end at a pinned root"),
            ((pck, *other.chain(PLATFORM), *intel.chain(ROOT)), "certificate 0 of the PCK chain is not signed"),
            ((pck, *intel.chain(PROCESSOR, ROOT)), "certificate 0 of the PCK chain is not signed"),
            (intel.chain(TCB, ROOT), "has 2 certificates, not 3"),
            ((der_of(wrong_name), *cas), "is not that of Intel SGX PCK Certificate"),
            ((der_of(sha384), *cas), "not signed with ECDSA and SHA-256"),
            ((der_of(p384), *cas), "is not of P-256"),
            ((der_of(expired), *cas), "certificate 0 of the PCK chain is valid from"),
            ((der_of(bare), *cas), "has no extension for SGX"),
        ):
            refused(intel, intel.body(intel.quote(pck_chain=chain)), 3, words)

    def test_a_ca_of_another_name_issues_no_pck(self, intel: Intel) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        intel.keys["Other CA"] = key
        other = intel.issue("Other CA", key, ROOT, ca=True)
        pck = intel.issue("PCK Certificate", intel.pck_key, "Other CA", extension=tdx_signer.sgx_extension())
        quote = intel.quote(pck_chain=(der_of(pck), der_of(other), *intel.chain(ROOT)))
        refused(intel, intel.body(quote), 3, "is not that of Intel SGX PCK Platform CA or Intel SGX PCK Processor CA")

    def test_signatures_by_other_keys_fail_at_their_steps(self, intel: Intel) -> None:
        other = ec.generate_private_key(ec.SECP256R1())
        refused(intel, intel.body(intel.quote(qe_signer=other)), 4, "report is not signed by the PCK key")
        bad = intel.quote(qe={"report_data": bytes(64)})
        refused(intel, intel.body(bad), 5, "does not bind the attestation key")
        bound = parse_quote(intel.quote()).qe_report.report_data
        bad = intel.quote(qe={"report_data": bound[:32] + bytes(31) + b"\1"})
        refused(intel, intel.body(bad), 5, "does not bind the attestation key")
        refused(intel, intel.body(intel.quote(signer=other)), 6, "not signed by the attestation key")

    def test_an_attestation_key_off_the_curve_fails_step_6(self, monkeypatch: pytest.MonkeyPatch) -> None:
        intel = Intel()
        monkeypatch.setattr(tdx_signer, "point", lambda key: bytes(63) + b"\1")
        refused(intel, intel.body(intel.quote()), 6, "not a point of P-256")

    @pytest.mark.parametrize(
        ("part", "step", "words"),
        [
            ("root_crl", 7, "no revocation list of the root"),
            ("pck_crl", 7, "no PCK revocation list"),
            ("pck_crl_chain", 7, "no issuer chain of the PCK revocation list"),
            ("tcb_info.document", 8, "no TCB information"),
            ("tcb_info.signature", 8, "no signature of the TCB information"),
            ("tcb_info.chain", 8, "no issuer chain of the TCB information"),
            ("qe_identity.document", 9, "no QE identity"),
            ("qe_identity.signature", 9, "no signature of the QE identity"),
            ("qe_identity.chain", 9, "no issuer chain of the QE identity"),
        ],
    )
    def test_a_missing_part_fails_at_its_step(self, intel: Intel, part: str, step: int, words: str) -> None:
        collateral = intel.collateral()
        outer, _, inner = part.partition(".")
        empty: Any = () if part.endswith("chain") else b""
        if inner:
            empty = replace(getattr(collateral, outer), **{inner: empty})
        body = intel.body(collateral=replace(collateral, **{outer: empty}))
        assert parse_body(body).collateral == replace(collateral, **{outer: empty})
        refused(intel, body, step, f"the collateral has {words}")

    def test_revocation_lists_that_do_not_fit_fail_step_7(self, intel: Intel) -> None:
        for others, words in (
            ({"pck_crl": intel.crl(PLATFORM, [intel.pck])}, "the PCK certificate is revoked"),
            ({"root_crl": intel.crl(ROOT, [intel.certificates[PLATFORM]])}, "PCK Platform CA is revoked"),
            ({"pck_crl_chain": intel.chain(PROCESSOR, ROOT)}, "comes from another CA than Intel SGX PCK Platform CA"),
            ({"pck_crl": intel.crl(PROCESSOR)}, "PCK revocation list is not signed by its issuer"),
            ({"root_crl": intel.crl(PLATFORM)}, "root revocation list is not signed by its issuer"),
            ({"pck_crl": intel.crl(ROOT)}, "PCK revocation list is not signed by its issuer"),
            ({"pck_crl_chain": Intel().chain(PLATFORM, ROOT)}, "does not end at a pinned root"),
            ({"pck_crl_chain": intel.chain(PLATFORM)}, "has 2 certificates, not 3"),
            ({"root_crl": intel.crl(ROOT, end=NOW)}, "root revocation list is valid"),
            ({"pck_crl": intel.crl(PLATFORM, start=NOW + 1)}, "PCK revocation list is valid"),
            ({"pck_crl": b"0"}, "not a well-formed one"),
        ):
            refused(intel, intel.body(collateral=intel.collateral(**others)), 7, words)
        harmless = {"root_crl": intel.crl(ROOT, [intel.pck]), "pck_crl": intel.crl(PLATFORM, [intel.certificates[TCB]])}
        accepted(intel, intel.body(collateral=intel.collateral(**harmless)))

    def test_a_revoked_signer_of_documents_fails_step_8(self, intel: Intel) -> None:
        collateral = intel.collateral(root_crl=intel.crl(ROOT, [intel.certificates[TCB]]))
        refused(intel, intel.body(collateral=collateral), 8, "certificate that signed the TCB information is revoked")

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"id": "SGX"}, "not that of TDX in version 3"),
            ({"version": 2}, "not that of TDX in version 3"),
            ({"tcbType": 1}, "TCBs of type 0"),
            ({"fmspc": "50806F000000"}, "for FMSPC 50806f000000, not b0c06f000000"),
            ({"pceId": "0001"}, "for PCEID 0001, not 0000"),
            ({"tcbLevels": [level("UpToDate", [0] * 15, 0, [0] * 16)]}, "not JSON of the form"),
            ({"tcbLevels": [level("Up To Date", [0] * 16, 0, [0] * 16)]}, "not JSON of the form"),
            ({"tcbEvaluationDataNumber": "17"}, "not JSON of the form"),
            ({"issueDate": "2025-06-15"}, "not JSON of the form"),
            ({"fmspc": "b0c06f00000g"}, "not JSON of the form"),
        ],
    )
    def test_tcb_information_that_does_not_fit_fails_step_8(
        self, intel: Intel, changes: dict[str, Any], words: str
    ) -> None:
        collateral = intel.collateral(tcb_info=intel.sign(tcb_info(**changes)))
        refused(intel, intel.body(collateral=collateral), 8, words)

    @pytest.mark.parametrize("octets", [b"{", b"[" * 30_000, b'{"x":' * 6000, b"\xff", b'{"id":"\xff"}', b"null"])
    def test_hostile_json_raises_no_other_error(self, intel: Intel, octets: bytes) -> None:
        collateral = intel.collateral(tcb_info=intel.sign(octets))
        refused(intel, intel.body(collateral=collateral), 8, "not JSON of the form that Intel specifies")
        with pytest.raises(DecodeError, match="not JSON of the form that is read here"):
            collateral_from_json(octets.decode("utf-8", "surrogateescape"))

    @pytest.mark.parametrize(("part", "name", "step"), [("tcb_info", "TCB information", 8), ("qe_identity", "QE", 9)])
    def test_documents_count_as_signed_and_by_whom_they_should(
        self, intel: Intel, part: str, name: str, step: int
    ) -> None:
        good: Signed = getattr(intel.collateral(), part)
        respaced = json.dumps(json.loads(good.document)).encode()
        assert json.loads(respaced) == json.loads(good.document)
        assert respaced != good.document
        by_pck = replace(intel.sign(good.document, PLATFORM), chain=intel.chain(PLATFORM, ROOT))
        for signed, words in (
            (replace(good, document=respaced), "is not signed by Intel"),
            (intel.sign(good.document, PLATFORM), "is not signed by Intel"),
            (by_pck, "that of a CA"),
            (replace(good, chain=(der_of(intel.pck), *intel.chain(ROOT))), "is not signed by the next"),
            (replace(good, chain=(der_of(intel.pck), *intel.chain(PLATFORM, ROOT))), "has 3 certificates, not 2"),
            (Intel().sign(good.document), "does not end at a pinned root"),
        ):
            refused(intel, intel.body(collateral=intel.collateral(**{part: signed})), step, words)

    def test_documents_are_under_the_root_of_the_pck(self, intel: Intel) -> None:
        other = Intel()
        both = intel.roots | other.roots
        collateral = intel.collateral(tcb_info=other.sign(tcb_info()))
        assert_refused(intel.body(collateral=collateral), 8, "does not end at a pinned root", NOW, TABLE, both)

    def test_documents_count_from_issue_date_until_before_next_update(self, intel: Intel) -> None:
        later = {"root_crl": intel.crl(ROOT, end=END + 9), "pck_crl": intel.crl(PLATFORM, end=END + 9)}
        body = intel.body(collateral=intel.collateral(**later))
        assert accepted(intel, body, START).expires_at == END
        accepted(intel, body, END - 0.001)
        refused(intel, body, 8, "the TCB information is valid from", END)
        dates = {"issueDate": tdx_signer.stamp(START + 1), "nextUpdate": tdx_signer.stamp(END + 1)}
        tcb = {"tcb_info": intel.sign(tcb_info(**dates))}
        body = intel.body(collateral=intel.collateral(**later | tcb))
        refused(intel, body, 9, "the QE identity is valid from", END)
        refused(intel, body, 8, "the TCB information is valid from", START)
        body = intel.body()
        accepted(intel, body, END - 0.001)
        refused(intel, body, 7, "root revocation list is valid from", END)
        refused(intel, body, 3, "certificate 0 of the PCK chain is valid from", START - 0.001)

    @pytest.mark.parametrize(("part", "step"), [("tcb_info", 8), ("qe_identity", 9)])
    def test_evaluations_below_the_floor_are_refused(self, intel: Intel, part: str, step: int) -> None:
        document = getattr(tdx_signer, part)
        old = intel.sign(document(tcbEvaluationDataNumber=16))
        body = intel.body(collateral=intel.collateral(**{part: old}))
        refused(intel, body, step, "is of evaluation 16, and the policy wants at least 17", minimum_tcb_evaluation=17)
        accepted(intel, body, minimum_tcb_evaluation=16)

    @pytest.mark.parametrize(("changes", "words"), [({"id": "QE"}, "version 2"), ({"version": 3}, "version 2")])
    def test_identities_of_other_enclaves_fail_step_9(self, intel: Intel, changes: dict[str, Any], words: str) -> None:
        collateral = intel.collateral(qe_identity=intel.sign(qe_identity(**changes)))
        refused(intel, intel.body(collateral=collateral), 9, words)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"mrsigner": bytes(32)}, "not signed by whom the QE identity names"),
            ({"isv_prod_id": 1}, "is product 1, not 2"),
            ({"miscselect": b"\1\0\0\0"}, "MISCSELECT is not that"),
            ({"attributes": bytes.fromhex("1700000000000000e700000000000000")}, "attributes are not those"),
            ({"isv_svn": 3}, "level of the quoting enclave is OutOfDate, and the policy accepts only UpToDate"),
            ({"isv_svn": 1}, "Intel revoked the level of the quoting enclave"),
        ],
    )
    def test_other_quoting_enclaves_fail_step_10(self, intel: Intel, changes: dict[str, Any], words: str) -> None:
        refused(intel, intel.body(intel.quote(qe=changes)), 10, words)

    def test_a_quoting_enclave_below_all_levels_fails_step_10(self, intel: Intel) -> None:
        high = intel.sign(qe_identity(tcbLevels=[software_level("UpToDate", 7)]))
        body = intel.body(collateral=intel.collateral(qe_identity=high))
        refused(intel, body, 10, "no level that the quoting enclave reaches")

    @pytest.mark.parametrize(
        ("report", "words"),
        [
            ({"mrsignerseam": bytes(47) + b"\1"}, "module is not signed by whom the TCB information names"),
            ({"seam_attributes": bytes(7) + b"\1"}, "runs with attributes"),
            ({"tee_tcb_svn": bytes((6, 2, 3)) + bytes(13)}, "knows no TDX module TDX_02"),
            ({"tee_tcb_svn": bytes((3, 1, 3)) + bytes(13)}, "level of the TDX module is OutOfDate"),
            ({"tee_tcb_svn": bytes((1, 1, 3)) + bytes(13)}, "no level that the TDX module reaches"),
        ],
    )
    def test_other_modules_fail_step_11(self, intel: Intel, report: dict[str, Any], words: str) -> None:
        refused(intel, intel.body(intel.quote(report=report)), 11, words)

    def test_module_identities_are_held_against_the_quote(self, intel: Intel) -> None:
        def with_module(**others: Any) -> bytes:
            levels = [software_level("UpToDate", 6)]
            info = tcb_info(tdxModuleIdentities=[module(**{"id": "TDX_01", "tcbLevels": levels} | others)])
            return intel.body(collateral=intel.collateral(tcb_info=intel.sign(info)))

        accepted(intel, with_module())
        accepted(intel, with_module(attributes="01" + "00" * 7, attributesMask="FE" + "FF" * 7))
        refused(intel, with_module(mrsigner="11" * 48), 11, "not signed by whom the TCB information names")
        refused(intel, with_module(attributes="01" + "00" * 7), 11, "attributes are not those")
        refused(intel, with_module(tcbLevels=[software_level("UpToDate", 7)]), 11, "no level that the TDX module")
        refused(intel, with_module(tcbLevels=[software_level("Revoked", 0)]), 11, "Intel revoked the level of the TDX")

    def test_a_module_of_version_0_is_judged_by_the_platforms_levels(self, intel: Intel) -> None:
        accepted(intel, intel.body(intel.quote(report={"tee_tcb_svn": bytes((5, 0, 2)) + bytes(13)})))
        low = {"tee_tcb_svn": bytes((4, 0, 2)) + bytes(13)}
        refused(intel, intel.body(intel.quote(report=low)), 12, "Intel revoked the level of the platform")
        of_version_1 = level("UpToDate", [0] * 16, 0, [0, 1] + [0] * 14)
        info = intel.sign(tcb_info(tcbLevels=[of_version_1]))
        body = intel.body(intel.quote(report={"tee_tcb_svn": bytes(16)}), intel.collateral(tcb_info=info))
        refused(intel, body, 12, "no level that the platform reaches")
        other = intel.sign(tcb_info(tdxModule=module(mrsigner="11" * 48)))
        body = intel.body(intel.quote(report={"tee_tcb_svn": bytes(16)}), intel.collateral(tcb_info=other))
        refused(intel, body, 11, "not signed by whom")

    def test_both_levels_of_td_1_5_are_judged(self, intel: Intel) -> None:
        good, old = tdx_signer.TEE_TCB_SVN, bytes((3, 1, 3)) + bytes(13)
        low = bytes((6, 1, 1)) + bytes(13)
        for first, second, step, words in (
            (old, good, 11, "TDX module is OutOfDate"),
            (good, old, 11, "TDX module is OutOfDate"),
            (low, good, 12, "revoked the level of the platform"),
            (good, low, 12, "revoked the level of the platform"),
        ):
            quote = intel.quote(5, 3, report={"tee_tcb_svn": first, "tee_tcb_svn2": second})
            refused(intel, intel.body(quote), step, words)
        higher = {"tee_tcb_svn2": bytes((7, 1, 4)) + bytes(13)}
        accepted(intel, intel.body(intel.quote(5, 3, report=higher)))

    def test_the_level_that_is_reported_is_that_of_the_launch(self, intel: Intel) -> None:
        low = [0] * 16
        levels = [level("UpToDate", low, 0, [0, 0, 4, *low[3:]]), level("SWHardeningNeeded", low, 0, low)]
        collateral = intel.collateral(tcb_info=intel.sign(tcb_info(tcbLevels=levels)))
        quote = intel.quote(5, 3, report={"tee_tcb_svn2": bytes((6, 1, 4)) + bytes(13)})
        report = accepted(intel, intel.body(quote, collateral), statuses=("UpToDate", "SWHardeningNeeded"))
        assert report.firmware == "TCB SWHardeningNeeded of 2025-05-14, evaluation 17"

    @pytest.mark.parametrize("number", range(16))
    def test_every_component_of_sgx_counts(self, number: int) -> None:
        svns = [9] * 16
        svns[number] = 8
        intel = Intel(pck={"svns": svns})
        assert_level_needs(intel, level("UpToDate", [9] * 16, 0, [0] * 16), level("UpToDate", svns, 0, [0] * 16))

    def test_the_pcesvn_counts(self) -> None:
        intel = Intel(pck={"pce_svn": 300})
        ours, above = (level("UpToDate", [0] * 16, svn, [0] * 16) for svn in (300, 301))
        assert_level_needs(intel, above, ours)

    def test_every_component_of_tdx_counts_but_the_modules_own_two(self, intel: Intel) -> None:
        svns = bytes((6, 1)) + bytes([9]) * 14
        quote = intel.quote(report={"tee_tcb_svn": svns})
        for number in range(16):
            needed = list(svns)
            needed[number] += 1
            info = intel.sign(tcb_info(tcbLevels=[level("UpToDate", [0] * 16, 0, needed)]))
            body = intel.body(quote, intel.collateral(tcb_info=info))
            if number < 2:
                accepted(intel, body)
            else:
                refused(intel, body, 12, "no level that the platform reaches")

    def test_only_listed_statuses_are_accepted(self, intel: Intel) -> None:
        hardening = "SWHardeningNeeded"
        low = [0] * 16
        platform = {"tcb_info": intel.sign(tcb_info(tcbLevels=[level(hardening, low, 0, low)]))}
        modules = [module(id="TDX_01", tcbLevels=[software_level(hardening, 0)])]
        of_module = {"tcb_info": intel.sign(tcb_info(tdxModuleIdentities=modules))}
        enclave = {"qe_identity": intel.sign(qe_identity(tcbLevels=[software_level(hardening, 0)]))}
        for others, step in ((platform, 12), (of_module, 11), (enclave, 10)):
            body = intel.body(collateral=intel.collateral(**others))
            refused(intel, body, step, "is SWHardeningNeeded, and the policy accepts only UpToDate")
            both = accepted(intel, body, statuses=("UpToDate", hardening))
            assert both.firmware.startswith(f"TCB {hardening if others is platform else 'UpToDate'} of 2025-05-14")
        body = intel.body(collateral=intel.collateral(**platform))
        refused(intel, body, 10, "is UpToDate, and the policy accepts only SWHardening", statuses=(hardening,))

    @pytest.mark.parametrize("status", ["OutOfDate", "OutOfDateConfigurationNeeded", "Revoked", "Splendid"])
    def test_no_policy_accepts_other_statuses(self, intel: Intel, status: str) -> None:
        every = ("UpToDate", "SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded")
        info = intel.sign(tcb_info(tcbLevels=[level(status, [0] * 16, 0, [0] * 16)]))
        words = "Intel revoked the level" if status == "Revoked" else f"is {status}, and the policy accepts only"
        refused(intel, intel.body(collateral=intel.collateral(tcb_info=info)), 12, words, statuses=every)

    def test_a_level_is_the_first_that_is_reached(self, intel: Intel) -> None:
        low = [0] * 16
        levels = [level("UpToDate", [99] * 16, 0, low), level("OutOfDate", low, 0, low), level("UpToDate", low, 0, low)]
        body = intel.body(collateral=intel.collateral(tcb_info=intel.sign(tcb_info(tcbLevels=levels))))
        refused(intel, body, 12, "the level of the platform is OutOfDate")

    @pytest.mark.parametrize("bit", range(64))
    def test_attributes_that_no_policy_judges_are_refused(self, intel: Intel, bit: int) -> None:
        words = {0: "runs in debug mode", 29: "can be migrated"} | dict.fromkeys(
            range(1, 8), "lets its host profile it"
        )
        body = intel.body(intel.quote(report={"td_attributes": 1 << bit}))
        if bit in (28, 30, 31, 63):
            accepted(intel, body, **ANY_BIT)
        else:
            refused(intel, body, 13, words.get(bit, f"reserved or unknown: {1 << bit:#x}"), **ANY_BIT)

    @pytest.mark.parametrize(
        ("key", "name", "bit"),
        [
            ("sept_ve_disable", "SEPT_VE_DISABLE", 28),
            ("pks", "PKS", 30),
            ("key_locker", "KL", 31),
            ("perfmon", "PERFMON", 63),
        ],
    )
    def test_what_a_policy_wants_of_a_bit_is_done(self, intel: Intel, key: str, name: str, bit: int) -> None:
        set_, clear = (intel.body(intel.quote(report={"td_attributes": value})) for value in (1 << bit, 0))
        accepted(intel, set_, **ANY_BIT | {key: Bit.REQUIRE})
        refused(intel, clear, 13, f"{name} is not set, and the policy requires it", **ANY_BIT | {key: Bit.REQUIRE})
        accepted(intel, clear, **ANY_BIT | {key: Bit.FORBID})
        refused(intel, set_, 13, f"{name} is set, and the policy forbids it", **ANY_BIT | {key: Bit.FORBID})

    def test_the_defaults_want_sept_ve_disable_and_nothing_else(self, intel: Intel) -> None:
        refused(intel, intel.body(intel.quote(report={"td_attributes": 0})), 13, "SEPT_VE_DISABLE is not set")
        for bit in (30, 31, 63):
            refused(intel, intel.body(intel.quote(report={"td_attributes": 1 << bit | 1 << 28})), 13, "forbids it")

    @pytest.mark.parametrize("xfam", [0, 1, 2, 0x602E4])
    def test_xfam_has_its_mandatory_bits(self, intel: Intel, xfam: int) -> None:
        refused(intel, intel.body(intel.quote(report={"xfam": xfam})), 13, "lacks a bit that is always set")

    def test_xfam_has_known_bits_only(self, intel: Intel) -> None:
        known = {0, 1, 2, 5, 6, 7, 8, 9, 11, 12, 14, 15, 17, 18}
        for bit in range(64):
            body = intel.body(intel.quote(report={"xfam": 3 | 1 << bit}))
            if bit in known:
                accepted(intel, body)
            else:
                refused(intel, body, 13, f"XFAM has bits that are reserved or unknown: {1 << bit:#x}")

    def test_only_listed_chips_are_accepted(self, intel: Intel) -> None:
        accepted(intel, intel.body(), chips=("00" * 16, tdx_signer.PPID.hex()))
        refused(intel, intel.body(), 14, "the chip is not among those accepted", chips=("00" * 16,))

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"ppid": bytes(15)}, "PPID has 15 octets, not 16"),
            ({"fmspc": bytes(7)}, "FMSPC has 7 octets, not 6"),
            ({"pce_id": b""}, "PCEID has 0 octets, not 2"),
            ({"pce_svn": 1 << 16}, "PCESVN of the SGX extension is not a number of 0 to 65535"),
            ({"svns": [0] * 15}, "the SGX extension has no SVN 16"),
        ],
    )
    def test_odd_sgx_extensions_fail_step_3(self, changes: dict[str, Any], words: str) -> None:
        intel = Intel(pck=changes)
        refused(intel, intel.body(), 3, words)

    def test_certificates_that_cannot_be_read_fail_step_3(self, intel: Intel) -> None:
        cas = intel.chain(PLATFORM, ROOT)
        curve = der(0x06, bytes.fromhex("2a8648ce3d030107"))
        usage = bytes.fromhex("0603551d0f")  # keyUsage; with the next identifier, basicConstraints, it comes twice
        for old, new, words in (
            (curve, curve[:-1] + b"\x77", "the key of certificate 0 of the PCK chain cannot be read"),
            (b"Intel SGX PCK Certificate", b"\xffntel SGX PCK Certificate", "is not that of Intel SGX PCK Certificate"),
            (usage, bytes.fromhex("0603551d13"), "extensions that are not well formed"),
        ):
            changed = with_octets(intel, intel.pck, old, new)
            refused(intel, intel.body(intel.quote(pck_chain=(changed, *cas))), 3, words)
        with pytest.raises(EvidenceError, match="extensions that are not well formed"):
            parse_platform(load_certificate(changed, "PCK"))

    def test_sgx_extensions_that_are_not_in_der_fail_step_3(self, intel: Intel) -> None:
        good = tdx_signer.sgx_extension()
        ppid = tdx_signer.entry(b"\1", der(0x04, tdx_signer.PPID))
        for extension, words in (
            (good + b"\0", "1 trailing octets after SGX extension"),
            (b"\x31" + good[1:], "SGX extension has tag 0x31, not 0x30"),
            (b"\x30\x83\0" + good[2:], "a length that is not in DER"),
            (b"\x30\x80" + good[4:], "a length that is not in DER"),
            (b"\x30\x81\x26" + ppid, "a length that is not in DER"),
            (b"\x30\x82\0\x80" + ppid, "a length that is not in DER"),
            (good[:-1], "truncated in SGX extension"),
            (der(0x30, ppid, ppid), "an entry of another kind, or one twice"),
            (der(0x30, der(0x30, der(0x06, b"\x2a"), der(0x04, b""))), "an entry of another kind, or one twice"),
            (der(0x30, der(0x30, der(0x06, b"\x2a"), der(0x04, b""), b"\0")), "trailing octets after entry"),
            (der(0x30, ppid), "the SGX extension has no TCB, or one of another type"),
            (der(0x30, tdx_signer.entry(b"\2", der(0x04))), "the SGX extension has no TCB, or one of another type"),
        ):
            certificate = intel.issue("PCK Certificate", intel.pck_key, PLATFORM, extension=extension)
            quote = intel.quote(pck_chain=(der_of(certificate), *intel.chain(PLATFORM, ROOT)))
            refused(intel, intel.body(quote), 3, words)


class TestForms:
    """Bodies, collateral and PEM as octets."""

    def test_steps_have_titles_and_stages(self) -> None:
        assert list(TITLES) == list(STAGES) == list(range(1, 15))
        assert set(STAGES.values()) == {2, 3, 4, 5}

    def test_bodies_come_back(self, intel: Intel) -> None:
        for evidence in (phala(), TdxEvidence(b"", Collateral()), TdxEvidence(intel.quote(), intel.collateral())):
            assert parse_body(serialize_body(evidence)) == evidence

    def test_bodies_have_one_form(self, intel: Intel) -> None:
        body = intel.body()
        refused(intel, body + b"\0", 1, "1 trailing octets after TDX evidence")
        refused(intel, intel.body(bytes(16_385)), 1, "quote is too large: 16385 of at most 16384")
        refused(intel, intel.body(bytes(16_384)), 2, "of version 0")
        long = replace(intel.collateral(), qe_identity=Signed(bytes(32_769)))
        refused(intel, intel.body(collateral=long), 1, "qe_identity is too large")
        chain = replace(intel.collateral(), pck_crl_chain=(b"",) * 9)
        refused(intel, intel.body(collateral=chain), 1, "pck_crl_issuer_chain has 9 certificates, not up to 8")
        with pytest.raises(UsageError, match="64 octets or none"):
            serialize_collateral(Collateral(tcb_info=Signed(b"", bytes(63))))
        odd = serialize_collateral(Collateral()).replace(bytes(3), bytes((0, 0, 1, 0)), 1)
        with pytest.raises(DecodeError):
            parse_collateral(odd)
        with pytest.raises(DecodeError, match="tcb_info_signature has 1 octets, not 64 or none"):
            parse_collateral(bytes(5) + bytes((0, 0, 1, 7)) + bytes(5))

    def test_collateral_in_json_is_read(self, intel: Intel) -> None:
        ours = intel.collateral()
        assert collateral_from_json(json.dumps(in_json(ours))) == ours

    def test_other_json_is_refused(self, intel: Intel) -> None:
        good = in_json(intel.collateral())
        for name in good:
            with pytest.raises(DecodeError, match="not JSON of the form"):
                collateral_from_json(json.dumps({key: value for key, value in good.items() if key != name}))
            with pytest.raises(DecodeError, match="not JSON of the form"):
                collateral_from_json(json.dumps(good | {name: 1}))
        for name in ("root_ca_crl", "pck_crl", "tcb_info_signature", "qe_identity_signature"):
            with pytest.raises(DecodeError, match="a field that is not hexadecimal"):
                collateral_from_json(json.dumps(good | {name: "0g"}))
        for name in ("pck_crl_issuer_chain", "tcb_info_issuer_chain", "qe_identity_issuer_chain"):
            with pytest.raises(DecodeError, match="issuer chain has 0 certificates in PEM"):
                collateral_from_json(json.dumps(good | {name: "none"}))
        for name in ("tcb_info_signature", "qe_identity_signature"):
            with pytest.raises(DecodeError, match="has 2 octets, not 64"):
                collateral_from_json(json.dumps(good | {name: "0000"}))
        with pytest.raises(DecodeError, match="limit 131072"):
            collateral_from_json(" " * (MAX_JSON + 1))

    def test_pem_has_one_form(self) -> None:
        text = serialize_pem_chain([bytes(100), bytes(48)])
        assert parse_pem_chain(text, "chain") == (bytes(100), bytes(48))
        for tail in (b"\0", b""):
            assert parse_pem_chain(text.rstrip(b"\n") + tail, "chain") == (bytes(100), bytes(48))
        for other in (
            text + b"\n",
            b"\n" + text,
            text.replace(b"\n", b"\r\n"),
            text.replace(b"A\n", b"\nA", 1),
            text.replace(b"\n-----BEGIN", b"\n\n-----BEGIN"),
            text.replace(b"AA==", b"AB=="),  # bits that no octet has
            text.replace(b"AA==", b"AA"),
            text.replace(b"CERTIFICATE", b"X509 CRL"),
            text * 5,
            b"",
        ):
            with pytest.raises(DecodeError):
                parse_pem_chain(other, "chain")


def in_json(collateral: Collateral) -> dict[str, str]:
    """Return collateral in its widely used JSON form."""
    return {
        "root_ca_crl": collateral.root_crl.hex(),
        "pck_crl": collateral.pck_crl.hex(),
        "pck_crl_issuer_chain": serialize_pem_chain(collateral.pck_crl_chain).decode(),
        "tcb_info": collateral.tcb_info.document.decode(),
        "tcb_info_signature": collateral.tcb_info.signature.hex(),
        "tcb_info_issuer_chain": serialize_pem_chain(collateral.tcb_info.chain).decode(),
        "qe_identity": collateral.qe_identity.document.decode(),
        "qe_identity_signature": collateral.qe_identity.signature.hex(),
        "qe_identity_issuer_chain": serialize_pem_chain(collateral.qe_identity.chain).decode(),
    }


def with_octets(intel: Intel, certificate: x509.Certificate, old: bytes, new: bytes) -> bytes:
    """Return the DER of a certificate of the platform CA with some octets changed, signed again."""
    assert len(old) == len(new)
    assert certificate.tbs_certificate_bytes.count(old) == 1
    changed = certificate.tbs_certificate_bytes.replace(old, new)
    signature = intel.keys[PLATFORM].sign(changed, ec.ECDSA(hashes.SHA256()))
    ecdsa_with_sha256 = der(0x30, der(0x06, bytes.fromhex("2a8648ce3d040302")))
    return der(0x30, changed, ecdsa_with_sha256, der(0x03, b"\0", signature))


def assert_level_needs(intel: Intel, above: dict[str, Any], ours: dict[str, Any]) -> None:
    """Check that a platform reaches one level and not the other, which is higher in one place."""
    bodies = [
        intel.body(collateral=intel.collateral(tcb_info=intel.sign(tcb_info(tcbLevels=[each]))))
        for each in (ours, above)
    ]
    accepted(intel, bodies[0])
    refused(intel, bodies[1], 12, "no level that the platform reaches")


def der_of(certificate: Any) -> bytes:
    """Return the DER of a certificate."""
    return bytes(certificate.public_bytes(Encoding.DER))
