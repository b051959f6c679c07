"""Short chats to summarise, each another one: what a person asks about who was away for a few minutes."""

import random
from typing import Final

from seclude.tasks import Message, SummarizeRequest, encode

_NAMES: Final = ("Ana", "Ben", "Chidi", "Dora", "Emre", "Femke")
_LINES: Final = (
    "We meet at {hour} pm by the station, please be there.",
    "I'll bring {sum} euros for the tickets.",
    "Can somebody call the plumber before {hour}?",
    "We decided: everybody pays {sum} euros by Tuesday.",
    "haha yes",
    "The key is under the mat, number {sum}.",
    "ok, see you",
    "Who has the list for the party?",
    "I can do the cake, {sum} pieces will do.",
    "The train at {hour} is late again :(",
)
MESSAGES: Final = 3  # of one chat: what was missed in a few minutes; the encoder sees each of them


def chat(seed: int, number: int) -> bytes:
    """Return the JSON of one request; the same for equal arguments."""
    source = random.Random(f"{seed}/{number}")  # noqa: S311 - a load, not a secret
    lines = source.sample(_LINES, MESSAGES)
    messages = tuple(
        Message(
            sender=_NAMES[source.randrange(len(_NAMES))],
            text=line.format(hour=source.randrange(1, 12), sum=number % 1_000_000),
        )
        for line in lines
    )
    return encode(SummarizeRequest(messages=messages))
