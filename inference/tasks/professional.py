"""More formal by rules: what a chat allows and a letter to a customer does not. Proofreading comes first."""

import re
from typing import Final

from inference.engine.language import ENGLISH
from inference.tasks.edits import Draft, like, phrases
from inference.tasks.proofread import capitalise, proofread, tidy
from inference.tasks.slang import SLANG
from inference.tasks.words import ACRONYMS, RAISED

_SLANG: Final = phrases(SLANG)
_HAVE_GOTTA: Final = re.compile(r"(?:(?<='ve )|(?<=\bhave ))(?:gotta|got to)\b", re.IGNORECASE)
_DONT_KNOW: Final = re.compile(r"(?<!\bi )\b(?:dunno|idk)\b", re.IGNORECASE)
_I_DUNNO: Final = re.compile(r"(?<=\bi )dunno\b", re.IGNORECASE)
_WHO: Final = {"guys": "everyone", "folks": "everyone", "peeps": "everyone", "there": ""}
_GREETING: Final = re.compile(
    r"\A(hey+|heya|hiya|yo|sup|hi+|howdy)(?![\w'-])(?: (guys|folks|peeps|there)\b)?", re.IGNORECASE
)
_LAUGHS: Final = r"(?:lol|lmao|rofl|omg|wtf|xd|(?:ha){2,20}h?|(?:he){2,20})(?![\w'-])"
_LAUGHTER: Final = re.compile(rf"\A{_LAUGHS}[,.! ]*(?=\S)|,?(?<![ \t])[ \t]+{_LAUGHS}", re.IGNORECASE)
_KISSES: Final = re.compile(r"(?<!\s)[ \t]+(?:(?:xo){2,5}|x{1,5})\s*\Z", re.IGNORECASE)
_CAPITALS: Final = r"[A-Z]{2,20}(?:'[A-Z]{1,3})?"
_SHOUTING: Final = re.compile(rf"(?<![\w'])(?:[IA]|{_CAPITALS})(?:[ ,]{{1,3}}(?:{_CAPITALS}|[IA]))+(?![\w'])")
_RAISED: Final = re.compile(rf"(?<![\w'])(?:{RAISED.upper()})(?![\w'])")
_EXCLAIMED: Final = re.compile(r"!{2,}")
_ASKED: Final = re.compile(r"\?!+\??|!\?+|\?{2,}")

_WHOLE: Final = {"ca": "can", "wo": "will", "sha": "shall"}
_NOT: Final = re.compile(
    r"\b(ca|wo|sha|do|does|did|is|are|was|were|has|have|had|could|would|should|must|might|need)n't\b"
    r"(?: (i|you|we|they|he|she|it|there)\b(?!'))?",
    re.IGNORECASE,
)
# Where a question turns verb and subject round: "don't you", but not "I don't, you know".
_CLAUSE: Final = re.compile(r"(?:\A|[.!?,;:(] |\b(?:why|how|when|where|who|what|and|but|so|or) )\Z", re.IGNORECASE)
_BE_OR_HAVE: Final = re.compile(
    r"\b(it|that|what|there|here|he|she|who|where|how|when)'s(?= (been|got|had|done|gone|become|taken)\b| \w)",
    re.IGNORECASE,
)
_ENDINGS: Final = re.compile(r"\b(i|you|we|they|he|she|it|that|there|who|this)'(m|re|ve|ll)\b", re.IGNORECASE)
_WOULD: Final = re.compile(
    r"\b(i|you|we|they|he|she|it|that)'d(?= (like|love|prefer|be|rather|have|appreciate|say|need|want|suggest|"
    r"recommend|go|take|get|come|do|make|give|ask|also|really)\b| (better|been|had|seen|gone|done)\b)",
    re.IGNORECASE,
)
_LETS: Final = re.compile(r"\b([Ll]et)'s\b")
# A sentence that starts with its verb: in a chat the writer is meant.
_NO_SUBJECT: Final = re.compile(
    r"(\A(?:(?:hello|hi)(?:(?: \w{1,20}){0,2},)?\s+)?|[.!?]\s+|\bsorry,? (?:but )?)(cannot|could not)"
    r"(?= (?:make|come|join|attend|wait|talk|find|reach|open|get|see|go|help|do|say|stay|meet|call|sleep)\b)",
    re.IGNORECASE,
)
LOOK_BACK: Final = 10  # characters before a verb; the longest word that opens a question
_FULL: Final = {"m": " am", "re": " are", "ve": " have", "ll": " will"}


def formalise(draft: Draft) -> None:
    """Apply all rules of this module."""
    draft.apply("shouting", _SHOUTING, lambda match: _lower(match.group()))
    draft.apply("shouting", _RAISED, lambda match: match.group().lower())
    draft.apply("punctuation", _EXCLAIMED, ".")
    draft.apply("punctuation", _ASKED, "?")
    proofread(draft)
    draft.apply("greeting", _GREETING, _greeting)
    draft.apply("closing", _KISSES, "")
    draft.apply("slang", _LAUGHTER, "")
    draft.apply("slang", _HAVE_GOTTA, "to")
    draft.apply("slang", _I_DUNNO, "do not know")
    draft.apply("slang", _DONT_KNOW, "I do not know")
    draft.apply("slang", *_SLANG)
    draft.apply("contraction", _NOT, _negation)
    draft.apply("slang", _NO_SUBJECT, lambda match: f"{match.group(1)}I {match.group(2).lower()}")
    draft.apply("contraction", _BE_OR_HAVE, lambda match: match.group(1) + (" has" if match.group(2) else " is"))
    draft.apply("contraction", _ENDINGS, lambda match: match.group(1) + _FULL[match.group(2).lower()])
    draft.apply("contraction", _WOULD, lambda match: match.group(1) + (" had" if match.group(3) else " would"))
    draft.apply("contraction", _LETS, r"\1 us")
    tidy(draft)
    capitalise(draft)


def _greeting(match: re.Match[str]) -> str:
    hello = "Hi" if set(match.group(1).lower()) == set("hi") else "Hello"
    who = _WHO[match.group(2).lower()] if match.group(2) else ""
    if not who:
        return hello
    return f"{hello} {who}," if match.string[match.end() : match.end() + 1] == " " else f"{hello} {who}"


def _lower(shouted: str) -> str:
    """Lower a run of capitals if a common word stands in it; a run of names of products is left alone."""
    words = re.findall(r"[A-Z']+", shouted)
    if not any(word.lower() in ENGLISH and word not in ACRONYMS for word in words):
        return shouted
    return re.sub(r"[A-Z']+", lambda word: word.group() if word.group() in ACRONYMS else word.group().lower(), shouted)


def _negation(match: re.Match[str]) -> str:
    verb, person = match.group(1), match.group(2)
    whole = _WHOLE.get(verb.lower(), verb.lower())
    if person and _CLAUSE.search(match.string[max(0, match.start() - LOOK_BACK) : match.start()]):
        return like(verb, f"{whole} {person} not")
    negated = "cannot" if whole == "can" else f"{whole} not"
    return like(verb, f"{negated} {person}" if person else negated)
