"""A TPM 2.0 as a producer of evidence: its attestation key, launches in PCR 14, quotes.

Only the helper process that attests imports this module: it maps the TPM libraries, which no worker needs. The TPM is
named by a TCTI string, such as "device:/dev/tpmrm0" (the kernel's resource manager) or "swtpm:path=/run/tpm". Keys are
primary keys of the endorsement hierarchy: the TPM derives the same ones from its seed each time, and none is stored.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tpm2_pytss import ESAPI, TSS2_Exception
from tpm2_pytss.constants import ESYS_TR, TPM2_ALG, TPM2_SE
from tpm2_pytss.types import (
    TPM2B_ENCRYPTED_SECRET,
    TPM2B_ID_OBJECT,
    TPM2B_PUBLIC,
    TPML_DIGEST_VALUES,
    TPML_PCR_SELECTION,
    TPMT_HA,
    TPMT_PUBLIC,
    TPMU_HA,
)

from seclude.attestation.credential import REQUIRED as EK_ATTRIBUTES
from seclude.attestation.credential import Credential
from seclude.attestation.launchlog import LaunchLog, event_digest, parse_log, replay, serialize_log
from seclude.attestation.tpm import BOOT_PCRS, LAUNCH_PCR
from seclude.attestation.tpm import REQUIRED as AK_ATTRIBUTES
from seclude.attestation.tpm_structures import (
    AES,
    CFB,
    ECC,
    ECDSA,
    NULL,
    RSA,
    SHA256,
    Attributes,
)
from seclude.errors import ConfigError, DecodeError, UpstreamError
from seclude.wire import Writer

P256: Final = 0x0003
NV_CHUNK: Final = 512  # octets; every TPM reads that many at once
MAX_NV: Final = 8192  # octets; an EK certificate takes 1 to 2 KiB
MAX_CHAIN_FILE: Final = 65_536  # octets of PEM; eight certificates of the largest size

# TPM2_PolicySecret(TPM_RH_ENDORSEMENT), the policy of the templates L-1 and L-2 (EK Credential Profile, annex B.6.2).
EK_POLICY: Final = bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")


def _template(kind: int, attributes: int, policy: bytes, rest: Writer) -> bytes:
    """Return a TPMT_PUBLIC (TPM 2.0 Part 2, 12.2.4) for a key that is to be made."""
    return Writer().u16(kind).u16(SHA256).u32(attributes).vec16(policy).raw(rest.getvalue()).getvalue()


# An empty password and no protection against guesses: whoever may speak to the TPM may quote, which reveals nothing.
AK_TEMPLATE: Final = _template(
    ECC,
    AK_ATTRIBUTES | Attributes.USER_WITH_AUTH | Attributes.NO_DA,
    b"",
    Writer().u16(NULL).u16(ECDSA).u16(SHA256).u16(P256).u16(NULL).vec16(b"").vec16(b""),
)
EK_RSA_TEMPLATE: Final = _template(  # L-1
    RSA,
    EK_ATTRIBUTES | Attributes.ADMIN_WITH_POLICY,
    EK_POLICY,
    Writer().u16(AES).u16(128).u16(CFB).u16(NULL).u16(2048).u32(0).vec16(bytes(256)),
)
EK_ECC_TEMPLATE: Final = _template(  # L-2
    ECC,
    EK_ATTRIBUTES | Attributes.ADMIN_WITH_POLICY,
    EK_POLICY,
    Writer().u16(AES).u16(128).u16(CFB).u16(NULL).u16(P256).u16(NULL).vec16(bytes(32)).vec16(bytes(32)),
)


@dataclass(frozen=True, slots=True)
class LoadedKey:
    """A key inside the TPM."""

    handle: ESYS_TR
    public: bytes
    """TPMT_PUBLIC."""


class Tpm:
    """An open TPM with its attestation key loaded; not for two threads at once."""

    __slots__ = ("_ak", "_esapi")

    def __init__(self, tcti: str) -> None:
        try:
            self._esapi = ESAPI(tcti)
        except TSS2_Exception as exc:
            raise ConfigError(f"no TPM answers at {tcti}: {exc}") from exc
        try:
            self._ak = self._create(AK_TEMPLATE)
        except UpstreamError as exc:
            self._esapi.close()
            raise ConfigError(f"the TPM at {tcti} makes no attestation key: {exc}") from exc

    @property
    def ak_public(self) -> bytes:
        """The TPMT_PUBLIC of the attestation key: ECDSA with P-256, for what the TPM itself generates."""
        return self._ak.public

    def extend_launch(self, manifest_digest: bytes) -> None:
        """Extend PCR 14 for one launch of a worker; `record_launch` also keeps the log."""
        self.extend(LAUNCH_PCR, event_digest(manifest_digest))

    def extend(self, pcr: int, digest: bytes) -> None:
        """Extend one PCR of the SHA-256 bank."""
        values = TPML_DIGEST_VALUES([TPMT_HA(hashAlg=TPM2_ALG.SHA256, digest=TPMU_HA(sha256=digest))])
        with _answering("extend a PCR"):
            self._esapi.pcr_extend(ESYS_TR(pcr), values)

    def quote(self, bound: bytes) -> tuple[bytes, bytes, tuple[bytes, ...]]:
        """Return TPMS_ATTEST and TPMT_SIGNATURE over PCR 0 to 7 and 14, and the values of PCR 0 to 7."""
        numbers = ",".join(str(number) for number in (*range(BOOT_PCRS), LAUNCH_PCR))
        with _answering("quote"):
            attest, signature = self._esapi.quote(self._ak.handle, TPML_PCR_SELECTION.parse(f"sha256:{numbers}"), bound)
        return bytes(attest), signature.marshal(), self.read_pcrs(range(BOOT_PCRS))

    def read_pcrs(self, numbers: range) -> tuple[bytes, ...]:
        """Return values of the SHA-256 bank, at most eight at once."""
        selection = TPML_PCR_SELECTION.parse("sha256:" + ",".join(str(number) for number in numbers))
        with _answering("read PCRs"):
            _, _, digests = self._esapi.pcr_read(selection)
        if len(digests) != len(numbers):
            raise UpstreamError(f"the TPM has {len(digests)} of {len(numbers)} PCRs in its SHA-256 bank")
        return tuple(bytes(digest) for digest in digests)

    def read_nv(self, index: int) -> bytes:
        """Return the contents of an NV index that anyone may read; empty if there is none."""
        try:
            handle = self._esapi.tr_from_tpmpublic(index)
        except TSS2_Exception:
            return b""
        with _answering("read its NV memory"):
            size = int(self._esapi.nv_read_public(handle)[0].nvPublic.dataSize)
            if size > MAX_NV:
                raise UpstreamError(f"NV index {index:#x} has {size} octets, limit {MAX_NV}")
            steps = range(0, size, NV_CHUNK)
            pieces = [bytes(self._esapi.nv_read(handle, min(NV_CHUNK, size - at), at, handle)) for at in steps]
        return b"".join(pieces)

    @contextmanager
    def endorsement_key(self, template: bytes) -> Iterator[LoadedKey]:
        """Load the endorsement key of a template; there is room for few keys, so it goes again."""
        key = self._create(template)
        try:
            yield key
        finally:
            self._esapi.flush_context(key.handle)

    def activate(self, ek: LoadedKey, credential: Credential) -> bytes:
        """Return the secret that a credential for this TPM's attestation key holds."""
        with _answering("activate the credential"):
            session = self._esapi.start_auth_session(ESYS_TR.NONE, ESYS_TR.NONE, TPM2_SE.POLICY, None, TPM2_ALG.SHA256)
            try:
                self._esapi.policy_secret(ESYS_TR.ENDORSEMENT, session)
                secret = self._esapi.activate_credential(
                    self._ak.handle,
                    ek.handle,
                    TPM2B_ID_OBJECT(credential.id_object),
                    TPM2B_ENCRYPTED_SECRET(credential.encrypted_seed),
                    session2=session,
                )
            finally:
                self._esapi.flush_context(session)
        return bytes(secret)

    def close(self) -> None:
        """Give the TPM back without the key, for which there may be no resource manager; again does nothing."""
        if self._esapi.is_closed():
            return
        try:
            with _answering("forget its key"):
                self._esapi.flush_context(self._ak.handle)
        finally:
            self._esapi.close()

    def _create(self, template: bytes) -> LoadedKey:
        public, _ = TPMT_PUBLIC.unmarshal(template)
        with _answering("make a key"):
            handle, made, *_ = self._esapi.create_primary(None, TPM2B_PUBLIC(publicArea=public), ESYS_TR.ENDORSEMENT)
        return LoadedKey(handle, made.publicArea.marshal())

    def __repr__(self) -> str:
        return "<Tpm>"


def record_launch(tpm: Tpm, path: Path, manifest_digest: bytes) -> LaunchLog:
    """Extend PCR 14 for one launch and add it to the log in a file, which is made if there is none.

    The file is written first, so that a crash in between leaves one launch too many, which the next call takes back.
    A machine that booted again has a PCR 14 from before all launches, and begins anew. A PCR that fits neither was
    extended by somebody else: that raises `ConfigError`, since no evidence would be believed.
    """
    (pcr,) = tpm.read_pcrs(range(LAUNCH_PCR, LAUNCH_PCR + 1))
    log = _known_launches(path, pcr).launched(manifest_digest)
    fresh = path.with_name(f"{path.name}.new")
    try:
        fresh.write_bytes(serialize_log(log))
        os.replace(fresh, path)
    except OSError as exc:
        raise ConfigError(f"cannot write the launch log {path}: {exc.strerror}") from exc
    tpm.extend_launch(manifest_digest)
    return log


def load_ak_chain(path: Path) -> tuple[bytes, ...]:
    """Read a chain of certificates in PEM, such as that of the attestation key; returns DERs, leaf first."""
    try:
        data = path.read_bytes()
        if len(data) > MAX_CHAIN_FILE:
            raise ConfigError(f"{path} has {len(data)} octets, limit {MAX_CHAIN_FILE}")
        certificates = x509.load_pem_x509_certificates(data)
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}") from exc
    except ValueError:
        raise ConfigError(f"{path} holds no certificates in PEM") from None
    return tuple(certificate.public_bytes(Encoding.DER) for certificate in certificates)


def _known_launches(path: Path, pcr: bytes) -> LaunchLog:
    """Return the log that gives PCR 14 as it is."""
    try:
        log = parse_log(path.read_bytes())
    except FileNotFoundError:
        return LaunchLog(start=pcr)
    except OSError as exc:
        raise ConfigError(f"cannot read the launch log {path}: {exc.strerror}") from exc
    except DecodeError as exc:
        raise ConfigError(f"the launch log {path} is damaged ({exc}); boot the machine again without it") from exc
    if replay(log) == pcr:
        return log
    if log.runs and replay(log.without_last()) == pcr:
        return log.without_last()
    if pcr == log.start:
        return LaunchLog(start=pcr)
    raise ConfigError(f"PCR {LAUNCH_PCR} was extended by other software than the launch log {path} tells; boot again")


@contextmanager
def _answering(what: str) -> Iterator[None]:
    try:
        yield
    except TSS2_Exception as exc:
        raise UpstreamError(f"the TPM did not {what}: {exc}") from exc
