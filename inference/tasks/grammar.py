"""Grammar by a library's rules (quire_grammar): agreement, articles, and words that sound alike. English alone.

The rules are patterns over the text alone, without state, files or a model, so nothing of a draft stays with them. They
were written for novels. What chats have besides is written down here, rule by rule: the words between which a rule is
right in a chat as well. A rule that is not named here changes nothing, whatever a later version of the library brings.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from quire_grammar import Correction, check

from inference.engine.language import plain
from inference.tasks.edits import Draft, Edit
from seclude.tasks import Rule

# Some rules look back over all that they were given for each match. This bounds their work to a few passes.
PIECE: Final = 600  # characters; sentences of chats have fewer
_PIECE: Final = re.compile(rf"[^\n]{{1,{PIECE}}}(?:(?<=[.!?])(?!\S)|$)|[^\n]{{1,{PIECE}}}(?!\S)|[^\n]{{{PIECE}}}", re.M)
LOOK_BACK: Final = 30  # characters before a correction that its rule here may look at
OFF: Final = ("model", "punctuation", "style", "mechanics", "tense-drift")
ON: Final = ("a-vs-an",)


@dataclass(frozen=True, slots=True)
class _Trust:
    """Between which words a rule of the library is trusted: `wrong` and what follows it, and what stands before."""

    rule: Rule
    wrong: re.Pattern[str]
    before: re.Pattern[str]


def _trust(wrong: str = "", before: str = "", rule: Rule = "grammar") -> _Trust:
    return _Trust(rule, re.compile(wrong, re.IGNORECASE), re.compile(rf"(?:{before})\Z", re.IGNORECASE))


_SUBJECT: Final = (
    # "he" is always a subject; "the people who like it are" has another one, unless a clause begins with "it".
    r"\b(?:i|he|she|we|they)|(?:\A|[.,!?;:(-]\s*|\b(?:and|but|so|or|because|think|thinks|know|knows|hope|guess|said|says|"
    r"when|if|since|where|what|why|how|sure|ok|okay|well|yeah|yes|no|hey|lol|then|now|maybe|also|still|though)\s+)(?:you|it)"
)
_THAN: Final = (
    r"then\s+(?:an?|the|this|that|last|my|your|his|her|our|their|me|him|us|them|usual|ever|any|expected|nothing|what|"
    r"before|normal|half|\d)\b"
)
_LOSE: Final = (
    r"\b(?:i|you|we|they|to|not|never|will|would|could|can|might|don't|didn't|can't|won't|cannot|gonna|always|i'll|"
    r"we'll|you'll|they'll|he'll|she'll)"
)
# Small letters may be said one by one ("an sms", "an mri"). "plan a is", and "a or b": a letter, not the article.
_ARTICLE: Final = (
    r"an\s+(?:[bcdegjkopqtuvwyz][a-z]{2}|[flmnrs][aeiou][a-z]{3})|"
    r"a\s+(?!(?:is|are|and|or|in|at|of|as|if|it|on|all|i)\b)"
)
_NO_LABEL: Final = r"(?<!plan)(?<!option)(?<!group)(?<!team)(?<!part)(?<!class)(?<!vitamin)(?<!grade)(?<!side)"

TRUSTED: Final = {
    "a-vs-an": _trust(_ARTICLE, _NO_LABEL, "article"),
    "subject-verb-agreement": _trust(before=_SUBJECT),
    "its-vs-it-s": _trust(r"its\s+(?:been|not|going)\b(?!-)|it's"),
    "there-their-theyre": _trust(r"there\s+own\b|their\s+(?:is|are|was|were|going|not|coming|already|here)\b"),
    "of-vs-have": _trust(r"of\b(?!\s+course)", r"\b(?:should|would|could|must|might)(?:n't|\s+not)?"),
    "your-vs-youre": _trust(r"your\s+(?:kidding|going|not)\b"),
    "then-vs-than": _trust(_THAN),
    "affect-vs-effect": _trust(),
    "lose-vs-loose": _trust(before=_LOSE),
    "lead-vs-led": _trust(),
    "breath-vs-breathe": _trust(),
    "to-vs-too": _trust(r"too|to\s+(?!close|slow|short|long|low\b)"),
    "whose-vs-who-s": _trust(r"who's\s+(?!home|car\b)"),
    "passed-vs-past": _trust(r"passed|past\s+away\b"),
    "weather-vs-whether": _trust(r"weather\s+or\s+not\b"),
}


def correct(draft: Draft) -> None:
    """Make the corrections of the library that are trusted."""
    for rule in ("article", "grammar"):
        seen = plain(draft.text)
        draft.edit(rule, _edits(seen, rule))


def _edits(text: str, rule: Rule) -> Iterator[Edit]:
    for piece in _PIECE.finditer(text):
        start = piece.start()
        for found in check(piece.group(), enable=ON, disable=OFF):
            if _is_trusted(piece.group(), found, rule):
                yield Edit(start + found.start, start + found.end, found.suggestions[0])


def _is_trusted(text: str, found: Correction, rule: Rule) -> bool:
    trust = TRUSTED.get(found.rule_id)
    if trust is None or trust.rule != rule or not found.suggestions:
        return False
    before = text[max(0, found.start - LOOK_BACK) : found.start].rstrip()
    return bool(trust.wrong.match(text, found.start) and trust.before.search(before))
