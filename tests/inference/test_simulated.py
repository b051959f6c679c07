"""The simulated platform: files that are made once, kept private, and refused when they do not fit."""

from pathlib import Path

import pytest

from bench.simulated import SimulatedHere, simulated_evidence, simulated_policy
from inference.producers.simulated import (
    KEY_FILE,
    PLATFORM_FILE,
    ROOT_FILE,
    SimulatedPlatform,
    SimulatedProducer,
    create_simulated_platform,
)
from seclude.attestation.evidence import SIMULATED, UnverifiedEvidence, serialize_evidence
from seclude.attestation.judge import verify_evidence
from seclude.attestation.policy import Policy
from seclude.attestation.slots import Slots
from seclude.errors import ConfigError, EvidenceError

NOW = 1_700_000_000.0
MEASUREMENT = bytes(range(32))
DATA = bytes(range(64))
YEAR = 365 * 86_400


def policy(platform: SimulatedPlatform) -> Policy:
    document = simulated_policy(platform, manifests=(MEASUREMENT,))
    return Policy(origin="ai.example", slots=Slots(0, 600), document=document)


def test_what_a_loaded_platform_attests_is_verified(tmp_path: Path) -> None:
    created = create_simulated_platform(tmp_path / "new" / "platform", NOW)
    loaded = SimulatedPlatform.load(tmp_path / "new" / "platform")
    assert loaded.root == created.root
    evidence = simulated_evidence(loaded, MEASUREMENT, DATA, NOW)
    report = verify_evidence(evidence, policy(created), DATA, NOW).platform
    assert (report.format, report.measurement, report.bound) == (SIMULATED, MEASUREMENT, DATA)
    assert report.issued_at == int(NOW)
    assert report.measures_manifest


async def test_a_producer_and_one_inside_this_process_make_the_same_evidence(tmp_path: Path) -> None:
    platform = create_simulated_platform(tmp_path, NOW)
    producer = SimulatedProducer(platform, MEASUREMENT, lambda: NOW)
    made = serialize_evidence(UnverifiedEvidence(producer.format, producer.attest(DATA)))
    assert made == await SimulatedHere(platform, MEASUREMENT, lambda: NOW).attest(DATA)


def test_a_platform_certificate_lasts_a_year(tmp_path: Path) -> None:
    platform = create_simulated_platform(tmp_path, NOW)
    for later, passes in ((YEAR - 400, True), (YEAR, False)):
        evidence = simulated_evidence(platform, MEASUREMENT, DATA, NOW + later)
        if passes:
            assert verify_evidence(evidence, policy(platform), DATA, NOW + later)
        else:
            with pytest.raises(EvidenceError, match="platform certificate is valid from"):
                verify_evidence(evidence, policy(platform), DATA, NOW + later)


def test_the_key_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    create_simulated_platform(tmp_path, NOW)
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    (tmp_path / KEY_FILE).chmod(0o640)
    with pytest.raises(ConfigError, match="0600"):
        SimulatedPlatform.load(tmp_path)


def test_a_second_platform_does_not_replace_the_first(tmp_path: Path) -> None:
    create_simulated_platform(tmp_path, NOW)
    key = (tmp_path / KEY_FILE).read_bytes()
    with pytest.raises(ConfigError, match="already holds"):
        create_simulated_platform(tmp_path, NOW)
    assert (tmp_path / KEY_FILE).read_bytes() == key


@pytest.mark.parametrize("name", [ROOT_FILE, PLATFORM_FILE, KEY_FILE])
def test_a_missing_file_is_a_config_error(tmp_path: Path, name: str) -> None:
    create_simulated_platform(tmp_path, NOW)
    (tmp_path / name).unlink()
    with pytest.raises(ConfigError, match="create one first"):
        SimulatedPlatform.load(tmp_path)


@pytest.mark.parametrize("name", [PLATFORM_FILE, KEY_FILE])
def test_a_damaged_file_is_a_config_error(tmp_path: Path, name: str) -> None:
    create_simulated_platform(tmp_path, NOW)
    (tmp_path / name).write_bytes(b"damaged")
    with pytest.raises(ConfigError, match="damaged"):
        SimulatedPlatform.load(tmp_path)


def test_a_key_of_another_platform_is_a_config_error(tmp_path: Path) -> None:
    create_simulated_platform(tmp_path / "a", NOW)
    create_simulated_platform(tmp_path / "b", NOW)
    (tmp_path / "a" / KEY_FILE).write_bytes((tmp_path / "b" / KEY_FILE).read_bytes())
    with pytest.raises(ConfigError, match="not of one platform"):
        SimulatedPlatform.load(tmp_path / "a")


def test_a_platform_shows_no_secret(tmp_path: Path) -> None:
    assert repr(create_simulated_platform(tmp_path, NOW)) == "<SimulatedPlatform>"
