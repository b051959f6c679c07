"""`seclude policy` and `seclude evidence`, as an auditor runs them: on files, and with nobody else."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace as replace_fields

from seclude.attestation.accept import TpmTable
from seclude.attestation.bundle import parse_bundle, serialize_bundles
from seclude.attestation.policy import Demonstration
from seclude.attestation.policytext import render_policy_document
from seclude.client.main import main
from seclude.client.trust import SlotTable, Trust, render_trust
from seclude.manifest import Entry, Manifest
from tests.attestation.test_verify import CORE, GOOD, MEASUREMENT, NOW, POLICY, ROOT, SLOTS, make
from tests.running import ROOT as PROJECT
from tests.vectors import vector

MILAN = ["--at", "2025-10-01"]


def moment(seconds: float) -> list[str]:
    return ["--at", datetime.fromtimestamp(seconds, UTC).isoformat()]


@pytest.fixture
def trust(tmp_path: Path) -> Path:
    slots = SlotTable(SLOTS.t0, SLOTS.period_seconds)
    text = render_trust(Trust(POLICY.origin, ("http://127.0.0.1:1/",), slots, POLICY.document))
    (tmp_path / "trust.toml").write_text(text)
    return tmp_path / "trust.toml"


def file(folder: Path, data: bytes, name: str = "evidence") -> str:
    (folder / name).write_bytes(data)
    return str(folder / name)


def milan(folder: Path, *more: str) -> list[str]:
    chain = [
        file(folder, vector("snp/trustee-test-vcek.der"), "vcek"),
        file(folder, vector("snp/milan_ask_ark_asvk.pem"), "ask_ark"),
    ]
    report = file(folder, vector("snp/trustee-test-report.bin"), "report")
    return ["evidence", "show", report, "--chain", chain[0], "--chain", chain[1], *MILAN, *more]


def test_a_genuine_report_shows_ten_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lists = file(tmp_path, vector("openpcc/sev_certificates.txt"), "lists")
    assert main(milan(tmp_path, "--collateral", lists)) == 0
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if line.startswith("10  ")]
    assert printed.splitlines()[-1].startswith("genuine, by the vendor's rules")


def test_the_first_step_that_fails_is_named_and_the_status_is_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(milan(tmp_path, "--json")) == 1
    said = capsys.readouterr()
    answer = json.loads(said.out)
    assert (answer["error"], answer["step"]) == ("refused", 3)
    assert "sev-snp step 4" in answer["message"]
    assert said.err.startswith("seclude: refused: sev-snp step 4")


def test_a_bundle_is_judged_whole_by_a_trust_file(
    tmp_path: Path, trust: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show = ["evidence", "show", file(tmp_path, GOOD), "--policy", str(trust)]
    assert main([*show, *moment(NOW), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["judged"] == "as a device with this trust file judges it"
    (exhibit,) = answer["exhibits"]
    assert exhibit["manifest"] == MEASUREMENT.hex()
    assert main([*show, *moment(SLOTS.end(CORE.epoch))]) == 1
    assert "is past its end" in capsys.readouterr().err


def test_the_list_that_relays_serve_is_read_and_each_bundle_judged(
    tmp_path: Path, trust: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = file(tmp_path, serialize_bundles([GOOD]))
    assert main(["evidence", "show", listed, "--policy", str(trust), *moment(NOW), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["exhibits"]) == 1


@pytest.mark.parametrize(
    ("bundle", "words"),
    [
        (make(replace(CORE, role="evil")), 'the core is for role "evil"'),
        (
            make(replace(CORE, manifest_digest=bytes(32)), lambda report: replace(report, measurement=bytes(32))),
            "is not accepted by this policy",
        ),
        (make(replace(CORE, manifest_digest=bytes(32))), "another manifest than was measured"),
    ],
    ids=["role", "manifest", "another manifest"],
)
def test_what_the_policy_alone_can_tell_of_a_core_is_told(
    tmp_path: Path, bundle: bytes, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = file(tmp_path, render_policy_document(POLICY.document).encode(), "policy.toml")
    assert main(["evidence", "show", file(tmp_path, bundle), "--policy", policy, *moment(NOW)]) == 1
    assert words in capsys.readouterr().err
    assert main(["evidence", "show", file(tmp_path, GOOD), "--policy", policy, *moment(NOW)]) == 0
    assert "not judged: its age" in capsys.readouterr().out


def manifest(**changed: bytes) -> Manifest:
    """Return a manifest with models of each kind; those that are named hold something else."""
    names = {"config": "config/measured", "encoder": "model/model.onnx", "language": "language/model.onnx.data",
             "words": "language/tokenizer.json", "summariser": "summariser/decoder_model_merged.onnx"}  # fmt: skip
    digests = {path: hashlib.sha256(changed.get(word, path.encode())).digest() for word, path in names.items()}
    return Manifest(tuple(Entry(path, 0o644, 7, digests[path]) for path in sorted(digests)))


def measured(software: Manifest) -> bytes:
    """Return the bundle of a pool of workers with this software."""
    core = replace(CORE, manifest_digest=software.digest)
    return make(core, lambda report: replace(report, measurement=software.digest))


def test_the_models_that_a_policy_names_are_accepted_and_any_other_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(POLICY.document, Demonstration)
    named = replace_fields(POLICY.document, manifests=(manifest().digest.hex(),))
    policy = file(tmp_path, render_policy_document(named).encode(), "policy.toml")
    assert main(["evidence", "show", file(tmp_path, measured(manifest())), "--policy", policy, *moment(NOW)]) == 0
    for word in ("encoder", "language", "words", "summariser"):
        other = file(tmp_path, measured(manifest(**{word: b"changed"})))
        assert main(["evidence", "show", other, "--policy", policy, *moment(NOW)]) == 1
        assert "is not accepted by this policy" in capsys.readouterr().err


def test_what_must_come_beside_a_platform_is_missed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(POLICY.document, Demonstration)
    both = replace_fields(POLICY.document, tpm=TpmTable(roots=(ROOT,)))
    policy = file(tmp_path, render_policy_document(both).encode(), "policy.toml")
    evidence = file(tmp_path, parse_bundle(GOOD).evidence)
    assert main(["evidence", "show", evidence, "--policy", policy, *moment(NOW)]) == 1
    assert 'evidence of format "tpm" must come beside it' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"junk", "this is no evidence that is known here"),
        (b"\x02\0\0\0" + bytes(70_000), "limit 65535"),
        (b"-----BEGIN X-----\nA\n-----END X-----\n", "not base64"),
    ],
)
def test_a_file_that_is_none_is_one_sentence(
    tmp_path: Path, data: bytes, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evidence", "show", file(tmp_path, data)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_a_revocation_list_that_is_none_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    armour = b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"
    assert main(milan(tmp_path, "--collateral", file(tmp_path, 2 * armour, "lists"))) == 2
    assert "a revocation list that is none" in capsys.readouterr().err


def test_the_example_of_a_production_policy_can_be_checked_and_explained(capsys: pytest.CaptureFixture[str]) -> None:
    example = str(PROJECT / "deploy" / "policy.production.toml")
    assert main(["policy", "check", example, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["purpose"] == "production"
    assert main(["policy", "explain", example]) == 0
    assert capsys.readouterr().out.startswith("This is a PRODUCTION policy")


def test_a_production_policy_that_accepts_simulated_hardware_is_no_policy(
    tmp_path: Path, trust: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = trust.read_text().replace('"demonstration"', '"production"')
    assert main(["policy", "check", file(tmp_path, text.encode())]) == 2
    assert "cannot accept SIMULATED evidence" in capsys.readouterr().err
