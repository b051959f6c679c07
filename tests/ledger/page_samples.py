"""What a page may have to show: a busy ledger, an empty one, and one whose publishers write hostile words."""

import hashlib
from dataclasses import replace
from itertools import cycle
from typing import Final

from ledger.page.document import MAX_EPOCHS, EpochRow, PageView, PublishedLog
from seclude.attestation.slots import Slots
from seclude.attestation.snapshot import MAX_RELEASES, IssuerKey, Release, Revocation, Snapshot
from seclude.tlog.checkpoint import Checkpoint, render_checkpoint
from seclude.tlog.cosignature import cosign, sign_checkpoint
from seclude.tlog.cosigned import open_cosigned
from seclude.tlog.keys import COSIGNATURE_ED25519, ED25519, ML_DSA_44, SignerKey, generate_skey
from seclude.tlog.merkle import EMPTY_ROOT
from seclude.tlog.note import Note, serialize_note
from seclude.tlog.quorum import Quorum, parse_quorum

T0: Final = 1_767_225_600
NOW: Final = T0 + 1_000 * 600 + 90
DAY: Final = 86_400
ORIGIN: Final = "assistant.example"
HOSTILE: Final = (
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=\'owned\'">',
    "https://good.example/\u202egpj.exe\u202c and \u2066more\u2069\u200b",
    "javascript:document.title='owned'",
    "</style></table></main><h1>Another heading</h1>&lt;&amp;",
)

KEYS_LOG: Final = generate_skey(f"{ORIGIN}/keys", ED25519)
STATE_LOG: Final = generate_skey(f"{ORIGIN}/state", ED25519)
WITNESSES: Final = (
    generate_skey("witness.north.example", COSIGNATURE_ED25519),
    generate_skey("witness.east.example", ML_DSA_44),
    generate_skey("witness.south.example", COSIGNATURE_ED25519),
)
PUBLISHERS: Final = tuple(generate_skey(f"{name}.publisher.example", ED25519) for name in ("anna", "bela", "chloe"))
NAMES: Final = ("north", "east", "south")


def quorum(rule: str = "2") -> Quorum:
    lines = [f"witness {name} {key.verifier}" for name, key in zip(NAMES, WITNESSES, strict=True)]
    return parse_quorum("\n".join([*lines, f"group all {rule} {' '.join(NAMES)}", "quorum all"]))


def published(log: SignerKey, size: int, ages: tuple[int, ...]) -> PublishedLog:
    """Return a log that the first witnesses cosigned that many seconds ago."""
    checkpoint = Checkpoint(log.verifier.name, size, digest("root", size) if size else EMPTY_ROOT)
    cosignatures = [cosign(checkpoint, key, NOW - age) for key, age in zip(WITNESSES, ages, strict=False)]
    note = Note(render_checkpoint(checkpoint), (sign_checkpoint(checkpoint, log, 0), *cosignatures))
    return PublishedLog(log.verifier, open_cosigned(serialize_note(note), log.verifier, quorum()))


def digest(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


def release(number: int, *, role: str = "worker", expires: int = NOW + 60 * DAY, source: str | None = None) -> Release:
    return Release(
        role=role,
        manifest=digest("manifest", number).hex(),
        source=source or "https://code.example/assistant/seclude",
        revision=digest("revision", number).hex()[:40],
        issued=NOW - 3 * DAY,
        expires=expires,
    )


def busy() -> PageView:
    """Return a ledger with releases in every state, and all that a page has room for."""
    image = digest("image").hex() + digest("more").hex()[:32]
    mature = release(1)
    releases = (
        mature,
        release(2, expires=NOW - 60),
        Release(
            role="worker",
            manifest=digest("manifest", 3).hex(),
            source="ssh://git@code.example/assistant",
            revision=digest("revision", 3).hex(),
            issued=NOW - 600,
            expires=NOW + 90 * DAY,
            measurements={"sev-snp": (image, image[::-1]), "tdx": (image,)},
        ),
    )
    gone = Revocation(manifest=digest("manifest", 9).hex(), reason="its tokenizer kept words", revoked=NOW - DAY)
    snapshot = Snapshot(
        origin=ORIGIN,
        issued=NOW - 600,
        expires=NOW + 30 * DAY,
        releases=releases,
        chips={"sev-snp": (digest("chip").hex(),)},
        issuer_keys=(IssuerKey(key=b"key", not_before=NOW - DAY, expires=NOW + DAY),),
        revocations=(gone,),
    )
    epochs = [EpochRow(n, None if n % 9 == 4 else digest("core", n)) for n in range(1_002 - MAX_EPOCHS, 1_002)]
    return PageView(
        origin=ORIGIN,
        now=NOW,
        slots=Slots(T0, 600),
        maturity_seconds=DAY,
        keys=published(KEYS_LOG, 1_002, (3, 4)),
        state=published(STATE_LOG, 17, (3, 90, 5)),
        quorum=quorum(),
        publishers=[key.verifier for key in PUBLISHERS],
        snapshot=snapshot,
        signed_by=[key.verifier.name for key in PUBLISHERS[:2]],
        stood_by={(each.role, each.manifest): NOW - (2 * DAY if each is mature else 300) for each in releases},
        epochs=epochs,
    )


def empty() -> PageView:
    """Return a ledger in its first second."""
    nothing = replace(busy(), epochs=(), snapshot=None, signed_by=(), stood_by={}, publishers=(), demonstration=True)
    return replace(nothing, keys=PublishedLog(KEYS_LOG.verifier, None), state=PublishedLog(STATE_LOG.verifier, None))


def hostile() -> PageView:
    """Return a ledger whose publishers write what must stay words."""
    view = busy()
    revocation = Revocation(manifest=digest("manifest", 9).hex(), reason=HOSTILE[0], revoked=NOW - DAY)
    releases = tuple(release(number, source=words) for number, words in enumerate(HOSTILE))
    snapshot = Snapshot(
        origin=ORIGIN, issued=NOW, expires=NOW + DAY, releases=releases, revocations=(revocation,), chips={}
    )
    return replace(view, snapshot=snapshot, signed_by=("<b>mallory</b>", "ev\u202eil"))


def largest() -> PageView:
    """Return a page as long as a snapshot lets it be."""
    worst = '"' * 250  # each takes six octets of HTML
    releases = tuple(release(number, source=worst) for number, _ in zip(range(MAX_RELEASES), cycle("x"), strict=False))
    snapshot = Snapshot(origin=ORIGIN, issued=NOW, expires=NOW + DAY, releases=releases)
    epochs = [EpochRow(number, digest("core", number)) for number in range(5_000)]
    return replace(busy(), snapshot=snapshot, epochs=epochs)
