"""The names of Oblivious HTTP and of what travels inside it: media types, labels and the well-known path.

RFC 9458, RFC 9540, RFC 9457, and draft-ietf-ohai-chunked-ohttp-08 for what is chunked.
"""

from typing import Final

OHTTP_REQ: Final = "message/ohttp-req"
OHTTP_RES: Final = "message/ohttp-res"
OHTTP_CHUNKED_REQ: Final = "message/ohttp-chunked-req"
OHTTP_CHUNKED_RES: Final = "message/ohttp-chunked-res"
OHTTP_KEYS: Final = "application/ohttp-keys"
KEY_BUNDLE: Final = "application/seclude-key-bundle"
"""One epoch's, as a worker gives it."""
KEY_BUNDLES: Final = "application/seclude-key-bundles"
"""All that is published for a pool, as devices get it."""
PROBLEM: Final = "application/problem+json"
EVENT_STREAM: Final = "text/event-stream"

INCREMENTAL: Final = {OHTTP_CHUNKED_REQ: OHTTP_CHUNKED_RES}
"""Requests that are passed on as they come, and what alone answers them with success (chunked OHTTP, section 3)."""
AS_IT_COMES: Final = (("Incremental", "?1"),)
"""The field that says so of a message (draft-ietf-httpbis-incremental)."""
ANSWERED_BY: Final = {OHTTP_REQ: OHTTP_RES, **INCREMENTAL}

GATEWAY_PATH: Final = "/.well-known/ohttp-gateway"

# Another payload or another format of messages needs other labels (RFC 9458, section 4.6).
REQUEST_LABEL: Final = b"message/bhttp request"
RESPONSE_LABEL: Final = b"message/bhttp response"
CHUNKED_REQUEST_LABEL: Final = b"message/bhttp chunked request"
CHUNKED_RESPONSE_LABEL: Final = b"message/bhttp chunked response"

_EXACT: Final = frozenset(
    {OHTTP_REQ, OHTTP_RES, OHTTP_CHUNKED_REQ, OHTTP_CHUNKED_RES, OHTTP_KEYS, KEY_BUNDLE, KEY_BUNDLES, PROBLEM}
)


def media_type(header: str | None) -> str:
    """Return the type of a Content-Type field in lower case, without its parameters; "" where there is none."""
    if header in _EXACT:  # as our own clients write them
        return header
    # Lower case is only defined here for ASCII: the Kelvin sign also becomes a "k".
    if header is None or not header.isascii():
        return ""
    return header.partition(";")[0].strip(" \t").lower()
