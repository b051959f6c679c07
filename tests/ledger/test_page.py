"""The page's words: what it says of every state, that it stays small, and that nobody's text becomes markup."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from msgspec.structs import replace as replaced

from ledger.page.document import MAX_EPOCHS, EpochRow, PageView, PublishedLog, render_page
from ledger.page.markup import Markup, code, duration, element, moment
from ledger.page.style import CONTENT_TYPE, FIELDS
from seclude.attestation.snapshot import Revocation, Snapshot
from seclude.tlog.quorum import parse_quorum
from seclude.tlog.tiles import parse_tile_path, tiles_of
from tests.ledger.page_samples import (
    DAY,
    HOSTILE,
    KEYS_LOG,
    NOW,
    STATE_LOG,
    busy,
    digest,
    empty,
    hostile,
    largest,
    published,
    quorum,
    release,
)

VIEWS = {"busy": busy, "empty": empty, "hostile": hostile, "largest": largest}
WITHOUT_END = {"meta", "br"}


class Document(HTMLParser):
    """Reads a page strictly: every element ends, in order."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in WITHOUT_END:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page(view: PageView) -> str:
    return render_page(view).decode()


def words(view: PageView) -> str:
    return " ".join("".join(Document(page(view)).words).split())


def snapshot(view: PageView) -> Snapshot:
    assert view.snapshot is not None
    return view.snapshot


def only(view: PageView, *releases: object, **changes: object) -> PageView:
    """Return a view whose snapshot has these releases."""
    return replace(view, snapshot=replaced(snapshot(view), releases=releases, **changes))


@pytest.mark.parametrize("name", VIEWS)
def test_it_is_well_formed_and_whole_in_itself(name: str) -> None:
    text = page(VIEWS[name]())
    document = Document(text)
    names = {tag for tag, _ in document.elements}
    assert not names & {"script", "link", "img", "iframe", "form", "object", "base"}
    assert not re.search(r"url\(|@import|<[^>]+\s(?:src|on[a-z]+|style)=", text)
    for link in document.all("a"):
        assert re.match(r"#|/[a-z]|https://", link["href"] or ""), "no other scheme"
    ids = [attributes["id"] for _, attributes in document.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    labels = {attributes["aria-labelledby"] for _, attributes in document.elements if "aria-labelledby" in attributes}
    assert labels <= set(ids)
    assert all(cell["scope"] in ("row", "col") for cell in document.all("th"))
    assert [level["lang"] for level in document.all("html")] == ["en"]
    assert len(document.all("h1")) == 1


@pytest.mark.parametrize("name", VIEWS)
def test_its_size_is_bounded(name: str) -> None:
    size = len(render_page(VIEWS[name]()))
    assert size < (256 << 10), "64 releases of the longest words that they may have"
    assert name == "largest" or size < (48 << 10)


def test_the_policy_names_its_style_and_nothing_else() -> None:
    style = re.search(r"<style>(.*)</style>", page(busy()), re.DOTALL)
    assert style is not None
    hashed = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    fields = dict(FIELDS)
    policy = fields["Content-Security-Policy"].split("; ")
    assert policy == [
        "default-src 'none'",
        f"style-src 'sha256-{hashed}'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    assert fields["X-Content-Type-Options"] == "nosniff"
    assert fields["Referrer-Policy"] == "no-referrer"
    assert fields["Cache-Control"] == "public, max-age=5"
    assert CONTENT_TYPE == "text/html; charset=utf-8"
    assert all(value.isascii() and value.isprintable() for value in fields.values())


def test_hostile_words_are_words() -> None:
    text, told = page(hostile()), "".join(Document(page(hostile())).words)
    for each in HOSTILE:
        assert each not in text
    for each in (HOSTILE[0], HOSTILE[1], HOSTILE[3], HOSTILE[4], "<b>mallory</b>"):
        assert each in told
    assert "ev[U+202E]il" in told
    assert not set(text) & set("\u202e\u202c\u2066\u2069\u200b")
    assert Document(page(hostile())).all("h1") == Document(page(busy())).all("h1")


@pytest.mark.parametrize(
    "source",
    [
        "javascript:alert(1)",
        "http://code.example/",
        "https://code.example/?q=1",
        "https://user@code.example/",
        "https://code.example/\u0430",
        "https://code.example/ x",
        "https:code.example",
    ],
)
def test_only_what_is_plainly_an_address_becomes_a_link(source: str) -> None:
    links = [link["href"] for link in Document(page(only(busy(), release(1, source=source)))).all("a")]
    assert [link for link in links if link and not link.startswith(("#", "/"))] == []


def test_an_address_of_the_web_is_a_link_that_tells_nobody_where_it_was_found() -> None:
    links = Document(page(only(busy(), release(1)))).all("a")
    assert {"href": "https://code.example/assistant/seclude", "rel": "noreferrer noopener external"} in links


def test_each_release_is_told_with_its_standing() -> None:
    told = words(busy())
    for each in snapshot(busy()).releases:
        assert each.manifest in told
        assert each.manifest[:12] in told
        assert each.revision in told
        assert each.source in told
    assert "Accepted." in told
    assert "since 2026-01-06 22:41:30 UTC, 1 day after when a quorum of witnesses had first seen it" in told
    assert "Expired: devices refuse it." in told
    assert "Published, not mature yet: devices refuse it." in told
    assert "not before 2026-01-08 22:36:30 UTC" in told
    assert "sev-snp: 2 images, tdx: 1 image" in told
    assert "SIMULATED hardware" in told
    assert "its tokenizer kept words" in told
    assert "anna.publisher.example and bela.publisher.example" in told


def test_a_release_that_no_quorum_saw_is_not_called_accepted() -> None:
    view = replace(only(busy(), release(1)), stood_by={})
    assert "Accepted." not in words(view)
    assert "1 day after a quorum of witnesses has seen it, which none has yet" in words(view)


def test_without_a_wait_a_release_counts_from_when_it_was_seen() -> None:
    one = release(1)
    view = replace(only(busy(), one), maturity_seconds=0, stood_by={(one.role, one.manifest): NOW})
    assert "Accepted." in words(view)
    assert "since 2026-01-07 22:41:30 UTC, when a quorum of witnesses had first seen it" in words(view)


def test_a_revocation_outweighs_everything() -> None:
    one = release(1)
    gone = Revocation(manifest=one.manifest, reason="broken", revoked=NOW - 1)
    told = words(only(busy(), one, revocations=(gone,)))
    assert "Revoked: devices refuse it." in told
    assert "Accepted." not in told


def test_where_the_snapshot_has_expired_none_of_its_releases_counts() -> None:
    told = words(only(busy(), release(1), expires=NOW))
    assert "This snapshot has expired: devices accept none of its releases" in told
    assert "Accepted." not in told


def test_a_snapshot_without_releases_says_that_the_service_is_stopped() -> None:
    told = words(only(busy(), revocations=()))
    assert "It names no release, so devices accept no software." in told
    assert "Nothing has been revoked." in told


def test_the_newest_epochs_are_told_and_void_ones_called_void() -> None:
    document = Document(page(busy()))
    links = [link["href"] for link in document.all("a") if (link["href"] or "").startswith("/epochs/")]
    assert links[:3] == ["/epochs/1001", "/epochs/1000", "/epochs/999"]
    assert "/epochs/994" not in links, "it is void"
    told = "".join(document.words)
    assert digest("core", 1001).hex() in told
    assert told.index("logged, to come") < told.index("logged, in use")
    assert told.count("void") == 1 + sum(number % 9 == 4 for number in range(1_002 - MAX_EPOCHS, 1_002))
    cut = words(replace(busy(), epochs=[EpochRow(number, None) for number in range(1_000)]))
    assert cut.count("no keys") == MAX_EPOCHS


def test_each_witness_is_told_with_the_age_of_what_it_cosigned() -> None:
    told = words(busy())
    assert "3 seconds ago, 2026-01-07 22:41:27 UTC" in told
    assert "1 minute ago, 2026-01-07 22:40:00 UTC" in told
    assert told.count("none on this checkpoint") == 1
    assert "The quorum is 2 of (north, east, south). It is met for the keys log and the state log." in told
    assert "A quorum of witnesses vouched for both logs 5 seconds ago." in told
    assert "could be split" not in told


def test_a_quorum_that_went_stale_is_said_to_be_refused() -> None:
    view = replace(busy(), keys=published(KEYS_LOG, 1_002, (3, 1_201)))
    assert "The witnesses' quorum is 20 minutes old. Devices refuse checkpoints older than 20 minutes" in words(view)
    assert "vouched" in words(replace(busy(), keys=published(KEYS_LOG, 1_002, (3, 1_200))))


def test_a_clock_behind_the_witnesses_makes_no_negative_age() -> None:
    assert "0 seconds ago" in words(replace(busy(), now=NOW - 60))


def test_a_quorum_that_does_not_bind_is_said_not_to() -> None:
    assert "a log could be split between them" in words(replace(busy(), quorum=quorum("1")))
    told = words(replace(busy(), quorum=parse_quorum("quorum none")))
    assert "nobody vouches" in told
    assert "The policy names no witness." in told


def test_both_checkpoints_are_shown_as_they_were_signed() -> None:
    view = busy()
    told = "".join(Document(page(view)).words)
    for log, path in ((view.keys, "/keys/checkpoint"), (view.state, "/state/checkpoint")):
        assert log.cosigned is not None
        assert log.cosigned.note.decode() in told
        assert log.cosigned.checkpoint.root.hex() in told
        assert str(log.key) in told
        assert path in told
    for key in (*view.publishers, *(each.key for each in view.quorum.witnesses)):
        assert str(key) in told


def test_the_files_that_it_names_exist_for_these_sizes() -> None:
    told = "".join(Document(page(busy())).words)
    assert "seclude monitor --trust trust.toml" in told
    found = re.findall(r"\$LEDGER/(keys|state)/(tile/\S+)", told)
    assert len(found) == 4
    for log, path in found:
        level, index, width = parse_tile_path(path)
        assert (max(level, 0), index, width) in tiles_of(1_002 if log == "keys" else 17)


def test_an_empty_ledger_says_what_is_missing_and_a_demonstration_that_it_is_one() -> None:
    told = words(empty())
    assert "This is a demonstration. Its hardware is SIMULATED" in told
    assert "This is a demonstration" not in words(busy())
    assert "No snapshot of the state has been published yet" in told
    assert "No epoch has been logged yet." in told
    assert told.count("No checkpoint has met the quorum of witnesses yet.") == 2
    assert "It has not been met yet." in told
    assert "$LEDGER/keys/tile" not in told
    one = replace(empty(), keys=published(KEYS_LOG, 0, (3, 4)))
    assert "No quorum of witnesses has cosigned both logs yet" in words(one)
    assert "It is met for the keys log." in words(one)
    assert PublishedLog(STATE_LOG.verifier, None) == one.state


def test_text_is_escaped_wherever_it_is_put() -> None:
    made = element("a", "<", code('"'), href="\"'<>&\x00", aria_label="x")
    assert made == Markup('<a href="&quot;&#x27;&lt;&gt;&amp;[U+0000]" aria-label="x">&lt;<code>&quot;</code></a>')
    assert element("meta", charset="utf-8").html == '<meta charset="utf-8">'
    assert element("p", "\ud800\u2028\ufeff\n").html == "<p>[U+D800][U+2028][U+FEFF]\n</p>"


def test_times_are_in_utc_and_none_is_too_late() -> None:
    assert moment(0).html == '<time datetime="1970-01-01T00:00:00Z">1970-01-01 00:00:00 UTC</time>'
    assert moment(1 << 40).html == "<span>second 1099511627776</span>"
    lengths = {0: "0 seconds", 1: "1 second", 59: "59 seconds", 60: "1 minute", 7199: "1 hour", DAY * 3: "3 days"}
    assert {seconds: duration(seconds) for seconds in lengths} == lengths
