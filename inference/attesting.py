"""The attest helper: a process beside the worker that asks the platform, since a locked-down worker opens no file.

    request = report_data 64
    answer  = length u32, status u8, content: evidence, or a sentence that says why there is none

Each is one message on the one socket that the helper inherits (AF_UNIX, SOCK_SEQPACKET). It answers one request after
the other, ends at the first that has another length, and ends with the worker: at the end of the socket, and by the
signal that the kernel sends when the worker dies. Its first answer comes unasked: READY, or why it cannot start.

It is also the measured launch (`launch.py`): before the worker loads what opens and answers, the helper hashes every
file of the manifest, and lets a TPM take down what is launched. The worker goes on when the helper is READY.

Nothing here must be trusted. Hardware signs, and devices verify what it signed; a helper that lies can only refuse.
The one exception is a TPM's word on what was launched: it is worth what booted before it, and this program is of that.
Whatever it states binds the report data it was given, which holds no secret. The key of SIMULATED hardware is with it
and not in the worker: such hardware states the measurement that it is told, and so proves nothing.
"""

import argparse
import ctypes
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

from seclude.attestation.bundle import DIGEST_BYTES, MAX_EVIDENCE, REPORT_DATA_BYTES
from seclude.attestation.evidence import (
    NITRO,
    SEV_SNP,
    SIMULATED,
    TDX,
    TPM,
    UnverifiedEvidence,
    bound_by,
    serialize_evidence,
)
from seclude.errors import BusyError, ConfigError, DecodeError, Error, UpstreamError
from seclude.wire import Reader, Writer

T = TypeVar("T")

READY, EVIDENCE, REFUSED, BUSY = range(4)
"""The status of an answer; BUSY says that the same request may be answered a moment later."""

MAX_SENTENCE: Final = 300  # octets of ASCII; one sentence with a path in it
MAX_MESSAGE: Final = 4 + 1 + MAX_EVIDENCE

PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>


@dataclass(frozen=True, slots=True)
class Answer:
    """One message of the helper's."""

    status: int
    content: bytes


class Producer(Protocol):
    """A platform, or a device beside it, that states what runs here."""

    @property
    def format(self) -> str:
        """The name of its evidence format."""
        ...

    def attest(self, bound: bytes) -> bytes:
        """Return the body of evidence that binds what `bound_by` gives for its format.

        Raises `BusyError`, `UpstreamError` or, where a file is not as it should be, another `Error`.
        """
        ...


def serialize_answer(answer: Answer) -> bytes:
    """Return the message."""
    return Writer().u32(len(answer.content)).u8(answer.status).raw(answer.content).getvalue()


def parse_answer(message: bytes) -> Answer:
    """Read one message of the helper's; sentences are printable ASCII."""
    reader = Reader(message)
    length = reader.u32("length")
    status = reader.u8("status")
    limit = MAX_EVIDENCE if status == EVIDENCE else MAX_SENTENCE
    if status not in (READY, EVIDENCE, REFUSED, BUSY) or length > limit:
        raise DecodeError(f"the answer has status {status} and {length} octets")
    content = reader.take(length, "content")
    reader.finish("answer")
    if status != EVIDENCE and _sentence(content.decode("ascii", "replace")) != content:
        raise DecodeError("the answer's sentence is not printable ASCII")
    return Answer(status, content)


def attest(producers: Sequence[Producer], report_data: bytes) -> bytes:
    """Return evidence with one item of each producer, in their order."""
    items = [UnverifiedEvidence(each.format, each.attest(bound_by(each.format, report_data))) for each in producers]
    evidence = serialize_evidence(*items)
    if len(evidence) > MAX_EVIDENCE:
        raise UpstreamError(f"evidence of {len(evidence)} octets, limit {MAX_EVIDENCE}")
    return evidence


def serve(connection: socket.socket, produce: Callable[[bytes], bytes]) -> int:
    """Answer requests until the worker closes its end, and return the exit status."""
    while True:
        try:
            request = connection.recv(REPORT_DATA_BYTES + 1)  # one more, so that a longer message shows
            if not request:
                return 0
            if len(request) != REPORT_DATA_BYTES:
                return 1
            connection.sendall(serialize_answer(_answer(produce, request)))
        except (BrokenPipeError, ConnectionResetError):
            return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Be the helper; `attester.start_helper` starts it."""
    flags = _parser().parse_args(arguments)
    _end_with_worker()
    with socket.socket(fileno=flags.fd) as connection:
        try:
            if flags.launch is not None:
                flags.measurement = _measure(flags.launch)
            producers = load(flags)
            attest(producers, bytes(REPORT_DATA_BYTES))  # so that a machine that cannot attest ends here
        except Error as exc:
            connection.sendall(serialize_answer(Answer(REFUSED, _sentence(str(exc)))))
            return 2
        connection.sendall(serialize_answer(Answer(READY, b"")))
        return serve(connection, lambda report_data: attest(producers, report_data))


def load(flags: argparse.Namespace) -> list[Producer]:
    """Return the producers that are asked for, the main one first; raises `ConfigError`."""
    names = [flags.format, *flags.also]
    if len(set(names)) != len(names):
        raise ConfigError("a format is asked for twice")
    return [_LOADERS[name](flags) for name in names]


def _measure(path: Path) -> bytes:
    """Return the digest of the manifest that is launched, once every file of it was found on this machine."""
    from inference.config import WorkerConfig
    from inference.launch import measure_launch
    from seclude.daemon.config import load as load_config

    return measure_launch(load_config(path, WorkerConfig))


def _answer(produce: Callable[[bytes], bytes], report_data: bytes) -> Answer:
    try:
        return Answer(EVIDENCE, produce(report_data))
    except BusyError as exc:
        return Answer(BUSY, _sentence(str(exc)))
    except Error as exc:
        return Answer(REFUSED, _sentence(str(exc)))


def _sentence(text: str) -> bytes:
    """Return what may go into a log of the worker's."""
    shown = text[:MAX_SENTENCE]
    return "".join(each if each.isascii() and each.isprintable() else "?" for each in shown).encode("ascii")


def _end_with_worker() -> None:
    """End when the worker does, and not before: signals to all of its group mean that it should stop in good order.

    A worker under Landlock can have the kernel's signal refused to it, as any signal (from ABI 6 on), and one that died
    before this line sends none: then the end of the socket is what ends the helper.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(ctypes.c_int(PR_SET_PDEATHSIG), ctypes.c_ulong(signal.SIGKILL))


# Each imports what it needs alone: the libraries of a TPM are mapped only where there is one.


def _load_snp(flags: argparse.Namespace) -> Producer:
    from inference.producers.configfs import SEV_GUEST, ConfigfsTsm, KernelDirectory, SnpProducer

    tsm = ConfigfsTsm(KernelDirectory(flags.tsm), SEV_GUEST, privlevel=flags.privlevel)
    return SnpProducer(tsm, flags.certificates, _required(flags.collateral, "--collateral"))


def _load_tdx(flags: argparse.Namespace) -> Producer:
    from inference.producers.configfs import TDX_GUEST, ConfigfsTsm, KernelDirectory, TdxProducer

    return TdxProducer(ConfigfsTsm(KernelDirectory(flags.tsm), TDX_GUEST), _required(flags.collateral, "--collateral"))


def _load_nitro(flags: argparse.Namespace) -> Producer:
    from inference.producers.nsm import NitroProducer

    return NitroProducer(flags.nsm)


def _load_tpm(flags: argparse.Namespace) -> Producer:
    from inference.producers.tpm import TpmProducer

    producer = TpmProducer(
        flags.tpm, _required(flags.tpm_chain, "--tpm-chain"), _required(flags.launches, "--launches")
    )
    if flags.launch is not None:
        producer.record_launch(flags.measurement)
    return producer


def _load_simulated(flags: argparse.Namespace) -> Producer:
    from inference.producers.simulated import SimulatedPlatform, SimulatedProducer

    platform = SimulatedPlatform.load(_required(flags.platform, "--platform"))
    return SimulatedProducer(platform, _required(flags.measurement, "--measurement"), time.time)


_LOADERS: Final = {
    SEV_SNP: _load_snp,
    TDX: _load_tdx,
    NITRO: _load_nitro,
    TPM: _load_tpm,
    SIMULATED: _load_simulated,
}
FORMATS: Final = tuple(_LOADERS)


def _required(value: T | None, option: str) -> T:
    if value is None:
        raise ConfigError(f"the attest helper needs {option}")
    return value


def _digest(text: str) -> bytes:
    digest = bytes.fromhex(text)
    if len(digest) != DIGEST_BYTES:
        raise ValueError("length")
    return digest


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("attesting", description="Ask the platform for a worker.", allow_abbrev=False)
    parser.add_argument("--fd", type=int, required=True, help="the socket that is inherited")
    parser.add_argument("--format", choices=FORMATS, required=True, help="of the platform, the first item")
    parser.add_argument("--also", choices=FORMATS, action="append", default=[], help="of a device beside it")
    parser.add_argument("--tsm", type=Path, default=Path("/sys/kernel/config/tsm/report"), help="configfs-tsm")
    parser.add_argument("--privlevel", type=int, choices=range(4), help="VMPL to ask a SEV-SNP report for")
    parser.add_argument("--certificates", type=Path, help="folder of VCEK, ASK and ARK, if the host gives none")
    parser.add_argument("--collateral", type=Path, help="folder of what the vendor publishes and renews")
    parser.add_argument("--nsm", type=Path, default=Path("/dev/nsm"), help="Nitro Security Module")
    parser.add_argument("--tpm", default="device:/dev/tpmrm0", help="TCTI of the TPM")
    parser.add_argument("--tpm-chain", type=Path, help="certificates of the TPM's attestation key, PEM")
    parser.add_argument("--launches", type=Path, help="the launch log")
    parser.add_argument("--launch", type=Path, metavar="CONFIG", help="measure the launch of this worker first")
    parser.add_argument("--platform", type=Path, help="folder of the SIMULATED platform")
    parser.add_argument("--measurement", type=_digest, metavar="HEX", help="what SIMULATED hardware is told")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
