"""What stands in a summary and not in its chat: numbers, dates, and the names of people and places.

It is looked for in every summary, whatever made it, and by other code than the worker's own check of abstracts.
A word counts as a name where it has a capital that no sentence asks for. German writes all nouns so, and there names
are not looked for.
"""

import calendar
import re
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final

from bench.quality.chat import Chat, as_read
from bench.quality.words import fold

NOUNS_ARE_CAPITAL: Final = frozenset({"de", "mixed"})
STEM: Final = 4  # letters that an ending may follow, as in "Gökhan'ın" or "Tanners"  # noqa: RUF003
CALENDAR: Final = frozenset(fold(name) for name in (*calendar.day_name, *calendar.month_name))
SHORT_FORM: Final = 3  # letters of these: "sat" in the chat speaks for "Saturday"
NOON: Final = 12

_DATE: Final = re.compile(r"\b\d{4}-\d\d-\d\d\b")
_NUMBER: Final = re.compile(r"\d+(?:[.,:h]\d+)*")
_WORD: Final = re.compile(r"[^\W\d_]+")
# A capital after a letter, a digit, or a comma and a space; after a full stop or a line's beginning it is grammar.
_NAME: Final = re.compile(r"(?<=[\w,;)'] )([^\W\d_]+)")


def unsupported(chat: Chat, summary: str) -> tuple[str, ...]:
    """Return the numbers, dates and names that a summary has from nowhere, each once, as they stand there."""
    return tuple(dict.fromkeys([*_dates(chat, summary), *_numbers(chat, summary), *_names(chat, summary)]))


def _days(chat: Chat) -> set[date]:
    """Return the days of the messages, and those after them: "tomorrow" may be told by its date."""
    days = {line.time.date() for line in chat.messages if line.time is not None}
    return days | {day + timedelta(days=1) for day in days}


def _said(chat: Chat) -> str:
    return "\n".join([chat.title, *map(as_read, chat.messages)])


def _dates(chat: Chat, summary: str) -> Iterator[str]:
    known = {day.isoformat() for day in _days(chat)} | set(_DATE.findall(_said(chat)))
    yield from (found for found in _DATE.findall(summary) if found not in known)


def _numbers(chat: Chat, summary: str) -> Iterator[str]:
    known = {value for number in _NUMBER.findall(_said(chat)) for value in _values(number)}
    for day in _days(chat):
        known |= {str(day.year), str(day.month), str(day.day)}
    yield from (found for found in _NUMBER.findall(_DATE.sub("", summary)) if not _values(found) & known)


def _values(number: str) -> set[str]:
    """Return how else a number may be written: 1,140 as 1140, 16:30 as 16.30 or 4.30, 8.00 as 8."""
    parts = [str(int(part)) if part.isdecimal() else part for part in re.split(r"[.,:h]", number)]
    forms = {".".join(parts), re.sub(r"\D", "", number).lstrip("0") or "0"}
    if len(parts) == 1 or set(parts[1:]) == {"0"}:
        forms.add(parts[0])
    if len(parts) <= 2 and parts[0].isdecimal() and NOON < int(parts[0]) < 2 * NOON:
        forms |= {".".join([str(int(parts[0]) - NOON), *parts[1:]])}
    return forms


def _names(chat: Chat, summary: str) -> Iterator[str]:
    if chat.language in NOUNS_ARE_CAPITAL:
        return
    known = {fold(word) for word in _WORD.findall(_said(chat))}
    known |= {fold(format(day, form)) for day in _days(chat) for form in ("%A", "%B")}
    stems = tuple(word for word in known if len(word) >= STEM)
    days = {word[:SHORT_FORM] for word in known}
    for found in _NAME.findall(summary):
        word = fold(found)
        supported = word[:SHORT_FORM] in days if word in CALENDAR else word in known or word.startswith(stems)
        if found[0].isupper() and not supported:
            yield found
