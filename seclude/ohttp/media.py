"""The names of Oblivious HTTP: media types, labels and the well-known path (RFC 9458, RFC 9540, RFC 9457)."""

from typing import Final

OHTTP_REQ: Final = "message/ohttp-req"
OHTTP_RES: Final = "message/ohttp-res"
OHTTP_KEYS: Final = "application/ohttp-keys"
KEY_BUNDLE: Final = "application/seclude-key-bundle"
PROBLEM: Final = "application/problem+json"

GATEWAY_PATH: Final = "/.well-known/ohttp-gateway"

# Another payload or another format of messages needs other labels (RFC 9458, section 4.6).
REQUEST_LABEL: Final = b"message/bhttp request"
RESPONSE_LABEL: Final = b"message/bhttp response"

_EXACT: Final = frozenset({OHTTP_REQ, OHTTP_RES, OHTTP_KEYS, KEY_BUNDLE, PROBLEM})


def media_type(header: str | None) -> str:
    """Return the type of a Content-Type field in lower case, without its parameters; "" where there is none."""
    if header in _EXACT:  # as our own clients write them
        return header
    # Lower case is only defined here for ASCII: the Kelvin sign also becomes a "k".
    if header is None or not header.isascii():
        return ""
    return header.partition(";")[0].strip(" \t").lower()
