"""The trust file: read, written, and refused where it is not what it should be."""

import base64
from pathlib import Path

import msgspec
import pytest

from seclude.client.trust import EvidenceTable, SlotTable, Trust, load_trust, parse_trust, render_trust
from seclude.errors import ConfigError
from tests.running import ROOT

TRUST = Trust(
    origin="a.example",
    relays=("https://relay.example/.well-known/ohttp-gateway", "https://other.example"),
    slots=SlotTable(t0=1000, period_seconds=600),
    evidence=EvidenceTable(
        measurements=("ab" * 32, "cd" * 32),
        simulated_roots=(base64.b64encode(b"a certificate").decode(),),
        max_age_seconds=1800,
    ),
)


def test_what_is_written_is_read_back() -> None:
    assert parse_trust(render_trust(TRUST)) == TRUST


def test_a_gateway_is_written_where_there_is_one() -> None:
    trust = msgspec.structs.replace(TRUST, gateway="https://gateway.example/")
    assert parse_trust(render_trust(trust)) == trust
    assert "gateway =" not in render_trust(TRUST)


def test_the_file_says_that_the_hardware_is_simulated() -> None:
    assert "SIMULATED" in render_trust(TRUST).splitlines()[0]


def test_a_policy_pins_what_the_file_says() -> None:
    policy = TRUST.policy()
    assert policy.origin == "a.example"
    assert policy.measurements == {bytes.fromhex("ab" * 32), bytes.fromhex("cd" * 32)}
    assert policy.simulated_roots == (b"a certificate",)
    assert policy.slots.period_seconds == 600
    assert policy.max_evidence_age_seconds == 1800


@pytest.mark.parametrize(
    ("line", "instead", "named"),
    [
        ('origin = "a.example"', "", "origin"),
        ('origin = "a.example"', 'origin = ""', "origin"),
        ('origin = "a.example"', 'origin = "a.example"\nmeasurement = "x"', "measurement"),
        ('  "https://other', '  "ftp://other', "relays"),
        ('  "https://other.example",\n', '  "https://other.example",\n' * 8, "relays"),
        ("relays =", "relay =", "relay"),
        ('role = "worker"', 'role = "worker"\ngateway = "gateway.example"', "gateway"),
        ("t0 = 1000", "t0 = -1", "t0"),
        ("t0 = 1000", "t0 = 1000.5", "t0"),
        ("period_seconds = 600", "period_seconds = 0", "period_seconds"),
        ("[slots]", "[slot]", "slot"),
        ("minimum_firmware = 1", 'minimum_firmware = "1"', "minimum_firmware"),
    ],
)
def test_a_wrong_value_is_refused_by_name(line: str, instead: str, named: str) -> None:
    text = render_trust(TRUST)
    assert line in text
    with pytest.raises(ConfigError, match=named):
        parse_trust(text.replace(line, instead))


@pytest.mark.parametrize("list_name", ["relays", "measurements", "simulated_roots"])
def test_an_empty_list_is_refused(list_name: str) -> None:
    head, _, tail = render_trust(TRUST).partition(f"{list_name} = [")
    with pytest.raises(ConfigError, match=list_name):
        parse_trust(f"{head}{list_name} = [{tail[tail.index(']') :]}")


@pytest.mark.parametrize("digest", ["xy" * 32, "ab" * 31])
def test_a_malformed_measurement_is_refused(digest: str) -> None:
    trust = parse_trust(render_trust(TRUST).replace("ab" * 32, digest))
    with pytest.raises(ConfigError, match="measurements"):
        trust.policy()


def test_a_malformed_root_is_refused() -> None:
    trust = parse_trust(render_trust(TRUST).replace(TRUST.evidence.simulated_roots[0], "not base64!"))
    with pytest.raises(ConfigError, match="base64"):
        trust.policy()


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trust.toml"
    path.write_text("origin")
    with pytest.raises(ConfigError, match="not TOML"):
        load_trust(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not text"):
        load_trust(path)


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--trust"):
        load_trust(tmp_path / "none.toml")


def test_the_example_is_a_trust_file_once_a_root_stands_in_it() -> None:
    example = (ROOT / "deploy" / "trust.toml").read_text()
    with pytest.raises(ConfigError, match="simulated_roots must be base64"):
        parse_trust(example).policy()
    trust = parse_trust(example.replace("<base64 of root.der>", "AAAA"))
    assert trust.policy().max_evidence_age_seconds == 3 * trust.slots.period_seconds
