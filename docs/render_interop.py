"""Writes docs/interop.md from the rows of a real run: `python docs/render_interop.py ROWS > docs/interop.md`.

How to get the rows stands in tests/interop/peers.py.
"""

import json
import sys
from collections.abc import Iterable
from typing import Final

HEAD: Final = """# Interoperability

How other makings of Oblivious HTTP get on with ours: whole messages are RFC 9458, chunked ones are
draft-ietf-ohai-chunked-ohttp-08, and what is inside is RFC 9292. Each line was run, with the version named, by
`tests/interop/`: "our library" is `seclude` alone, "our relay" and the others are the processes that serve devices. The
key is X25519 with HKDF-SHA256; the AEAD is AES-128-GCM where none is named.

This page is made from the rows that those tests write, by `docs/render_interop.py`.

| who | version | role | what | result |
|---|---|---|---|---|
"""


def render(rows: Iterable[dict[str, str]]) -> str:
    """Return the page; what a peer did in one role with one result makes one line for each format."""
    lines: dict[tuple[str, str, str, str, str], list[str]] = {}
    for row in rows:
        form, _, detail = row["what"].partition(": ")
        details = lines.setdefault((row["peer"], row["version"], row["role"], form, row["result"]), [])
        if detail and detail not in details:
            details.append(detail)
    page = [HEAD]
    for (peer, version, role, form, result), details in sorted(lines.items(), key=lambda line: line[0][0]):
        what = f"{form}: {'; '.join(details)}" if details else form
        page.append(f"| {peer} | {version} | {role} | {what} | {result} |\n")
    return "".join(page)


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        print(render(json.loads(line) for line in file), end="")
