"""A real TPM in software, from its manufacture to evidence that verifies, and to evidence that does not."""

import base64
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from seclude.attestation import tpm as verifier
from seclude.attestation.accept import TpmTable
from seclude.attestation.certificates import verify_chain
from seclude.attestation.credential import make_credential
from seclude.attestation.eventlog import NO_ACTION, SHA256, parse_event_log, replay
from seclude.attestation.evidence import TrustedReport
from seclude.attestation.launchlog import LaunchLog, launched_manifest, parse_log, serialize_log
from seclude.attestation.steps import Steps
from seclude.attestation.tpm import TpmEvidence, serialize_body
from seclude.attestation.tpm_structures import parse_public, parse_quote
from seclude.errors import ConfigError, EvidenceError, UpstreamError, VerificationError
from tests.swtpm import SoftwareTpm, digest_of, require_swtpm

pytest.importorskip("tpm2_pytss", reason="tpm2_pytss is not installed (requirements/tpm.txt)")

from inference.enroll import Authority, create_authority, enroll, enroll_into, read_ek_certificate
from inference.tpm import EK_ECC_TEMPLATE, EK_RSA_TEMPLATE, Tpm, load_ak_chain, record_launch

NOW = time.time() + 3600  # swtpm's authority dates its certificates by the real clock, and they are made after this
BOUND = hashlib.sha256(b"report data").digest()
MANIFEST, OTHER = digest_of("this worker"), digest_of("another worker")


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """The state of a TPM that was just made, in a folder whose path is short enough for a socket."""
    require_swtpm()
    with tempfile.TemporaryDirectory(prefix="tpm-") as name:
        SoftwareTpm(Path(name)).make()
        yield Path(name)


@pytest.fixture
def machine(made: Path) -> Iterator[SoftwareTpm]:
    """A machine that just booted, with the same TPM in each test."""
    software = SoftwareTpm(made).start()
    yield software
    software.stop()


@pytest.fixture
def tpm(machine: SoftwareTpm) -> Iterator[Tpm]:
    opened = Tpm(machine.tcti)
    yield opened
    opened.close()


def body_of(tpm: Tpm, chain: tuple[bytes, ...], log: LaunchLog, bound: bytes = BOUND) -> bytes:
    attest, signature, pcrs = tpm.quote(bound)
    return serialize_body(TpmEvidence(attest, signature, tpm.ak_public, chain, pcrs, serialize_log(log)))


def verify(body: bytes, root: bytes) -> TrustedReport:
    return verifier.verify(body, TpmTable(roots=(root,)), NOW, Steps(verifier.TITLES))


def refused(step: int, message: str, body: bytes, root: bytes) -> None:
    with pytest.raises(VerificationError, match=message) as caught:
        verify(body, root)
    assert caught.value.step == step


def test_a_tpm_is_enrolled_and_its_quote_verifies(machine: SoftwareTpm, tpm: Tpm, tmp_path: Path) -> None:
    authority = create_authority(tmp_path / "authority", NOW)
    chain = enroll(tpm, authority, machine.issuers, NOW)
    body = body_of(tpm, chain, record_launch(tpm, tmp_path / "launches", MANIFEST))
    report = verify(body, authority.root)
    assert (report.measurement, report.bound) == (MANIFEST, BOUND)
    assert report.platform_id == parse_public(tpm.ak_public).spki_digest


def test_no_octet_of_a_genuine_body_is_free(machine: SoftwareTpm, tpm: Tpm, tmp_path: Path) -> None:
    authority = create_authority(tmp_path / "authority", NOW)
    chain = enroll(tpm, authority, machine.issuers, NOW)
    body = body_of(tpm, chain, record_launch(tpm, tmp_path / "launches", MANIFEST))
    verify(body, authority.root)
    accepted = []
    for place in range(len(body)):
        for mask in (0x01, 0xFF):
            changed = bytearray(body)
            changed[place] ^= mask
            try:
                verify(bytes(changed), authority.root)
                accepted.append((place, mask))
            except VerificationError:
                continue
    assert accepted == []


def test_a_machine_that_boots_again_has_the_same_key_and_no_launches(machine: SoftwareTpm, tmp_path: Path) -> None:
    def attest() -> tuple[bytes, TpmEvidence, LaunchLog]:
        opened = Tpm(machine.tcti)
        log = record_launch(opened, tmp_path / "launches", MANIFEST)
        attest, signature, pcrs = opened.quote(BOUND)
        evidence = TpmEvidence(attest, signature, opened.ak_public, (), pcrs, serialize_log(log))
        opened.close()
        return opened.ak_public, evidence, log

    before, first, log = attest()
    assert attest()[2].launches == log.launches + 1 == 2, "the file is read again"
    machine.restart()
    again = Tpm(machine.tcti)
    assert again.read_pcrs(range(14, 15)) == (bytes(32),)
    again.close()
    after, second, fresh = attest()
    assert after == before
    assert fresh.launches == 1
    assert parse_quote(second.attest).reset_count == parse_quote(first.attest).reset_count + 1


def test_a_machine_that_launched_other_software_is_refused_until_it_boots(machine: SoftwareTpm, tmp_path: Path) -> None:
    authority, path = create_authority(tmp_path / "authority", NOW), tmp_path / "launches"
    tpm = Tpm(machine.tcti)
    chain = enroll(tpm, authority, machine.issuers, NOW)
    verify(body_of(tpm, chain, record_launch(tpm, path, MANIFEST)), authority.root)
    mixed = record_launch(tpm, path, OTHER)
    refused(10, f"launched manifest {OTHER.hex()}", body_of(tpm, chain, mixed), authority.root)
    back = record_launch(tpm, path, MANIFEST)
    refused(10, f"launched manifest {OTHER.hex()}", body_of(tpm, chain, back), authority.root)
    denied = LaunchLog().launched(MANIFEST).launched(MANIFEST)
    refused(6, "do not give the quoted digest", body_of(tpm, chain, denied), authority.root)
    tpm.close()
    machine.restart()
    tpm = Tpm(machine.tcti)
    verify(body_of(tpm, chain, record_launch(tpm, path, MANIFEST)), authority.root)
    tpm.close()


def test_a_machine_that_lost_power_is_refused_while_its_clock_is_not_safe(made: Path, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="tpm-") as name:  # a copy: this state lasts for a few seconds
        shutil.copytree(made, name, dirs_exist_ok=True)
        machine = SoftwareTpm(Path(name)).start()
        before = Tpm(machine.tcti)
        before.extend_launch(MANIFEST)
        before.close()
        machine.cut_power()
        machine.start()
        authority, tpm = create_authority(tmp_path / "authority", NOW), Tpm(machine.tcti)
        chain = enroll(tpm, authority, machine.issuers, NOW)
        body = body_of(tpm, chain, record_launch(tpm, tmp_path / "launches", MANIFEST))
        tpm.close()
        machine.stop()
    refused(7, "the TPM's clock is not safe", body, authority.root)


def test_a_crash_between_the_log_and_the_tpm_costs_nothing(tpm: Tpm, tmp_path: Path) -> None:
    path = tmp_path / "launches"
    once = record_launch(tpm, path, MANIFEST)
    path.write_bytes(serialize_log(once.launched(OTHER)))  # as if the process had died before PCR 14 was extended
    log = record_launch(tpm, path, MANIFEST)
    assert parse_log(path.read_bytes()) == log
    assert launched_manifest(log) == MANIFEST
    assert log.launches == 2


def test_a_pcr_that_others_extended_is_noticed_before_any_evidence_is_made(tpm: Tpm, tmp_path: Path) -> None:
    path = tmp_path / "launches"
    record_launch(tpm, path, MANIFEST)
    tpm.extend_launch(OTHER)
    with pytest.raises(ConfigError, match="PCR 14 was extended by other software"):
        record_launch(tpm, path, MANIFEST)
    path.write_bytes(b"damaged")
    with pytest.raises(ConfigError, match="is damaged"):
        record_launch(tpm, path, MANIFEST)
    path.unlink()
    assert record_launch(tpm, path, MANIFEST).start != bytes(32)


def test_a_pcr_14_that_shim_has_extended_is_the_start_of_the_log(tpm: Tpm, tmp_path: Path) -> None:
    tpm.extend(14, hashlib.sha256(b"MokList").digest())
    log = record_launch(tpm, tmp_path / "launches", MANIFEST)
    assert log.start == hashlib.sha256(bytes(32) + hashlib.sha256(b"MokList").digest()).digest()


@pytest.mark.parametrize("template", [EK_RSA_TEMPLATE, EK_ECC_TEMPLATE], ids=["RSA-2048", "P-256"])
def test_a_tpm_opens_what_is_sealed_to_its_two_keys(tpm: Tpm, template: bytes) -> None:
    secret = bytes(range(32))
    ak = parse_public(tpm.ak_public)
    with tpm.endorsement_key(template) as ek:
        public = parse_public(ek.public)
        assert tpm.activate(ek, make_credential(public, ak.name, secret)) == secret
        with pytest.raises(UpstreamError, match="did not activate the credential"):
            tpm.activate(ek, make_credential(public, public.name, secret))
        credential = make_credential(public, ak.name, secret)
        broken = replace(credential, id_object=credential.id_object[:-1] + b"\x00")
        with pytest.raises(UpstreamError, match="did not activate the credential"):
            tpm.activate(ek, broken)


def test_an_authority_certifies_only_what_is_proven(machine: SoftwareTpm, tpm: Tpm, tmp_path: Path) -> None:
    authority = create_authority(tmp_path / "authority", NOW)
    stranger = create_authority(tmp_path / "stranger", NOW).root
    with pytest.raises(EvidenceError, match="certificate 1 of the EK chain is not signed by the next"):
        enroll(tpm, authority, (machine.issuers[0], stranger), NOW)
    with pytest.raises(EvidenceError, match="the EK chain has 1 certificates"):
        enroll(tpm, authority, (), NOW)
    certificate, template = read_ek_certificate(tpm)
    pinned = {hashlib.sha256(machine.issuers[-1]).digest(): "EK root"}
    chain = verify_chain((certificate, *machine.issuers), pinned, NOW, name="EK")
    with tpm.endorsement_key(EK_ECC_TEMPLATE) as other, pytest.raises(EvidenceError, match="is of another key"):
        authority.challenge(chain, other.public, tpm.ak_public)
    with tpm.endorsement_key(template) as ek:
        with pytest.raises(EvidenceError, match="the attestation key lacks SIGN"):
            authority.challenge(chain, ek.public, ek.public)
        challenge = authority.challenge(chain, ek.public, tpm.ak_public)
    with pytest.raises(EvidenceError, match="did not return the secret"):
        authority.certify(challenge, bytes(32), NOW)
    assert challenge.secret.hex() not in repr(challenge)
    assert repr(challenge.secret) not in repr(challenge)


def test_enrollment_from_files_leaves_a_chain_and_a_key_for_its_owner_only(
    machine: SoftwareTpm, tmp_path: Path
) -> None:
    issuers, out, folder = tmp_path / "issuers.pem", tmp_path / "ak.pem", tmp_path / "authority"
    loaded = (x509.load_der_x509_certificate(der) for der in machine.issuers)
    issuers.write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in loaded))
    key = enroll_into(machine.tcti, folder, issuers, out, NOW)
    assert enroll_into(machine.tcti, folder, issuers, out, NOW) == key
    secret = folder / "tpm-authority.key"
    assert secret.stat().st_mode & 0o777 == 0o600
    root = Authority.load(folder).root
    tpm = Tpm(machine.tcti)
    chain, log = load_ak_chain(out), record_launch(tpm, tmp_path / "launches", MANIFEST)
    body = body_of(tpm, chain, log)
    tpm.close()
    table = TpmTable(roots=(root,), keys=(key,))
    assert verifier.verify(body, table, NOW, Steps(verifier.TITLES)).measurement == MANIFEST
    secret.chmod(0o640)
    with pytest.raises(ConfigError, match="can be read by others"):
        Authority.load(folder)
    with pytest.raises(ConfigError, match="already holds an attestation authority"):
        create_authority(folder, NOW)
    with pytest.raises(ConfigError, match="create one first"):
        Authority.load(tmp_path / "nothing")


def test_what_is_no_tpm_or_no_chain_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no TPM answers"):
        Tpm(f"swtpm:path={tmp_path / 'nothing'}")
    with pytest.raises(ConfigError, match="cannot read"):
        load_ak_chain(tmp_path / "nothing")
    (tmp_path / "junk").write_bytes(b"junk")
    with pytest.raises(ConfigError, match="holds no certificates"):
        load_ak_chain(tmp_path / "junk")


def test_a_closed_tpm_keeps_no_key(machine: SoftwareTpm) -> None:
    """Without a resource manager a TPM has room for three keys, and a fifth would not fit."""
    for _ in range(5):
        opened = Tpm(machine.tcti)
        opened.close()
        opened.close()


def test_a_tpm_agrees_with_the_replay_of_a_firmware_log(tpm: Tpm) -> None:
    root = os.environ.get("SECLUDE_VECTORS")
    if not root:
        pytest.skip("SECLUDE_VECTORS is not set")
    text = (Path(root) / "openpcc" / "tcg_eventlog.txt").read_text()
    found = re.search(r"BEGIN LOG-----\n(.*?)-----END LOG", text, re.DOTALL)
    assert found is not None
    events = parse_event_log(base64.b64decode(found[1]))
    for event in events:
        if event.type != NO_ACTION:
            tpm.extend(event.pcr, event.digests[SHA256])
    replayed = replay(events, range(16))
    assert (*tpm.read_pcrs(range(8)), *tpm.read_pcrs(range(8, 16))) == tuple(replayed[number] for number in range(16))
