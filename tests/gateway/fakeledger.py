"""A ledger on loopback whose every answer can be set; its trees and signatures are real, and in memory."""

import asyncio
from dataclasses import dataclass, field

from gateway.ledger import Ledger, LedgerError, connect
from seclude.attestation.proofs import VOID, epoch_leaf, parse_proofs
from seclude.daemon.tls import ClientCertificates, ClientTLS
from seclude.errors import PeerError
from seclude.ledger import EPOCH_LABEL, EpochSubmission, Path, open_submission, parse_epoch
from tests.gateway.loopback import OnLoopback
from tests.ledgers import LedgerHere

SECRET = bytes(range(32))


@dataclass
class FakeLedger(OnLoopback):
    """Serves `/proofs` and takes epochs, as `seclude-ledger` does."""

    now: float
    here: LedgerHere = field(default_factory=LedgerHere)
    answer: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    """What paths are answered with instead of the truth."""
    hang: set[str] = field(default_factory=set)
    forgets: bool = False
    """Whether it says that it took an epoch, and shows nothing of it."""
    submitted: list[EpochSubmission] = field(default_factory=list)
    fetched: int = 0

    def __post_init__(self) -> None:
        self.here.publish(now=self.now)

    def proofs(self) -> bytes:
        return self.here.proofs(self.now)

    def fill(self, size: int) -> None:
        """Have slots pass of which nothing was logged."""
        self.here.keys.entries.extend([VOID] * (size - len(self.here.keys)))

    def shows(self, submission: EpochSubmission) -> bool:
        leaf = parse_proofs(self.proofs()).keys.outline.leaf(submission.epoch)
        return leaf == epoch_leaf(submission.core, submission.evidence)

    async def _serve(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
        if path in self.hang:
            await reader.read(1)
            raise ConnectionResetError
        status, answer = self.answer.get(path) or self._answer(method, path, body)
        writer.write(b"HTTP/1.1 %d Whatever\r\nContent-Length: %d\r\n\r\n%b" % (status, len(answer), answer))

    def _answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        if (method, path) == ("GET", Path.PROOFS):
            self.fetched += 1
            return 200, self.proofs()
        if (method, path) != ("POST", Path.ADD_EPOCH):
            return 404, b""
        try:
            submission = parse_epoch(open_submission(EPOCH_LABEL, body, [SECRET]))
        except PeerError as exc:
            return exc.status, b""
        self.submitted.append(submission)
        if self.forgets:
            return 200, b""
        if submission.epoch < len(self.here.keys):
            return (200 if self.shows(submission) else 409), b""
        self.here.log(submission.epoch, submission.core, submission.evidence)
        return 200, b""


@dataclass
class Heard:
    """Remembers how fetches went."""

    faults: list[str | None] = field(default_factory=list)

    def fetched(self, failure: LedgerError | None) -> None:
        self.faults.append(None if failure is None else failure.fault.value)


def client(fake: FakeLedger, heard: Heard, *, period: float = 600, secret: bytes = SECRET) -> Ledger:
    """Return the gateway's way to a ledger."""
    upstream = connect(fake.address, ClientCertificates(ClientTLS()), insecure_plaintext=False)
    return Ledger(upstream, secret, period, heard)
