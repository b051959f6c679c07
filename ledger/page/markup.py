"""HTML in which text cannot become markup: what is not already an element is escaped where it is put into one.

Whatever a publisher or a policy wrote is shown letter by letter. Characters that no reader sees, among them those that
turn the direction of the line, are written out by their numbers, so that two names that look alike are alike.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Final

from seclude.attestation.slots import in_words

_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})  # categories of Unicode without a visible form
_VOID: Final = frozenset({"meta", "br"})  # elements of HTML that have no end
_DURATIONS: Final = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


@dataclass(frozen=True, slots=True)
class Markup:
    """HTML that was made here; `element` alone makes it from text."""

    html: str

    def __add__(self, other: "Markup") -> "Markup":
        return Markup(self.html + other.html)


Content = str | Markup


def element(name: str, /, *content: Content, **attributes: str) -> Markup:
    """Return an element; a name that is a word of Python takes an underscore, such as `class_`."""
    fields = "".join(f' {key.rstrip("_").replace("_", "-")}="{_text(value)}"' for key, value in attributes.items())
    inner = "".join(map(_html, content))
    return Markup(f"<{name}{fields}>" if name in _VOID else f"<{name}{fields}>{inner}</{name}>")


def joined(parts: Iterable[Content]) -> Markup:
    """Return parts one after the other."""
    return Markup("".join(map(_html, parts)))


def code(text: str) -> Markup:
    """Return what is to be compared or copied, letter by letter."""
    return element("code", text)


def foreign(text: str) -> Markup:
    """Return words that somebody else wrote, whose letters do not turn the line around them."""
    return element("bdi", text)


def folded(summary: str, *content: Content) -> Markup:
    """Return what is shown when it is asked for, which takes no script."""
    return element("details", element("summary", summary), *content)


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[Content]], **attributes: str) -> Markup:
    """Return a table whose first column names the rows."""
    top = element("tr", *(element("th", each, scope="col") for each in head))
    body = (
        element("tr", element("th", first, scope="row"), *(element("td", cell) for cell in rest))
        for first, *rest in rows
    )
    parts = (element("caption", caption), element("thead", top), element("tbody", *body))
    return element("table", *parts, **attributes)


def facts(label: str, rows: Iterable[tuple[Content, Content]]) -> Markup:
    """Return a table of names and values, without a head; its label is heard and not seen, for a heading stands by."""
    body = (element("tr", element("th", name, scope="row"), element("td", value)) for name, value in rows)
    return element("table", element("tbody", *body), class_="facts", aria_label=label)


def moment(seconds: int) -> Markup:
    """Return a time in UTC, for people and, as ISO 8601, for programs."""
    try:
        stamp = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):  # beyond the year 9999, which a snapshot may name
        return element("span", in_words(seconds))
    return element("time", in_words(seconds), datetime=stamp)


def duration(seconds: int) -> str:
    """Return a length of time in its largest unit, rounded down."""
    for unit, size in _DURATIONS:
        if seconds >= size:
            return counted(seconds // size, unit)
    return "0 seconds"


def counted(count: int, noun: str) -> str:
    """Return a number of things, of which one is singular."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _html(content: Content) -> str:
    return content.html if isinstance(content, Markup) else _text(content)


def _text(text: str) -> str:
    return escape(text if text.isprintable() else "".join(map(_seen, text)))


def _seen(letter: str) -> str:
    if letter == "\n" or unicodedata.category(letter) not in _UNSEEN:
        return letter
    return f"[U+{ord(letter):04X}]"
