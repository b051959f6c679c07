"""Shorter by rules: fillers, roundabout phrases and pleasantries go; nothing that carries a fact, a doubt or a name.

"I think", "maybe" and "probably" stay, since dropping them would claim more than the writer did.
"""

import re
from typing import Final

from inference.tasks.edits import Draft, phrases
from inference.tasks.proofread import capitalise, tidy
from inference.tasks.words import WORDY


def _either(*options: str) -> str:
    return "(?:" + "|".join(options) + ")"


def _drops(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_DAY: Final = r"(?:great|good|nice|lovely|wonderful) (?:rest of (?:your|the) )?(?:day|weekend|evening|week|one)"
_TELL: Final = r"(?:let you know|tell you|inform you|say|mention|point out)"

# What announces that something will be said, before it is said.
_ANNOUNCES: Final = _either(
    rf"(?:i'm|i am) (?:just )?(?:writing|reaching out|messaging) to {_TELL} that",
    rf"i (?:just )?(?:wanted|want|would like) to {_TELL} that",
    r"(?:just )?(?:a )?quick (?:note|message|reminder) that",
    r"please (?:note|be advised) that",
    r"it (?:should be noted|is important to note|is worth (?:noting|mentioning)) that",
    r"just (?:to let you know|so you know),?(?: that)?",
    r"(?:needless to say|as a matter of fact|long story short|for what it's worth|at the end of the day),",
    r"to be (?:completely |totally )?honest,?",
    r"(?:that being said|having said that|all in all|as you (?:may |probably )?know),",
)
_MURMURS: Final = r"(?:(?:okay |ok )?so|well|anyways?|like|you know|i mean|u+m+|u+h+)"
_EMPHASIS: Final = (
    r"(?:basically|actually|literally|honestly|essentially|frankly|totally|absolutely|completely|extremely|incredibly|"
    r"very|really|quite|super)"
)
# "not really", "the very best", "how very odd", "so very tired" and "do you really" mean something else without.
_NOT_AFTER: Final = (
    r"(?<!\bnot )(?<!n't )(?<!\bthe )(?<!\bhow )(?<!\bso )(?<!\byou )(?<!\btoo )(?<!\bcannot )(?<!\bnever )(?<![\w'-])"
)
_NOT_BEFORE: Final = r"(?!(?:much|few|own|a|an|the|well|to|do|does|did|is|are|not|and|or|but|that)\b)"
_PLEASANTRY: Final = _either(
    r"(?:please )?(?:let me know|(?:feel free|don't hesitate) to (?:reach out|contact me|ask)) "
    r"(?:if|should) you have any (?:more |other |further )?questions(?: or concerns)?",
    r"(?:i )?hope (?:this|that|it) helps",
    rf"(?:(?:i )?hope you )?have a {_DAY}(?: ahead)?",
    r"(?:(?:i'm|i am) )?looking forward to hearing (?:back )?from you(?: soon)?",
    r"(?:many )?thank(?:s| you)(?: so much| very much| a lot)?(?: again)?(?: in advance)?"
    r"(?: for your (?:time|help|patience|understanding|support))?",
)
_WISHES: Final = _either(
    r"(?:you're|you are|you've been|everyone is|all is) (?:all )?(?:doing |keeping )?(?:well|good|great|ok|okay)",
    r"this (?:message |email )?finds you well",
)

_WORDY: Final = phrases(WORDY)
_CLOSING: Final = _drops(rf"(?<=[.!?])(?:\s+{_PLEASANTRY}[.!]*){{1,6}}\s*\Z")
_WELL: Final = _drops(rf"(?<![\w'])(?:i )?hope {_WISHES}(?: today)?[.!]+[ \t]*")
_ANNOUNCED: Final = _drops(rf"(?<![\w']){_ANNOUNCES}[ \t]+")
_FILLERS: Final = (
    _drops(rf"(?:\A|(?<=[.!?] ))(?:{_MURMURS},[ \t]+){{1,4}}"),
    _drops(r",? (?:if that makes (?:any )?sense|or something(?: like that)?|or whatever|you know)(?=[.!?]|\Z)"),
    _drops(r"(?<=\bi )just (?=wanted |want |thought |need )|(?<![\w'])just (?=checking\b|to (?:check|confirm|ask)\b)"),
    _drops(rf"{_NOT_AFTER}{_EMPHASIS},? {_NOT_BEFORE}(?=[a-z])"),
    _drops(r"(?<=\bthank you )(?:so|very) much\b|(?<=\bthanks )so much\b"),
    _drops(r"(?:(?<=\bis )|(?<=\bam )|(?<=\bare )|(?<=\bwas )|(?<='[sm] ))(?:kind|sort) of (?!(?:a|an|the|like)\b)"),
)
_INNER: Final = _drops(r", (?:like|you know|i mean|u+m+|u+h+),? ")


def shorten(draft: Draft) -> None:
    """Apply all rules of this module; spaces and capitals are put right around what went."""
    capitals = draft.text[:1].isupper()
    draft.apply("closing", _CLOSING, "")
    draft.apply("greeting", _WELL, "")
    draft.apply("filler", _ANNOUNCED, "")
    for pattern in _FILLERS:
        draft.apply("filler", pattern, "")
    draft.apply("filler", _INNER, " ")
    draft.apply("wordy", *_WORDY)
    if draft.changes:
        tidy(draft)
        if capitals:
            capitalise(draft)
