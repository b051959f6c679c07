"""What a text states that can be looked up in another: numbers, clock times, dates, currencies, names and links.

Each is read in every way that it can be meant, so that "5.20" is a time and a price, "17:20" is "5:20 pm", and
"Freitag" is "Friday". Two texts state the same where one reading is common. A word that could be a name is one if it
has a capital that its place does not explain; scripts without capitals have no names here. What is written in words
beyond `numerals`, such as "half past five", is not read: it is then no claim, and no support for one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Final

from inference.engine.numerals import CURRENCIES, DATES, JOINERS, NUMBERS, UNCLEAR
from inference.engine.tongues.folding import fold_word


class Kind(StrEnum):
    """What a fact is."""

    NUMBER = "number"
    TIME = "time"
    DATE = "date"
    CURRENCY = "currency"
    NAME = "name"
    LINK = "link"


@dataclass(frozen=True, slots=True, repr=False)
class Fact:
    """One thing that a text states, by the ways to read it."""

    kind: Kind
    readings: frozenset[str]
    """It is supported by a text that has one of these; a fact without any claims nothing."""
    supports: frozenset[str] = frozenset()
    """What else a text with it supports."""
    opening: bool = False
    """Whether it begins its sentence, where every word has a capital."""


_MARKS: Final = r"\u0900-\u0903\u093a-\u094f\u0955-\u0957\u0962\u0963"  # Devanagari's vowel signs, which are no letters
_SCANNER: Final = re.compile(
    r"(?P<link>(?:https?://|www\.)\S{1,2000}|[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{2,64}){1,4}"
    r"|(?<![\w.])[a-z\d][a-z\d-]{0,62}(?:\.[a-z\d-]{2,63}){0,3}\.(?:com|org|net|de|es|pt|br|tr|in|uk|io|app|me|ly)\b"
    r"(?:/\S{0,2000})?)"
    r"|(?P<clock>(?<![\d.,:])\d{1,2}(?:"
    r"(?:[:.h]\d{2})?\s?(?:[ap]\.?\s?m\b\.?|uhr\b|o'?clock\b)|[:h]\d{2}(?![\d:])|h\b))"
    r"|(?P<several>\d{1,4}[-/]\d{1,2}(?:[-/]\d{1,4})?(?![\d.,]))"
    r"|(?P<number>\d{1,15}(?:[.,]\d{1,15}){0,4})(?P<thousands>\s?k\b)?"
    r"|(?P<currency>[rR]\$|[$€£₺₹¥%])"
    rf"|(?P<word>(?:[^\W\d_]|[{_MARKS}]){{1,100}})(?:['\u2019][^\W\d_]{{1,20}}){{0,2}}"
    r"|(?P<stop>[.!?\u2026\u0964:\n\"\u201c\u201e(]|^[-*\u2022])",
    re.IGNORECASE | re.MULTILINE,
)
_CLOCK: Final = re.compile(r"(\d{1,2})(?:[:.h](\d{2}))?\s?([ap]?)", re.IGNORECASE)
_GERMAN: Final = frozenset(
    """
    der die das und ist nicht für mit auf um wird ein eine den dem im
    """.split()  # noqa: SIM905 (a list of words reads as one)
)
# After these a German word with a capital is a noun; names seldom have an article.
_ARTICLES: Final = frozenset(
    """
    der die das den dem des ein eine einen einem einer eines im am zum zur beim vom ins ans kein keine keinen mein
    meine dein deine sein seine ihr ihre unser unsere euer eure alle jeder jede jedes dieser diese dieses
    """.split()  # noqa: SIM905
)
# Capitals that name nobody wherever they stand.
_NEVER_NAMES: Final = frozenset(
    """
    i i'm ok okay am pm tv dm sms pdf faq rsvp asap fyi btw ps
    """.split()  # noqa: SIM905
)


def facts_of(text: str) -> Iterator[Fact]:
    """Yield what a text states, in its order; every word comes, most of them as what claims nothing."""
    german = _looks_german(text)
    number: _Words | None = None
    before, opening, end = "", True, 0
    for token in _SCANNER.finditer(text):
        kind, written = token.lastgroup, token.group()
        key = fold_word(token["word"]) if kind == "word" else ""
        apart = text[end : token.start()].strip(" -")
        if number is not None and (apart or not number.goes_on(key)):
            yield number.fact()
            number = None
        end = token.end()
        if kind == "stop":
            opening, before = True, ""
            continue
        if key in NUMBERS:
            number = number or _Words()
            number.take(NUMBERS[key])
        if key:
            yield _word(token["word"], key, opening=opening, noun=german and before in _ARTICLES, german=german)
        elif kind == "link":
            yield Fact(Kind.LINK, frozenset({"link " + _address(written)}))
        elif kind == "clock":
            yield _clock(written)
        elif kind == "currency":
            yield Fact(Kind.CURRENCY, _labelled("currency", CURRENCIES[written.lower()]))
        elif kind == "several":
            yield from _several(written)
        else:
            yield _number(token["number"], thousands=token["thousands"] is not None)
        opening, before = False, key
    if number is not None:
        yield number.fact()


def _word(word: str, key: str, *, opening: bool, noun: bool, german: bool) -> Fact:
    """Return what a word states: a date, a currency, a name, or nothing but itself."""
    itself = frozenset({"word " + key, "word " + _bare(key)})
    stems = frozenset("stem " + stem for stem in _stems(key))
    large = word[0].isupper()
    if (dates := DATES.get(key) or _turkish_day(key)) is not None:
        clear = large or key not in UNCLEAR
        readings = _labelled("date", dates)
        return Fact(Kind.DATE, readings if clear else frozenset(), itself | stems | readings, opening)
    if (currencies := CURRENCIES.get(key)) is not None and (large or key not in UNCLEAR):
        readings = _labelled("currency", currencies)
        return Fact(Kind.CURRENCY, readings, itself | stems, opening)
    named = large and len(word) > 1 and not noun and key not in _NEVER_NAMES and key not in NUMBERS
    readings = (itself | stems if german else itself) if named else frozenset()
    return Fact(Kind.NAME, readings, itself | stems, opening)


def _number(written: str, *, thousands: bool) -> Fact:
    """Return the ways to read digits with dots and commas: a number, thousands, a time, a day and a month."""
    groups = re.split(r"[.,]", "".join(str(int(c)) if c.isdecimal() else c for c in written))
    values = {Decimal("".join(groups[:-1]) + "." + groups[-1])} if len(groups) > 1 else {Decimal(groups[0])}
    if len(groups) > 1 and all(len(group) == 3 for group in groups[1:]):
        values.add(Decimal("".join(groups)))
    if thousands:
        values |= {value * 1000 for value in values}
    readings = {f"number {value.normalize():f}" for value in values}
    supports: set[str] = set()
    if len(groups) == 1 and len(groups[0]) <= 2 and int(groups[0]) <= 24:
        readings |= _minutes(int(groups[0]), 0, "")
    if len(groups) == 2 and len(groups[0]) <= 2 and len(groups[1]) <= 2:
        first, second = int(groups[0]), int(groups[1])
        if len(groups[1]) == 2 and first <= 24 and second < 60:
            readings |= _minutes(first, second, "")
        if 1 <= first <= 31 and 1 <= second <= 12:  # "14.3." is March 14
            supports |= {f"number {first}", f"date month {second}"}
    return Fact(Kind.NUMBER, frozenset(readings), frozenset(supports))


def _several(written: str) -> Iterator[Fact]:
    """Yield the numbers of "14/3", "2026-03-14" and "5-7", and the months that they may stand for."""
    for part in re.split("[-/]", written):
        fact = _number(part, thousands=False)
        yield replace(fact, supports=frozenset({f"date month {int(part)}"}))


def _clock(written: str) -> Fact:
    match = _CLOCK.match(written)
    assert match is not None  # the scanner's pattern is narrower
    hour, minute, half = int(match[1]), int(match[2] or 0), match[3].lower()
    return Fact(Kind.TIME, frozenset(_minutes(hour, minute, half)) or frozenset({f"clock {hour}:{minute}"}))


def _minutes(hour: int, minute: int, half: str) -> set[str]:
    """Return the times of day that a clock may mean: two where nothing says which half of the day."""
    hours = {hour % 12 + 12 * (half == "p")} if half else {hour % 24, hour + 12} if 1 <= hour <= 12 else {hour % 24}
    return {f"clock {each % 24}:{minute}" for each in hours}


def _address(written: str) -> str:
    """Return a link without what is written before and after it."""
    return re.sub(r"^(?:https?://)?(?:www\.)?", "", written.lower()).rstrip(".,;:!?)]}>\"'*_/")


def _labelled(label: str, names: frozenset[str]) -> frozenset[str]:
    return frozenset(f"{label} {name}" for name in names)


def _bare(key: str) -> str:
    """Return a word without the s of a genitive or a plural."""
    return key[:-1] if key.endswith("s") and len(key) > 3 else key


def _stems(key: str) -> set[str]:
    """Return a German noun without its endings, in all ways."""
    ends = ("e", "n", "s", "en", "es", "er", "ern")
    return {key} | {key.removesuffix(end) for end in ends if len(key) > len(end) + 3}


_TURKISH_DAY: Final = re.compile(
    r"(pazartesi|carsamba|persembe|cumartesi|cuma|pazar)(?:y?[aeiu]|n?[aeiu]n|n?[dt][ae]n?|s[iu]|gunu|leri|lari)"
)


def _turkish_day(key: str) -> frozenset[str] | None:
    """Return the day that a Turkish word with an ending names."""
    match = _TURKISH_DAY.fullmatch(key)
    return None if match is None else DATES[match[1]]


def _looks_german(text: str) -> bool:
    return sum(word.lower() in _GERMAN for word in re.findall(r"[^\W\d_]{2,5}", text)) >= 2


class _Words:
    """A number in several words, as they come: "two hundred and thirty-five"."""

    def __init__(self) -> None:
        self._value = 0
        self._joined = False

    def goes_on(self, key: str) -> bool:
        """Say whether the next word may belong to it."""
        if key in JOINERS and not self._joined:
            self._joined = True
            return True
        value = NUMBERS.get(key, 0)
        if value in (100, 1000):
            return 0 < self._value < value
        if self._value % 100 == 0:
            return 0 < value < 100
        return self._value > 10 and self._value % 10 == 0 and 0 < value < 10

    def take(self, value: int) -> None:
        """Take the next part in."""
        self._joined = False
        self._value = max(1, self._value) * value if value in (100, 1000) else self._value + value

    def fact(self) -> Fact:
        """Return it. One is no claim, and no time: it stands for other things too often."""
        readings = frozenset({f"number {self._value}"})
        if self._value <= 1:
            return Fact(Kind.NUMBER, frozenset(), readings)
        return Fact(Kind.NUMBER, readings | (_minutes(self._value, 0, "") if self._value <= 24 else set()))
