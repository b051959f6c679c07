"""SIMULATED hardware: a platform whose key is a file, which whoever owns the machine can read.

It states the measurement that it is told. That shows the format and the flow, and proves nothing against that owner.
"""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from seclude.attestation.evidence import SIMULATED
from seclude.attestation.simulated import (
    PLATFORM_NAME,
    ROOT_NAME,
    Report,
    SignedReport,
    platform_id,
    serialize_body,
    serialize_report,
    signed_octets,
)
from seclude.errors import ConfigError

ROOT_FILE: Final = "root.der"
PLATFORM_FILE: Final = "platform.der"
KEY_FILE: Final = "platform.key"
FIRMWARE: Final = 1  # the level that simulated platforms state

ROOT_DAYS: Final = 3650  # as long as vendors' roots live, in round numbers
PLATFORM_DAYS: Final = 365
BACKDATE: Final = timedelta(minutes=5)  # a verifier's clock may be a little behind the one that made the certificates


class SimulatedPlatform:
    """A platform that signs whatever it is given, with a key from a file."""

    __slots__ = ("_certificate", "_key", "_platform_id", "root")

    def __init__(self, root: bytes, certificate: bytes, key: Ed25519PrivateKey) -> None:
        self.root: Final = root
        """DER of the root that devices pin to accept this platform."""
        self._certificate = certificate
        self._key = key
        self._platform_id = platform_id(key.public_key())

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what `create_simulated_platform` wrote; raises `ConfigError` on anything else."""
        key_file = directory / KEY_FILE
        try:
            if key_file.stat().st_mode & 0o077:
                raise ConfigError(f"{key_file} can be read by others; set its mode to 0600")
            root, certificate = (directory / ROOT_FILE).read_bytes(), (directory / PLATFORM_FILE).read_bytes()
            key = Ed25519PrivateKey.from_private_bytes(key_file.read_bytes())
            public_key = x509.load_der_x509_certificate(certificate).public_key()
        except OSError as exc:
            raise ConfigError(f"no simulated platform in {directory}: {exc.strerror}; create one first") from exc
        except ValueError:
            raise ConfigError(f"the simulated platform in {directory} is damaged; create another") from None
        if public_key != key.public_key():
            raise ConfigError(f"the key and the certificate in {directory} are not of one platform; create another")
        return cls(root, certificate, key)

    def report(self, measurement: bytes, bound: bytes, now: float) -> bytes:
        """Return a body of the simulated format that binds 64 octets."""
        report = serialize_report(
            Report(
                flags=0,
                firmware=FIRMWARE,
                platform_id=self._platform_id,
                measurement=measurement,
                report_data=bound,
                issued_at=int(now),
            )
        )
        signature = self._key.sign(signed_octets(self._certificate, report))
        return serialize_body(SignedReport(self._certificate, report, signature))

    def __repr__(self) -> str:
        return "<SimulatedPlatform>"


class SimulatedProducer:
    """A simulated platform that was told what runs on it."""

    format: Final = SIMULATED

    def __init__(self, platform: SimulatedPlatform, measurement: bytes, clock: Callable[[], float]) -> None:
        self._platform = platform
        self._measurement = measurement
        self._clock = clock

    def attest(self, bound: bytes) -> bytes:
        """Return a body that binds 64 octets, dated now."""
        return self._platform.report(self._measurement, bound, self._clock())


def create_simulated_platform(directory: Path, now: float) -> SimulatedPlatform:
    """Make one root and one platform under it in a directory that holds neither; raises `ConfigError` otherwise.

    The root's private key is thrown away, so nobody can make a second platform under it.
    """
    root_key, key = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    start = datetime.fromtimestamp(now, UTC) - BACKDATE
    root_name = _name(ROOT_NAME)
    root = _certificate(root_name, root_key, root_name, root_key, start, ROOT_DAYS)
    platform = _certificate(_name(PLATFORM_NAME), key, root_name, root_key, start, PLATFORM_DAYS)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _write(directory / KEY_FILE, key.private_bytes_raw(), 0o600)
        _write(directory / PLATFORM_FILE, platform, 0o644)
        _write(directory / ROOT_FILE, root, 0o644)
    except FileExistsError as exc:
        raise ConfigError(f"{directory} already holds a simulated platform; use it, or choose another folder") from exc
    except OSError as exc:
        raise ConfigError(f"cannot write a simulated platform to {directory}: {exc.strerror}") from exc
    return SimulatedPlatform(root, platform, key)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _certificate(
    subject: x509.Name,
    key: Ed25519PrivateKey,
    issuer: x509.Name,
    issuer_key: Ed25519PrivateKey,
    start: datetime,
    days: int,
) -> bytes:
    """Return a certificate in DER; a subject that is its own issuer gets a root's extensions."""
    is_ca = subject == issuer
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
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=0 if is_ca else None), critical=True)
        .add_extension(usage, critical=True)
        .sign(issuer_key, None)
    )
    return certificate.public_bytes(Encoding.DER)


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write a file that must not exist, with its mode from the first moment on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
