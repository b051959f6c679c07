"""Policies as text: what is written is read back, what a kind cannot express is said, and the docs name every key."""

import re
import tomllib

import pytest
from msgspec.structs import replace as replace_fields

from seclude.attestation.accept import NitroTable, NvidiaTable, SimulatedTable, SnpTable, SnpTcb, TdxTable, TpmTable
from seclude.attestation.policy import Demonstration, PolicyDocument, Production, problems
from seclude.attestation.policytext import convert_policy_document, parse_policy_document, render_policy_document
from seclude.errors import ConfigError
from tests.attestation.test_joinpolicy import OURS
from tests.attestation.test_policy import GOOD, PRODUCTION
from tests.running import ROOT

EXAMPLE = ROOT / "deploy" / "policy.production.toml"
DOCS = ROOT / "docs" / "policy.md"
TEXT = render_policy_document(PRODUCTION)


@pytest.mark.parametrize("name", GOOD)
def test_what_is_written_is_read_back(name: str) -> None:
    document = GOOD[name]
    assert parse_policy_document(render_policy_document(document)) == document


@pytest.mark.parametrize("name", GOOD)
def test_a_policy_can_be_a_table_of_another_file(name: str) -> None:
    text = f'origin = "ai.example"\n\n{render_policy_document(GOOD[name], "measured.policy")}'
    tables = tomllib.loads(text)
    assert tables["origin"] == "ai.example"
    assert convert_policy_document(tables["measured"]["policy"]) == GOOD[name]


def test_every_key_of_every_table_is_written_and_read() -> None:
    """The tables hold values unlike the defaults, so a key that is lost shows."""
    document: PolicyDocument = Demonstration(
        **{name.replace("-", "_"): table for name, table in OURS.items()},  # type: ignore[arg-type]
        max_age_seconds=7,
        clock_skew_seconds=8,
        manifests=("ab" * 32,),
        role="ledger",
    )
    assert parse_policy_document(render_policy_document(document)) == document


def test_a_format_without_keys_is_written_too() -> None:
    """Left out, a policy that wants a GPU beside the platform would read back as one that does not."""
    text = render_policy_document(replace_fields(PRODUCTION, nvidia=NvidiaTable()))
    assert "[nvidia]" in text.splitlines()
    assert list(parse_policy_document(text).additions()) == ["tpm", "nvidia"]


@pytest.mark.parametrize("table", ["[simulated]", '[simulated]\nroots = ["AAAA"]', "simulated = 1"])
def test_a_production_policy_that_names_simulated_hardware_is_told_so(table: str) -> None:
    with pytest.raises(
        ConfigError, match=r"production policy cannot accept SIMULATED evidence; take \[simulated\] out"
    ):
        parse_policy_document(f'purpose = "production"\n{table}\n')


@pytest.mark.parametrize("purpose", ["", 'purpose = "testing"', "purpose = 1", "purpose = []", "purpose = 2026-01-01"])
def test_a_policy_without_one_of_the_two_purposes_is_refused(purpose: str) -> None:
    with pytest.raises(ConfigError, match=r"^policy: .*purpose"):
        parse_policy_document(f'{purpose}\nrole = "worker"\n')


@pytest.mark.parametrize(
    ("line", "instead", "named"),
    [
        ('role = "worker"', "role = 1", "role"),
        ('role = "worker"', 'rule = "worker"', "rule"),
        ("clock_skew_seconds = 30", "clock_skew_seconds = 301", "clock_skew_seconds"),
        ("clock_skew_seconds = 30", "clock_skew_seconds = 30.5", "clock_skew_seconds"),
        ("[sev-snp]", "[sev_snp]", "sev"),
        ('smt = "allow"', 'smt = "alow"', "smt"),
        ('smt = "allow"', "smt = true", "smt"),
        ('smt = "allow"', 'smt = "allow"\ndebug = "allow"', "debug"),
        ('products = ["genoa"]', 'products = ["rome"]', "products"),
        ('statuses = ["UpToDate"]', 'statuses = ["Revoked"]', "statuses"),
        ("[tpm]\n", "[tpm]\npcr = {}\n", "pcr"),
    ],
)
def test_a_wrong_value_is_refused_by_name(line: str, instead: str, named: str) -> None:
    assert line in TEXT
    with pytest.raises(ConfigError, match=f"^policy: .*{named}"):
        parse_policy_document(TEXT.replace(line, instead, 1))


@pytest.mark.parametrize("text", ["purpose", "a = 1\na = 2", "\x00", "[policy", 'purpose = "production'])
def test_a_text_that_is_no_toml_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="policy is not TOML"):
        parse_policy_document(text)


def test_a_text_that_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(ConfigError, match="nested too deeply"):
        parse_policy_document("a = " + "[" * 100_000)


@pytest.mark.parametrize("tables", [None, 1, "production", [], {"policy": {"purpose": "production"}}])
def test_what_is_no_table_of_a_policy_is_refused(tables: object) -> None:
    with pytest.raises(ConfigError, match=r"^policy: "):
        convert_policy_document(tables)


# The example of a production policy.


def test_the_example_is_a_complete_production_policy() -> None:
    document = parse_policy_document(EXAMPLE.read_text())
    assert isinstance(document, Production)
    assert list(problems(document)) == []
    assert (list(document.platforms()), list(document.additions())) == (["sev-snp", "tdx", "nitro"], ["tpm"])
    assert parse_policy_document(render_policy_document(document)) == document


def test_the_example_shows_every_key_that_a_production_policy_has() -> None:
    text = EXAMPLE.read_text()
    for name, table in OURS.items():
        if name != "simulated":
            shown = text.partition(f"[{name}]\n")[2].partition("\n[")[0] if f"\n[{name}]\n" in text else text
            missing = [key for key in table.__struct_fields__ if not re.search(rf"(?m)^(# )?{key} = ", shown)]
            assert [key for key in missing if f"[{name}.{key}" not in text] == []
    for key in Production.__struct_fields__[:4]:
        assert re.search(rf"(?m)^(# )?{key} = ", text)


def test_what_the_example_comments_out_are_the_defaults() -> None:
    text = EXAMPLE.read_text()
    shown = re.sub(r"(?m)^# (?=[a-z_0-9]+ = )", "", text)
    assert shown.count("\n# ") < text.count("\n# ") - 10
    assert parse_policy_document(shown) == parse_policy_document(text)


# The documentation.


def documented(heading: str) -> list[str]:
    """Return the keys in the table of a section of docs/policy.md."""
    (section,) = re.findall(rf"(?ms)^### {re.escape(heading)}$(.*?)(?=^##|\Z)", DOCS.read_text())
    return re.findall(r"(?m)^\| `([a-z_0-9]+)` \|", section)


@pytest.mark.parametrize("name", OURS)
def test_the_documentation_names_the_keys_of_a_table_and_no_others(name: str) -> None:
    assert documented(f"`[{name}]`") == list(OURS[name].__struct_fields__)


def test_the_documentation_names_the_keys_of_the_whole_and_of_levels() -> None:
    tables = {name.replace("-", "_") for name in OURS}
    keys = ["purpose", *(key for key in Demonstration.__struct_fields__ if key not in tables)]
    assert documented("The policy itself") == keys
    assert documented("`[sev-snp.minimum_tcb.PRODUCT]`") == list(SnpTcb.__struct_fields__)


def test_the_documentation_states_the_defaults() -> None:
    """An empty list is said in words, since what it means differs from key to key."""
    rows = dict(re.findall(r"(?m)^\| `([a-z_0-9]+)` \| ([^|]*) \|", DOCS.read_text()))
    for table in (Demonstration, SnpTable, SnpTcb, TdxTable, NitroTable, TpmTable, SimulatedTable):
        defaults = table.__struct_defaults__
        for field, default in zip(table.__struct_fields__[-len(defaults) :], defaults, strict=True):
            match default:
                case int():
                    assert rows[field] == str(default)
                case str():
                    assert rows[field] == f"`{default}`"
                case (_, *_):
                    assert rows[field] == ", ".join(f"`{each}`" for each in default)


def test_the_example_in_the_documentation_is_a_policy() -> None:
    (text,) = re.findall(r"(?ms)^```toml\n(.*?)^```", DOCS.read_text())
    document = parse_policy_document(text)
    assert isinstance(document, Production)
    assert list(problems(document)) == []
