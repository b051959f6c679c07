"""Join policies: one encoding, and none that lets in whom we would not.

For every key of every table there is a stricter value and a laxer one below. A test fails if a key has none, so a new
key cannot come without a decision on how two values of it compare.
"""

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

import pytest
from msgspec.structs import replace as replace_fields

from seclude.attestation.accept import (
    Bit,
    LedgerTable,
    NitroTable,
    NvidiaTable,
    SimulatedTable,
    SnpTable,
    SnpTcb,
    Table,
    TdxTable,
    TpmTable,
)
from seclude.attestation.bundle import MAX_JOIN_POLICY
from seclude.attestation.joinpolicy import (
    RULES,
    TABLES,
    parse_join_policy,
    serialize_join_policy,
    verify_join_policy,
)
from seclude.attestation.policy import Demonstration, Policy, PolicyDocument, Production
from seclude.attestation.slots import Slots
from seclude.errors import ConfigError, DecodeError, PolicyError
from tests.attestation.test_policy import CHIP, IMAGE, MANIFEST, PPID, TPM_ROOT
from tests.attestation.test_verify import HARDWARE, OTHER
from tests.attestation.test_verify import ROOT as SIMULATED_ROOT
from tests.ledgers import NOBODYS, LedgerHere

OTHER_ROOT = OTHER.certificate(root=True)
OTHER_TPM_ROOT = HARDWARE.certificate(root=True, name="another authority")
ONE, TWO = "11" * 48, "22" * 48
PCR = "33" * 32
ZERO = "00" * 32

# A table of each format that sets every key to something between its extremes.
SNP = SnpTable(
    products=("genoa", "turin"),
    minimum_tcb={
        "milan": SnpTcb(),  # a floor for a product that is not accepted
        "genoa": SnpTcb(bootloader=4, tee=1, snp=23, microcode=84),
        "turin": SnpTcb(bootloader=2, tee=1, snp=3, microcode=61, fmc=1),
    },
    chips=(CHIP, "ab" * 8),
    vmpl=1,
    minimum_guest_svn=2,
)
TDX = TdxTable(chips=(PPID, "00" * 16), statuses=("UpToDate", "SWHardeningNeeded"), minimum_tcb_evaluation=17)
NITRO_OURS = NitroTable(parents=(ONE, TWO), signers=(ONE, TWO))
TPM = TpmTable(roots=(TPM_ROOT, OTHER_TPM_ROOT), pcrs={"4": PCR}, keys=("11" * 32, "22" * 32))
SIMULATED = SimulatedTable(roots=(SIMULATED_ROOT, OTHER_ROOT), minimum_firmware=2)
OURS: dict[str, Table] = {
    "sev-snp": SNP,
    "tdx": TDX,
    "nitro": NITRO_OURS,
    "tpm": TPM,
    "nvidia": NvidiaTable(),
    "simulated": SIMULATED,
}


@dataclass(frozen=True)
class Values:
    """For one key: what is stricter than ours, and what is laxer or simply other."""

    stricter: tuple[object, ...]
    laxer: tuple[object, ...]


def levels(product: str, **changes: int) -> dict[str, SnpTcb]:
    return {
        str(name): replace_fields(tcb, **changes) if name == product else tcb for name, tcb in SNP.minimum_tcb.items()
    }


LEVELS = Values(
    stricter=(levels("genoa", snp=24), levels("turin", fmc=2, tee=2)),
    laxer=tuple(
        levels(product, **{field: getattr(tcb, field) - 1})
        for product, tcb in SNP.minimum_tcb.items()
        for field in tcb.__struct_fields__
        if getattr(tcb, field)
    ),
)
CASES: Mapping[str, Mapping[str, Values]] = {
    "sev-snp": {
        "products": Values((("genoa",), ("turin", "genoa")), (("milan",), ("genoa", "turin", "milan"))),
        "minimum_tcb": LEVELS,
        "chips": Values(((CHIP,), ("ab" * 8, CHIP)), ((), ("cd" * 8,), (CHIP, "ab" * 8, "cd" * 8))),
        "vmpl": Values((), (0, 2, 3)),
        "minimum_guest_svn": Values((3, (1 << 32) - 1), (1, 0)),
        "measurements": Values(((IMAGE,),), ()),
    },
    "tdx": {
        "chips": Values(((PPID,),), ((), ("11" * 16,), (PPID, "11" * 16))),
        "statuses": Values(
            (("UpToDate",), ("SWHardeningNeeded", "UpToDate")),
            (("ConfigurationNeeded",), ("UpToDate", "ConfigurationAndSWHardeningNeeded")),
        ),
        "minimum_tcb_evaluation": Values((18,), (16, 0)),
        "measurements": Values(((IMAGE,),), ()),
    },
    "nitro": {
        "parents": Values(((ONE,), (TWO, ONE)), ((), (IMAGE,), (ONE, IMAGE))),
        "signers": Values(((ONE,), (TWO, ONE)), ((), (IMAGE,), (ONE, IMAGE))),
        "measurements": Values(((IMAGE,),), ()),
    },
    "tpm": {
        "roots": Values(
            ((TPM_ROOT,), (OTHER_TPM_ROOT, TPM_ROOT)), ((SIMULATED_ROOT,), (TPM_ROOT, OTHER_TPM_ROOT, SIMULATED_ROOT))
        ),
        "pcrs": Values(({"4": PCR, "7": PCR},), ({}, {"4": IMAGE[:64]}, {"7": PCR})),
        "keys": Values((("11" * 32,),), ((), ("33" * 32,), ("11" * 32, "33" * 32))),
    },
    "nvidia": {},
    "simulated": {
        "roots": Values(((SIMULATED_ROOT,), (OTHER_ROOT, SIMULATED_ROOT)), ((OTHER.certificate(root=True, days=9),),)),
        "minimum_firmware": Values((3,), (1, 0)),
    },
}


def keys() -> Iterator[tuple[str, str]]:
    for name, table in OURS.items():
        yield from ((name, field) for field in table.__struct_fields__)


KEYS = tuple(keys())
BITS = tuple((name, field) for name, field in KEYS if isinstance(getattr(OURS[name], field), Bit))
OTHERS = tuple(key for key in KEYS if key not in BITS)


LEDGERS = {Production: NOBODYS, Demonstration: None}


def policy(name: str, table: Table, kind: type[Production | Demonstration] = Demonstration) -> Policy:
    """Return a policy of one table, beside a platform where it is an addition."""
    tables: dict[str, Table] = {name.replace("-", "_"): table}
    if name in ("tpm", "nvidia"):
        tables["nitro"] = NITRO_OURS
    build = cast("Callable[..., object]", kind)
    document = cast("PolicyDocument", build(manifests=(MANIFEST.hex(),), ledger=LEDGERS[kind], **tables))
    return Policy(origin="ai.example", slots=Slots(1000, 600), document=document)


def judge(name: str, field: str, theirs: object, ours: object) -> Policy:
    mine = policy(name, replace_fields(OURS[name], **{field: ours}))
    pool = policy(name, replace_fields(OURS[name], **{field: theirs}))
    return verify_join_policy(pool, mine)


def test_every_key_of_every_table_is_compared_here() -> None:
    assert set(OURS) == {name.replace("_", "-") for name in TABLES}
    for name, table in OURS.items():
        bits = {field for each, field in BITS if each == name}
        assert set(CASES[name]) | bits == set(table.__struct_fields__)
        assert not bits & set(RULES)  # what has no rule of its own is compared as a bit
        assert set(CASES[name]) <= set(RULES)


@pytest.mark.parametrize(("name", "field"), OTHERS, ids=".".join)
def test_an_equal_or_a_stricter_value_is_accepted(name: str, field: str) -> None:
    ours = getattr(OURS[name], field)
    for theirs in (ours, *CASES[name][field].stricter):
        assert judge(name, field, theirs, ours)


@pytest.mark.parametrize(
    ("name", "field"), [key for key in OTHERS if key[1] != "measurements"], ids=lambda each: str(each)
)
def test_a_laxer_value_is_refused_by_its_key(name: str, field: str) -> None:
    ours = getattr(OURS[name], field)
    assert CASES[name][field].laxer
    for theirs in CASES[name][field].laxer:
        with pytest.raises(PolicyError) as caught:
            judge(name, field, theirs, ours)
        assert str(caught.value) == f"the pool is laxer than we are: {name}.{field}"


@pytest.mark.parametrize(("name", "field"), BITS, ids=".".join)
def test_a_bit_that_we_care_for_is_the_same_in_the_pool(name: str, field: str) -> None:
    for ours in Bit:
        for theirs in Bit:
            if ours in (Bit.ALLOW, theirs):
                assert judge(name, field, theirs, ours)
            else:
                with pytest.raises(PolicyError, match=f"^the pool is laxer than we are: {name}.{field}$"):
                    judge(name, field, theirs, ours)


@pytest.mark.parametrize(
    ("name", "field"),
    [("sev-snp", "chips"), ("tdx", "chips"), ("nitro", "parents"), ("nitro", "signers"), ("tpm", "keys")],
)
def test_where_we_accept_any_every_list_is_no_laxer(name: str, field: str) -> None:
    for theirs in ((), getattr(OURS[name], field)):
        assert judge(name, field, theirs, ())


def test_what_measures_an_image_is_no_part_of_the_comparison() -> None:
    for name in ("sev-snp", "tdx", "nitro"):
        assert judge(name, "measurements", (), (IMAGE,))
        assert judge(name, "measurements", (IMAGE,), ())


def test_levels_of_a_product_that_the_pool_does_not_accept_do_not_count() -> None:
    low = replace_fields(SNP, products=("genoa",), minimum_tcb=SNP.minimum_tcb | {"turin": SnpTcb()})
    assert verify_join_policy(policy("sev-snp", low), policy("sev-snp", SNP))


def test_a_pcr_14_that_nobody_pins_is_pinned_to_zero() -> None:
    """The verifier of a TPM's quote wants zero there unless told otherwise, so each other value is laxer."""
    assert judge("tpm", "pcrs", {"4": PCR, "14": ZERO}, {"4": PCR})
    assert judge("tpm", "pcrs", {"4": PCR}, {"4": PCR, "14": ZERO})
    with pytest.raises(PolicyError, match=r"laxer than we are: tpm\.pcrs"):
        judge("tpm", "pcrs", {"4": PCR, "14": PCR}, {"4": PCR})


# Whole policies.

OUR_POLICY = policy("simulated", SIMULATED)


def test_the_pools_policy_is_returned() -> None:
    stricter = policy("simulated", replace_fields(SIMULATED, minimum_firmware=9))
    assert verify_join_policy(stricter, OUR_POLICY) is stricter


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (replace(OUR_POLICY, origin="other.example"), "another role or origin"),
        (
            replace(OUR_POLICY, document=replace_fields(OUR_POLICY.document, role="ledger")),
            "another role or origin",
        ),
        (replace(OUR_POLICY, slots=Slots(1000, 601)), "other slots"),
        (replace(OUR_POLICY, slots=Slots(1001, 600)), "other slots"),
        (
            replace(OUR_POLICY, document=replace_fields(OUR_POLICY.document, tdx=TDX)),
            'lets in workers with evidence of format "tdx"',
        ),
    ],
)
def test_another_pools_policy_is_refused(theirs: Policy, words: str) -> None:
    with pytest.raises(PolicyError, match=words):
        verify_join_policy(theirs, OUR_POLICY)


def test_age_and_skew_are_not_compared_since_a_joiner_answers_a_nonce() -> None:
    document = replace_fields(OUR_POLICY.document, clock_skew_seconds=300, max_age_seconds=1 << 31)
    assert verify_join_policy(replace(OUR_POLICY, document=document), OUR_POLICY)


def test_a_production_policy_refuses_a_pool_that_demonstrates() -> None:
    theirs, ours = policy("tdx", TDX, Demonstration), policy("tdx", TDX, Production)
    with pytest.raises(PolicyError, match="by a demonstration policy"):
        verify_join_policy(theirs, ours)
    assert verify_join_policy(ours, theirs)


def test_a_pool_must_look_at_the_same_ledger() -> None:
    ours = policy("tdx", TDX, Production)

    def at(ledger: LedgerTable | None) -> Policy:
        document = Demonstration(manifests=(MANIFEST.hex(),), ledger=ledger, tdx=TDX)
        return replace(ours, document=document)

    waits = replace_fields(NOBODYS, maturity_seconds=0, max_checkpoint_age_seconds=60)
    assert verify_join_policy(at(waits), at(NOBODYS))  # for how long a release stood is for each to judge
    with pytest.raises(PolicyError, match="shares keys that no ledger shows"):
        verify_join_policy(at(None), at(NOBODYS))
    other = LedgerHere().table()
    for field in ("keys_log", "state_log", "publishers", "witnesses"):
        with pytest.raises(PolicyError, match=f"another ledger than we do: {field}"):
            verify_join_policy(at(replace_fields(NOBODYS, **{field: getattr(other, field)})), at(NOBODYS))


def test_the_same_ledger_may_be_written_in_other_words() -> None:
    def at(ledger: LedgerTable) -> Policy:
        document = Demonstration(manifests=(MANIFEST.hex(),), ledger=ledger, tdx=TDX)
        return replace(policy("tdx", TDX, Production), document=document)

    lines = NOBODYS.witnesses.splitlines()
    written = "\n".join(["# three of ours", lines[1], f"{lines[0]} https://w0.example", *lines[2:]])
    other = replace_fields(NOBODYS, witnesses=written, publishers=NOBODYS.publishers[::-1])
    assert verify_join_policy(at(other), at(NOBODYS))
    assert verify_join_policy(at(NOBODYS), at(other))
    fewer = replace_fields(NOBODYS, witnesses=NOBODYS.witnesses.replace("group most 2", "group most 3"))
    with pytest.raises(PolicyError, match="another ledger than we do: witnesses"):
        verify_join_policy(at(fewer), at(NOBODYS))


def test_a_pool_that_accepts_fewer_formats_is_stricter() -> None:
    ours = replace(OUR_POLICY, document=replace_fields(OUR_POLICY.document, tdx=TDX, nitro=NITRO_OURS))
    assert verify_join_policy(policy("tdx", TDX), ours)
    assert verify_join_policy(OUR_POLICY, ours)


@pytest.mark.parametrize("name", ["tpm", "nvidia"])
def test_what_must_come_beside_the_platform_for_us_must_for_the_pool(name: str) -> None:
    ours = policy(name, OURS[name])
    theirs = policy("nitro", NITRO_OURS)
    with pytest.raises(PolicyError, match=f'without evidence of format "{name}"'):
        verify_join_policy(theirs, ours)
    assert verify_join_policy(ours, theirs)


def test_a_tpm_alone_is_not_a_platform_with_a_tpm_beside_it() -> None:
    alone = replace(OUR_POLICY, document=Demonstration(tpm=TPM))
    beside = policy("tpm", TPM)
    with pytest.raises(PolicyError, match='with evidence of format "tpm"'):
        verify_join_policy(alone, beside)
    with pytest.raises(PolicyError, match='with evidence of format "nitro"'):
        verify_join_policy(beside, alone)


# The encoding.

ENCODED = serialize_join_policy(OUR_POLICY)
HEAD = b"SECLUDE-JOIN-POLICY\x02\x00\x0aai.example" + (1000).to_bytes(8) + (600).to_bytes(4)
DOCUMENT = ENCODED[len(HEAD) + 4 :]


def with_document(document: bytes, head: bytes = HEAD) -> bytes:
    return head + len(document).to_bytes(4) + document


def test_a_join_policy_is_encoded_as_documented() -> None:
    roots = ",".join(f'"{base64.b64encode(root).decode()}"' for root in (SIMULATED_ROOT, OTHER_ROOT))
    assert DOCUMENT.decode() == (
        '{"clock_skew_seconds":30,"ledger":null,"manifests":[],"max_age_seconds":null,"nitro":null,"nvidia":null,'
        '"purpose":"demonstration","role":"worker","sev-snp":null,'
        f'"simulated":{{"minimum_firmware":2,"roots":[{roots}]}},"tdx":null,"tpm":null}}'
    )
    assert with_document(DOCUMENT) == ENCODED


@pytest.mark.parametrize("name", OURS)
def test_a_join_policy_reads_back_without_measurements(name: str) -> None:
    measured = {"measurements": (IMAGE,)} if hasattr(OURS[name], "measurements") else {}
    full = policy(name, replace_fields(OURS[name], **measured))
    bare = parse_join_policy(serialize_join_policy(full))
    assert bare.manifests == frozenset()
    assert bare == replace(full, document=replace_fields(policy(name, OURS[name]).document, manifests=()))
    assert IMAGE.encode() not in serialize_join_policy(full)
    assert serialize_join_policy(bare) == serialize_join_policy(full)


def test_the_kind_of_policy_shows_twice_and_must_agree() -> None:
    production = policy("tdx", TDX, Production)
    encoded = serialize_join_policy(production)
    assert encoded[20] == 1
    assert isinstance(parse_join_policy(encoded).document, Production)
    for data in (encoded, ENCODED):
        for kind in {0, 1, 2, 255} - {data[20]}:
            with pytest.raises(DecodeError):
                parse_join_policy(data[:20] + bytes([kind]) + data[21:])


def test_a_production_join_policy_cannot_hold_simulated_roots() -> None:
    document = DOCUMENT.replace(b'"purpose":"demonstration"', b'"purpose":"production"')
    with pytest.raises(DecodeError, match="does not have its form"):
        parse_join_policy(with_document(document, HEAD.replace(b"\x02\x00", b"\x02\x01")))


def test_every_truncation_is_refused() -> None:
    for cut in range(len(ENCODED)):
        with pytest.raises(DecodeError):
            parse_join_policy(ENCODED[:cut])


def test_every_flipped_bit_is_refused_or_gives_another_policy_with_the_same_encoding() -> None:
    for position in range(len(ENCODED) * 8):
        flipped = bytearray(ENCODED)
        flipped[position // 8] ^= 1 << position % 8
        try:
            other = parse_join_policy(bytes(flipped))
        except DecodeError:
            continue
        assert other != OUR_POLICY
        assert serialize_join_policy(other) == flipped


SAME_VALUES: list[bytes] = [
    json.dumps(json.loads(DOCUMENT)).encode(),  # spaces between the parts
    DOCUMENT + b" ",
    b"\n" + DOCUMENT,
    json.dumps(dict(reversed(json.loads(DOCUMENT).items())), separators=(",", ":")).encode(),
    DOCUMENT.replace(b'"tdx":null,', b""),
    DOCUMENT.replace(b'"clock_skew_seconds":30,', b""),
    DOCUMENT.replace(b'"role":"worker"', b'"role":"wor\\u006ber"'),
    DOCUMENT.replace(b'"role":"worker"', b'"role":"ledger","role":"worker"'),
    DOCUMENT.replace(b":30,", b":3e1,"),
    DOCUMENT.replace(b":30,", b":30.0,"),
    DOCUMENT.replace(b'"minimum_firmware":2', b'"minimum_firmware":2,"minimum_firmware":2'),
]
WRONG_VALUES: list[bytes] = [
    b"",
    b"null",
    b"[]",
    b"[" * 5000,
    b"\xff",
    DOCUMENT[:-1],
    DOCUMENT + DOCUMENT,
    DOCUMENT.replace(b'"manifests":[]', b'"manifests":["' + b"00" * 32 + b'"]'),
    DOCUMENT.replace(b'"role":"worker"', b'"role":"Worker"'),
    DOCUMENT.replace(b'"role":"worker"', b'"role":"worker","rule":1'),
    DOCUMENT.replace(b":30,", b":301,"),
    DOCUMENT.replace(b'"minimum_firmware":2', b'"minimum_firmware":-1'),
    DOCUMENT.replace(b'"minimum_firmware":2', b'"minimum_firmware":"2"'),
    DOCUMENT.replace(b'"purpose":"demonstration",', b""),
]


@pytest.mark.parametrize("document", SAME_VALUES)
def test_another_encoding_of_the_same_policy_is_refused(document: bytes) -> None:
    assert document != DOCUMENT
    with pytest.raises(DecodeError):
        parse_join_policy(with_document(document))


@pytest.mark.parametrize("document", WRONG_VALUES)
def test_a_document_that_is_no_join_policy_is_refused(document: bytes) -> None:
    with pytest.raises(DecodeError):
        parse_join_policy(with_document(document))


@pytest.mark.parametrize(
    "data",
    [
        ENCODED + b"\0",
        ENCODED.replace(b"POLICY\x02", b"POLICY\x01"),
        ENCODED.replace((600).to_bytes(4), bytes(4)),
        ENCODED.replace((1000).to_bytes(8), b"\xff" * 8),
        ENCODED.replace(b"\x0aai.example", b"\x0aAI.example"),
        ENCODED.replace(b"\x0aai.example", b"\x00"),
        HEAD + (MAX_JOIN_POLICY + 1).to_bytes(4) + bytes(MAX_JOIN_POLICY + 1),
    ],
)
def test_what_stands_round_the_document_is_checked_too(data: bytes) -> None:
    with pytest.raises(DecodeError):
        parse_join_policy(data)


def test_a_join_policy_that_does_not_fit_a_core_is_refused_by_whoever_writes_it() -> None:
    def many(count: int) -> Policy:
        chips = tuple(f"{number:032x}" for number in range(count))
        return policy("tdx", replace_fields(TDX, chips=chips))

    fits = max(count for count in range(300, 900) if 35 * count + 700 <= MAX_JOIN_POLICY)
    assert len(serialize_join_policy(many(fits))) <= MAX_JOIN_POLICY
    with pytest.raises(ConfigError, match="name fewer chips"):
        serialize_join_policy(many(fits + 20))
