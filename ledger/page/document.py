"""The page of a ledger for people: what is released, which keys were made, who watches, and how to check all of it.

Plain HTML 5 that takes no script and nothing from elsewhere. It is made from what the ledger publishes anyway and
proves nothing by itself, which it says: devices and `seclude monitor` verify the logs and never read this.

Its size is bounded by what it is made of: one snapshot, the last 50 epochs, the witnesses of one policy.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ledger.page.markup import (
    Content,
    Markup,
    code,
    counted,
    duration,
    element,
    facts,
    folded,
    foreign,
    joined,
    moment,
    table,
)
from ledger.page.releases import ReleasesView, releases_section
from ledger.page.style import STYLE
from seclude.attestation.slots import Slots
from seclude.attestation.snapshot import Snapshot
from seclude.ledger import Path, epoch_path
from seclude.tlog.cosigned import Cosigned
from seclude.tlog.keys import VerifierKey
from seclude.tlog.quorum import Quorum
from seclude.tlog.tiles import ENTRIES, TILE_WIDTH, tile_path

MAX_EPOCHS: Final = 50  # rows; eight hours of ten minutes each, and whoever wants more follows the log
STALE_PERIODS: Final = 2  # what a device takes for too old unless its policy says otherwise
SHORT_NOTE: Final = 1_500  # characters; a dozen signatures of Ed25519 fit, one of ML-DSA-44 has twice as many
SHORT_KEY: Final = 120  # characters; an Ed25519 key fits, one of ML-DSA-44 is folded away
_DEMONSTRATION: Final = (
    "This is a demonstration. Its hardware is SIMULATED: the machines prove nothing and keep nobody out. "
    "Do not trust it with anything private."
)


@dataclass(frozen=True, slots=True)
class PublishedLog:
    """One log as it is published."""

    key: VerifierKey
    cosigned: Cosigned | None
    """The newest checkpoint that met the quorum, with every cosignature that came; None: none has met it yet."""


@dataclass(frozen=True, slots=True)
class EpochRow:
    """One leaf of the keys log."""

    number: int
    core: bytes | None
    """SHA-256 of its core; None where the leaf is void."""


@dataclass(frozen=True, slots=True)
class PageView:
    """Everything that the page shows, as of one moment."""

    origin: str
    now: int
    slots: Slots
    maturity_seconds: int
    keys: PublishedLog
    state: PublishedLog
    quorum: Quorum
    publishers: Sequence[VerifierKey]
    snapshot: Snapshot | None = None
    """The last leaf of the state log under its published checkpoint; None: there is none yet."""
    signed_by: Sequence[str] = ()
    """The publishers who signed it."""
    stood_by: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """By (role, manifest): when a release stood in a cosigned snapshot, as `Cosigned.until` says."""
    epochs: Sequence[EpochRow] = ()
    """The newest leaves in any order; the last `MAX_EPOCHS` are shown."""
    demonstration: bool = False
    """Whether this serves a pool on simulated hardware, which the page then says first."""


def render_page(view: PageView) -> bytes:
    """Return the page; it is sent as `style.CONTENT_TYPE` with `style.FIELDS`."""
    title = f"Public ledger of {view.origin}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Markup(STYLE)),  # ours alone, and named in the policy by its hash
    )
    sections = list(_sections(view))
    links = [(name, words) for name, words, _ in sections]
    shown = joined(_section(*each) for each in sections)
    main = element("main", _header(view, title, links), shown, _footer(view))
    page = element("html", head, element("body", main), lang="en")
    return f"<!doctype html>\n{page.html}\n".encode()


def _sections(view: PageView) -> Iterator[tuple[str, str, Markup]]:
    """Yield the name, the title and the content of each section."""
    yield "releases", "Releases", releases_section(_of_releases(view))
    yield "epochs", "Epochs", _epochs(view)
    yield "witnesses", "Witnesses", _witnesses(view)
    yield "checkpoints", "Checkpoints", _checkpoints(view)
    yield "publishers", "Publishers", _publishers(view)
    yield "verify", "How to verify", _verifying(view)


def _section(name: str, title: str, content: Markup) -> Markup:
    heading = f"{name}-title"
    return element("section", element("h2", title, id=heading), content, id=name, aria_labelledby=heading)


def _header(view: PageView, title: str, links: Sequence[tuple[str, str]]) -> Markup:
    warning = element("p", element("strong", _DEMONSTRATION), class_="warning") if view.demonstration else Markup("")
    what = (
        f"This ledger shows everybody which software {view.origin} runs on private messages, and which public keys "
        "it encrypts to. A device encrypts only to keys and to software that stand here under checkpoints which "
        "independent witnesses have cosigned, so what is shown to one is shown to all. It holds hashes and public "
        "keys, and nothing of anybody's request."
    )
    inside = (element("li", element("a", words, href=f"#{name}")) for name, words in links)
    nav = element("nav", element("ul", *inside), aria_label="Sections")
    return element("header", element("h1", title), warning, element("p", what), _summary(view), nav)


def _summary(view: PageView) -> Markup:
    """Say in one paragraph how things stand."""
    keys, state = (_size(log) for log in (view.keys, view.state))
    counts = f"{counted(keys, 'slot')} in the keys log, {counted(state, 'snapshot')} in the state log. "
    return element("p", "As of ", moment(view.now), ": ", counts, _freshness(view))


def _freshness(view: PageView) -> str:
    """Say whether devices take the checkpoints, as far as their age decides it."""
    if view.quorum.rule is None:
        return "No witness is asked for, so nobody vouches that what is shown to one is shown to all."
    sinces = [log.cosigned.since for log in (view.keys, view.state) if log.cosigned is not None]
    if len(sinces) < 2:
        return "No quorum of witnesses has cosigned both logs yet, so devices accept nothing that needs it."
    age, limit = max(0, view.now - min(sinces)), STALE_PERIODS * view.slots.period_seconds
    if age > limit:
        return (
            f"The witnesses' quorum is {duration(age)} old. Devices refuse checkpoints older than {duration(limit)}, "
            "unless their policy says otherwise."
        )
    return f"A quorum of witnesses vouched for both logs {duration(age)} ago."


def _of_releases(view: PageView) -> ReleasesView:
    return ReleasesView(view.now, view.maturity_seconds, view.snapshot, view.signed_by, view.stood_by)


def _epochs(view: PageView) -> Markup:
    newest = sorted(view.epochs, key=lambda row: row.number, reverse=True)[:MAX_EPOCHS]
    period = duration(view.slots.period_seconds)
    words = (
        f"Leaf n of the keys log is epoch n, whose keys are encrypted to for {period} from the start of slot n. "
        "A void slot never had keys and never will."
    )
    if not newest:
        return element("p", words) + element("p", "No epoch has been logged yet.")
    rows = ((_number(row), moment(view.slots.start(row.number)), _logged(view, row), _core(row)) for row in newest)
    caption = f"The last {counted(len(newest), 'slot')}, newest first: number, start, leaf, and SHA-256 of the core"
    head = ("Epoch", "Slot starts", "Leaf", "Core")
    return element("p", words) + table(caption, head, rows, class_="listing")


def _number(row: EpochRow) -> Content:
    return str(row.number) if row.core is None else element("a", str(row.number), href=epoch_path(row.number))


def _core(row: EpochRow) -> Content:
    return "no keys" if row.core is None else code(row.core.hex())


def _logged(view: PageView, row: EpochRow) -> str:
    if row.core is None:
        return "void"
    if view.now >= view.slots.end(row.number):
        return "logged"
    return "logged, in use" if view.now >= view.slots.start(row.number) else "logged, to come"


def _witnesses(view: PageView) -> Markup:
    words = (
        "Witnesses see every checkpoint before devices do, and cosign only what continues all that they have seen. "
        "They are to be run by others than whoever runs this ledger. "
    )
    about = element("p", words, "The quorum is ", foreign(str(view.quorum)), ". ", _quorum_state(view))
    if view.quorum.can_split:
        split = "Two sets of witnesses without a common member meet this quorum, so a log could be split between them."
        about += element("p", element("strong", split), class_="warning")
    if not view.quorum.witnesses:
        return about + element("p", "The policy names no witness.")
    times = (("keys", _times(view.keys)), ("state", _times(view.state)))
    rows = (
        (foreign(witness.name), name, _cosigned(view, cosigned, witness.name))
        for witness in view.quorum.witnesses
        for name, cosigned in times
    )
    public = facts("Keys of the witnesses", ((foreign(each.name), _key(each.key)) for each in view.quorum.witnesses))
    newest = table("The newest cosignatures", ("Witness", "Log", "Cosigned"), rows, class_="listing")
    return about + newest + element("h3", "Their keys") + public


def _quorum_state(view: PageView) -> str:
    logs = (("keys", view.keys), ("state", view.state))
    met = [title for title, log in logs if log.cosigned is not None and view.quorum.is_met(log.cosigned.times.keys())]
    if not met:
        return "It has not been met yet."
    return f"It is met for {' and '.join(f'the {title} log' for title in met)}."


def _cosigned(view: PageView, times: Mapping[str, int], name: str) -> Content:
    when = times.get(name)
    if when is None:
        return "none on this checkpoint"
    return joined([f"{duration(max(0, view.now - when))} ago, ", moment(when)])


def _checkpoints(view: PageView) -> Markup:
    return joined(
        _checkpoint(title, log, path)
        for title, log, path in (("Keys log", view.keys, Path.KEYS), ("State log", view.state, Path.STATE))
    )


def _checkpoint(title: str, log: PublishedLog, path: Path) -> Markup:
    address, heading = f"{path}{Path.CHECKPOINT}", element("h3", title)
    if log.cosigned is None:
        words = element("p", "No checkpoint has met the quorum of witnesses yet.")
        return element("article", heading, words, facts(title, (("Key", _key(log.key)),)))
    checkpoint = log.cosigned.checkpoint
    rows = (
        ("Served at", element("a", address, href=address)),
        ("Size", str(checkpoint.size)),
        ("Root", code(checkpoint.root.hex())),
        ("Key", _key(log.key)),
    )
    note = log.cosigned.note.decode(errors="replace")
    shown = element("pre", note)
    if len(note) > SHORT_NOTE:
        shown = folded("The signed checkpoint", shown)
    return element("article", heading, facts(title, rows), shown)


def _publishers(view: PageView) -> Markup:
    words = (
        "They sign what counts as a release. A snapshot that names releases takes two of their signatures; one that "
        "names none, which stops a service, takes one."
    )
    if not view.publishers:
        return element("p", words) + element("p", "No publisher is configured, so no snapshot is accepted here.")
    rows = ((foreign(key.name), "yes" if key.name in view.signed_by else "no", _key(key)) for key in view.publishers)
    caption = "The publishers, whether each signed the newest snapshot, and their keys"
    return element("p", words) + table(caption, ("Publisher", "Signed it", "Key"), rows)


def _verifying(view: PageView) -> Markup:
    return joined(
        [
            element(
                "p",
                "Do not believe this page: whoever serves it could change it. Compare the keys above with those in "
                "your trust file, which came to you by another way, and let a program follow the logs:",
            ),
            element(
                "pre", "LEDGER=https://the.address.of.this.page\nseclude monitor --trust trust.toml --ledger $LEDGER"
            ),
            element(
                "p",
                "The logs are files in open formats (C2SP tlog-tiles, tlog-checkpoint, tlog-cosignature), and every "
                "one of them can be had and kept:",
            ),
            element("pre", "\n".join(f"curl -fsS $LEDGER{path} -o {name}" for path, name in _files(view))),
            element(
                "p",
                "Programs that others wrote read them too: Go's golang.org/x/mod/sumdb/note opens a checkpoint with "
                "the key of its log, and golang.org/x/mod/sumdb/tlog checks the tiles against it. The way by hand is "
                "in docs/ledger.md of the source.",
            ),
        ]
    )


def _files(view: PageView) -> Iterator[tuple[str, str]]:
    """Yield the addresses of files that exist now, with names to keep them by."""
    for name, log, path in (("keys", view.keys, Path.KEYS), ("state", view.state, Path.STATE)):
        yield f"{path}{Path.CHECKPOINT}", f"{name}.checkpoint"
        size = _size(log)
        if size:
            index, width = (size - 1) // TILE_WIDTH, (size - 1) % TILE_WIDTH + 1
            yield f"{path}/{tile_path(ENTRIES, index, width)}", f"{name}.entries"
            yield f"{path}/{tile_path(0, index, width)}", f"{name}.hashes"


def _footer(view: PageView) -> Markup:
    return element("footer", "Made by seclude-ledger at ", moment(view.now), ", without scripts and without cookies.")


def _key(key: VerifierKey) -> Markup:
    text = str(key)
    return folded("ML-DSA-44 key", element("pre", text)) if len(text) > SHORT_KEY else code(text)


def _times(log: PublishedLog) -> Mapping[str, int]:
    return {} if log.cosigned is None else log.cosigned.times


def _size(log: PublishedLog) -> int:
    return 0 if log.cosigned is None else log.cosigned.checkpoint.size
