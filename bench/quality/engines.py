"""What makes the summaries that are compared: ours, and what anybody could do without reading the chat.

The plain ones choose whole messages, write them as ours do, and may use all words that a summary may have.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from time import process_time
from typing import Final

from bench.quality.chat import Chat, Fact, as_read
from bench.quality.score import says
from bench.quality.words import count_words
from inference.engine.encoder import Encoder
from inference.engine.highlights import summarize

DRAWS: Final = 20  # random choices of a chat, of which the mean counts


@dataclass(frozen=True, slots=True)
class Made:
    """One summary, and what it took."""

    text: str
    cpu_ms: float = 0.0
    """Of all threads of this process."""
    encoded: int = 0
    """Messages that the sentence encoder compared."""
    fell_back: bool = False
    """Whether these are highlights in place of an abstract."""


Engine = Callable[[Chat], list[Made]]
"""Summarises a chat; several times where chance is in it."""


def highlights(encoder: Encoder) -> Engine:
    """Return the highlights of a worker without a language model."""

    def make(chat: Chat) -> list[Made]:
        began = process_time()
        response = summarize(chat.request(), encoder)
        return [Made(response.text, (process_time() - began) * 1000, response.encoded)]

    return make


def first(chat: Chat) -> list[Made]:
    """Choose the first messages."""
    return [_made(chat, range(len(chat.messages)))]


def last(chat: Chat) -> list[Made]:
    """Choose the last messages: what a person sees who opens the chat."""
    return [_made(chat, reversed(range(len(chat.messages))))]


def ends(chat: Chat) -> list[Made]:
    """Choose messages from both ends in turn."""
    size = len(chat.messages)
    return [_made(chat, [place for i in range((size + 1) // 2) for place in (size - 1 - i, i)])]


def longest(chat: Chat) -> list[Made]:
    """Choose the longest messages."""
    return [_made(chat, sorted(range(len(chat.messages)), key=lambda i: -count_words(chat.messages[i].text)))]


def at_random(chat: Chat) -> list[Made]:
    """Choose messages by chance, the same in every run."""
    made = []
    for seed in range(DRAWS):
        order = list(range(len(chat.messages)))
        random.Random(seed).shuffle(order)  # noqa: S311 (a draw that everybody can repeat)
        made.append(_made(chat, order))
    return made


def sources(chat: Chat) -> list[Made]:
    """Choose the fewest words that say each fact, the shortest first: about what whole messages can reach at all."""

    def cost(places: Sequence[int]) -> int:
        return sum(count_words(as_read(chat.messages[place])) for place in places)

    def shortest(fact: Fact) -> Sequence[int]:
        choices = [some for size in range(len(fact.sources)) for some in combinations(fact.sources, size + 1)]
        enough = [some for some in choices if says("\n".join(as_read(chat.messages[place]) for place in some), fact)]
        return min(enough or [fact.sources], key=cost)

    room, chosen = chat.budget, set[int]()
    for places in sorted(map(shortest, chat.facts), key=cost):
        fresh = set(places) - chosen
        if cost(list(fresh)) <= room:
            chosen |= fresh
            room -= cost(list(fresh))
    return [_made(chat, chosen)]


PLAIN: Final[Mapping[str, Engine]] = {
    "random": at_random,
    "first": first,
    "last": last,
    "ends": ends,
    "longest": longest,
    "sources": sources,
}


def _made(chat: Chat, order: Iterable[int]) -> Made:
    """Write as many of the messages as there is room for, the first in `order` first, in the order of the chat."""
    room = chat.budget
    chosen: set[int] = set()
    for place in order:
        line = chat.messages[place]
        words = count_words(as_read(line))
        if place not in chosen and words <= room:
            chosen.add(place)
            room -= words
    return Made("\n".join(as_read(chat.messages[place]) for place in sorted(chosen)))
