"""Policies: the two kinds, what neither can say, and none that accepts nothing or anything."""

from dataclasses import replace

import msgspec
import pytest
from msgspec.structs import replace as replace_fields

from seclude.attestation.accept import (
    MAX_LIST,
    MAX_ROOT,
    Bit,
    NitroTable,
    NvidiaTable,
    SimulatedTable,
    SnpTable,
    SnpTcb,
    Table,
    TdxTable,
    TpmTable,
)
from seclude.attestation.policy import (
    MAX_AGE_SECONDS,
    MAX_SKEW_SECONDS,
    Demonstration,
    Document,
    Policy,
    PolicyDocument,
    Production,
    problems,
)
from seclude.attestation.slots import Slots
from seclude.errors import ConfigError
from seclude.tlog.keys import COSIGNATURE_ED25519, ED25519, VerifierKey
from seclude.tlog.quorum import parse_quorum
from tests.attestation.test_verify import HARDWARE
from tests.attestation.test_verify import ROOT as SIMULATED_ROOT
from tests.ledgers import LedgerHere

MANIFEST, OTHER = bytes(range(32)), bytes(32)
IMAGE, CHIP, PPID = "ab" * 48, "cd" * 64, "ef" * 16
TPM_ROOT = HARDWARE.certificate(root=True, name="authority of TPMs")

SNP = SnpTable(
    products=("genoa",), minimum_tcb={"genoa": SnpTcb(snp=23, microcode=84)}, measurements=(IMAGE,), chips=(CHIP,)
)
TDX = TdxTable(measurements=(IMAGE,), chips=(PPID,))
NITRO = NitroTable(measurements=(IMAGE,))
TPM = TpmTable(roots=(TPM_ROOT,))
SIMULATED = SimulatedTable(roots=(SIMULATED_ROOT,), minimum_firmware=2)
LEDGER = LedgerHere().table()
PRODUCTION = Production(manifests=(MANIFEST.hex(),), ledger=LEDGER, sev_snp=SNP, tdx=TDX, nitro=NITRO, tpm=TPM)
UNLOGGED = Demonstration(manifests=(MANIFEST.hex(),), sev_snp=SNP, tdx=TDX, nitro=NITRO, tpm=TPM)
DEMONSTRATION = Demonstration(manifests=(MANIFEST.hex(),), max_age_seconds=1800, simulated=SIMULATED)
POLICY = Policy(origin="ai.example", slots=Slots(1000, 600), document=DEMONSTRATION)

# Documents that a device may pin.
GOOD: dict[str, PolicyDocument] = {
    "production, everything": PRODUCTION,
    "production, sev-snp": Production(ledger=LEDGER, sev_snp=SNP),
    "production, tdx and a GPU": Production(manifests=(MANIFEST.hex(),), ledger=LEDGER, tdx=TDX, nvidia=NvidiaTable()),
    "production, nitro": Production(ledger=LEDGER, nitro=NitroTable()),
    "production, chips and images by the ledger": Production(ledger=LEDGER, tdx=TdxTable()),
    "demonstration, simulated": DEMONSTRATION,
    "demonstration, tpm alone": Demonstration(manifests=(MANIFEST.hex(),), tpm=TPM),
    "demonstration, any chip": Demonstration(manifests=(MANIFEST.hex(),), tdx=replace_fields(TDX, chips=())),
}


def find(document: PolicyDocument, *, own: bool = False) -> list[str]:
    return list(problems(document, own=own))


@pytest.mark.parametrize("name", GOOD)
def test_a_complete_document_has_no_problems(name: str) -> None:
    assert find(GOOD[name]) == []
    assert Policy(origin="ai.example", slots=Slots(1000, 600), document=GOOD[name]).role == "worker"


def test_a_production_policy_has_no_place_for_simulated_evidence() -> None:
    assert not hasattr(PRODUCTION, "simulated")
    assert "simulated" not in Production.__struct_fields__
    with pytest.raises(TypeError, match="simulated"):
        Production(simulated=SIMULATED)  # type: ignore[call-arg]
    assert "simulated" not in PRODUCTION.platforms()


def test_the_two_kinds_are_two_types_and_neither_is_the_other() -> None:
    assert not issubclass(Production, Demonstration)
    assert not issubclass(Demonstration, Production)
    assert set(Demonstration.__struct_fields__) - set(Production.__struct_fields__) == {"simulated"}
    assert set(Production.__struct_fields__) == set(Document.__struct_fields__)


ALONE = "no platform is accepted; add [sev-snp], [tdx] or [nitro]."


def test_a_tpm_alone_is_no_production_policy() -> None:
    document = Production(ledger=LEDGER, tpm=TPM)
    assert find(document) == [f"{ALONE} TPM evidence alone is not enough: a TPM encrypts no memory."]
    assert find(document, own=True) == find(document)
    with pytest.raises(ConfigError, match="a TPM encrypts no memory"):
        Policy(origin="ai.example", slots=Slots(1000, 600), document=document)


def test_a_tpm_alone_may_be_demonstrated() -> None:
    document = Demonstration(manifests=(MANIFEST.hex(),), tpm=TPM)
    assert (document.platforms(), document.additions()) == ({"tpm": TPM}, {})


def test_a_tpm_beside_a_platform_is_an_addition_and_no_platform() -> None:
    for document in (
        PRODUCTION,
        Demonstration(tpm=TPM, simulated=SIMULATED),
        Demonstration(tpm=TPM, tdx=TDX),
    ):
        assert "tpm" not in document.platforms()
        assert document.additions() == {"tpm": TPM}


def test_a_gpu_is_never_a_platform() -> None:
    for kind in (Production, Demonstration):
        document = kind(manifests=(MANIFEST.hex(),), ledger=LEDGER, nvidia=NvidiaTable())
        assert document.platforms() == {}
        assert list(document.additions()) == ["nvidia"]
        assert find(document) == [ALONE]


@pytest.mark.parametrize("kind", [Production, Demonstration])
def test_a_policy_without_a_platform_accepts_nothing(kind: type[Production | Demonstration]) -> None:
    assert find(kind(manifests=(MANIFEST.hex(),), ledger=LEDGER)) == [ALONE]


@pytest.mark.parametrize("table", [SnpTable, TdxTable, NitroTable, TpmTable, NvidiaTable, SimulatedTable])
def test_no_table_has_a_key_for_debug_or_for_what_must_never_vary(table: type[Table]) -> None:
    for word in ("debug", "migrat", "vlek", "insecure", "skip"):
        assert not [field for field in table.__struct_fields__ if word in field]


# Lists that may not be empty. What only `problems` knows is here; the others are in `WRONG_TABLES`.
CHIPS = "chips is empty: a key taken from any chip in the world would be believed"
NO_MANIFESTS = "manifests is empty: name the software that is accepted, or a [ledger] that does"
NO_LEDGER = "[ledger] is missing: software and keys that only one person is shown would be believed"
EMPTY: list[tuple[PolicyDocument, str]] = [
    (replace_fields(UNLOGGED, manifests=()), NO_MANIFESTS),
    (replace_fields(DEMONSTRATION, manifests=()), NO_MANIFESTS),
    (replace_fields(PRODUCTION, ledger=None), NO_LEDGER),
    (
        replace_fields(UNLOGGED, sev_snp=replace_fields(SNP, measurements=())),
        "sev-snp.measurements is empty: name the images that are accepted",
    ),
    (
        replace_fields(UNLOGGED, tdx=replace_fields(TDX, measurements=())),
        "tdx.measurements is empty: name the images that are accepted",
    ),
    (
        replace_fields(UNLOGGED, nitro=NitroTable()),
        "nitro.measurements is empty: name the images that are accepted",
    ),
    (
        Demonstration(manifests=(MANIFEST.hex(),), nitro=NitroTable()),
        "nitro.measurements is empty: name the images that are accepted",
    ),
    (
        replace_fields(PRODUCTION, sev_snp=replace_fields(SNP, products=("genoa", "turin"))),
        "sev-snp.minimum_tcb has no level for turin: old firmware would be believed",
    ),
    (
        replace_fields(PRODUCTION, sev_snp=replace_fields(SNP, minimum_tcb={})),
        "sev-snp.minimum_tcb has no level for genoa: old firmware would be believed",
    ),
    (
        replace_fields(PRODUCTION, sev_snp=replace_fields(SNP, minimum_tcb={"genoa": SnpTcb()})),
        "sev-snp.minimum_tcb has no level for genoa: old firmware would be believed",
    ),
]
MEANINGLESS: list[tuple[PolicyDocument, str]] = [
    (
        replace_fields(PRODUCTION, sev_snp=replace_fields(SNP, chips=("ab" * 32,))),
        "sev-snp.chips must have 64 octets, or 8 on Turin",
    ),
    (
        replace_fields(PRODUCTION, tdx=replace_fields(TDX, chips=("ab" * 64,))),
        "tdx.chips must have 16 octets, a PPID's",
    ),
    (
        replace_fields(PRODUCTION, tpm=replace_fields(TPM, pcrs={"8": "00" * 32})),
        "tpm.pcrs has a key that no quote covers: '8'; those are 0 to 7 and 14",
    ),
]


@pytest.mark.parametrize(("document", "message"), MEANINGLESS)
def test_what_no_evidence_could_ever_meet_is_said(document: PolicyDocument, message: str) -> None:
    assert find(document) == [message]


@pytest.mark.parametrize(("document", "message"), EMPTY)
def test_what_is_left_empty_is_said_alone_and_by_its_key(document: PolicyDocument, message: str) -> None:
    assert find(document) == [message]


def test_a_production_policy_without_a_ledger_would_have_to_name_its_chips_too() -> None:
    document = replace_fields(
        PRODUCTION, ledger=None, sev_snp=replace_fields(SNP, chips=()), tdx=replace_fields(TDX, chips=())
    )
    assert find(document) == [NO_LEDGER, f"sev-snp.{CHIPS}", f"tdx.{CHIPS}"]
    assert find(document, own=True) == find(document)


OTHER_LEDGER = LedgerHere()
WITNESS = parse_quorum(LEDGER.witnesses).witnesses[0].key
WRONG_LEDGERS: dict[str, dict[str, object]] = {
    "keys_log: verifier key": {"keys_log": "log.example"},
    "state_log: ": {"state_log": LEDGER.state_log + "A"},
    "publishers[1]: ": {"publishers": (LEDGER.publishers[0], "nobody")},
    "both logs have one name": {"state_log": LEDGER.keys_log},
    "publishers sign notes": {"publishers": (LEDGER.publishers[0], str(OTHER_LEDGER.witness_keys[0].verifier))},
    "name 2 or more, each once": {"publishers": (LEDGER.publishers[0], LEDGER.publishers[0])},
    "name 2 or more": {"publishers": LEDGER.publishers[:1]},
    "witnesses: policy, line 1": {"witnesses": "witness w0"},
    "2k > n": {"witnesses": LedgerHere(witnesses=4).quorum_text()},
    "could each cosign another tree": {"witnesses": "quorum none"},
    "is no log's": {"keys_log": str(VerifierKey("log.example/keys", COSIGNATURE_ED25519, bytes(32)))},
    "keys_log: the key of log.example/keys is also a witness's": {
        "keys_log": str(VerifierKey("log.example/keys", ED25519, WITNESS.public_key))
    },
    "state_log: the key of log.example/state is also a witness's": {
        "state_log": str(VerifierKey("log.example/state", ED25519, WITNESS.public_key))
    },
    "take out the lines `log`": {"witnesses": f"log {LEDGER.keys_log}\n{LEDGER.witnesses}"},
}


@pytest.mark.parametrize("words", WRONG_LEDGERS)
def test_a_ledger_that_cannot_be_read_or_could_show_two_trees_is_refused(words: str) -> None:
    table = replace_fields(LEDGER, **WRONG_LEDGERS[words])
    for kind in (PRODUCTION, DEMONSTRATION):
        (problem,) = find(replace_fields(kind, ledger=table))
        assert problem.startswith("ledger")
        assert words in problem


def test_every_problem_is_found_at_once() -> None:
    document = Production(sev_snp=SnpTable(minimum_tcb={}), tdx=TdxTable(), tpm=TpmTable(roots=(b"junk",)))
    assert [problem.split()[0] for problem in find(document)] == [
        "[ledger]",
        "manifests",
        "sev-snp.measurements",
        "sev-snp.chips",
        "tdx.measurements",
        "tdx.chips",
        "sev-snp.minimum_tcb",
        "sev-snp.minimum_tcb",
        "tpm.roots[0]:",
    ]


def test_a_worker_leaves_out_measurements_and_nothing_else() -> None:
    bare = replace_fields(
        UNLOGGED,
        manifests=(),
        sev_snp=replace_fields(SNP, measurements=()),
        tdx=replace_fields(TDX, measurements=()),
        nitro=NitroTable(),
    )
    assert len(find(bare)) == 4
    assert find(bare, own=True) == []


def test_a_root_is_a_certificate() -> None:
    roots = (TPM_ROOT, TPM_ROOT + b"\0", b"junk")
    assert find(replace_fields(PRODUCTION, tpm=TpmTable(roots=roots))) == [
        "tpm.roots[1]: the root certificate is not a certificate",
        "tpm.roots[2]: the root certificate is not a certificate",
    ]


def test_a_simulated_root_says_so_in_its_name() -> None:
    document = replace_fields(DEMONSTRATION, simulated=SimulatedTable(roots=(SIMULATED_ROOT, TPM_ROOT, b"junk")))
    assert find(document) == [
        'simulated.roots[1]: a pinned simulated root is not a self-signed "Seclude SIMULATED attestation root"',
        "simulated.roots[2]: a pinned simulated root is not a well-formed root certificate",
    ]


def test_a_policy_of_a_role_or_an_origin_that_has_no_encoding_cannot_be_made() -> None:
    with pytest.raises(ConfigError, match="policy: role"):
        replace(POLICY, document=replace_fields(DEMONSTRATION, role="Worker"))
    with pytest.raises(ConfigError, match="policy: origin"):
        replace(POLICY, origin="https://ai.example")
    with pytest.raises(ConfigError, match="policy: no platform is accepted"):
        replace(POLICY, document=Demonstration())


# Types and ranges, as they are checked when a policy is read.
Value = dict[str, object]
SNP_TABLE: Value = {"minimum_tcb": {"genoa": {}, "turin": {}}}
WRONG_TABLES: list[tuple[str, Value, str]] = [
    ("sev-snp", SNP_TABLE | {"products": []}, "products"),
    ("sev-snp", SNP_TABLE | {"products": ["rome"]}, "products"),
    ("sev-snp", {}, "minimum_tcb"),
    ("sev-snp", {"minimum_tcb": {"rome": {}}}, "minimum_tcb"),
    ("sev-snp", {"minimum_tcb": {"genoa": {"snp": 256}}}, "minimum_tcb"),
    ("sev-snp", {"minimum_tcb": {"genoa": {"snp": -1}}}, "minimum_tcb"),
    ("sev-snp", {"minimum_tcb": {"genoa": {"kernel": 1}}}, "kernel"),
    ("sev-snp", SNP_TABLE | {"vmpl": 4}, "vmpl"),
    ("sev-snp", SNP_TABLE | {"minimum_guest_svn": 1 << 32}, "minimum_guest_svn"),
    ("sev-snp", SNP_TABLE | {"smt": "maybe"}, "smt"),
    ("sev-snp", SNP_TABLE | {"smt": True}, "smt"),
    ("sev-snp", SNP_TABLE | {"debug": "allow"}, "debug"),
    ("sev-snp", SNP_TABLE | {"measurements": ["ab" * 32]}, "measurements"),
    ("sev-snp", SNP_TABLE | {"measurements": ["AB" * 48]}, "measurements"),
    ("sev-snp", SNP_TABLE | {"measurements": [IMAGE + "\n"]}, "measurements"),
    ("sev-snp", SNP_TABLE | {"measurements": [IMAGE] * (MAX_LIST + 1)}, "measurements"),
    ("sev-snp", SNP_TABLE | {"chips": [""]}, "chips"),
    ("sev-snp", SNP_TABLE | {"chips": ["abc"]}, "chips"),
    ("sev-snp", SNP_TABLE | {"chips": ["ab" * 65]}, "chips"),
    ("tdx", {"statuses": []}, "statuses"),
    ("tdx", {"statuses": ["OutOfDate"]}, "statuses"),
    ("tdx", {"statuses": ["Revoked"]}, "statuses"),
    ("tdx", {"minimum_tcb_evaluation": -1}, "minimum_tcb_evaluation"),
    ("tdx", {"debug": "allow"}, "debug"),
    ("nitro", {"parents": ["ab" * 32]}, "parents"),
    ("nitro", {"chips": [CHIP]}, "chips"),
    ("tpm", {}, "roots"),
    ("tpm", {"roots": []}, "roots"),
    ("tpm", {"roots": [""]}, "roots"),
    ("tpm", {"roots": ["not base64!"]}, "base64"),
    ("tpm", {"roots": ["AAAA"] * 9}, "roots"),
    ("tpm", {"roots": ["AAAA"], "pcrs": {"0": "ab"}}, "pcrs"),
    ("tpm", {"roots": ["AAAA"], "keys": ["ab"]}, "keys"),
    ("nvidia", {"cc_mode": "require"}, "cc_mode"),
    ("simulated", {}, "roots"),
    ("simulated", {"roots": []}, "roots"),
    ("simulated", {"roots": ["AAAA" * (MAX_ROOT // 3 + 1)]}, "roots"),
    ("simulated", {"roots": ["AAAA"], "minimum_firmware": -1}, "minimum_firmware"),
]
WRONG: list[tuple[Value, str]] = [
    ({}, "purpose"),
    ({"purpose": "testing"}, "purpose"),
    ({"purpose": "demonstration", "manifests": ["ab" * 31]}, "manifests"),
    ({"purpose": "demonstration", "manifests": ["AB" * 32]}, "manifests"),
    ({"purpose": "demonstration", "max_age_seconds": 0}, "max_age_seconds"),
    ({"purpose": "demonstration", "max_age_seconds": MAX_AGE_SECONDS + 1}, "max_age_seconds"),
    ({"purpose": "demonstration", "clock_skew_seconds": -1}, "clock_skew_seconds"),
    ({"purpose": "demonstration", "clock_skew_seconds": MAX_SKEW_SECONDS + 1}, "clock_skew_seconds"),
    ({"purpose": "demonstration", "sev_snp": SNP_TABLE}, "sev_snp"),
    ({"purpose": "demonstration", "simulated_roots": ["AAAA"]}, "simulated_roots"),
]


@pytest.mark.parametrize(
    ("tables", "named"),
    [*WRONG, *(({"purpose": "demonstration", name: table}, named) for name, table, named in WRONG_TABLES)],
)
def test_a_wrong_value_is_refused_by_name(tables: Value, named: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=named):
        msgspec.convert(tables, PolicyDocument)


def test_a_measurement_may_be_named_as_often_as_the_limit_allows() -> None:
    tables = {"purpose": "demonstration", "nitro": {"measurements": [IMAGE] * MAX_LIST}}
    assert len(msgspec.convert(tables, Demonstration).platforms()) == 1


def test_the_defaults_are_the_strict_ones_where_machines_can_meet_them() -> None:
    table = msgspec.convert(SNP_TABLE, SnpTable)
    assert table.products == ("genoa", "turin")  # Milan's root seed was extracted
    assert (table.vmpl, table.cxl) == (0, Bit.FORBID)
    tdx = TdxTable()
    assert (tdx.statuses, tdx.sept_ve_disable) == (("UpToDate",), Bit.REQUIRE)
    assert {tdx.perfmon, tdx.pks, tdx.key_locker} == {Bit.FORBID}


# A document in its place and time.


def test_a_policy_is_of_its_document() -> None:
    assert POLICY.role == "worker"
    assert POLICY.manifests == {MANIFEST}
    assert POLICY.max_evidence_age_seconds == 1800
    assert POLICY.clock_skew_seconds == 30


def test_evidence_may_be_as_old_as_a_key_lives_unless_said_otherwise() -> None:
    document = replace_fields(DEMONSTRATION, max_age_seconds=None)
    assert replace(POLICY, document=document, slots=Slots(1000, 700)).max_evidence_age_seconds == 2100


def test_a_worker_accepts_its_own_manifest_and_no_other() -> None:
    many = replace(POLICY, document=replace_fields(DEMONSTRATION, manifests=(MANIFEST.hex(), OTHER.hex())))
    assert many.manifests == {MANIFEST, OTHER}
    assert many.for_measurement(OTHER).manifests == {OTHER}
    with pytest.raises(ConfigError, match="SHA-256"):
        many.for_measurement(b"short")


def test_a_worker_must_be_able_to_verify_keys_for_as_long_as_they_live() -> None:
    short = replace(POLICY, document=replace_fields(DEMONSTRATION, max_age_seconds=1799))
    with pytest.raises(ConfigError, match="3 periods"):
        short.for_measurement(MANIFEST)


def test_a_worker_accepts_the_image_that_it_runs_from_and_no_other() -> None:
    """Not even one that its configuration names: a join policy shows no measurements, so no device would see it."""
    policy = Policy(origin="ai.example", slots=Slots(1000, 600), document=PRODUCTION)
    assert policy.for_launch({"sev-snp": bytes(48)}).launched == {"sev-snp": bytes(48)}
    launched = policy.for_launch({"sev-snp": bytes(48)}).document
    assert launched.sev_snp == replace_fields(SNP, measurements=("00" * 48,))
    assert launched.nitro == NitroTable()
    assert launched.tdx == replace_fields(TDX, measurements=())
    assert (launched.tpm, launched.manifests) == (TPM, PRODUCTION.manifests)


def test_an_image_of_a_format_that_is_no_platform_of_the_policy_is_not_accepted() -> None:
    policy = Policy(origin="ai.example", slots=Slots(1000, 600), document=Production(ledger=LEDGER, tdx=TdxTable()))
    assert policy.for_launch({"sev-snp": bytes(48)}) == policy


def test_formats_that_measure_the_manifest_have_no_images() -> None:
    assert POLICY.for_launch({}) == POLICY
    assert POLICY.launched == {}
