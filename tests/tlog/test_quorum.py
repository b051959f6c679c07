"""Policies: what they may say, when they are met, and when two honest sets of witnesses could be shown two logs."""

from itertools import combinations

import pytest

from seclude.errors import ConfigError
from seclude.tlog.keys import COSIGNATURE_ED25519, ED25519, ML_DSA_44, VerifierKey, generate_skey
from seclude.tlog.quorum import MAX_DEFINED, Quorum, parse_quorum

LOG = generate_skey("log.example", ED25519).verifier
KEYS = [generate_skey(f"w{number}.example", COSIGNATURE_ED25519).verifier for number in range(1, 7)]
PQ = generate_skey("pq.example", ML_DSA_44).verifier
WITNESSES = "".join(f"witness w{number} {key}\n" for number, key in enumerate(KEYS, 1))


def quorum_of(rest: str) -> Quorum:
    return parse_quorum(f"log {LOG}\n{WITNESSES}{rest}\n")


def everybody(quorum: Quorum) -> list[set[str]]:
    names = [witness.name for witness in quorum.witnesses]
    return [set(some) for count in range(len(names) + 1) for some in combinations(names, count)]


def test_a_policy_with_all_that_there_is_is_read() -> None:
    text = f"""
# Two operators, both of them needed.
\tlog {LOG} https://log.example/
log {generate_skey("pq-log.example", ML_DSA_44).verifier}
witness  X1\t{KEYS[0]}   https://w1.example/prefix
witness X2 {KEYS[1]}
witness \u00e9 {PQ}
  # a comment
group X any X1 X2
group both all X \u00e9

quorum both"""
    quorum = parse_quorum(text)
    assert [log.name for log in quorum.logs] == ["log.example", "pq-log.example"]
    assert [(witness.name, witness.url) for witness in quorum.witnesses] == [
        ("X1", "https://w1.example/prefix"),
        ("X2", None),
        ("\u00e9", None),
    ]
    assert str(quorum) == "2 of (1 of (X1, X2), \u00e9)"
    assert quorum.is_met({"X2", "\u00e9", "stranger"})
    assert not quorum.is_met({"X1", "X2"})


@pytest.mark.parametrize(
    ("rest", "met", "not_met"),
    [
        ("quorum w1", {"w1"}, {"w2", "w3"}),
        ("quorum none", set(), None),
        ("group g 2 w1 w2 w3\nquorum g", {"w1", "w3"}, {"w3", "w4"}),
        ("group g all w1 w2\nquorum g", {"w1", "w2"}, {"w1"}),
        ("group g any w1 w2\nquorum g", {"w2"}, {"w3"}),
        ("group g 2 w1 w2 w3\ngroup h any w4 w5\ngroup i all g h\nquorum i", {"w1", "w2", "w5"}, {"w1", "w2", "w3"}),
    ],
)
def test_a_quorum_is_met_by_those_it_asks_for(rest: str, met: set[str], not_met: set[str] | None) -> None:
    quorum = quorum_of(rest)
    assert quorum.is_met(met)
    assert not_met is None or not quorum.is_met(not_met)


@pytest.mark.parametrize("count", range(1, 7))
def test_k_of_n_can_split_unless_k_is_more_than_half(count: int) -> None:
    names = " ".join(f"w{number}" for number in range(1, count + 1))
    for threshold in range(1, count + 1):
        assert quorum_of(f"group g {threshold} {names}\nquorum g").can_split == (2 * threshold <= count)


@pytest.mark.parametrize(
    "rest",
    [
        "quorum w1",
        "quorum none",
        "group g 2 w1 w2 w3 w4\nquorum g",
        "group g 2 w1 w2\ngroup h any w3 w4\ngroup i any g h\nquorum i",
        "group g any w1 w2\ngroup h any w3 w4\ngroup i all g h\nquorum i",
        "group g any w1 w2\ngroup h 2 w3 w4 w5\ngroup i all g h\nquorum i",
        "group g any w1 w2\ngroup h 2 g w3 w4\nquorum h",
        "group g any w1 w2\ngroup h 2 g w3\nquorum h",
        "group g any w1 w2\ngroup h 3 g w3 w4 w5\nquorum h",
        "group g any w1 w2\ngroup h any w3 w4\ngroup i 3 g h w5 w6\nquorum i",
        "group g 1 w1\ngroup h 1 g\nquorum h",
        "group g 2 w1 w2 w3\ngroup h 1 g w4 w5\nquorum h",
        "group g 2 w1 w2 w3\ngroup h 2 g w4 w5\nquorum h",
    ],
)
def test_can_split_is_what_trying_all_disjoint_sets_finds(rest: str) -> None:
    quorum = quorum_of(rest)
    enough = [names for names in everybody(quorum) if quorum.is_met(names)]
    assert quorum.can_split == any(not one & other for one in enough for other in enough)


def long_of(what: str, count: int, algorithm: int) -> str:
    keys = (generate_skey(f"k{number}.example", algorithm).verifier for number in range(count))
    return "".join(f"{what}{number if what != 'log ' else ''} {key}\n" for number, key in enumerate(keys))


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("", "no line `quorum`"),
        ("quorum", "line 8: there is one quorum"),
        ("quorum w1 w2", "there is one quorum"),
        ("quorum none\nquorum none", "line 9: there is one quorum"),
        ("quorum w7", "no line above defines w7"),
        ("quorum g\ngroup g 1 w1", "no line above defines g"),
        ("group g 0 w1\nquorum g", "from 1 to 1"),
        ("group g 2 w1\nquorum g", "from 1 to 1"),
        ("group g 01 w1\nquorum g", "from 1 to 1"),
        ("group g +1 w1\nquorum g", "from 1 to 1"),
        ("group g most w1\nquorum g", "from 1 to 1"),
        ("group g any\nquorum g", "a group is"),
        ("group g any none\nquorum g", "no line above defines none"),
        ("group g any g\nquorum g", "no line above defines g"),
        ("group g 2 w1 w1\nquorum g", "w1 is a member already"),
        ("group g any w1\ngroup h all g w1\nquorum h", "w1 is a member already"),
        ("group g any w1\ngroup h all g w2\ngroup i any g\nquorum i", "g is a member already"),
        ("group w1 any w2\nquorum w1", "the name w1 is taken"),
        ("group none any w2\nquorum none", "the name none is taken"),
        (f"witness w1 {PQ}\nquorum w1", "the name w1 is taken"),
        (f"witness w7 {KEYS[0]}\nquorum w7", r"also that of w1\.example"),
        (f"witness w7 {VerifierKey('w7', COSIGNATURE_ED25519, KEYS[0].public_key)}\nquorum w7", "also that of"),
        (f"witness w7 {VerifierKey('w7', COSIGNATURE_ED25519, LOG.public_key)}\nquorum w7", "also that of"),
        (f"witness w7 {generate_skey('w7', ED25519).verifier}\nquorum w7", "a witness's key is of type 0x04 or 0x06"),
        (f"witness w7 {PQ} url more\nquorum w7", "a witness is"),
        (f"witness {PQ}\nquorum w7", "a witness is"),
        ("witness w7 key\nquorum w7", "line 8: verifier key"),
        (f"log {LOG}\nquorum none", "also that of"),
        (f"log {VerifierKey('l2', ED25519, LOG.public_key)}\nquorum none", "also that of"),
        (f"log {generate_skey('l2', COSIGNATURE_ED25519).verifier}\nquorum none", "a witness's, not a log's"),
        ("log\nquorum none", "a log is"),
        ("quorum none\nanything else", "begins with none of"),
        ("Quorum none", "begins with none of"),
        ("quorum none\r", "control character"),
        ("# \x7f\nquorum none", "control character"),
        ("# \x00\nquorum none", "control character"),
    ],
)
def test_what_a_policy_must_not_say_is_refused_with_its_line(rest: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        quorum_of(rest)


def test_logs_witnesses_and_groups_are_32_at_most() -> None:
    assert MAX_DEFINED == 32
    for what, algorithm in (("log ", ED25519), ("witness w", COSIGNATURE_ED25519)):
        lines = long_of(what, MAX_DEFINED + 1, algorithm)
        fewer = lines[: lines.rindex("\n", 0, -1) + 1]
        parse_quorum(f"{fewer}quorum none\n")
        with pytest.raises(ConfigError, match="more than 32"):
            parse_quorum(f"{lines}quorum none\n")
    nested = f"witness g0 {KEYS[0]}\n" + "".join(f"group g{n} 1 g{n - 1}\n" for n in range(1, 34))
    with pytest.raises(ConfigError, match="more than 32 groups"):
        parse_quorum(f"{nested}quorum g33\n")
    deepest = parse_quorum(f"{nested[: nested.index('group g33')]}quorum g32\n")
    assert deepest.is_met({"g0"})
    assert not deepest.can_split


def test_two_keys_of_one_name_may_not_have_one_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids have four octets, so that a collision can be made; here one is, by force."""
    one, two = (generate_skey("same.example", COSIGNATURE_ED25519).verifier for _ in range(2))
    object.__setattr__(two, "key_id", one.key_id)
    keys = iter([one, two])
    monkeypatch.setattr("seclude.tlog.quorum.parse_vkey", lambda text: next(keys))
    with pytest.raises(ConfigError, match="have the same id"):
        parse_quorum("witness w1 one\nwitness w2 two\nquorum w1\n")
