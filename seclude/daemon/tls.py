"""TLS between the parties: certificates and keys from files, read at the start and again when the operator says so.

TLS hides who talks to whom and how much from the networks between; the contents are encrypted to an attested worker
all the same, and nobody's word that a worker may be trusted rests on this. Only TLS 1.3 (RFC 8446) is spoken. Python's
own `ssl` does it, since the relay is to hold no other cryptography.
"""

import ssl
import stat
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final, NoReturn

from msgspec import Struct

from seclude.errors import ConfigError

HANDSHAKE_SECONDS: Final = 10.0  # two round trips; as long as a head may take
SHUTDOWN_SECONDS: Final = 1.0  # for the other side to say that it closes too; many never do
OTHERS: Final = stat.S_IROTH | stat.S_IWOTH
_STEPS: Final = 4  # more than a handshake with oneself takes


class ServerTLS(Struct, frozen=True, forbid_unknown_fields=True):
    """What a daemon shows to those who connect, and whom it lets in; paths of PEM files."""

    certificate: str
    """The chain, its own certificate first."""
    key: str
    client_ca: str | None = None
    """Clients must show a certificate that one of these issued, or that is one of these."""


class ClientTLS(Struct, frozen=True, forbid_unknown_fields=True):
    """Whom a daemon believes when it connects, and what it shows there; paths of PEM files."""

    ca: str | None = None
    """Issuers, or the next hop's own certificate; without it the system's authorities count."""
    certificate: str | None = None
    key: str | None = None


class ServerCertificates:
    """The context in which a server accepts; one that cannot be renewed stays as it was."""

    def __init__(self, tls: ServerTLS) -> None:
        """Read the files; raises ConfigError."""
        self._tls = tls
        self.context: ssl.SSLContext
        self.expires_at: float
        """When the certificate ends, in seconds since 1970 UTC."""
        self.renew()

    def renew(self) -> None:
        """Read the files again; raises ConfigError, and leaves everything as it was then."""
        tls = self._tls
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _set_up(context)
        context.num_tickets = 0  # a ticket shows the network that two connections come from one device
        _load_chain(context, tls.certificate, tls.key)
        expires_at = _validity(context, tls.certificate)
        if tls.client_ca is not None:
            _load_issuers(context, tls.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        self.context, self.expires_at = context, expires_at


class ClientCertificates:
    """The context in which connections are made; read when it is first needed, since plain HTTP needs none."""

    def __init__(self, tls: ClientTLS | None = None) -> None:
        """Take note of the files; raises ConfigError where a certificate lacks its key or a key its certificate."""
        self.tls: Final = tls or ClientTLS()
        self._context: ssl.SSLContext | None = None
        if (self.tls.certificate is None) != (self.tls.key is None):
            raise ConfigError("a certificate to show needs its key, and a key its certificate: give both or none")

    @property
    def context(self) -> ssl.SSLContext:
        """The context; raises ConfigError where a file is wrong."""
        if self._context is None:
            self._context = self._read()
        return self._context

    def renew(self) -> None:
        """Read the files again, if they are in use; raises ConfigError, and leaves everything as it was then."""
        if self._context is not None:
            self._context = self._read()

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _set_up(context)
        if self.tls.ca is None:
            context.load_default_certs()
        else:
            _load_issuers(context, self.tls.ca)
        if self.tls.certificate is not None and self.tls.key is not None:
            _load_chain(context, self.tls.certificate, self.tls.key)
        return context


def _set_up(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["http/1.1"])  # RFC 7301
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # so that a certificate itself can be named as known


def _load_chain(context: ssl.SSLContext, certificate: str, key: str) -> None:
    try:
        if Path(key).stat().st_mode & OTHERS:
            raise ConfigError(f"{key}: anybody on this machine can read this key or change it; run: chmod o-rw {key}")
        for path in (certificate, key):
            Path(path).open("rb").close()  # `ssl` does not say which of the two it could not read
        context.load_cert_chain(certificate, key, password=_refuse_password)
    except ssl.SSLError as exc:
        if exc.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(f"{key}: not the key of the certificate in {certificate}") from None
        raise ConfigError(f"{certificate}, {key}: not a certificate and its key in PEM") from None
    except OSError as exc:
        raise ConfigError(f"{exc.filename}: {exc.strerror}") from None
    except _PasswordError:
        raise ConfigError(f"{key}: encrypted with a password, which a daemon cannot ask for") from None


def _load_issuers(context: ssl.SSLContext, path: str) -> None:
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        raise ConfigError(f"{path}: no certificate in PEM") from None
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from None


class _PasswordError(Exception):
    """Raised when OpenSSL wants a password."""


def _refuse_password() -> NoReturn:
    raise _PasswordError


def _validity(server: ssl.SSLContext, certificate: str) -> float:
    """Return when the certificate ends; raises ConfigError for one that is not valid today.

    `ssl` shows a certificate only to the other side of a handshake, so this is one with itself.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _set_up(context)
    context.check_hostname = False  # which name clients will use is theirs to know
    context.load_verify_locations(certificate)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (context.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True))
    try:
        for step in range(_STEPS):
            try:
                sides[step % 2].do_handshake()
            except ssl.SSLWantReadError:
                continue
            break
        shown = sides[0].getpeercert() or {}
    except ssl.SSLCertVerificationError as exc:
        raise ConfigError(f"{certificate}: {exc.verify_message}") from None
    except ssl.SSLError as exc:
        raise ConfigError(f"{certificate}: no handshake succeeds with it ({exc.reason})") from None
    return parsedate_to_datetime(str(shown["notAfter"])).timestamp()
