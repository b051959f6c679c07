"""WhatsApp Private Processing, reviewed by Trail of Bits: the findings on evidence and on what is measured."""

import datetime
import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace as replace_fields

from bench.simulated import simulated_evidence, simulated_policy
from inference.config import Attestation, Launch, Measured, WorkerConfig
from inference.isolate import ENVIRONMENT
from inference.launch import check_launch, measure_launch
from inference.loaded import package_roots, starts_code
from inference.manifest import CONFIG, hash_file
from inference.producers.simulated import SimulatedPlatform
from seclude.attestation import snp
from seclude.attestation.accept import Bit, SnpTable, SnpTcb
from seclude.attestation.bundle import (
    Bundle,
    birth_report_data,
    join_report_data,
    serialize_bundle,
    unlogged_checkpoint,
)
from seclude.attestation.evidence import NVIDIA, SEV_SNP, TrustedReport, UnverifiedEvidence
from seclude.attestation.judge import require_chips, verify_evidence
from seclude.attestation.policy import Production
from seclude.attestation.policytext import convert_policy_document, render_policy_document
from seclude.attestation.snapshot import Snapshot
from seclude.attestation.steps import Steps
from seclude.attestation.verify import verify_bundle
from seclude.errors import ConfigError, EvidenceError, PolicyError, ReplayError, VerificationError
from seclude.hpke import KEM_XWING
from seclude.manifest import Entry, Manifest, parse_manifest, render_manifest
from tests.attestation.snp_signer import LEVELS, Amd, tcb_version
from tests.audit.ground import (
    EPOCH,
    MADE,
    MANIFEST,
    NOW,
    OTHER_MANIFEST,
    SLOTS,
    X25519,
    XWING,
    born,
    bundle_of,
    core_of,
    policy_of,
    worker_on,
)
from tests.ledgers import NOBODYS

IMAGE = bytes(range(48))  # what reports of the AMD of tests measure
FLOOR = SnpTcb(**{name: level for name, level in LEVELS.items() if name != "fmc"})  # which Genoa has not
TABLE = SnpTable(products=("genoa",), minimum_tcb={"genoa": FLOOR}, measurements=(IMAGE.hex(),))


def check(amd: Amd, body: bytes, table: SnpTable = TABLE) -> TrustedReport:
    return snp.verify(body, table, NOW, Steps(snp.TITLES), roots=amd.roots)


def refuse(amd: Amd, body: bytes, step: int, why: str, table: SnpTable = TABLE) -> None:
    with pytest.raises(VerificationError, match=why) as caught:
        check(amd, body, table)
    assert caught.value.step == step


def simulated(platform: SimulatedPlatform, core: bytes, *, dated: int = MADE, manifest: bytes = MANIFEST) -> bytes:
    """Return a bundle of simulated hardware for a core."""
    return serialize_bundle(Bundle(core, simulated_evidence(platform, manifest, birth_report_data(core), dated)))


async def test_wapi_07_evidence_and_keys_are_worth_nothing_afterwards(platform: SimulatedPlatform) -> None:
    policy = policy_of(simulated_policy(platform, manifests=(MANIFEST,)))
    good = simulated(platform, core_of(policy))
    assert verify_bundle(good, policy, NOW, {}).expires_at <= SLOTS.end(EPOCH)
    with pytest.raises(PolicyError) as late:
        verify_bundle(good, policy, SLOTS.end(EPOCH), {})
    assert late.value.step == 10
    with pytest.raises(PolicyError) as old:
        verify_bundle(simulated(platform, core_of(policy), dated=NOW - 1800), policy, NOW, {})
    assert old.value.step == 7
    holder, newcomer = await born(worker_on(platform)), worker_on(platform)
    with pytest.raises(PolicyError, match="cannot be born"):  # evidence for a later time cannot be put by
        await holder.keyring.birth(EPOCH + 2, NOW)
    nonce = holder.member.nonce(NOW)
    request = await newcomer.joiner.request(nonce, NOW)
    holder.member.admit(request, NOW)
    with pytest.raises(ReplayError):
        holder.member.admit(request, NOW)
    again = request.replace(nonce, holder.member.nonce(NOW))
    with pytest.raises(EvidenceError) as stale:
        holder.member.admit(again, NOW)
    assert stale.value.step == 6


def test_wapi_08_the_firmware_level_is_the_certificates_and_not_the_reports_word(amd: Amd) -> None:
    check(amd, amd.attest())
    older = amd.vcek(extensions=amd.extensions(microcode=LEVELS["microcode"] - 1))
    refuse(amd, amd.body(vcek=older), 8, "and its certificate is for")
    low = tcb_version("genoa", microcode=LEVELS["microcode"] - 1)
    fields = dict.fromkeys(("reported_tcb", "current_tcb", "committed_tcb", "launch_tcb"), low)
    refuse(amd, amd.body(amd.report(3, **fields), vcek=older), 8, "certified level of microcode")


@pytest.mark.parametrize("name", sorted(snp.SETTINGS))
def test_wapi_09_a_policy_can_require_and_forbid_each_bit(amd: Amd, name: str) -> None:
    policy_bit, platform_bit = snp.SETTINGS[name]
    off = {"policy": snp.POLICY_ONE, "platform_info": 0}
    on = {"policy": snp.POLICY_ONE | policy_bit, "platform_info": platform_bit}
    for wanted, passes, fails in ((Bit.REQUIRE, on, off), (Bit.FORBID, off, on)):
        table = replace_fields(TABLE, **{name: wanted})
        check(amd, amd.attest(3, **passes), table)
        refuse(amd, amd.attest(3, **fails), 9, f"{name} is (required|forbidden)", table)


@pytest.mark.parametrize(("bit", "why"), [(snp.DEBUG, "debugging"), (snp.MIGRATE_MA, "migration agent")])
def test_wapi_09_no_policy_can_accept_debugging_or_migration(amd: Amd, bit: int, why: str) -> None:
    lax = replace_fields(TABLE, **dict.fromkeys(snp.SETTINGS, Bit.ALLOW))
    check(amd, amd.attest(), lax)
    refuse(amd, amd.attest(3, policy=snp.POLICY_ONE | bit), 9, why, lax)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"minimum_tcb": {}, "debug": "allow"}, SnpTable)


def test_wapi_10_a_key_of_any_chip_in_the_world_is_not_enough(amd: Amd) -> None:
    listed = replace_fields(TABLE, chips=(amd.hwid.hex(),))
    check(amd, amd.attest(), listed)
    refuse(amd, amd.attest(), 7, "not among those accepted", replace_fields(TABLE, chips=("00" * 64,)))
    other = amd.vcek(extensions={**amd.extensions(), "4": bytes(reversed(amd.hwid))})
    refuse(amd, amd.body(vcek=other), 7, "is not hwID of the certificate", listed)
    refuse(amd, amd.attest(3, chip_id=bytes(64)), 7, "chip_id is zero", listed)
    refuse(amd, amd.attest(3, key_info=1 << 2), 2, "VLEK", listed)
    # In production the chips stand in the policy, or in the ledger's snapshot; where neither names any, none passes.
    policy_of(Production(ledger=NOBODYS, sev_snp=listed))
    unlisted = policy_of(Production(ledger=NOBODYS, sev_snp=TABLE))
    snapshot = Snapshot(origin="ai.example", issued=0, expires=1, chips={"sev-snp": (amd.hwid.hex(),)})
    table = unlisted.under(snapshot, MANIFEST).document.sev_snp
    assert table is not None
    assert table.chips == listed.chips
    with pytest.raises(PolicyError, match="neither the policy nor the snapshot names the chips of sev-snp"):
        require_chips(SEV_SNP, unlisted.under(replace_fields(snapshot, chips={}), MANIFEST))


def test_wapi_12_a_device_takes_a_post_quantum_key_or_none(platform: SimulatedPlatform) -> None:
    policy = policy_of(simulated_policy(platform, manifests=(MANIFEST,)))
    pool = verify_bundle(simulated(platform, core_of(policy)), policy, NOW, {})
    assert [config.kem for config in pool.key_configs] == [KEM_XWING]
    with pytest.raises(PolicyError) as caught:
        verify_bundle(simulated(platform, core_of(policy, configs=(X25519,))), policy, NOW, {})
    assert caught.value.step == 12


PROBE = "import os, inference.isolate as i; print('VARIABLES', sorted(os.environ), i.is_isolated())"
START = "import sys; from inference.isolate import isolate; isolate('timeit', ['-n1', '-r1', sys.argv[1]])"


def test_wapi_13_no_variable_of_the_environment_reaches_the_worker() -> None:
    hostile = {"OPENSSL_CONF": "/nonexistent", "ORT_LOG": "1", "PYTHONINSPECT": "", "GCONV_PATH": "/tmp"}
    done = subprocess.run([sys.executable, "-c", START, PROBE], capture_output=True, text=True, env=hostile, timeout=30)
    line = next(line for line in done.stdout.splitlines() if line.startswith("VARIABLES"))
    assert line == f"VARIABLES {sorted(ENVIRONMENT)} True", done.stderr


def configured(platform: SimulatedPlatform, folder: Path, **measured: object) -> WorkerConfig:
    """Return a worker's configuration with a model of two small files."""
    model = folder / "model"
    model.mkdir(exist_ok=True)
    for name in ("model.onnx", "tokenizer.json"):
        if not (model / name).exists():
            (model / name).write_text(name)
    fields: dict[str, object] = {"origin": "ai.example", "t0": SLOTS.t0, "period_seconds": 600, **measured}
    return WorkerConfig(
        measured=Measured(policy=simulated_policy(platform), **fields),  # type: ignore[arg-type]
        launch=Launch(
            model=str(model), manifest=str(folder / "worker.manifest"), attestation=Attestation(format="simulated")
        ),
    )


def manifest_of(config: WorkerConfig) -> Manifest:
    """Return a manifest of the configuration, the model and what the interpreter runs at its start."""
    data = config.measured.canonical()
    files = [(f"model/{file.name}", file) for file in Path(config.launch.model).iterdir()]
    for folder, word in package_roots():
        files += [(f"site/{file.name}", file) for file in folder.glob("*.pth") if word == "site" and starts_code(file)]
    entries = [hash_file(name, file) for name, file in files]
    entries.append(Entry(CONFIG, 0o644, len(data), hashlib.sha256(data).digest()))
    return Manifest(tuple(sorted(entries)))


def test_wapi_13_configuration_is_measured_or_of_a_closed_list(platform: SimulatedPlatform, tmp_path: Path) -> None:
    config = configured(platform, tmp_path)
    (tmp_path / "worker.manifest").write_text(render_manifest(manifest_of(config)))
    assert measure_launch(config) == manifest_of(config).digest
    with pytest.raises(ConfigError, match="config/measured"):
        measure_launch(configured(platform, tmp_path, replay_limit=2))
    plain = msgspec.to_builtins(config)
    for place in ("measured", "launch"):
        with pytest.raises(msgspec.ValidationError, match="unknown field"):
            msgspec.convert({**plain, place: {**plain[place], "environment": {"LD_PRELOAD": "x"}}}, WorkerConfig)


def test_wapi_14_file_names_and_links_cannot_stand_for_other_files(platform: SimulatedPlatform, tmp_path: Path) -> None:
    config = configured(platform, tmp_path)
    measured = next(entry for entry in manifest_of(config).entries if entry.path == CONFIG)
    real, link = tmp_path / "real.so", tmp_path / "link.so"
    real.write_bytes(b"code")
    link.symlink_to(real)

    def launch(name: str) -> None:
        entries = (*manifest_of(config).entries, replace(hash_file("x", real), path=name))
        check_launch(Manifest(tuple(sorted(entries))), measured, config.launch.folders)

    launch(f"system{real}")
    with pytest.raises(ConfigError, match="symbolic link"):
        launch(f"system{link}")
    with pytest.raises(ConfigError, match="leads out of its folder"):
        launch(f"system{tmp_path}/model/../real.so")
    odd = Manifest((Entry("a\n", 0o644, 1, bytes(32)), Entry('b"*', 0o644, 1, bytes(32))))
    assert parse_manifest(render_manifest(odd)) == odd


def test_wapi_19_the_digest_of_software_covers_names_modes_and_places(tmp_path: Path) -> None:
    first, second = (Entry(name, 0o644, 3, bytes([number]) * 32) for number, name in enumerate(("a", "b")))
    digests = {
        manifest.digest
        for manifest in (
            Manifest((first, second)),
            Manifest((replace(first, sha256=second.sha256), replace(second, sha256=first.sha256))),
            Manifest((first, replace(second, path="c"))),
            Manifest((first, replace(second, path="a/b"))),
            Manifest((first, replace(second, mode=0o755))),
            Manifest((first, replace(second, length=4))),
            Manifest((first,)),
        )
    }
    assert len(digests) == 7


def test_wapi_20_what_is_for_one_use_is_worth_nothing_for_another(platform: SimulatedPlatform) -> None:
    policy = policy_of(simulated_policy(platform, manifests=(MANIFEST,)))
    for change in ({"role": "ledger"}, {"origin": "test.example"}, {"manifest_digest": OTHER_MANIFEST}):
        with pytest.raises(VerificationError) as caught:
            verify_bundle(simulated(platform, core_of(policy, **change)), policy, NOW, {})
        assert caught.value.step == 9
    core = core_of(policy)
    proven = serialize_bundle(
        Bundle(core, simulated_evidence(platform, MANIFEST, birth_report_data(core), MADE), b"proof of a test log")
    )
    with pytest.raises(EvidenceError, match="names none to check them against"):
        verify_bundle(proven, policy, NOW, {})
    bound = join_report_data(bytes(32), XWING.public_key, "worker", "ai.example", MANIFEST)
    joining = simulated_evidence(platform, MANIFEST, bound, NOW)
    verify_evidence(joining, policy, bound, NOW)
    others = [
        birth_report_data(core),
        join_report_data(bytes(32), XWING.public_key, "ledger", "ai.example", MANIFEST),
        join_report_data(bytes(32), XWING.public_key, "worker", "test.example", MANIFEST),
    ]
    for other in others:
        with pytest.raises(EvidenceError) as refused:
            verify_evidence(joining, policy, other, NOW)
        assert refused.value.step == 6


def test_wapi_21_what_dates_a_core_and_what_revokes_expires(platform: SimulatedPlatform, amd: Amd) -> None:
    policy = policy_of(simulated_policy(platform, manifests=(MANIFEST,)))
    old = core_of(policy, checkpoint=unlogged_checkpoint(NOW - 1800))
    with pytest.raises(PolicyError, match="older than") as caught:  # though the report is of a moment ago
        verify_bundle(simulated(platform, old), policy, NOW, {})
    assert caught.value.step == 7
    refuse(amd, amd.body(crls=[amd.crl(end=NOW)]), 4, "revocation list is valid from")
    refuse(amd, amd.body(crls=[]), 4, "revocation list is missing")


def test_wapi_23_each_corrupted_artifact_stops_the_launch(platform: SimulatedPlatform, tmp_path: Path) -> None:
    config = configured(platform, tmp_path)
    good = render_manifest(manifest_of(config))
    manifest = tmp_path / "worker.manifest"
    manifest.write_text(good)
    measure_launch(config)
    for file in Path(config.launch.model).iterdir():
        before = file.read_bytes()
        file.write_bytes(before + b"!")
        with pytest.raises(ConfigError, match=file.name):
            measure_launch(config)
        file.write_bytes(before)
    for text, why in ((good.replace('"length":1', '"length":2', 1), "edited or damaged"), (good[:-5], "no manifest")):
        manifest.write_text(text)
        with pytest.raises(ConfigError, match=why):
            measure_launch(config)
    manifest.unlink()
    with pytest.raises(ConfigError, match="cannot read the manifest"):
        measure_launch(config)


def test_wapi_23_a_worker_that_fails_its_check_never_serves(platform: SimulatedPlatform, tmp_path: Path) -> None:
    config = configured(platform, tmp_path)
    (tmp_path / "worker.manifest").write_text(render_manifest(manifest_of(config)))
    (tmp_path / "model" / "model.onnx").write_text("another")
    root = config.measured.policy.simulated.roots[0]  # type: ignore[union-attr]
    encoded = msgspec.json.encode(root).decode()
    (tmp_path / "worker.toml").write_text(
        f'[measured]\norigin = "ai.example"\nt0 = {SLOTS.t0}\nperiod_seconds = 600\n'
        f'[measured.policy]\npurpose = "demonstration"\n[measured.policy.simulated]\nroots = [{encoded}]\n'
        f'[launch]\nmodel = "{tmp_path}/model"\nmanifest = "{tmp_path}/worker.manifest"\n'
        f'[launch.attestation]\nformat = "simulated"\nplatform = "{tmp_path}/platform"\n'
    )
    command = [sys.executable, "-m", "inference", "--config", str(tmp_path / "worker.toml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    assert "does not hold the software of the manifest" in done.stderr
    assert "model/model.onnx" in done.stderr
    assert '"ready"' not in done.stderr


def test_wapi_28_a_gpu_is_not_believed_for_being_there(trusted_amd: Amd) -> None:
    table = replace_fields(TABLE, chips=(trusted_amd.hwid.hex(),))
    document = convert_policy_document(
        {
            "purpose": "demonstration",
            "manifests": [MANIFEST.hex()],
            "sev-snp": msgspec.to_builtins(table),
            "nvidia": {},
        }
    )
    policy = policy_of(document)
    core = core_of(policy)
    machine = UnverifiedEvidence(SEV_SNP, trusted_amd.attest(3, report_data=birth_report_data(core)))
    with pytest.raises(PolicyError, match='"nvidia" must come beside it'):
        verify_bundle(bundle_of(core, machine), policy, NOW, {})
    with pytest.raises(EvidenceError, match="nvidia step 1"):
        verify_bundle(bundle_of(core, machine, UnverifiedEvidence(NVIDIA, b"cc mode on")), policy, NOW, {})
    without = policy_of(replace_fields(document, nvidia=None))
    core = core_of(without)
    machine = UnverifiedEvidence(SEV_SNP, trusted_amd.attest(3, report_data=birth_report_data(core)))
    assert verify_bundle(bundle_of(core, machine), without, NOW, {}).formats == (SEV_SNP,)
    with pytest.raises(PolicyError, match="nothing here would judge it"):
        verify_bundle(bundle_of(core, machine, UnverifiedEvidence(NVIDIA, b"cc mode on")), without, NOW, {})


def test_wapi_x1_certificates_that_live_for_years_trust_no_key_for_longer_than_its_slot(
    platform: SimulatedPlatform,
) -> None:
    document = simulated_policy(platform, manifests=(MANIFEST,))
    policy = policy_of(document)
    assert policy.max_evidence_age_seconds == 3 * SLOTS.period_seconds
    pool = verify_bundle(simulated(platform, core_of(policy)), policy, NOW, {})
    assert pool.expires_at == SLOTS.end(EPOCH)
    short = policy_of(replace_fields(document, max_age_seconds=60))
    assert verify_bundle(simulated(platform, core_of(short)), short, NOW, {}).expires_at == MADE + 60


def test_wapi_x2_chips_before_genoa_are_refused_unless_a_policy_names_them() -> None:
    milan = Amd("milan")
    floors = {"milan": SnpTcb(), "genoa": SnpTcb(), "turin": SnpTcb()}
    default = SnpTable(minimum_tcb=floors)  # type: ignore[arg-type]
    assert default.products == ("genoa", "turin")
    refuse(milan, milan.attest(), 6, "the product is milan", default)
    check(milan, milan.attest(), replace_fields(default, products=("milan",)))
    refuse(milan, milan.attest(3, cpuid=bytes([0x19, 0x11, 1])), 6, "are not milan's", default)


def test_wapi_x5_anybody_can_verify_kept_evidence_with_the_shipped_command(
    platform: SimulatedPlatform, tmp_path: Path
) -> None:
    policy = policy_of(simulated_policy(platform, manifests=(MANIFEST,)))
    (tmp_path / "policy.toml").write_text(render_policy_document(policy.document))
    at = datetime.datetime.fromtimestamp(NOW, datetime.UTC).isoformat()

    def show(bundle: bytes) -> subprocess.CompletedProcess[str]:
        (tmp_path / "bundle").write_bytes(bundle)
        arguments = [
            "evidence",
            "show",
            str(tmp_path / "bundle"),
            "--policy",
            str(tmp_path / "policy.toml"),
            "--at",
            at,
        ]
        command = [sys.executable, "-m", "seclude.client", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=30)

    good = simulated(platform, core_of(policy))
    done = show(good)
    assert done.returncode == 0, done.stderr
    assert MANIFEST.hex() in done.stdout
    assert show(good[:-5] + bytes([good[-5] ^ 1]) + good[-4:]).returncode != 0
