"""One witness as a log asks it (C2SP tlog-witness): for one cosignature on one head, with the proof that it needs.

A witness that is down is not heard. One that contradicts this log, because it has seen a larger tree or another one of
the same size, is believed at the start, since it is how a ledger that was rolled back learns of it.
"""

import re
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from ledger.add_checkpoint import PATH, SIZE_MEDIA_TYPE, serialize_add_checkpoint
from ledger.store import Head
from seclude.daemon.tls import ClientCertificates
from seclude.daemon.upstream import Upstream, UpstreamTimeouts
from seclude.errors import ConfigError, DecodeError, EvidenceError, UpstreamError
from seclude.tlog.canonical import parse_decimal
from seclude.tlog.cosignature import verify_cosignature
from seclude.tlog.merkle import consistency_proof
from seclude.tlog.note import MAX_NOTE, NoteSignature, parse_signature_lines
from seclude.tlog.quorum import Witness

ANSWER_SECONDS: Final = 2.0  # a sync and a signature on a busy machine, and a round trip around the world
MAX_TRIES: Final = 3  # of one head: what the witness has, what it has by then, and once more
TEXT: Final = "text/plain; charset=utf-8"
UNIX: Final = re.compile(r"(unix:[^?#]+?)/?")


class ContradictionError(EvidenceError):
    """Raised when a witness knows of a tree that this log does not have."""


def split_url(url: str) -> tuple[str, str]:
    """Return the address of a witness and the path of its service below that; raises ConfigError."""
    if UNIX.fullmatch(url):
        return url, ""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigError("not a URL") from None
    if parts.query or parts.fragment or not parts.path.isascii():
        raise ConfigError("the URL of a witness has neither a query nor a fragment, and a path in ASCII")
    return urlunsplit((parts.scheme, parts.netloc, "", "", "")), parts.path.rstrip("/")


def connect(witness: Witness, tls: ClientCertificates, *, insecure_plaintext: bool) -> tuple[Upstream, str]:
    """Return the way to a witness, without using it yet, and where it takes checkpoints; raises ConfigError."""
    if witness.url is None:
        raise ConfigError(f"witness {witness.name}: no URL stands after its key, so it cannot be asked")
    try:
        address, prefix = split_url(witness.url)
        upstream = Upstream(
            address,
            timeouts=UpstreamTimeouts(connect=ANSWER_SECONDS, total=ANSWER_SECONDS),
            max_answer_bytes=MAX_NOTE,
            tls=tls if address.startswith("https:") else None,
            insecure_plaintext=insecure_plaintext,
        )
    except ConfigError as exc:
        raise ConfigError(f"witness {witness.name}: {exc}") from None
    return upstream, prefix + PATH


class Asker:
    """Asks one witness about one log, one head at a time."""

    def __init__(self, witness: Witness, upstream: Upstream, path: str) -> None:
        self.witness: Final = witness
        self.busy = False
        """Whether it is being asked."""
        self.asked_for: Head | None = None
        """What it was asked about last."""
        self.contradiction: str | None = None
        """What it says against this log, if it does; for people."""
        self.cosigned_at: int | None = None
        """The time of its newest cosignature, by its own clock."""
        self.cosigned_size = 0
        """The largest tree of this log that it is known to have cosigned."""
        self.has_forgotten = False
        """Whether it said that it has a smaller one, so that it could be shown another history from there."""
        self._upstream = upstream
        self._path = path
        self._known: int | None = None  # the size that it has, as far as it said

    async def ask(self, head: Head, newest: int) -> NoteSignature:
        """Return its cosignature, verified; `newest` is the size of the log by now.

        Raises UpstreamError, DecodeError or EvidenceError where there is none, and ContradictionError.
        """
        size = head.checkpoint.size
        for _ in range(MAX_TRIES):
            old = size if self._known is None or self._known > size else self._known
            body = serialize_add_checkpoint(old, consistency_proof(old, size, head.tree.node), head.note)
            answer = await self._upstream.exchange("POST", self._path, content_type=TEXT, body=body)
            if answer.status == 200:
                signature = self._take(head, answer.body)
                self._known = self.cosigned_size = size
                return signature
            if answer.status == 422:
                raise ContradictionError(
                    self._says(f"what it has cosigned, {old} entries, is no beginning of this log")
                )
            if answer.status != 409:
                raise UpstreamError(f"witness {self.witness.name} answered {answer.status}")
            if answer.content_type != SIZE_MEDIA_TYPE:
                raise ContradictionError(self._says(f"it has cosigned another tree of {old} entries"))
            self._known = self._read_size(answer.body)
            self.has_forgotten = self.has_forgotten or self._known < self.cosigned_size
            if self._known > newest:
                raise ContradictionError(
                    self._says(f"it has cosigned {self._known} entries, and this log has {newest}")
                )
            if self._known == old == size:  # the root is not the one it has; some witnesses say the size then too
                raise ContradictionError(self._says(f"it has cosigned another tree of {old} entries"))
            if self._known > size:
                raise UpstreamError(f"witness {self.witness.name} is ahead of what it was asked")
        raise UpstreamError(f"witness {self.witness.name} has another size each time")

    def _take(self, head: Head, body: bytes) -> NoteSignature:
        key = self.witness.key
        try:
            lines = parse_signature_lines(body.decode())
        except UnicodeDecodeError:
            raise DecodeError("cosignatures are not text") from None
        for signature in lines:
            if (signature.name, signature.key_id) == (key.name, key.key_id):
                self.cosigned_at = verify_cosignature(head.checkpoint, key, signature.signature)
                return signature
        raise EvidenceError(f"witness {self.witness.name} did not sign with its key")

    def _read_size(self, body: bytes) -> int:
        text = body.decode("ascii", "replace")
        if not text.endswith("\n"):
            raise DecodeError("the size of a witness does not end with a newline")
        return parse_decimal(text[:-1], "size")

    def _says(self, sentence: str) -> str:
        return f"witness {self.witness.name} contradicts this log: {sentence}"
