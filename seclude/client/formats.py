"""Which format a chat file has, told by its first octets; `whatsapp` and `chatjson` read them."""

import re
from typing import Final

from seclude.client.chatjson import parse_chat
from seclude.client.chats import MAX_CHAT_BYTES, READABLE, Chat, ChatError, DateOrder
from seclude.client.whatsapp import parse_export, unzip_export

_ZIP: Final = b"PK\x03\x04"  # the first local file header (APPNOTE.TXT, section 4.3.7)
# WhatsApp on iOS begins with "[" too, but then a digit follows.
_JSON: Final = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*(?:\{|\[[ \t\r\n]*[{\]])")


def parse_chat_file(data: bytes, *, date_order: DateOrder | None = None) -> Chat:
    """Return the chat in `data`, whichever of the formats it is; raises `ChatError`.

    `date_order` overrides what WhatsApp's dates suggest.
    """
    if not data.strip():
        raise ChatError(f"the file is empty: {READABLE}")
    if len(data) > MAX_CHAT_BYTES:
        raise ChatError(f"the file has more than {MAX_CHAT_BYTES >> 20} MiB: export the chat without media")
    if data.startswith(_ZIP):
        data = unzip_export(data)
    elif _JSON.match(data):
        return parse_chat(data)
    return parse_export(data, date_order=date_order)
