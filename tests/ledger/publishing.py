"""Publishers as tests need them: keys in files, releases, snapshots, and a ledger that serves one state log."""

import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from ledger.keyfiles import create_signer
from ledger.publish.documents import render_release
from seclude.attestation.snapshot import Release
from seclude.errors import UnauthorizedError
from seclude.ledger import STATE_LABEL, open_submission
from seclude.ledger import Path as Place
from seclude.tlog.checkpoint import Checkpoint, render_checkpoint
from seclude.tlog.cosignature import cosign, sign_checkpoint
from seclude.tlog.keys import COSIGNATURE_ED25519, ED25519, SignerKey, VerifierKey, generate_skey
from seclude.tlog.merkle import leaf_hash, node_hash, tree_root
from seclude.tlog.note import Note, serialize_note
from seclude.tlog.tiles import ENTRIES, fresh_tiles, serialize_entries, tile_path

ORIGIN = "assistant.example"
SECRET = bytes(range(32))
ALICE, BERT = (generate_skey(f"{name}.example", ED25519) for name in ("alice", "bert"))
LOG = generate_skey("assistant.example/state", ED25519)
WITNESSES = tuple(generate_skey(f"w{number}.example", COSIGNATURE_ED25519) for number in range(3))
PUBLISHERS: tuple[VerifierKey, ...] = (ALICE.verifier, BERT.verifier)


def digest_of(number: int) -> str:
    """Return a digest that is easy to tell from others."""
    return f"{number:02x}" * 32


def release_of(number: int = 1, *, days: float = 90, **fields: object) -> Release:
    now = int(time.time())
    return Release(
        **{
            "role": "worker",
            "manifest": digest_of(number),
            "source": "https://git.example/seclude",
            "revision": "c0" * 20,
            "issued": now - 1,
            "expires": now + int(days * 86_400),
            **fields,
        }  # type: ignore[arg-type]
    )


def write_release(folder: Path, release: Release) -> str:
    """Write a release's file and return its path."""
    path = folder / f"release-{release.manifest[:4]}-{release.expires}.json"
    path.write_text(render_release(release))
    return str(path)


def write_key(folder: Path, key: SignerKey) -> str:
    """Write a private key's file and return its path."""
    path = folder / f"{key.verifier.name}.key"
    create_signer(path, key)
    return str(path)


@dataclass
class Ledger:
    """What a ledger does for publishers, without storage: any submission with the secret becomes the last leaf.

    `answers` come first, one for each submission: a status, a body and how long to wait.
    """

    entries: list[bytes] = field(default_factory=list)
    answers: list[tuple[int, str, int]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    witnesses: Sequence[SignerKey] = WITNESSES
    age_seconds: int = 0
    """How long ago its witnesses cosigned."""
    rival: bytes | None = None
    """What another publisher submits between the look at the log and the next submission."""
    url: str = ""

    def append(self, entry: bytes) -> None:
        """Add an entry and write the log anew."""
        if self.entries[-1:] != [entry]:
            self.entries.append(entry)
        self.publish()

    def publish(self) -> None:
        """Write checkpoint and tiles as C2SP tlog-tiles has them."""
        size = len(self.entries)
        for level, index, width in fresh_tiles(0, size):
            hashes = [self._node(8 * level, index * 256 + place) for place in range(width)]
            self.files[f"{Place.STATE}/{tile_path(level, index, width)}"] = b"".join(hashes)
            if level == 0:
                bundle = serialize_entries(self.entries[index * 256 : index * 256 + width])
                self.files[f"{Place.STATE}/{tile_path(ENTRIES, index, width)}"] = bundle
        checkpoint = Checkpoint(LOG.verifier.name, size, tree_root(size, self._node))
        now = int(time.time()) - self.age_seconds
        signed = [sign_checkpoint(checkpoint, LOG, 0), *(cosign(checkpoint, key, now) for key in self.witnesses)]
        self.files[f"{Place.STATE}{Place.CHECKPOINT}"] = serialize_note(
            Note(render_checkpoint(checkpoint), tuple(signed))
        )

    def submit(self, body: bytes, path: str) -> tuple[int, str, int]:
        """Take a submission in, at the place that its path names."""
        if self.rival is not None:
            rival, self.rival = self.rival, None
            self.append(rival)
        if self.answers:
            return self.answers.pop(0)
        place = path.removeprefix(f"{Place.ADD_STATE}").removeprefix("/")
        if place and int(place) != len(self.entries):
            return 409, '{"detail": "another one came between"}', 0
        try:
            self.append(open_submission(STATE_LABEL, body, [SECRET]))
        except UnauthorizedError:
            return 403, '{"title": "Forbidden"}', 0
        return 200, "{}", 0

    def _node(self, level: int, index: int) -> bytes:
        if level == 0:
            return leaf_hash(self.entries[index])
        return node_hash(self._node(level - 1, 2 * index), self._node(level - 1, 2 * index + 1))

    @contextmanager
    def serving(self, certificate: tuple[str, str] | None = None) -> Iterator["Ledger"]:
        """Serve on loopback for the length of a block, by TLS where there is a certificate with its key."""
        ledger = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = ledger.files.get(self.path)
                self._answer(404 if content is None else 200, content or b"", 0)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, text, wait = ledger.submit(body, self.path)
                self._answer(status, text.encode(), wait)

            def _answer(self, status: int, content: bytes, wait: int) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                if wait:
                    self.send_header("Retry-After", str(wait))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            if certificate is not None:
                context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                context.load_cert_chain(*certificate)
                server.socket = context.wrap_socket(server.socket, server_side=True)
            thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            self.url = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}"
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()
