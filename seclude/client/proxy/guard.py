"""Who may use the local address: programs of this person, and neither web pages nor other users of the machine.

1. The Host must be `localhost` or an address. A page that makes its own name point to this machine (DNS rebinding) is
   same-origin with itself to a browser, and gives itself away by that name alone.
2. A browser says which page a request comes from (Origin; Fetch Metadata, section 2). Those are refused, and no answer
   ever has a field that would let a page read it (CORS). A page may still open a connection; it learns nothing by it.
3. Where a token is set, it must come as the API key. Loopback is open to every user of a machine, so without one they
   all can ask, and be answered; they cannot see what others ask.
"""

import hmac
import os
import secrets
import stat
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from seclude.client.proxy.refusals import LocalError
from seclude.errors import ConfigError

MAX_TOKEN: Final = 512  # octets; ours have 43
MIN_TOKEN: Final = 16  # octets; anything shorter could be guessed over a fast local connection
BEARER: Final = "bearer "
NAVIGATION: Final = "none"  # Sec-Fetch-Site of what a person typed; a script's own requests never have it
SET: Final = "set the API key to the token of --token-file"


class Guard:
    """Decides by the fields of a request, before its body is read."""

    __slots__ = ("_token",)

    def __init__(self, token: bytes | None) -> None:
        self._token = token

    def admit(self, fields: Mapping[str, str]) -> None:
        """Return if the request may come in; raises LocalError with status 403 or 401. Steps 1 to 3."""
        if not _is_here(fields.get("Host", "")):  # step 1
            raise LocalError("the host of this address must be localhost or an IP address", status=403, code="host")
        if "Origin" in fields or fields.get("Sec-Fetch-Site", NAVIGATION) != NAVIGATION:  # step 2
            raise LocalError("web pages may not use this address", status=403, code="origin")
        if self._token is not None and not _is(self._token, fields.get("Authorization", "")):  # step 3
            raise LocalError(f"the API key is missing or wrong; {SET}", status=401, code="invalid_api_key")


def _is_here(host: str) -> bool:
    name, colon, port = host.rpartition(":")
    if not (colon and port.isdecimal()):
        name = host
    if name.lower() == "localhost":
        return True
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _is(token: bytes, authorization: str) -> bool:
    if authorization[: len(BEARER)].lower() != BEARER:
        return False
    given = authorization[len(BEARER) :].strip().encode("utf-8", "surrogateescape")
    return hmac.compare_digest(given, token)


def load_token(path: Path) -> bytes:
    """Return the token in a file, which is made where it is missing; raises ConfigError.

    It must be nobody's business but its owner's: what others can read, they can use.
    """
    try:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except FileExistsError:
            return _read(path)
        token = secrets.token_urlsafe(32).encode()
        with os.fdopen(descriptor, "wb") as file:
            file.write(token + b"\n")
    except OSError as exc:
        raise ConfigError(f"the token file {path} cannot be used: {exc.strerror}") from exc
    return token


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        token = file.read(MAX_TOKEN + 1).strip()
    if not stat.S_ISREG(mode) or mode & 0o077:
        raise ConfigError(f"the token file {path} can be read by others; run: chmod 600 {path}")
    if not MIN_TOKEN <= len(token) <= MAX_TOKEN or not token.isascii() or len(token.split()) != 1:
        raise ConfigError(f"the token file {path} must hold one word of {MIN_TOKEN} to {MAX_TOKEN} letters")
    return token
