"""SEV-SNP reports before another maker's verifier: `github.com/google/go-sev-guest`, in Go, judges what we judge.

It judges certificates, revocation list and signature, which are our steps 1 to 5. Where it says otherwise than we do, a
test says so.
"""

import base64
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning

from seclude.attestation import snp
from seclude.attestation.accept import SnpTable
from seclude.attestation.snp import SnpEvidence, serialize_body
from seclude.attestation.snp_report import Report, parse_report
from seclude.attestation.steps import Steps
from seclude.errors import VerificationError
from tests.attestation.snp_signer import NOW, POLICY, Amd, chip_key, sign, with_signature

HERE: Final = Path(__file__).parent / "oracle_go_snp"
MINIMUM_GO: Final = (1, 25)  # what go.mod says
GENUINE: Final = 6  # the first step that judges, after all those that tell whether a report is genuine
VALID_AT: Final = 1_751_328_000  # 2025-07-01, when the genuine revocation lists of Milan and Genoa are current

pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True, slots=True)
class Case:
    """A report with what has to come with it, the root to pin, and the time to judge at."""

    report: bytes
    vcek: bytes
    ask: bytes
    ark: bytes
    crl: bytes
    product: str = "milan"
    time: int = VALID_AT

    def ours(self) -> Report | None:
        """Return the report, if it is genuine to us; whether we would accept it is another question."""
        body = serialize_body(SnpEvidence(self.report, (self.vcek, self.ask, self.ark), (self.crl,)))
        pinned = {hashlib.sha256(self.ark).digest(): self.product}
        try:
            snp.verify(body, SnpTable(minimum_tcb={}), self.time, Steps(snp.TITLES), roots=pinned)
        except VerificationError as exc:
            if exc.step < GENUINE:
                return None
        return parse_report(self.report)

    def line(self) -> str:
        parts = (self.ark, self.ask, self.vcek, self.crl, self.report)
        encoded = (base64.b64encode(part).decode() for part in parts)
        return f"{self.time} {self.product.title()} {' '.join(encoded)}\n"


Judge = Callable[[Sequence[Case]], list[dict[str, object]]]


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """The other verifier, which takes many reports at once."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("Go is not installed")
    environment = os.environ | {"GOTOOLCHAIN": "local"}  # a test does not fetch another Go
    said = subprocess.run([go, "env", "GOVERSION"], env=environment, capture_output=True, text=True, check=True).stdout
    if tuple(int(number) for number in re.findall(r"\d+", said)) < MINIMUM_GO:
        pytest.skip(f"{said.strip()} is older than {'.'.join(map(str, MINIMUM_GO))}")
    fetched = subprocess.run([go, "mod", "download"], cwd=HERE, env=environment, capture_output=True, text=True)
    if fetched.returncode != 0:
        pytest.skip(f"the Go modules of {HERE.name} cannot be had: {fetched.stderr.strip()[-200:]}")
    program = tmp_path_factory.mktemp("go") / "oracle"
    command = [go, "build", "-mod=readonly", "-o", str(program), "."]
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr

    def run(cases: Sequence[Case]) -> list[dict[str, object]]:
        lines = "".join(case.line() for case in cases)
        said = subprocess.run([program], input=lines, capture_output=True, text=True, timeout=60, check=True)
        verdicts = [json.loads(line) for line in said.stdout.splitlines()]
        assert len(verdicts) == len(cases)
        return verdicts

    return run


@pytest.fixture(scope="module")
def samples() -> dict[str, Case]:
    """The genuine reports with genuine certificates, by whose they are."""
    root = os.environ.get("SECLUDE_VECTORS")
    if not root:
        pytest.skip("SECLUDE_VECTORS is not set")
    folder = Path(root)
    archive = "".join(path.read_text() for path in sorted((folder / "openpcc").glob("*sev*.txt")))

    def part(name: str) -> bytes:
        found = re.search(rf"-- {name}\.pem --\n-----BEGIN [^-]+-----([^-]+)-----END", archive)
        assert found is not None
        return base64.b64decode(found[1])

    def case(product: str, report: bytes, vcek: bytes) -> Case:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            chain = x509.load_pem_x509_certificates((folder / "snp" / f"{product}_ask_ark_asvk.pem").read_bytes())
        ask, ark = (each.public_bytes(Encoding.DER) for each in chain[:2])
        return Case(report, vcek, ask, ark, part(f"test_amd_{product}_crl"), product)

    def file(name: str) -> bytes:
        return (folder / "snp" / name).read_bytes()

    report = file("trustee-test-report.bin")
    return {
        "trustee": case("milan", report, file("trustee-test-vcek.der")),
        "google": case("milan", file("google-attestation.bin"), file("google-vcek.der")),
        "forged, legacy": case("milan", report, file("trustee-test-vcek-invalid-legacy.der")),
        "forged, new": case("milan", report, file("trustee-test-vcek-invalid-new.der")),
        "another's": case("milan", report, file("google-vcek.der")),
        "gce": case("genoa", part("test_gce_sevsnp_report"), part("test_vcek")),
    }


def made(amd: Amd, report: bytes | None = None, vcek: bytes | None = None, crl: bytes | None = None) -> Case:
    """Return a case of good parts of tests, with others in their place."""
    return Case(
        amd.report() if report is None else report,
        vcek or amd.vcek(),
        amd.ask,
        amd.ark,
        crl or amd.crl(),
        amd.product,
        NOW,
    )


def check_same(report: Report, verdict: dict[str, object]) -> None:
    assert verdict == {
        "refused": "",
        "version": report.version,
        "policy": report.policy,
        "vmpl": report.vmpl,
        "measurement": base64.b64encode(report.measurement).decode(),
        "report_data": base64.b64encode(report.report_data).decode(),
        "chip_id": base64.b64encode(report.chip_id).decode(),
    }


def test_both_find_the_same_samples_genuine_and_read_the_same(judge: Judge, samples: dict[str, Case]) -> None:
    genuine = {}
    for (name, case), verdict in zip(samples.items(), judge(list(samples.values())), strict=True):
        report = case.ours()
        genuine[name] = report is not None
        assert bool(verdict["refused"]) == (report is None), name
        if report is not None:
            check_same(report, verdict)
    assert [name for name, good in genuine.items() if good] == ["trustee", "google"]


def test_both_find_our_own_reports_genuine_and_read_the_same(judge: Judge) -> None:
    makers = Amd("milan"), Amd("genoa")
    cases = [made(amd, amd.report(version, vmpl=version)) for amd in makers for version in range(2, 6)]
    cases.append(made(makers[1], makers[1].report(policy=POLICY | 1 << 19)))  # debugging is for a policy to judge
    for case, verdict in zip(cases, judge(cases), strict=True):
        report = case.ours()
        assert report is not None
        check_same(report, verdict)


def test_both_refuse_each_of_four_hundred_flipped_octets(judge: Judge, samples: dict[str, Case]) -> None:
    """Of report, VCEK, ASK and revocation list; the root is given to the other verifier, so it says nothing of that."""
    generator = random.Random(1)
    flipped = []
    for name in ("trustee", "google"):
        case = samples[name]
        places = [(part, at) for part in ("report", "vcek", "ask", "crl") for at in range(len(getattr(case, part)))]
        for part, at in generator.sample(places, 200):
            octets = bytearray(getattr(case, part))
            octets[at] ^= 1 << generator.randrange(8)
            changed = replace(case, **{part: bytes(octets)})  # type: ignore[arg-type]
            flipped.append((f"{name} {part} {at}", changed))
    verdicts = judge([case for _, case in flipped])
    for (place, case), verdict in zip(flipped, verdicts, strict=True):
        assert case.ours() is None, place
        assert verdict["refused"], place


def test_both_refuse_what_is_not_signed_not_current_or_revoked(judge: Judge) -> None:
    amd, other = Amd("genoa"), Amd("milan")
    unsigned = amd.unsigned_report()
    cases = {
        "another key": made(amd, sign(unsigned, chip_key("other"))),
        "r and s zero": made(amd, with_signature(unsigned, 0, 0)),
        "r out of range": made(amd, with_signature(unsigned, snp.P384_ORDER, 1)),
        "version 1": made(amd, sign(b"\1\0\0\0" + unsigned[4:])),
        "version 6": made(amd, sign(b"\6\0\0\0" + unsigned[4:])),
        "another algorithm": made(amd, amd.report(signature_algo=2)),
        "reserved octets": made(amd, amd.report(after_key_info=1)),
        "reserved bits of key_info": made(amd, amd.report(key_info=1 << 5)),
        "a VLEK": made(amd, amd.report(key_info=1 << 2)),
        "no VCEK": made(amd, vcek=amd.vcek(name="SEV-VLEK")),
        "another issuer": made(amd, vcek=other.vcek()),
        "a VCEK of the past": made(amd, vcek=amd.vcek(end=NOW - 1)),
        "a VCEK of the future": made(amd, vcek=amd.vcek(start=NOW + 1)),
        "a VCEK without PSS": made(amd, vcek=amd.vcek(pss=False)),
        "a list by the ASK": made(amd, crl=amd.crl(key=amd.ask_key)),
        "a revoked ASK": made(amd, crl=amd.crl([0x20001])),
    }
    for (name, case), verdict in zip(cases.items(), judge(list(cases.values())), strict=True):
        assert case.ours() is None, name
        assert verdict["refused"], name


def test_we_refuse_what_go_sev_guest_lets_pass(judge: Judge) -> None:
    amd = Amd("genoa")
    cases = {
        "a list of the past": made(amd, crl=amd.crl(end=NOW)),
        "a list of the future": made(amd, crl=amd.crl(start=NOW + 1)),
        "the last second of a VCEK": made(amd, vcek=amd.vcek(end=NOW)),
        "an ASK without PSS": made(Amd("genoa", ask={"pss": False})),
    }
    for (name, case), verdict in zip(cases.items(), judge(list(cases.values())), strict=True):
        assert case.ours() is None, name
        assert verdict["refused"] == "", name


def test_go_sev_guest_refuses_what_we_judge_in_a_later_step_or_for_another_product(judge: Judge) -> None:
    """Reserved bits of the guest policy are of our step 9. Of a Turin it cannot read any certificate yet."""
    genoa, turin = Amd("genoa"), Amd("turin")
    cases = [made(genoa, genoa.report(policy=POLICY | 1 << 26)), made(genoa, genoa.report(policy=0)), made(turin)]
    for case, verdict in zip(cases, judge(cases), strict=True):
        assert case.ours() is not None
        assert verdict["refused"]
