"""A TPM's item of evidence: a fresh quote, the chain of its attestation key, and the launch log.

The chain comes from the authority that enrolled the key (`enroll.py`), and the log is what launches wrote.
"""

from pathlib import Path
from typing import Final

from inference.tpm import Tpm, load_ak_chain, record_launch
from seclude.attestation.evidence import TPM
from seclude.attestation.launchlog import MAX_LOG, parse_log, replay
from seclude.attestation.tpm import TpmEvidence, pcr_digest, serialize_body
from seclude.attestation.tpm_structures import parse_quote
from seclude.errors import DecodeError, UpstreamError

TRIES: Final = 3  # a launch takes milliseconds and happens a few times a day; twice in a row there is another fault


class TpmProducer:
    """An open TPM with what makes its quotes evidence; raises `ConfigError` where there is none."""

    format: Final = TPM

    def __init__(self, tcti: str, chain: Path, launches: Path) -> None:
        self._chain = load_ak_chain(chain)
        self._launches = launches
        self._tpm = Tpm(tcti)

    def attest(self, bound: bytes) -> bytes:
        """Return a body that binds 32 octets; raises `UpstreamError` where the log is not what the TPM tells.

        PCR and log change one after the other when another worker is launched on this machine, so they are read again
        where they do not agree.
        """
        for _ in range(TRIES):
            attest, signature, pcrs = self._tpm.quote(bound)
            launches = self._read_launches()
            try:
                agrees = parse_quote(attest).pcr_digest == pcr_digest((*pcrs, replay(parse_log(launches))))
            except DecodeError as exc:
                raise UpstreamError(f"the launch log or the quote is damaged: {exc}") from exc
            if agrees:
                return serialize_body(TpmEvidence(attest, signature, self._tpm.ak_public, self._chain, pcrs, launches))
        raise UpstreamError(f"the launch log {self._launches} does not give what the TPM holds; boot the machine again")

    def record_launch(self, manifest_digest: bytes) -> None:
        """Take down the launch of a worker, in the TPM and in the log."""
        record_launch(self._tpm, self._launches, manifest_digest)

    def close(self) -> None:
        """Give the TPM back."""
        self._tpm.close()

    def _read_launches(self) -> bytes:
        try:
            launches = self._launches.read_bytes()
        except OSError as exc:
            raise UpstreamError(f"cannot read the launch log {self._launches}: {exc.strerror}") from exc
        if len(launches) > MAX_LOG:
            raise UpstreamError(f"the launch log {self._launches} has {len(launches)} octets, limit {MAX_LOG}")
        return launches
