"""What a ledger answers over HTTP: files that anybody may read, and submissions of those who hold a secret.

Everything that is read is what its folder holds, so any host of static files can serve the same from a copy of it; only
`/proofs` and the page are made here. A tile is served once the log has signed for it, since it never changes from then
on. To whoever holds a secret a refusal says its reason in words.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from ledger.logs import KEYS, Log
from ledger.page.style import CONTENT_TYPE, FIELDS
from ledger.proofs import ProofsMaker
from ledger.report import Report
from ledger.rules import ADD, PREFIXES, Refusal, RefusedError
from ledger.store import Store
from ledger.tree import Tile
from seclude.attestation.proofs import VOID
from seclude.daemon.messages import Request, Response
from seclude.daemon.problems import STATUSES, refusal
from seclude.errors import BusyError, DecodeError, UnauthorizedError
from seclude.ledger import Path, epoch_path, open_submission
from seclude.ohttp.media import PROBLEM
from seclude.tlog.canonical import parse_decimal
from seclude.tlog.merkle import leaf_hash
from seclude.tlog.tiles import parse_tile_path

OCTETS: Final = "application/octet-stream"
TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"
FOREVER: Final = (("Cache-Control", "public, max-age=31536000, immutable"),)
SHORT: Final = (("Cache-Control", "public, max-age=2"),)  # seconds; less than what passes between two cosignatures
NO_STORE: Final = ("Cache-Control", "no-store")
RETRY_SECONDS: Final = 2
NOT_FOUND: Final = refusal(404, fields=(NO_STORE,))  # or a cache may answer so when it is there
UNAVAILABLE: Final = (NO_STORE, ("Retry-After", str(RETRY_SECONDS)))
# A submission that is refused is wrong in itself, or wrong now. Nothing of it is worth sending again as it is.
CONFLICTS: Final = frozenset({Refusal.TAKEN, Refusal.VOID, Refusal.OLD, Refusal.GAP})


class Serving:
    """Answers requests to all logs of a ledger."""

    def __init__(
        self,
        logs: Mapping[str, Log],
        secrets: tuple[bytes, ...],
        report: Report,
        proofs: ProofsMaker | None,
        page: Callable[[], bytes] | None,
    ) -> None:
        self._by_prefix: Final = {PREFIXES[name]: log for name, log in logs.items()}
        self._secrets = secrets
        self._report = report
        self._proofs = proofs
        self._page = page
        self._keys = logs.get(KEYS)

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        prefix, _, rest = request.path[1:].partition("/")
        log = self._by_prefix.get(f"/{prefix}")
        if log is not None and (f"/{rest}" == ADD or f"/{rest}".startswith(f"{ADD}/")):
            return await self._add(log, f"/{rest}".removeprefix(ADD), request)
        if request.method not in ("GET", "HEAD"):
            return refusal(405, fields=(("Allow", "GET, HEAD"),))
        if log is not None:
            return self._checkpoint(log) if f"/{rest}" == Path.CHECKPOINT else await self._tile(log, rest)
        if request.path == Path.PROOFS and self._proofs is not None:
            return await self._serve_proofs(self._proofs)
        if request.path == Path.PAGE and self._page is not None:
            return Response(200, CONTENT_TYPE, await asyncio.to_thread(self._page), FIELDS)
        if request.path.startswith(f"{Path.EPOCHS}/") and self._keys is not None:
            return await self._epoch(self._keys, request.path.removeprefix(f"{Path.EPOCHS}/"))
        return NOT_FOUND

    def _checkpoint(self, log: Log) -> Response:
        published = log.cosigning.published
        if published is None:
            return _unavailable("no checkpoint has been cosigned by a quorum of witnesses yet")
        return Response(200, TEXT, published.note, SHORT)

    async def _tile(self, log: Log, path: str) -> Response:
        try:
            tile = Tile(*parse_tile_path(path))
        except DecodeError:
            return NOT_FOUND
        found = await asyncio.to_thread(log.store.tile, tile)
        return NOT_FOUND if found is None else Response(200, OCTETS, found, FOREVER)

    async def _epoch(self, log: Log, text: str) -> Response:
        try:
            number = parse_decimal(text, "epoch")
        except DecodeError:
            return NOT_FOUND
        if number >= log.store.head.checkpoint.size:
            return NOT_FOUND
        found = await asyncio.to_thread(_behind, log.store, number)
        return NOT_FOUND if found is None else Response(200, OCTETS, found, FOREVER)

    async def _serve_proofs(self, proofs: ProofsMaker) -> Response:
        missing = proofs.missing
        return Response(200, OCTETS, proofs.blob(), SHORT) if missing is None else _unavailable(missing)

    async def _add(self, log: Log, place: str, request: Request) -> Response:
        """Take a submission; behind a slash its path may name the only index that it is meant for."""
        if request.method != "POST":
            return refusal(405, fields=(("Allow", "POST"),))
        try:
            wanted = parse_decimal(place.removeprefix("/"), "index") if place else None
        except DecodeError:
            return NOT_FOUND
        try:
            payload = open_submission(log.rule.label, await request.body.read(), self._secrets)
        except UnauthorizedError:
            self._report.refused(log.name, Refusal.UNAUTHORIZED)
            return refusal(403, fields=(NO_STORE,))
        try:
            index, size = await log.submit(payload, wanted)
        except RefusedError as exc:
            return self._refuse(log, exc.refusal, str(exc))
        except DecodeError as exc:
            return self._refuse(log, Refusal.MALFORMED, str(exc))
        except BusyError as exc:
            return _unavailable(str(exc))
        return Response(200, JSON, msgspec.json.encode({"index": index, "size": size}), (NO_STORE,))

    def _refuse(self, log: Log, why: Refusal, sentence: str) -> Response:
        self._report.refused(log.name, why)
        return _problem(409 if why in CONFLICTS else 400, sentence)


def _behind(store: Store, number: int) -> bytes | None:
    """Return what stands behind a leaf; a batch that failed may have left what stands behind none."""
    is_void = store.head.tree.leaf(number) == leaf_hash(VOID)
    return None if is_void else store.read(epoch_path(number).removeprefix("/"))


def _unavailable(sentence: str) -> Response:
    return _problem(503, sentence, UNAVAILABLE)


def _problem(status: int, sentence: str, fields: tuple[tuple[str, str], ...] = (NO_STORE,)) -> Response:
    """Return a problem document (RFC 9457) with a detail, which is about public facts only."""
    row = STATUSES[status]
    return Response(status, PROBLEM, _document(status, row.title, sentence), fields, row.reason)


def _document(status: int, title: str, detail: str | None = None) -> bytes:
    document: dict[str, str | int] = {"type": "about:blank", "title": title, "status": status}
    if detail is not None:
        document["detail"] = detail
    return msgspec.json.encode(document)
