"""A ledger as a publisher's machine reaches it: one request after the other, by the standard library.

It follows no redirects, keeps no cookies and reads no proxy settings. What comes back is bounded, and is believed for
its signatures only.
"""

import http.client
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from seclude.daemon.addresses import ListenAddress
from seclude.errors import ConfigError, UpstreamError

CONNECT_SECONDS: Final = 10.0  # a person waits for it
MAX_ANSWER: Final = 256 * (2 + 0xFFFF)  # octets; a full tile of the largest entries (C2SP tlog-tiles)
MAX_SENTENCE: Final = 400  # characters of what a ledger says about a refusal


@dataclass(frozen=True, slots=True)
class Answer:
    """What a ledger answered."""

    status: int
    content: bytes
    retry_after_seconds: int | None = None

    @property
    def sentence(self) -> str:
        """What it says in words, if anything; as it came, so it is to be shown with care."""
        try:
            document = msgspec.json.decode(self.content)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self.content.decode(errors="replace").strip()[:MAX_SENTENCE]
        if not isinstance(document, dict):
            return ""
        return str(document.get("detail") or document.get("title") or "")[:MAX_SENTENCE]


class Reach:
    """The way to one ledger."""

    def __init__(self, url: str, ca: Path | None = None) -> None:
        """`ca` names the certificates to believe instead of the system's; raises `ConfigError`."""
        try:
            parts = urlsplit(url)
            port = parts.port
            (parts.hostname or "").encode("idna")  # as connecting would, when it is too late for a sentence
        except ValueError as exc:
            raise ConfigError(f"{url} is no address: {exc}") from exc
        if not url.isascii() or not url.isprintable() or " " in url:
            raise ConfigError(f"{url} is no address: it has a character that no address has")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
            raise ConfigError(f"{url} is no address of a ledger: write https://HOST[:PORT]")
        if parts.scheme == "http" and not ListenAddress(parts.hostname).is_local:
            raise ConfigError(f"{url} is plain HTTP to another machine; use https")
        if parts.scheme == "http" and ca is not None:
            raise ConfigError(f"certificates are given, but {url} is not https")
        self._url = url
        self._host, self._port, self._prefix = parts.hostname, port, parts.path.rstrip("/")
        self._tls = _context(ca) if parts.scheme == "https" else None

    def get(self, path: str) -> bytes:
        """Return the file at a path; raises `UpstreamError`."""
        answer = self.ask("GET", path)
        if answer.status != 200:
            said = f": {answer.sentence}" if answer.sentence else ""
            raise UpstreamError(f"{self._url} answers {answer.status} for {path}{said}")
        return answer.content

    def ask(self, method: str, path: str, body: bytes | None = None, *, seconds: float = CONNECT_SECONDS) -> Answer:
        """Return the answer to one request; raises `UpstreamError`."""
        connection = (
            http.client.HTTPConnection(self._host, self._port, timeout=seconds)
            if self._tls is None
            else http.client.HTTPSConnection(self._host, self._port, timeout=seconds, context=self._tls)
        )
        headers = {} if body is None else {"Content-Type": "application/octet-stream"}
        try:
            connection.request(method, f"{self._prefix}{path}", body, headers)
            response = connection.getresponse()
            content = response.read(MAX_ANSWER + 1)
        except TimeoutError:
            raise UpstreamError(f"{self._url} did not answer within {seconds:.0f} seconds", timed_out=True) from None
        except (OSError, http.client.HTTPException) as exc:
            reason = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
            raise UpstreamError(f"{self._url} cannot be reached: {reason}") from exc
        finally:
            connection.close()
        if len(content) > MAX_ANSWER:
            raise UpstreamError(f"{self._url} answers more than {MAX_ANSWER} octets for {path}")
        after = response.headers.get("Retry-After", "")
        return Answer(response.status, content, int(after) if after.isascii() and after.isdigit() else None)


def _context(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError(f"cannot read the certificates in {ca}: {exc.strerror or exc}") from exc
