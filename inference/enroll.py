"""Enrollment: an authority certifies the attestation key of a TPM that it knows by its endorsement key.

Here the authority and the TPM are on one machine, for whoever runs a few of them; a large operator's authority is a
service of its own, and speaks the same two messages.

Six steps:
 1. The TPM's maker certified the endorsement key: its certificate chains to a root that is given.
 2. The endorsement key that the TPM makes is that one.
 3. The attestation key's public area is that of a restricted signing key that never leaves its TPM.
 4. The authority seals a fresh secret to the endorsement key and the attestation key's Name.
 5. The TPM opens it, which it does only where it holds both keys.
 6. The authority compares, and signs a certificate for the attestation key.
"""

import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from cryptography.x509.oid import NameOID

from inference.tpm import EK_ECC_TEMPLATE, EK_RSA_TEMPLATE, Tpm, load_ak_chain
from seclude.attestation.certificates import BROKEN, Chain, verify_chain
from seclude.attestation.credential import Credential, make_credential
from seclude.attestation.tpm import AK_CERTIFICATE, check_attestation_key
from seclude.attestation.tpm_structures import Public, PublicKey, parse_public
from seclude.errors import ConfigError, EvidenceError

ROOT_FILE: Final = "tpm-authority.der"
KEY_FILE: Final = "tpm-authority.key"
AUTHORITY_NAME: Final = "Seclude TPM attestation authority"

# Where a TPM keeps the certificates of its endorsement keys, and their templates (EK Credential Profile, 2.2.1.4).
EK_CERTIFICATES: Final = ((0x01C00002, EK_RSA_TEMPLATE), (0x01C0000A, EK_ECC_TEMPLATE))

ROOT_DAYS: Final = 3650
AK_DAYS: Final = 365
BACKDATE: Final = timedelta(minutes=5)  # a verifier's clock may be a little behind this one
SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Challenge:
    """A secret that awaits its return, and the key that is certified then."""

    credential: Credential
    ak: Public
    secret: bytes = field(repr=False)


class Authority:
    """A root that certifies attestation keys, with its private key in a file."""

    __slots__ = ("_key", "root")

    def __init__(self, root: bytes, key: ec.EllipticCurvePrivateKey) -> None:
        self.root: Final = root
        """DER of the root that a policy names in `[tpm]`."""
        self._key = key

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what `create_authority` wrote; raises `ConfigError` on anything else."""
        key_file = directory / KEY_FILE
        try:
            if key_file.stat().st_mode & 0o077:
                raise ConfigError(f"{key_file} can be read by others; set its mode to 0600")
            root = (directory / ROOT_FILE).read_bytes()
            key = load_der_private_key(key_file.read_bytes(), None)
            certified = x509.load_der_x509_certificate(root).public_key()
        except OSError as exc:
            raise ConfigError(f"no attestation authority in {directory}: {exc.strerror}; create one first") from exc
        except (ValueError, TypeError):
            raise ConfigError(f"the attestation authority in {directory} is damaged; create another") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certified:
            raise ConfigError(f"the key and the certificate in {directory} are not of one authority; create another")
        return cls(root, key)

    def challenge(self, ek_chain: Chain, ek_public: bytes, ak_public: bytes) -> Challenge:
        """Take steps 2 to 4 for a verified chain of an endorsement key; raises `EvidenceError`."""
        ek, ak = parse_public(ek_public), parse_public(ak_public)
        try:
            certified = ek_chain.leaf.public_key()
        except BROKEN:
            raise EvidenceError("the EK certificate holds no key that is known") from None
        if certified != ek.key:
            raise EvidenceError("the EK certificate is of another key than the TPM's endorsement key")
        check_attestation_key(ak)
        secret = secrets.token_bytes(SECRET_BYTES)
        return Challenge(make_credential(ek, ak.name, secret), ak, secret)

    def certify(self, challenge: Challenge, answer: bytes, now: float) -> tuple[bytes, ...]:
        """Take step 6: return the chain of the attestation key's certificate, as evidence carries it."""
        if not hmac.compare_digest(answer, challenge.secret):
            raise EvidenceError("the TPM did not return the secret, so it does not hold both keys")
        name = f"TPM attestation key {challenge.ak.spki_digest.hex()[:32]}"
        root = x509.load_der_x509_certificate(self.root)
        builder = _builder(name, root.subject, challenge.ak.key, now, AK_DAYS, is_ca=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([AK_CERTIFICATE]), critical=False)
        return builder.sign(self._key, SHA256()).public_bytes(Encoding.DER), self.root

    def __repr__(self) -> str:
        return "<Authority>"


def create_authority(directory: Path, now: float) -> Authority:
    """Make an authority in a directory that holds none; raises `ConfigError` otherwise."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, AUTHORITY_NAME)])
    builder = _builder(AUTHORITY_NAME, subject, key.public_key(), now, ROOT_DAYS, is_ca=True)
    root = builder.sign(key, SHA256()).public_bytes(Encoding.DER)
    secret = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, data, mode in ((KEY_FILE, secret, 0o600), (ROOT_FILE, root, 0o644)):
            with os.fdopen(os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(data)
    except FileExistsError as exc:
        raise ConfigError(f"{directory} already holds an attestation authority; use it, or another folder") from exc
    except OSError as exc:
        raise ConfigError(f"cannot write an attestation authority to {directory}: {exc.strerror}") from exc
    return Authority(root, key)


def enroll(tpm: Tpm, authority: Authority, issuers: Sequence[bytes], now: float) -> tuple[bytes, ...]:
    """Return the chain of a fresh certificate for the TPM's attestation key, leaf first.

    `issuers` are DERs of those above the endorsement key's certificate, the nearest first, the root, which is trusted
    for it, last. Raises `EvidenceError` where a step fails, and `ConfigError` where the TPM has no certificate.
    """
    certificate, template = read_ek_certificate(tpm)
    pinned = {hashlib.sha256(issuers[-1]).digest(): "EK root"} if issuers else {}
    chain = verify_chain((certificate, *issuers), pinned, now, name="EK")
    with tpm.endorsement_key(template) as ek:
        challenge = authority.challenge(chain, ek.public, tpm.ak_public)
        answer = tpm.activate(ek, challenge.credential)
    return authority.certify(challenge, answer, now)


def enroll_into(tcti: str, directory: Path, issuers: Path, out: Path, now: float) -> str:
    """Enroll the TPM and write the chain in PEM; returns the SHA-256 of the key, which a policy may name.

    The authority is that of the directory, made if there is none; `issuers` is a file in PEM as `enroll` wants it.
    """
    above = load_ak_chain(issuers)
    authority = Authority.load(directory) if (directory / KEY_FILE).exists() else create_authority(directory, now)
    tpm = Tpm(tcti)
    try:
        chain = enroll(tpm, authority, above, now)
        key = parse_public(tpm.ak_public).spki_digest.hex()
    finally:
        tpm.close()
    try:
        certificates = [x509.load_der_x509_certificate(der) for der in chain]
        out.write_bytes(b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates))
    except OSError as exc:
        raise ConfigError(f"cannot write {out}: {exc.strerror}") from exc
    return key


def read_ek_certificate(tpm: Tpm) -> tuple[bytes, bytes]:
    """Return the certificate of an endorsement key from the TPM's memory, and the template of its key."""
    for index, template in EK_CERTIFICATES:
        if certificate := _trim(tpm.read_nv(index)):
            return certificate, template
    raise ConfigError("the TPM holds no certificate of an endorsement key, neither of RSA-2048 nor of P-256")


def _trim(der: bytes) -> bytes:
    """Return the one structure at the front: an NV index may be larger than the certificate in it."""
    if len(der) < 4 or der[:2] != b"\x30\x82":  # a SEQUENCE with two octets of length
        return b""
    return der[: 4 + int.from_bytes(der[2:4])]


def _builder(
    name: str,
    issuer: x509.Name,
    key: PublicKey,
    now: float,
    days: int,
    *,
    is_ca: bool,
) -> x509.CertificateBuilder:
    start = datetime.fromtimestamp(now, UTC) - BACKDATE
    usage = x509.KeyUsage(
        digital_signature=not is_ca,
        key_cert_sign=is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=0 if is_ca else None), critical=True)
        .add_extension(usage, critical=True)
    )
