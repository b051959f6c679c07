"""What stands in a text in digits: times, dates, amounts, numbers to call, plates, codes, and links.

These are written alike in many tongues, so they need no table; what needs words ("a las 8", "8 baje", "50 euros") is
in the tongues' tables. Every pattern has bounded repetitions, so that reading takes time linear in the text.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

from inference.engine.tongues.folding import LINK, Folded

SpanKind = Literal["time", "date", "amount", "phone", "plate", "code", "link"]


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a text as it was given: the characters from `start` up to, not including, `end`."""

    kind: SpanKind
    start: int
    end: int


_NUMBER: Final = r"\d(?:[\d.,]{0,11}\d)?"

# Upper case matters to these, so they read the text as given.
_WRITTEN: Final[tuple[tuple[SpanKind, re.Pattern[str]], ...]] = (
    ("link", LINK),
    (
        "plate",
        re.compile(
            r"\b\d{2} [A-Z]{1,3} ?\d{2,4}\b|\b[A-ZÄÖÜ]{1,3}-[A-Z]{1,2} ?\d{1,4}\b|\b\d{4} [BCDFGHJKLMNPRSTVWXYZ]{3}\b"
            r"|\b[A-Z]{2}[- ]?\d{2}[- ]?[A-Z]{1,2}[- ]?\d{4}\b|\b[A-Z]{3}-?\d[A-Z\d]\d{2}\b|\b[A-Z]{2}\d{2} [A-Z]{3}\b"
        ),
    ),
    (
        "phone",
        re.compile(
            r"(?<![\w.,/:-])\+?\(?(?=(?:[ ()./-]{0,2}\d){9})"  # nine digits at least
            r"(?:\d{9,15}|\d{1,5}\)?(?:[ ./-]\(?\d{2,8}\)?){1,6})(?![\d:])"
        ),
    ),
    ("code", re.compile(r"#\d{2,12}\b|\b\d{3,8}#|\b[A-Z]{1,4}-?\d{2,8}[A-Z]?\b|\b\d{1,4}[A-Z]\d{0,4}\b")),
)
# The others read it folded.
_FOLDED: Final[tuple[tuple[SpanKind, re.Pattern[str]], ...]] = (
    (
        "amount",
        re.compile(
            rf"(?:(?:\br)?[$€£¥₹₽₩₺]|\b(?:rs|inr|usd|eur|gbp|tl|brl|mxn)\.?) ?{_NUMBER}(?: ?k\b)?"
            rf"|(?<![\d:]){_NUMBER} ?k? ?(?:[$€£¥₹₽₩₺%]|/-)"
            rf"|(?<![\d:]){_NUMBER} ?(?:kg|kilos?|km|cm|m2|mm|gb|mb|ml|gr?|l|lt|k)\b"
        ),
    ),
    (
        "date",
        re.compile(
            r"\b\d{4}-\d{2}-\d{2}\b|(?<![\d/])[0-3]?\d/[01]?\d(?:/\d{2,4})?(?![\d/])"
            r"|(?<![\d.])[0-3]?\d\.[01]?\d\.(?:\d{4}|\d{2})?(?!\d)"
            r"|(?<![\d.,])(?:[12]?\d|3[01])(?:st|nd|rd|th)\b(?! (?:floor|street|time|place|avenue|grade|year|birthday))"
        ),
    ),
    (
        "time",
        re.compile(
            r"(?<![\d:.])[0-2]?\d[:h][0-5]\d(?![\d:])"
            r"|(?<![\d:.,])(?:0?\d|1[0-2])(?:[.:][0-5]\d)? ?(?:am|pm|a\.m|p\.m)\b"
            r"|(?<![\d:.,])[0-2]?\d(?:[.:][0-5]\d)? ?(?:h|hs|hrs|uhr)\b"
            r"|(?<![\d:.,/])[0-2]?\d\.[0-5]\d(?![\d:/]|[.,]\d)"
            r"|\d{1,2} ?(?:时|時|点|點|시)"
        ),
    ),
    # A bare number of three digits or more counts or costs something, unless it is a year.
    (
        "amount",
        re.compile(r"(?<![\d.,:/+#-])(?:\d{1,3}(?:[.,]\d{3}){1,3}|(?!(?:19|20)\d\d\b)\d{3,9})(?![\d:/#-])"),
    ),
)


def figures_of(folded: Folded, given: str) -> list[Span]:
    """Return the spans, in the order of their kinds; of two that overlap, only the first found."""
    taken = bytearray(len(given))
    spans: list[Span] = []
    for kind, pattern in _WRITTEN:
        spans += [Span(kind, *match.span()) for match in pattern.finditer(given) if _take(taken, *match.span())]
    for kind, pattern in _FOLDED:
        for match in pattern.finditer(folded.text):
            start, end = folded.origin(match.start()), folded.origin(match.end() - 1) + 1
            if _take(taken, start, end):
                spans.append(Span(kind, start, end))
    return spans


def _take(taken: bytearray, start: int, end: int) -> bool:
    free = not any(taken[start:end])
    if free:
        taken[start:end] = b"\x01" * (end - start)
    return free
