"""A process that reads a text with a language model and holds what came of it: `python -m tests.privacy.holding MODEL`.

It answers each line of its input with one word: the first with "ready", the second, which it reads as a chat, with
"held", the third, at which it clears what it holds, with "cleared".
"""

import sys
from pathlib import Path

from inference.engine.batching import PIECE_TOKENS
from inference.engine.decoder import Decoder
from inference.engine.generation import template_of
from inference.engine.template import Turn


def main(folder: Path) -> None:
    """Hold and clear, when told to."""
    decoder = Decoder(folder, 1, 2)
    template = template_of(folder, decoder)
    sys.stdin.readline()
    print("ready", flush=True)
    parts = template.parts([Turn("user", sys.stdin.readline().strip())])
    ids = [token for part in parts for token in decoder.encode(part.text, special=part.special)]
    for start in range(0, len(ids), PIECE_TOKENS):
        decoder.prefill(0, ids[start : start + PIECE_TOKENS])
    del parts
    print("held", flush=True)
    sys.stdin.readline()
    decoder.clear(0)
    ids.clear()
    print("cleared", flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
