"""What highlights cost: CPU time of this process, the model on one thread, and how many messages it compared.

The chats are those of the folder joined to one, the longest first, so that it has the length of messages and the
number of people that real ones have.
"""

import statistics
from collections.abc import Iterable
from time import process_time
from typing import Final

from bench.quality.chat import Chat
from bench.result import Figure
from inference.engine.encoder import Encoder
from inference.engine.highlights import summarize
from seclude.errors import ConfigError
from seclude.tasks import Message, SummarizeRequest

LIMITS_MS: Final = {30: 250.0, 1000: 8000.0}  # by messages
ROUNDS: Final = 5  # of which the median counts


def speed(chats: Iterable[Chat], encoder: Encoder) -> list[Figure]:
    """Measure the highlights of so many messages as `LIMITS_MS` has. Raises ConfigError where there are too few."""
    messages = [message for chat in _longest_first(chats) for message in chat.request().messages]
    found: list[Figure] = []
    for count, limit in LIMITS_MS.items():
        if count > len(messages):
            raise ConfigError(f"--speed needs {count} messages, and these chats have {len(messages)}")
        taken, encoded = _measure(messages[:count], encoder)
        middle = statistics.median(taken)
        name = f"highlights of {count} messages"
        found.append(Figure(f"{name}, CPU", middle, "ms", limit, middle <= limit, min(taken), max(taken)))
        found.append(Figure(f"{name}, compared", encoded, "messages"))
    return found


def _longest_first(chats: Iterable[Chat]) -> list[Chat]:
    return sorted(chats, key=lambda chat: -len(chat.messages))


def _measure(messages: list[Message], encoder: Encoder) -> tuple[list[float], int]:
    """Return the milliseconds of each round, and how many messages the model compared."""
    request = SummarizeRequest(messages=tuple(messages))
    taken: list[float] = []
    encoded = 0
    for _ in range(ROUNDS):
        began = process_time()
        encoded = summarize(request, encoder).encoded
        taken.append((process_time() - began) * 1000)
    return taken, encoded
