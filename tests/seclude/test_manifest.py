"""Manifests as octets and as files: one encoding, and no edit that goes unnoticed. Taking one is the worker's part."""

import hashlib
import json

import pytest

from seclude.errors import ConfigError, UsageError
from seclude.manifest import Entry, Manifest, compare, parse_manifest, render_manifest, serialize_manifest

SMALL = Manifest(
    (
        Entry("app/a.py", 0o644, 3, bytes(range(32))),
        Entry("model/model.onnx", 0o755, 1 << 33, bytes(32)),
    )
)


def test_the_encoding_is_as_documented() -> None:
    encoded = (
        b"seclude manifest v1\0"
        b"\x00\x00\x00\x02"
        b"\x00\x08app/a.py\x01\xa4\x00\x00\x00\x00\x00\x00\x00\x03" + bytes(range(32)) + b"\x00\x10model/model.onnx"
        b"\x01\xed\x00\x00\x00\x02\x00\x00\x00\x00" + bytes(32)
    )
    assert serialize_manifest(SMALL) == encoded
    assert SMALL.digest == hashlib.sha256(encoded).digest()


@pytest.mark.parametrize(
    "entries",
    [
        (SMALL.entries[1], SMALL.entries[0]),
        (SMALL.entries[0], SMALL.entries[0]),
        (Entry("app/a.py", 0o600, 3, bytes(32)),),
    ],
)
def test_there_is_one_encoding_only(entries: tuple[Entry, ...]) -> None:
    with pytest.raises(UsageError):
        serialize_manifest(Manifest(entries))


def test_the_form_for_files_parses_back_and_has_a_line_for_each_entry() -> None:
    text = render_manifest(SMALL)
    assert parse_manifest(text) == SMALL
    assert len(text.splitlines()) == 4
    assert json.loads(text)["digest"] == SMALL.digest.hex()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("app/a.py", "app/b.py"),
        ('"length":3', '"length":4'),
        ('"length":3', '"length":-3'),
        ('"length":3', '"length":18446744073709551616'),
        ('"0644"', '"0600"'),
        ("0001", "0002"),
        ('"path"', '"file"'),
        ("}", ""),
        ('"entries"', '"extra":1,"entries"'),
    ],
)
def test_an_edited_manifest_is_refused(old: str, new: str) -> None:
    text = render_manifest(SMALL)
    assert old in text
    with pytest.raises(ConfigError, match="manifest"):
        parse_manifest(text.replace(old, new))


def test_entries_out_of_order_are_refused() -> None:
    head, first, second, tail = render_manifest(SMALL).splitlines()
    with pytest.raises(ConfigError, match="order"):
        parse_manifest("\n".join([head, second + ",", first.rstrip(","), tail]))


def test_a_comparison_names_what_differs() -> None:
    many = tuple(Entry(f"app/{number}.py", 0o644, 1, bytes(32)) for number in range(8))
    assert compare(Manifest(many), Manifest(many)) == ()
    changed = (Entry("app/0.py", 0o644, 1, bytes(31) + b"\1"), *many[2:], Entry("app/x.py", 0o644, 1, bytes(32)))
    assert compare(Manifest(many), Manifest(changed)) == (
        "changed: app/0.py",
        "missing: app/1.py",
        "new: app/x.py",
    )
    assert compare(Manifest(many), Manifest(())) == (
        "missing: app/0.py, app/1.py, app/2.py, app/3.py, app/4.py and 3 more",
    )
