"""The launch log: which workers a machine started since it booted, as PCR 14 of its TPM testifies.

    log = head, start 32, count u8, count runs (manifest_digest 32, times u16)

Each launch of a worker extends PCR 14 (SHA-256 bank) with `event_digest` of its manifest, once. A worker that is
started again is a launch again, so equal launches in a row are one run. `start` is what PCR 14 held before the first
launch: zeros on a machine whose firmware starts a kernel, and the keys that shim trusts where shim is in between. There
is one encoding: no run is empty, and neighbours differ. The log is worth what the quote over PCR 14 is worth, no more.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from seclude.attestation.bundle import DIGEST_BYTES, expect_head
from seclude.errors import DecodeError, PolicyError, UsageError
from seclude.wire import Reader, Writer

HEAD: Final = b"SECLUDE-LAUNCHES\x01"
LAUNCH_LABEL: Final = b"seclude launch v1\x00"
ZERO: Final = bytes(DIGEST_BYTES)  # PCRs 0 to 15 after a reset (TPM 2.0 Part 1, section 17.2)

MAX_RUNS: Final = 16  # a second run is refused anyway; so many let the refusal name what else was launched
MAX_LAUNCHES: Final = 65_535  # in all; a worker that is recycled every ten minutes gets there in 15 months
MAX_LOG: Final = len(HEAD) + DIGEST_BYTES + 1 + MAX_RUNS * (DIGEST_BYTES + 2)


@dataclass(frozen=True, slots=True)
class Run:
    """Launches in a row of workers with one manifest."""

    manifest_digest: bytes
    times: int


@dataclass(frozen=True, slots=True)
class LaunchLog:
    """The launches since boot, the oldest first."""

    runs: tuple[Run, ...] = ()
    start: bytes = ZERO
    """PCR 14 before the first launch."""

    @property
    def launches(self) -> int:
        """How many launches there were."""
        return sum(run.times for run in self.runs)

    def launched(self, manifest_digest: bytes) -> "LaunchLog":
        """Return the log with one more launch; raises `UsageError` when it is full."""
        last = self.runs[-1] if self.runs else None
        if last is not None and last.manifest_digest == manifest_digest:
            runs = (*self.runs[:-1], Run(manifest_digest, last.times + 1))
        else:
            runs = (*self.runs, Run(manifest_digest, 1))
        log = LaunchLog(runs, self.start)
        _check(log, UsageError)
        return log

    def without_last(self) -> "LaunchLog":
        """Return the log as it was before its last launch."""
        if not self.runs:
            raise UsageError("the launch log is empty")
        last = self.runs[-1]
        kept = (Run(last.manifest_digest, last.times - 1),) if last.times > 1 else ()
        return LaunchLog(self.runs[:-1] + kept, self.start)


def serialize_log(log: LaunchLog) -> bytes:
    """Return the log's one encoding."""
    _check(log, UsageError)
    writer = Writer().raw(HEAD).raw(log.start).u8(len(log.runs))
    for run in log.runs:
        writer.raw(run.manifest_digest).u16(run.times)
    return writer.getvalue()


def parse_log(data: bytes) -> LaunchLog:
    """Read a log; raises `DecodeError`."""
    reader = Reader(data)
    expect_head(reader, HEAD, "a launch log")
    start = reader.take(DIGEST_BYTES, "start")
    count = reader.u8("count of runs")
    if count > MAX_RUNS:
        raise DecodeError(f"the launch log has {count} runs, limit {MAX_RUNS}")
    runs = tuple(Run(reader.take(DIGEST_BYTES, "manifest_digest"), reader.u16("times")) for _ in range(count))
    reader.finish("launch log")
    log = LaunchLog(runs, start)
    _check(log, DecodeError)
    return log


def event_digest(manifest_digest: bytes) -> bytes:
    """Return what one launch extends PCR 14 with; the label keeps it apart from what others measure."""
    return hashlib.sha256(LAUNCH_LABEL + manifest_digest).digest()


def extend(pcr: bytes, digest: bytes) -> bytes:
    """Return a PCR of the SHA-256 bank after it was extended (TPM 2.0 Part 1, section 17.4)."""
    return hashlib.sha256(pcr + digest).digest()


def replay(log: LaunchLog) -> bytes:
    """Return what PCR 14 holds if the log is the whole truth."""
    pcr = log.start
    for run in log.runs:
        digest = event_digest(run.manifest_digest)
        for _ in range(run.times):
            pcr = extend(pcr, digest)
    return pcr


def launched_manifest(log: LaunchLog) -> bytes:
    """Return the one manifest that every launch since boot had; raises `PolicyError` where there are others or none.

    Other software may have left anything behind, such as a process that still runs, until the machine boots again.
    """
    if not log.runs:
        raise PolicyError("no worker was launched since the machine booted")
    first, *others = log.runs
    if others:
        raise PolicyError(
            f"the machine launched manifest {others[0].manifest_digest.hex()} after {first.manifest_digest.hex()} "
            "since it booted, and is accepted again after it boots"
        )
    return first.manifest_digest


def _check(log: LaunchLog, error: type[DecodeError | UsageError]) -> None:
    """Raise unless the log is in its one form and within the limits."""
    if len(log.runs) > MAX_RUNS or log.launches > MAX_LAUNCHES:
        raise error(f"the launch log has more than {MAX_RUNS} runs or {MAX_LAUNCHES} launches")
    if any(run.times < 1 for run in log.runs):
        raise error("the launch log has an empty run")
    if any(a.manifest_digest == b.manifest_digest for a, b in zip(log.runs, log.runs[1:], strict=False)):
        raise error("the launch log has two runs of one manifest side by side")
    if any(len(octets) != DIGEST_BYTES for octets in (log.start, *(run.manifest_digest for run in log.runs))):
        raise error(f"the launch log has a digest that is not of {DIGEST_BYTES} octets")
