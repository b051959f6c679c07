"""The ledger of a stack: its keys, its three witnesses, and the snapshot that releases the workers' software.

Whoever runs this holds the keys of the logs, of all witnesses and of all publishers, and could show anybody anything.
In the world these are people who do not know one another, and the keys never meet (docs/ledger-keys.md).
"""

import asyncio
import json
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.party import READY_SECONDS, StackError
from ledger.config import Config, LogConfig
from ledger.keyfiles import create_signer, create_submit_secret, load_signer
from ledger.witness.daemon import Config as WitnessConfig
from seclude.attestation.accept import LedgerTable
from seclude.attestation.proofs import parse_proofs
from seclude.attestation.snapshot import Release, Snapshot, parse_snapshot, render_snapshot
from seclude.daemon.secretfile import load_submit_secret
from seclude.daemon.upstream import Upstream
from seclude.errors import DecodeError, UpstreamError
from seclude.ledger import STATE_LABEL, seal_submission
from seclude.ledger import Path as Place
from seclude.pool import OCTETS
from seclude.tlog.checkpoint import parse_checkpoint
from seclude.tlog.keys import COSIGNATURE_ED25519, ED25519, generate_skey
from seclude.tlog.note import parse_note
from seclude.tlog.signing import sign_note
from seclude.toml import render_toml

WITNESSES: Final = ("witness-1", "witness-2", "witness-3")
QUORUM: Final = 2
PUBLISHERS: Final = ("publisher-1", "publisher-2", "publisher-3")
SIGNERS: Final = 2  # of the publishers
KINDS: Final = {
    **dict.fromkeys(("keys", "state", *PUBLISHERS), ED25519),
    **dict.fromkeys(WITNESSES, COSIGNATURE_ED25519),
}
RELEASED_SECONDS: Final = 30 * 86_400
NO_REVISION: Final = "0" * 40
MARGIN_SECONDS: Final = 60  # that the first slot begins before now, for the clocks of other machines
COSIGN_PART: Final = 0.1  # of a period
RETRY_SECONDS: Final = 0.1
CHECKOUT: Final = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class LocalLedger:
    """The files of a ledger and of its witnesses, in one folder."""

    folder: Path
    origin: str

    @property
    def secret(self) -> Path:
        """What the gateway's submissions are authenticated with."""
        return self.folder / "submit.key"

    @property
    def config(self) -> Path:
        """The ledger's configuration."""
        return self.folder / "ledger.toml"

    def make_keys(self) -> None:
        """Make the keys that are not there yet."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        for name, algorithm in KINDS.items():
            if not self._key_file(name).exists():
                shown = f"{self.origin}/{name}" if name in ("keys", "state") else name
                create_signer(self._key_file(name), generate_skey(shown, algorithm))
        if not self.secret.exists():
            create_submit_secret(self.secret)

    def table(self) -> LedgerTable:
        """Return what devices and workers pin. Here a release counts at once; in production it waits for a day."""
        return LedgerTable(
            keys_log=self._vkey("keys"),
            state_log=self._vkey("state"),
            publishers=tuple(self._vkey(name) for name in PUBLISHERS),
            witnesses=self._policy({}),
            maturity_seconds=0,
        )

    def place_slots(self, t0: int, period_seconds: int) -> int:
        """Return the start of epoch 0 that goes with the log: the same as before, or `t0` where there is none yet.

        Keys end with their workers, and a leaf stays. So where the log has a leaf for the slot of now, or slots have
        another length now, the slots are counted anew: that of now is the first that the log has nothing of.
        """
        slots = self.folder / "slots.json"
        first, now = self._first_epoch(), int(time.time())
        if slots.exists():
            before = json.loads(slots.read_text())
            t0 = before["t0"]
            if before["period_seconds"] != period_seconds or first > (now - t0) // period_seconds:
                t0 = now - MARGIN_SECONDS - first * period_seconds
        slots.write_text(json.dumps({"t0": t0, "period_seconds": period_seconds}))
        return t0

    def _first_epoch(self) -> int:
        """Return the number of the first epoch that is not logged yet."""
        try:
            note = (self.folder / "data" / "keys" / "head").read_bytes()
        except FileNotFoundError:
            return 0
        return parse_checkpoint(parse_note(note).text).size

    def witness_arguments(self, name: str) -> list[str]:
        """Return what a witness is started with, its configuration written; the first time it is new."""
        memory = self.folder / name
        file = self.folder / f"{name}.toml"
        config = WitnessConfig(
            state=str(memory), keys=(str(self._key_file(name)),), logs=(self._vkey("keys"), self._vkey("state"))
        )
        file.write_text(render_toml(config))
        return ["--config", str(file), *([] if memory.exists() else ["--new"])]

    def write_config(self, t0: int, period_seconds: int, witnesses: Mapping[str, str]) -> None:
        """Write the ledger's configuration; `witnesses` are the addresses of these, by name."""
        policy = self.folder / "witnesses.policy"
        policy.write_text(self._policy({name: f" http://{address}" for name, address in witnesses.items()}))
        config = Config(
            data=str(self.folder / "data"),
            witnesses=str(policy),
            origin=self.origin,
            t0=t0,
            period_seconds=period_seconds,
            publishers=self.table().publishers,
            submit_secrets=(str(self.secret),),
            maturity_seconds=0,
            # What dates a core may be so old as it is made, and evidence is accepted for three periods in all.
            cosign_seconds=min(5.0, COSIGN_PART * period_seconds),
            keys=LogConfig(str(self._key_file("keys"))),
            state=LogConfig(str(self._key_file("state"))),
            demonstration=True,
        )
        self.config.write_text(render_toml(config))

    async def publish(self, address: str, manifest: str) -> Release:
        """Have a release of this software stand in the state log, unless it does, and return it."""
        upstream = Upstream(f"http://{address}")
        try:
            last = await self._newest(upstream)
            release = None if last is None else last.release("worker", bytes.fromhex(manifest))
            now = int(time.time())
            if last is None or release is None or now > release.issued + RELEASED_SECONDS // 2:
                release = Release(
                    role="worker",
                    manifest=manifest,
                    source="a local checkout, with whatever was changed there",
                    revision=await asyncio.to_thread(_revision),
                    issued=now,
                    expires=now + RELEASED_SECONDS,
                )
                issued = now if last is None else max(now, last.issued + 1)
                until = now + RELEASED_SECONDS
                snapshot = Snapshot(origin=self.origin, issued=issued, expires=until, releases=(release,))
                await self._submit(upstream, self._sign(snapshot))
            return release
        finally:
            await upstream.close()

    def _sign(self, snapshot: Snapshot) -> bytes:
        keys = [load_signer(self._key_file(name)) for name in PUBLISHERS[:SIGNERS]]
        return sign_note(render_snapshot(snapshot), *keys)

    async def _newest(self, upstream: Upstream) -> Snapshot | None:
        """Return the newest snapshot; None where there is none, or none that is shown yet."""
        try:
            answer = await upstream.exchange("GET", Place.PROOFS)
            if answer.status != 200:
                return None
            return parse_snapshot(parse_note(parse_proofs(answer.body).snapshot).text)
        except (UpstreamError, DecodeError):
            return None

    async def _submit(self, upstream: Upstream, entry: bytes) -> None:
        """Hand in a snapshot until it is cosigned; the same one again does nothing."""
        body = seal_submission(STATE_LABEL, entry, load_submit_secret(self.secret))
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                answer = await upstream.exchange("POST", Place.ADD_STATE, content_type=OCTETS, body=body)
                if answer.status == 200:
                    return
                said = f"{answer.status}: {answer.body.decode(errors='replace')}"
            except UpstreamError as exc:
                said = str(exc)
            if time.monotonic() > deadline:
                raise StackError(f"the ledger does not take the snapshot: {said}")
            await asyncio.sleep(RETRY_SECONDS)

    def _policy(self, urls: Mapping[str, str]) -> str:
        lines = [f"witness {name} {self._vkey(name)}{urls.get(name, '')}" for name in WITNESSES]
        return "\n".join([*lines, f"group most {QUORUM} {' '.join(WITNESSES)}", "quorum most", ""])

    def _vkey(self, name: str) -> str:
        return str(load_signer(self._key_file(name)).verifier)

    def _key_file(self, name: str) -> Path:
        return self.folder / f"{name}.key"


def _revision() -> str:
    """Return the commit that the checkout stands at, or zeros where it is none."""
    command = ["git", "-C", str(CHECKOUT), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return NO_REVISION
    return done.stdout.decode().strip()
