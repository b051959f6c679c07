"""The state of a service: which software is released, on which chips, and what was revoked, as its publishers sign it.

Every leaf of the state log is the whole of it, so that one leaf, the last, says everything. It is a signed note
(C2SP signed-note) whose text has two lines:

    seclude state v1
    {"chips":{...},"expires":...,"issued":...,"issuer_keys":[...],"origin":"...","releases":[...],"revocations":[...]}

The second is JSON in its one form: keys in ascending order, defaults written out. A snapshot that names a release takes
the signatures of two publishers. One that names none takes one: any of them can stop a service, and none of them alone
can start something.
"""

from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec

from seclude.attestation.accept import CHIP_DIGITS, Octets, Sha256
from seclude.attestation.bundle import MAX_NAME, ORIGIN, ROLE
from seclude.errors import ConfigError, DecodeError, PolicyError
from seclude.tlog.keys import VerifierKey
from seclude.tlog.note import Note, parse_note
from seclude.tlog.signing import verify_note

TITLE: Final = "seclude state v1"
MAX_TEXT: Final = 61_440  # octets; the largest entry of a log, less what eight signatures take
MAX_RELEASES: Final = 64
MAX_CHIPS: Final = 4096  # of one format; 64 octets each do not fit, which `render_snapshot` says
MAX_REVOCATIONS: Final = 256
MAX_ISSUER_KEYS: Final = 8
PUBLISHERS_OF_RELEASES: Final = 2  # signatures; one person who errs, or whose key was stolen, releases nothing

Time = Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]
Line = Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+\Z")]
Role = Annotated[str, msgspec.Meta(pattern=rf"^(?:{ROLE.pattern})\Z")]
Measured = Literal["sev-snp", "tdx", "nitro"]
Listed = Literal["sev-snp", "tdx"]  # Amazon owns the machines of Nitro, which have no chips to name
Measurement = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{96}\Z")]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of a snapshot."""


class Release(_Part, frozen=True, kw_only=True):
    """Software that may hold keys, for one role and until it expires."""

    role: Role
    manifest: Sha256
    """Digest of the manifest of the worker's files."""
    source: Line
    """Where its source is, such as the address of a repository."""
    revision: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?\Z")]
    """The commit that it was built from."""
    issued: Time
    expires: Time
    """Seconds since 1970; from then on nobody encrypts to it."""
    measurements: dict[Measured, Annotated[tuple[Measurement, ...], msgspec.Meta(max_length=64)]] = {}
    """The images of machines that run it, by the format that measures them."""

    def images(self, name: str) -> tuple[str, ...]:
        """Return the images that a format measures."""
        return next((images for measured, images in self.measurements.items() if measured == name), ())


class IssuerKey(_Part, frozen=True, kw_only=True):
    """A key that tokens are issued with."""

    key: Annotated[bytes, msgspec.Meta(max_length=1024)]
    """SubjectPublicKeyInfo, DER."""
    not_before: Time
    expires: Time


class Revocation(_Part, frozen=True, kw_only=True):
    """Software that must not be believed any more, whatever else says that it may."""

    manifest: Sha256
    reason: Line
    revoked: Time


class Snapshot(_Part, frozen=True, kw_only=True):
    """The whole state at one time."""

    origin: Annotated[str, msgspec.Meta(pattern=rf"^(?:{ORIGIN.pattern})\Z", max_length=MAX_NAME)]
    """The service; a snapshot of another one says nothing about this."""
    issued: Time
    expires: Time
    releases: Annotated[tuple[Release, ...], msgspec.Meta(max_length=MAX_RELEASES)] = ()
    chips: dict[Listed, Annotated[tuple[Octets, ...], msgspec.Meta(max_length=MAX_CHIPS)]] = {}
    """The chips of machines that may run it, by format, where a policy names none itself."""
    issuer_keys: Annotated[tuple[IssuerKey, ...], msgspec.Meta(max_length=MAX_ISSUER_KEYS)] = ()
    revocations: Annotated[tuple[Revocation, ...], msgspec.Meta(max_length=MAX_REVOCATIONS)] = ()

    def chips_of(self, name: str) -> tuple[str, ...]:
        """Return the chips of one format."""
        return next((chips for measured, chips in self.chips.items() if measured == name), ())

    def release(self, role: str, manifest: bytes) -> Release | None:
        """Return the release of this software for this role."""
        digest = manifest.hex()
        return next((each for each in self.releases if each.role == role and each.manifest == digest), None)

    def revocation(self, manifest: bytes) -> Revocation | None:
        """Return why this software was revoked, if it was."""
        digest = manifest.hex()
        return next((each for each in self.revocations if each.manifest == digest), None)


def render_snapshot(snapshot: Snapshot) -> str:
    """Return the text that publishers sign; `ConfigError` for one that cannot be read again or says two things."""
    for problem in snapshot_problems(snapshot):
        raise ConfigError(f"snapshot: {problem}")
    text = f"{TITLE}\n{msgspec.json.encode(snapshot, order='sorted').decode()}\n"
    if len(text.encode()) > MAX_TEXT:
        raise ConfigError(f"snapshot: it takes {len(text.encode())} octets, limit {MAX_TEXT}; name fewer chips")
    return text


def parse_snapshot(text: str) -> Snapshot:
    """Read the text of a snapshot; raises `DecodeError` for anything but its one form."""
    if len(text) > MAX_TEXT:
        raise DecodeError(f"snapshot of {len(text)} characters, limit {MAX_TEXT}")
    title, _, document = text.partition("\n")
    if title != TITLE:
        raise DecodeError("not a snapshot of a version known here")
    try:
        snapshot = msgspec.json.decode(document, type=Snapshot)
        canonical = render_snapshot(snapshot)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise DecodeError("the snapshot does not have its form") from None
    except ConfigError as exc:
        raise DecodeError(str(exc)) from exc
    if canonical != text:
        raise DecodeError("the snapshot is not in its one encoding")
    return snapshot


def snapshot_problems(snapshot: Snapshot) -> list[str]:
    """Find what is wrong beyond types and ranges."""
    found = []
    if snapshot.expires <= snapshot.issued:
        found.append("it expires before it is issued")
    named = [(release.role, release.manifest) for release in snapshot.releases]
    if len(set(named)) != len(named):
        found.append("it names one release twice")
    found += [
        f"release {release.manifest} expires before it is issued"
        for release in snapshot.releases
        if release.expires <= release.issued
    ]
    for name, chips in snapshot.chips.items():
        if any(len(chip) not in CHIP_DIGITS[name] for chip in chips):
            found.append(f"its chips of {name} have not {' or '.join(str(n // 2) for n in CHIP_DIGITS[name])} octets")
    revoked = [revocation.manifest for revocation in snapshot.revocations]
    if len(set(revoked)) != len(revoked):
        found.append("it revokes one release twice")
    found += [f"release {manifest} is revoked and released" for _, manifest in named if manifest in revoked]
    return found


def publishers_needed(snapshot: Snapshot) -> int:
    """Return how many publishers must have signed a snapshot."""
    return PUBLISHERS_OF_RELEASES if snapshot.releases else 1


def verify_snapshot(entry: bytes, publishers: Sequence[VerifierKey], origin: str) -> tuple[Snapshot, tuple[str, ...]]:
    """Return a snapshot and the names of those who signed it, if enough of the pinned publishers did.

    Raises `DecodeError`, `EvidenceError` for a signature that is false, `PolicyError` for too few, or for a snapshot
    of another service. Whether it is the newest, and not expired, is for the caller to see.
    """
    note: Note = parse_note(entry)
    snapshot = parse_snapshot(note.text)
    signed = verify_note(note, publishers)
    needed = publishers_needed(snapshot)
    if len(signed) < needed:
        names = " and ".join(key.name for key in signed) or "nobody"
        raise PolicyError(f"the snapshot is signed by {names}; it takes {needed} of the {len(publishers)} publishers")
    if snapshot.origin != origin:
        raise PolicyError(f'the snapshot is of the service "{snapshot.origin}", not "{origin}"')
    return snapshot, tuple(key.name for key in signed)
