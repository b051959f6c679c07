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


BASE: Final = -6.37  # of a clause without any: one in six hundred
FOR: Final[dict[str, Weight]] = {
    "asked late": Weight(1.52, "the later a question, the less likely it was answered"),
    "dates": Weight(1.15, "the day is what a reader looks for"),
    "asks what is known": Weight(1.09, "what all should know and nobody has said"),
    "central": Weight(1.08, "close to what the whole chat is about"),
    "ends asking": Weight(0.99, "the question is the message's point"),
    "part": Weight(0.90, "a clause of a message that says several things"),
    "late": Weight(0.83, "what is said last holds"),
    "promise": Weight(0.80, "who does what"),
    "promises": Weight(0.78, "a phrase that promises, not only a sentence that might"),
    "asked twice": Weight(0.77, '"??" wants an answer'),
    "long writer": Weight(0.71, "who writes more than others organises"),
    "shouted": Weight(0.68, "capitals are how chats underline"),
    "content": Weight(0.66, "uncommon words tell what it is about"),
    "requests": Weight(0.59, "somebody is expected to do something"),
    "message": Weight(0.58, "a message of some length was worth writing"),
    "times": Weight(0.57, "each time says more"),
    "amounts": Weight(0.57, "each thing counted or paid says more"),
    "clock": Weight(0.54, "a time of day in figures, whatever the language"),
    "problem": Weight(0.54, "plans change for it"),
    "accepts": Weight(0.52, "a yes or no settles something"),
    "asks about": Weight(0.49, "a question about something, not a retort"),
    "stressed": Weight(0.48, '"!!" is how chats underline, too'),
    "names": Weight(0.44, "somebody of the chat is spoken of or to"),
    "decision": Weight(0.43, "what holds from now on"),
    "labelled": Weight(0.37, '"FOOD: ..." is written to be found again'),
    "named": Weight(0.37, "a capital within a sentence: a name, a place, a month"),
    "asks at length": Weight(0.37, "a question of some words wants more than a reaction"),
    "goes on": Weight(0.35, "who writes twice in a row has something to say"),
    "figures": Weight(0.31, "two figures or more: a range, a price and a date"),
    "time": Weight(0.30, "when it is"),
    "told at length": Weight(0.27, "a long reply tells another story; answers are short"),
    "a figure": Weight(0.20, "how many, how much, when: said anywhere but in the first message"),
    "words": Weight(0.19, "more words say more; their price is counted apart"),
    "said in reply": Weight(0.17, "an answer tells what its question wants"),
    "agreed to": Weight(0.15, "others say yes to it"),
    "long words": Weight(0.06, "chatter is made of short ones"),
}
AGAINST: Final[dict[str, Weight]] = {
    "story": Weight(2.51, "what was, or is imagined, changes nothing"),
    "trails off": Weight(1.58, "a mood"),
    "quotes": Weight(1.37, "what somebody else said or is called is told for fun, mostly"),
    "echoed": Weight(1.29, "somebody took the question up later"),
    "questions": Weight(1.22, "most questions are answered, or want none"),
    "thanked for": Weight(1.17, "the asker is content: it was answered"),
    "problems": Weight(1.12, "complaints are made for company"),
    "small talk": Weight(0.94, "only greets, thanks, agrees or laughs"),
    "close reply": Weight(0.88, "the next reply is about it"),
    "heard": Weight(0.84, "many replies: it was talked over"),
    "laughs": Weight(0.79, "a joke"),
    "answered": Weight(0.61, "the answer says the rest"),
    "thanks": Weight(0.47, "about what is done"),
    "common words": Weight(0.31, "what the whole chat says need not be said again"),
}


def worth(features: Mapping[str, float]) -> float:
    """Return the chance that a clause with these features belongs in a summary, 0 to 1."""
    speaks = sum(weight.value * features.get(name, 0.0) for name, weight in FOR.items())
    objects = sum(weight.value * features.get(name, 0.0) for name, weight in AGAINST.items())
    return 1 / (1 + exp(objects - speaks - BASE))
