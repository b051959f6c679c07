"""The trust file: read, written, and refused where it is not what it should be."""

import base64
from pathlib import Path

import msgspec
import pytest

from seclude.attestation.accept import SimulatedTable
from seclude.attestation.policy import Demonstration, Production
from seclude.client.trust import MAX_TRUST_FILE, SlotTable, Trust, load_trust, parse_trust, render_trust
from seclude.errors import ConfigError
from tests.attestation.test_policy import PRODUCTION, TDX, UNLOGGED
from tests.attestation.test_verify import ROOT as SIMULATED_ROOT
from tests.running import ROOT

TRUST = Trust(
    origin="a.example",
    relays=("https://relay.example/.well-known/ohttp-gateway", "https://other.example"),
    slots=SlotTable(t0=1000, period_seconds=600),
    policy_document=Demonstration(
        manifests=("ab" * 32, "cd" * 32), max_age_seconds=1800, simulated=SimulatedTable(roots=(SIMULATED_ROOT,))
    ),
)
REAL = msgspec.structs.replace(TRUST, policy_document=PRODUCTION)


@pytest.mark.parametrize("trust", [TRUST, REAL], ids=["demonstration", "production"])
def test_what_is_written_is_read_back(trust: Trust) -> None:
    assert parse_trust(render_trust(trust)) == trust


def test_a_gateway_is_written_where_there_is_one() -> None:
    trust = msgspec.structs.replace(TRUST, gateway="https://gateway.example/")
    assert parse_trust(render_trust(trust)) == trust
    assert "gateway =" not in render_trust(TRUST)


def test_the_file_says_at_its_top_that_it_is_a_demonstration() -> None:
    assert "DEMONSTRATION" in render_trust(TRUST).splitlines()[0]
    assert "DEMONSTRATION" not in render_trust(REAL)


def test_a_policy_pins_what_the_file_says() -> None:
    policy = TRUST.policy()
    assert policy.origin == "a.example"
    assert policy.manifests == {bytes.fromhex("ab" * 32), bytes.fromhex("cd" * 32)}
    assert policy.document == TRUST.policy_document
    assert policy.slots.period_seconds == 600
    assert policy.max_evidence_age_seconds == 1800
    assert isinstance(REAL.policy().document, Production)


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
        ("[policy]", "[policies]", "policies|policy"),
        ('purpose = "demonstration"', "", "purpose"),
        ('purpose = "demonstration"', 'purpose = "testing"', "purpose"),
        ('purpose = "demonstration"', 'purpose = "production"', "cannot accept SIMULATED evidence"),
        ("[policy.simulated]", "[policy.evidence]", "evidence"),
    ],
)
def test_a_wrong_value_is_refused_by_name(line: str, instead: str, named: str) -> None:
    text = render_trust(TRUST)
    assert line in text
    with pytest.raises(ConfigError, match=named):
        parse_trust(text.replace(line, instead))


@pytest.mark.parametrize("list_name", ["relays", "manifests", "roots"])
def test_an_empty_list_is_refused(list_name: str) -> None:
    head, _, tail = render_trust(TRUST).partition(f"{list_name} = [")
    with pytest.raises(ConfigError, match=list_name):
        parse_trust(f"{head}{list_name} = [{tail[tail.index(']') :]}").policy()


@pytest.mark.parametrize("digest", ["xy" * 32, "ab" * 31, "AB" * 32])
def test_a_malformed_digest_is_refused(digest: str) -> None:
    with pytest.raises(ConfigError, match="manifests"):
        parse_trust(render_trust(TRUST).replace("ab" * 32, digest))


@pytest.mark.parametrize(("root", "words"), [("not base64!", "base64"), ("AAAA", r"simulated\.roots\[0\]")])
def test_a_malformed_root_is_refused(root: str, words: str) -> None:
    text = render_trust(TRUST).replace(base64.b64encode(SIMULATED_ROOT).decode(), root)
    with pytest.raises(ConfigError, match=words):
        parse_trust(text).policy()


def test_a_policy_that_would_accept_any_software_or_none_is_refused_when_it_is_used() -> None:
    bare = msgspec.structs.replace(TRUST, policy_document=Demonstration(manifests=("ab" * 32,)))
    with pytest.raises(ConfigError, match=r"^trust file: policy: no platform is accepted"):
        bare.policy()
    no_images = msgspec.structs.replace(TDX, measurements=())
    document = msgspec.structs.replace(UNLOGGED, tdx=no_images)
    with pytest.raises(ConfigError, match=r"^trust file: policy: tdx\.measurements is empty"):
        msgspec.structs.replace(TRUST, policy_document=document).policy()


def test_a_file_that_is_too_large_or_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trust.toml"
    path.write_text(render_trust(TRUST) + "#" * MAX_TRUST_FILE)
    with pytest.raises(ConfigError, match="larger than"):
        load_trust(path)
    path.write_text("origin = " + "[" * 100_000)
    with pytest.raises(ConfigError, match="nested too deeply"):
        load_trust(path)


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
    with pytest.raises(ConfigError, match="base64"):
        parse_trust(example)
    trust = parse_trust(example.replace("<base64 of root.der>", base64.b64encode(SIMULATED_ROOT).decode()))
    assert trust.policy().max_evidence_age_seconds == 3 * trust.slots.period_seconds
