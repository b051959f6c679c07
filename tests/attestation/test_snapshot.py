"""Snapshots of the state log: one encoding, and enough publishers."""

import msgspec
import pytest
from msgspec.structs import replace

from seclude.attestation.snapshot import (
    MAX_TEXT,
    IssuerKey,
    Release,
    Revocation,
    Snapshot,
    parse_snapshot,
    publishers_needed,
    render_snapshot,
    verify_snapshot,
)
from seclude.errors import ConfigError, DecodeError, EvidenceError, PolicyError
from seclude.tlog.note import parse_note
from seclude.tlog.signing import sign_note
from tests.ledgers import REVISION, SOURCE, LedgerHere

HERE = LedgerHere()
PUBLISHERS = [key.verifier for key in HERE.publisher_keys]
MANIFEST = bytes(range(32))
RELEASE = Release(
    role="worker",
    manifest=MANIFEST.hex(),
    source=SOURCE,
    revision=REVISION,
    issued=1000,
    expires=2000,
    measurements={"tdx": ("ab" * 48,)},
)
FULL = Snapshot(
    origin="ai.example",
    issued=1500,
    expires=2500,
    releases=(RELEASE, replace(RELEASE, role="issuer")),
    chips={"sev-snp": ("cd" * 64,), "tdx": ("ef" * 16,)},
    issuer_keys=(IssuerKey(key=b"der", not_before=1, expires=2),),
    revocations=(Revocation(manifest="11" * 32, reason="it leaked, café", revoked=1400),),
)
EMPTY = Snapshot(origin="ai.example", issued=1500, expires=2500)


@pytest.mark.parametrize("snapshot", [FULL, EMPTY])
def test_a_snapshot_reads_back(snapshot: Snapshot) -> None:
    text = render_snapshot(snapshot)
    assert text.startswith("seclude state v1\n{")
    assert text.count("\n") == 2
    assert parse_snapshot(text) == snapshot


def test_it_has_one_encoding() -> None:
    text = render_snapshot(FULL)
    document = msgspec.json.decode(text.split("\n")[1])
    others = [
        text.replace('"issued":1500', '"issued": 1500'),
        text.replace('"issued":1500', '"issued":15e2'),
        text.replace("seclude state v1", "seclude state v2"),
        text + "\n",
        text[:-1],
        text.replace("{", '{"extra":1,', 1),
        "seclude state v1\n" + msgspec.json.encode(dict(reversed(document.items()))).decode() + "\n",
        text.replace("é", "\\u00e9"),
        "seclude state v1\n" + "[" * 3000 + "\n",
    ]
    for other in others:
        assert other != text
        with pytest.raises(DecodeError):
            parse_snapshot(other)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"expires": 1500}, "expires before it is issued"),
        ({"releases": (RELEASE, RELEASE)}, "names one release twice"),
        ({"releases": (replace(RELEASE, expires=1000),)}, "expires before it is issued"),
        ({"revocations": (FULL.revocations[0], FULL.revocations[0])}, "revokes one release twice"),
        ({"revocations": (replace(FULL.revocations[0], manifest=MANIFEST.hex()),)}, "is revoked and released"),
        ({"chips": {"sev-snp": ("cd" * 32,)}}, "have not 64 or 8 octets"),
        ({"chips": {"tdx": ("ef" * 64,)}}, "have not 16 octets"),
        ({"chips": {"sev-snp": tuple(f"{n:0128x}" for n in range(500))}}, f"limit {MAX_TEXT}"),
    ],
)
def test_one_that_contradicts_itself_or_is_too_long_cannot_be_written(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        render_snapshot(replace(FULL, **changes))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("role", "Worker"),
        ("role", "worker\n"),
        ("manifest", "AB" * 32),
        ("manifest", "ab" * 31),
        ("source", ""),
        ("source", "a\nb"),
        ("source", "a\u2028b"),
        ("revision", "main"),
        ("issued", -1),
        ("measurements", {"simulated": ("ab" * 48,)}),
        ("measurements", {"tdx": ("ab" * 32,)}),
    ],
)
def test_what_a_release_may_say(place: str, value: object) -> None:
    text = render_snapshot(replace(FULL, releases=(replace(RELEASE, **{place: value}),)) if place != "issued" else FULL)
    if place == "issued":
        text = text.replace('"issued":1000', '"issued":-1')
    with pytest.raises(DecodeError, match="does not have its form"):
        parse_snapshot(text)


def test_releases_take_two_publishers_and_stopping_takes_one() -> None:
    assert (publishers_needed(FULL), publishers_needed(EMPTY)) == (2, 1)
    keys = HERE.publisher_keys
    for snapshot, signers, good in (
        (FULL, (0, 1), True),
        (FULL, (2, 0), True),
        (FULL, (1,), False),
        (EMPTY, (1,), True),
        (replace(EMPTY, revocations=FULL.revocations), (2,), True),
    ):
        entry = sign_note(render_snapshot(snapshot), *(keys[place] for place in signers))
        if good:
            found, names = verify_snapshot(entry, PUBLISHERS, "ai.example")
            assert found == snapshot
            assert set(names) == {f"publisher-{place}.example" for place in signers}
        else:
            with pytest.raises(PolicyError, match=r"signed by publisher-1\.example; it takes 2 of the 3"):
                verify_snapshot(entry, PUBLISHERS, "ai.example")


def test_one_publisher_does_not_count_twice() -> None:
    key = HERE.publisher_keys[0]
    entry = sign_note(render_snapshot(FULL), key, key)
    with pytest.raises((PolicyError, EvidenceError, DecodeError)):
        verify_snapshot(entry, PUBLISHERS, "ai.example")


def test_a_false_signature_and_another_service_are_refused() -> None:
    entry = sign_note(render_snapshot(FULL), *HERE.publisher_keys[:2])
    for position in range(len(entry)):
        flipped = entry[:position] + bytes([entry[position] ^ 1]) + entry[position + 1 :]
        with pytest.raises((DecodeError, EvidenceError, PolicyError)):
            verify_snapshot(flipped, PUBLISHERS, "ai.example")
    with pytest.raises(PolicyError, match=r'service "ai\.example", not "b\.example"'):
        verify_snapshot(entry, PUBLISHERS, "b.example")
    assert parse_note(entry).text == render_snapshot(FULL)


def test_it_finds_what_it_is_asked_for() -> None:
    assert FULL.release("worker", MANIFEST) == RELEASE
    assert FULL.release("other", MANIFEST) is None
    assert FULL.release("worker", bytes(32)) is None
    assert FULL.revocation(b"\x11" * 32) == FULL.revocations[0]
    assert FULL.revocation(MANIFEST) is None
    assert (FULL.chips_of("tdx"), FULL.chips_of("nitro")) == (("ef" * 16,), ())
    assert (RELEASE.images("tdx"), RELEASE.images("sev-snp")) == (("ab" * 48,), ())
