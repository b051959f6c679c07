"""Proofreading by rules: slips that are wrong nearly everywhere. English alone; it changes no other word of the draft.

Short forms come first, so that no dictionary takes "tmrw" for a word that it is not; then spelling, grammar, and last
marks and capitals. Rules cannot see meaning, so many mistakes stay. Where a rule would often be wrong, it is not here.
"""

import re
from typing import Final

from inference.tasks import grammar, spelling
from inference.tasks.edits import Draft, like, phrases
from inference.tasks.slang import SHORTHAND
from inference.tasks.words import ABBREVIATIONS, APOSTROPHES, DOUBLED, LOWER, NAMES, SPELLING

_SHORT, _IN_FULL = phrases(SHORTHAND)
_SPELLING: Final = phrases(SPELLING)
_APOSTROPHES: Final = phrases(APOSTROPHES)
_BECAUSE: Final = re.compile(r"(?<![\w'-])bc(?= (?:i|we|he|she|they|you|it|its|it's|i'm|im|the|my|of|there|that)\b)")
_WE_ARE: Final = re.compile(r"\b([Ww]e|[Tt]hey|[Yy]ou) r\b(?!['.])")
_LETS: Final = re.compile(
    r"(?:\A|(?<=[.!?,] )|(?<=\b[Oo]k )|(?<=\b[Ss]o ))[Ll]ets(?= (?!(?:me|you|us|him|her|them|it)\b)\w)"
)
_YOUR: Final = re.compile(r"\b([Yy])our(?= (?:welcome|right|late|wrong|kidding|joking)(?:[.!?,]|\Z))")
_THAN: Final = re.compile(
    r"\b((?:[Mm]ore|[Ll]ess) [a-z]{3,20}|(?:tall|bigg|cheap|nic|easi|earli|long|high|warm|cold|hott|hard|clos)er)"
    r" then(?= (?:the|last|my|your|his|her|our|me|him|us|them|usual|ever|this|that)\b)"
)
_DOUBLED: Final = re.compile(rf"(?<![\w'-])({DOUBLED})[ \t]+(?=\1(?![\w'-]))", re.IGNORECASE)
_CAPITAL_I: Final = re.compile(r"(?<![\w'.&/*-])i(?='(?:m|ll|ve|d)\b|[ \t]+\S|[,!?;]|\.?\Z)")
_NAMES: Final = re.compile(rf"(?<![\w'-])(?:{NAMES})(?=s?(?![\w-]))")
_BEFORE_MARK: Final = re.compile(r"(?<=[\w)]) +(?=[,;!?](?:\s|\Z|[!?])|\.(?:\s|\Z))")
_BEFORE_COMMA: Final = re.compile(r"(?<=[\w)]) +,(?=[A-Za-z])")
_AFTER_COMMA: Final = re.compile(r"(?<=[a-z]),(?=[A-Za-z])")
_GAP: Final = re.compile(r"(?<=\S) {2,}(?=\S)")
_REPEATED: Final = re.compile(r"[!?]{2,}|,{2,}|\.{4,}")
_START: Final = re.compile(r"\A[\"'(]?([a-z][a-z']*)\b|(?<=[.!?])[\"')\]]?\s+[\"'(]?([a-z][a-z']*)\b")
_ORDINAL: Final = re.compile(r"\(?(?:[a-z]|[ivx]{2,4}|\d{1,2})", re.IGNORECASE)  # "i. first", "2. second", "J. Smith"
LOOK_BACK: Final = 20  # characters before a sentence; the longest abbreviation


def proofread(draft: Draft) -> None:
    """Apply all rules of this module."""
    draft.apply("slang", _SHORT, _in_full)
    draft.apply("slang", _BECAUSE, "because")
    draft.apply("slang", _WE_ARE, r"\1 are")
    draft.apply("spelling", *_SPELLING)
    draft.apply("contraction", *_APOSTROPHES)
    draft.apply("contraction", _LETS, lambda match: like(match.group(), "let's"))
    draft.apply("contraction", _YOUR, r"\1ou're")
    spelling.correct(draft)
    draft.apply("doubled word", _DOUBLED, "")
    grammar.correct(draft)
    draft.apply("grammar", _THAN, r"\1 than")
    draft.apply("capital", _CAPITAL_I, "I")
    draft.apply("capital", _NAMES, lambda match: match.group().capitalize())
    tidy(draft)
    capitalise(draft)


def tidy(draft: Draft) -> None:
    """Put spaces and marks right."""
    draft.apply("spacing", _BEFORE_MARK, "")
    draft.apply("spacing", _BEFORE_COMMA, ", ")
    draft.apply("spacing", _AFTER_COMMA, ", ")
    draft.apply("spacing", _GAP, " ")
    draft.apply("punctuation", _REPEATED, lambda match: _once(match.group()))


def capitalise(draft: Draft) -> None:
    """Begin sentences with capitals."""
    draft.apply("capital", _START, _capital)


def _in_full(match: re.Match[str]) -> str:
    """Write a short form out, unless its capitals say that it is a name ("Wat") or stands for other words ("RN")."""
    short, before = match.group(), match.string[max(0, match.start() - LOOK_BACK) : match.start()].rstrip(" \"'(")
    is_name = short[0].isupper() and not (match.start() == 0 or before.endswith((".", "!", "?", ",", "\n")))
    return short if is_name or (short.isupper() and short.isalpha() and len(short) > 1) else _IN_FULL(match)


def _once(marks: str) -> str:
    if marks[0] == ".":
        return "..."
    if len(set(marks)) == 1:
        return marks[0]
    return "?!" if len(marks) > 2 else marks  # "!?" is somebody's choice


def _capital(match: re.Match[str]) -> str:
    word = match.group(1) or match.group(2)
    if word in LOWER or not _ends_sentence(match.string[max(0, match.start() - LOOK_BACK) : match.start()]):
        return match.group()
    return match.group()[: -len(word)] + word[:1].upper() + word[1:]


def _ends_sentence(before: str) -> bool:
    """Whether a dot at the end is a full stop: no ellipsis, abbreviation, initial or number of a list."""
    if not before.endswith("."):
        return True
    last = before[:-1].rpartition(" ")[2].rpartition("\n")[2].lower()
    return not ("." in last or last in ABBREVIATIONS or _ORDINAL.fullmatch(last))
