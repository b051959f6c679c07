"""Short questions to a language model, each another one, with answers that go on for as long as they may."""

import random
from typing import Final

from seclude.chat import ChatMessage, ChatRequest
from seclude.tasks import encode

_WHO: Final = ("a lighthouse keeper", "two sisters", "a baker", "an old sailor", "a clockmaker", "a fox", "a gardener")
_WHERE: Final = ("on an island", "in a mountain village", "at the edge of a desert", "in a harbour town", "in winter")
_WHAT: Final = ("who finds a letter", "who loses a key", "who hears a strange song", "who must decide by noon")
_HOW: Final = (
    "Write a long story about {who} {where} {what}.",
    "My children want to hear of {who} {where} {what}. Tell them everything, slowly, and begin with the weather.",
    "Explain in great detail how {who} {where} {what} spends a day, hour by hour.",
)


def question(seed: int, number: int, model: str, tokens: int) -> bytes:
    """Return the JSON of one request, streamed and of at most so many tokens; the same for equal arguments."""
    source = random.Random(f"{seed}/{number}")  # noqa: S311 - a load, not a secret
    words = {name: source.choice(kinds) for name, kinds in (("who", _WHO), ("where", _WHERE), ("what", _WHAT))}
    content = f"{source.choice(_HOW).format(**words)} Call it number {number % 1_000_000}."
    return encode(ChatRequest(model, (ChatMessage("user", content),), stream=True, max_tokens=tokens, temperature=0.0))
