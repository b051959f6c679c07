"""How likely a clause says something that a reader must not miss: a weighted sum of features, as a logistic curve.

The weights were fitted by `bench/quality/fit.py` on chats whose facts are known; for or against was fixed beforehand,
by the reason beside each. They are the same for all languages.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp
from typing import Final


@dataclass(frozen=True, slots=True)
class Weight:
    """How much one feature says, and why."""

    value: float
    why: str


BASE: Final = -6.18  # of a clause without any: one in five hundred
FOR: Final[dict[str, Weight]] = {
    "stressed": Weight(1.35, '"!!" is how chats underline, too'),
    "asked late": Weight(1.34, "the later a question, the less likely it was answered"),
    "late": Weight(1.20, "what is said last holds"),
    "promise": Weight(1.12, "who does what"),
    "figures": Weight(0.97, "two figures or more: a range, a price and a date"),
    "long writer": Weight(0.94, "who writes more than others organises"),
    "asked twice": Weight(0.79, '"??" wants an answer'),
    "content": Weight(0.78, "uncommon words tell what it is about"),
    "first": Weight(0.76, "what the chat is about"),
    "request": Weight(0.72, "somebody is expected to do something"),
    "follows up": Weight(0.70, "close to what was said before: it goes on with it"),
    "labelled": Weight(0.69, '"FOOD: ..." is written to be found again'),
    "accepts": Weight(0.67, "a yes or no settles something"),
    "event": Weight(0.65, "what it is about"),
    "time": Weight(0.62, "when it is"),
    "left open": Weight(0.60, "nobody has answered it yet"),
    "part": Weight(0.55, "a clause of a message that says several things"),
    "takes on": Weight(0.50, "the answer to a question, as a promise or decision"),
    "said once": Weight(0.49, "words said once are specifics, not the talk around them"),
    "shouted": Weight(0.48, "capitals are how chats underline"),
    "decision": Weight(0.46, "what holds from now on"),
    "last": Weight(0.43, "what was left for the reader"),
    "clock": Weight(0.40, "a time of day in figures, whatever the language"),
    "merit": Weight(0.37, "the cues of its whole line, with what answers it and what it answers"),
    "message": Weight(0.36, "a message of some length was worth writing"),
    "amount": Weight(0.29, "what it costs, how many there are"),
    "named": Weight(0.27, "a capital within a sentence: a name, a place, a month"),
    "problem": Weight(0.27, "plans change for it"),
    "brings up": Weight(0.19, "opens what others go on about"),
    "agreed to": Weight(0.11, "others say yes to it"),
    "said in reply": Weight(0.10, "an answer tells what its question wants"),
    "words": Weight(0.03, "more words say more; their price is counted apart"),
}
AGAINST: Final[dict[str, Weight]] = {
    "thanks": Weight(1.95, "about what is done"),
    "laughs": Weight(1.80, "a joke"),
    "quotes": Weight(1.00, "what somebody else said or is called is told for fun, mostly"),
    "small talk": Weight(0.83, "only greets, thanks, agrees or laughs"),
    "link": Weight(0.48, "its words are an address, which says little to a reader"),
    "answered": Weight(0.35, "the answer says the rest"),
    "reactions": Weight(0.32, "short replies of many follow a joke or a feeling"),
    "picture": Weight(0.25, "a feeling"),
    "joins on": Weight(0.20, "a reason or a consequence of what stands before it"),
    "after a question": Weight(0.17, "an answer repeats what was asked"),
    "laughed at": Weight(0.12, "a joke, to those who know"),
    "greets": Weight(0.05, "about nothing"),
    "leans": Weight(0.03, "says little without another line"),
}


def worth(features: Mapping[str, float]) -> float:
    """Return the chance that a clause with these features belongs in a summary, 0 to 1."""
    speaks = sum(weight.value * features.get(name, 0.0) for name, weight in FOR.items())
    objects = sum(weight.value * features.get(name, 0.0) for name, weight in AGAINST.items())
    return 1 / (1 + exp(objects - speaks - BASE))
