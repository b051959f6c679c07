"""WhatsApp's own export of a chat, as the Android and iOS apps write it, in the language of the phone.

No specification exists. An entry is `12/31/23, 9:41 PM - Name: text` (Android) or `[31.12.23, 21:41:05] Name: text`
(iOS), an event of the app has no name (Android) or a text that begins with U+200E (iOS), and every other line
continues the text above it. The phone's settings decide the date; one file has one shape, that of its first entry, so
a text that quotes another shape stays a text. The format has no escape: a line of a text that has exactly the file's
own shape cannot be told from an entry, so whoever wrote it can put words into another person's mouth.

Every pattern has bounded repetitions, and texts are slices of the file, so time grows linearly with its size.
"""

import io
import re
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time
from itertools import groupby, pairwise
from typing import Final, NamedTuple

from seclude.client.chats import MAX_CHAT_BYTES, READABLE, Chat, ChatError, ChatMessage, DateOrder, Skipped
from seclude.client.notices import MARK, SPACE, Kind, classify, clean
from seclude.tasks import MAX_SENDER

_MAX_PREFACE_LINES: Final = 20  # an export has none; a mail program puts a few on top; a long text is no chat
_MIN_LABEL_USES: Final = 3  # a label that someone always writes first is part of the name once it was seen this often

_ORDERS: Final[tuple[DateOrder, ...]] = ("dmy", "mdy", "ymd")
_FIRST_YEAR: Final = 2000  # two digits of a year mean this century, so four digits must too

# Hours to add, by the words beside a time of 12 hours (CLDR's day periods).
_PERIODS: Final = {
    **dict.fromkeys(("am", "öö", "πμ", "ص", "पूर्वाह्न", "오전", "午前", "上午", "凌晨", "清晨", "早上"), 0),
    **dict.fromkeys(("pm", "ös", "μμ", "م", "अपराह्न", "오후", "午後", "下午", "中午", "晚上"), 12),
}
_PERIOD: Final = rf"[ap]\.?{SPACE}?m\.?|[πμ]\.μ\.|" + "|".join(
    word for word in _PERIODS if word not in ("am", "pm", "πμ", "μμ")
)
_NO_DOTS: Final = str.maketrans("", "", ". \u00a0\u2009\u202f")

_HEAD: Final = re.compile(
    rf"^{MARK}{{0,4}}(\[)?"
    rf"(\d{{1,4}}){MARK}?{SPACE}?([./-]){SPACE}?(\d{{1,2}}){MARK}?{SPACE}?\3{SPACE}?(\d{{1,4}}){MARK}?\.?"
    rf"([,،]?){SPACE}{{1,2}}(?:(?:at|à|às|kl\.?|klo|saat|um){SPACE})?"
    rf"(?:({_PERIOD}){SPACE}?)?(\d{{1,2}})(?:[:.]|{SPACE}?h{SPACE}?)(\d{{2}})(?:[:.](\d{{2}}))?"
    rf"(?:{SPACE}?({_PERIOD}))?{MARK}?(?(1)\]|{SPACE}[-\u2013]){SPACE}?",
    re.MULTILINE | re.IGNORECASE,
)
_CHAT_NAME: Final = re.compile(r"(?!__MACOSX/)(?:.*/)?(?:_chat|[^/]*whatsapp[^/]*)\.txt", re.IGNORECASE)
_COLON: Final = re.compile(r":[ \n]")
_QUOTES: Final = '"“”„«»'


class _Head(NamedTuple):
    start: int
    end: int
    numbers: tuple[str, str, str]
    clock: time


class _Entry(NamedTuple):
    time: datetime
    body: str


def unzip_export(data: bytes) -> bytes:
    """Return the chat's text from an exported archive. Raises `ChatError`."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            texts = [info for info in archive.infolist() if info.filename.lower().endswith(".txt")]
            # Exported with media, a text that somebody sent stands beside the chat; macOS adds files of its own.
            own = [info for info in texts if _CHAT_NAME.fullmatch(info.filename)] or texts
            if len(own) != 1:
                raise ChatError(f"the archive holds {len(own)} texts instead of one chat: {READABLE}")
            if own[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise zipfile.BadZipFile
            with archive.open(own[0]) as member:
                text = member.read(MAX_CHAT_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as exc:  # Runtime: encrypted
        raise ChatError(f"the archive cannot be read ({type(exc).__name__}): unpack it and give the .txt") from None
    if len(text) > MAX_CHAT_BYTES:
        raise ChatError(f"the chat in the archive has more than {MAX_CHAT_BYTES >> 20} MiB: give a part of its .txt")
    return text


def parse_export(data: bytes, *, date_order: DateOrder | None = None) -> Chat:
    """Return the chat in an exported text.

    Day and month are told apart by a number above 12, then by which order lets the dates go forward, then by a stated
    default with a warning. `date_order` overrides all of it. Raises `ChatError`.
    """
    text = _decode(data)
    heads, others = _scan(text)
    preface = text[: heads[0].start].strip() if heads else ""
    if not heads or preface.count("\n") >= _MAX_PREFACE_LINES:
        raise ChatError(f"this is no chat that can be read here: {READABLE}")
    order, ambiguous = _date_order(text, heads, date_order)
    ios = "[" in text[heads[0].start : heads[0].end]
    entries = list(_entries(text, heads, order))
    senders = _senders([entry.body for entry in entries], ios=ios)
    if not any(senders):
        raise ChatError(f"no entry of this text has a sender, so it is no chat: {READABLE}")
    messages, counts = _messages(entries, senders, ios=ios)
    warnings = []
    if preface:
        warnings.append("the text above the first message was left out")
    if others:
        warnings.append(f"lines that look like messages of another export, read as text: {others}")
    if ambiguous:
        other = "mdy" if order == "dmy" else "dmy"
        warnings.append(
            f"the dates fit two orders and were read as {order}: give --date-order {other} if that is wrong"
        )
    return Chat(
        messages=messages,
        skipped=Skipped(system=counts["system"], media=counts["media"], deleted=counts["deleted"]),
        format="whatsapp-ios" if ios else "whatsapp-android",
        ambiguous_dates=ambiguous,
        warnings=tuple(warnings),
    )


def _decode(data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        # The exception would carry the whole file into a traceback.
        raise ChatError(f"this is not a text in UTF-8: {READABLE}") from None
    return text.replace("\r\n", "\n").replace("\r", "\n") + "\n"


def _scan(text: str) -> tuple[list[_Head], int]:
    """Return the heads that have the shape of the first, whose date some order allows, and how many have another."""
    heads: list[_Head] = []
    others = 0
    shape: tuple[object, ...] | None = None
    for match in _HEAD.finditer(text):
        bracket, first, separator, second, third, comma, before, hour, minute, seconds, after = match.groups()
        clock = _clock(hour, minute, seconds or "0", before or after)
        if clock is None:
            continue
        numbers = (first, second, third)
        this = (bracket, separator, len(first) > 2, len(third) > 2, comma, bool(before), bool(seconds), bool(after))
        if shape is None and any(_date(numbers, order) for order in _ORDERS):
            shape = this
        if this == shape:
            heads.append(_Head(match.start(), match.end(), numbers, clock))
        elif shape is not None:
            others += 1
    return heads, others


def _clock(hour: str, minute: str, second: str, period: str | None) -> time | None:
    hours = int(hour)
    if period is not None:
        if hours > 12:
            return None
        hours = hours % 12 + _PERIODS[period.casefold().translate(_NO_DOTS)]
    try:
        return time(hours, int(minute), int(second))
    except ValueError:
        return None


def _date(numbers: tuple[str, str, str], order: str) -> date | None:
    year, month, day = (numbers[order.index(part)] for part in "ymd")
    if len(year) not in (2, 4):
        return None
    full = int(year) if len(year) == 4 else _FIRST_YEAR + int(year)
    try:
        return date(full, int(month), int(day)) if _FIRST_YEAR <= full < _FIRST_YEAR + 100 else None
    except ValueError:
        return None


def _date_order(text: str, heads: list[_Head], wanted: DateOrder | None) -> tuple[DateOrder, bool]:
    """Return the order of day, month and year, and whether it is a guess.

    Counts rather than requires: one quoted line with an impossible date must not turn a whole file round.
    """
    counts = Counter(head.numbers for head in heads)
    fits = {order: sum(n for numbers, n in counts.items() if _date(numbers, order)) for order in _ORDERS}
    best = max(fits.values())
    if wanted is not None:
        if fits[wanted] < best:
            raise ChatError(f"the dates of this chat do not fit --date-order {wanted}: leave it out, or give another")
        return wanted, False
    likely = [order for order in _ORDERS[:2] if fits[order] == best]
    if len(likely) < 2:
        return (likely or ["ymd"])[0], False
    days = [numbers for numbers, _ in groupby(head.numbers for head in heads)]
    back = {order: _steps_back(_date(numbers, order) for numbers in days) for order in likely}
    if back["dmy"] != back["mdy"]:
        return ("dmy" if back["dmy"] < back["mdy"] else "mdy"), False
    if all(_date(numbers, "dmy") == _date(numbers, "mdy") for numbers in counts):
        return "dmy", False
    # American English alone writes 1/5/24, 9:41 PM: two digits of the year, capitals, no leading zeros.
    american = re.search(r"/\d\d, .*[AP]M", text[heads[0].start : heads[0].end])
    padded = any(number.startswith("0") for numbers in counts for number in numbers[:2])
    return ("mdy" if american and not padded else "dmy"), True


def _steps_back(dates: Iterable[date | None]) -> int:
    return sum(later < earlier for earlier, later in pairwise(day for day in dates if day is not None))


def _entries(text: str, heads: list[_Head], order: DateOrder) -> Iterator[_Entry]:
    days = {numbers: _date(numbers, order) for numbers in {head.numbers for head in heads}}
    dated = [(head, day) for head in heads if (day := days[head.numbers]) is not None]
    ends = [head.start for head, _ in dated[1:]] + [len(text)]
    for (head, day), end in zip(dated, ends, strict=True):
        yield _Entry(datetime.combine(day, head.clock), text[head.end : end])


def _cut(body: str) -> tuple[str, str] | None:
    """Return what stands before and after the first colon, if a name can end there."""
    colon = _COLON.search(body, 0, MAX_SENDER + 2)  # what is longer than any name is a sentence of the app
    if colon is None or "\n" in body[: colon.start()]:
        return None
    return body[: colon.start()], body[colon.end() :]


def _senders(bodies: list[str], *, ios: bool) -> list[tuple[str, str] | None]:
    """Return each entry's sender and text; None where nobody is named.

    A name may hold a colon ("Street: Anna"). It is taken for one when everything under the shorter name goes on with
    a label, and every such label comes back.
    """
    cuts = [_cut(body) for body in bodies]
    labels: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for cut in cuts:
        if cut is not None:
            seen = labels[cut[0]]
            if "" not in seen:
                seen[(_cut(cut[1]) or ("",))[0]] += 1
    labelled = {name for name, seen in labels.items() if "" not in seen and min(seen.values()) >= _MIN_LABEL_USES}
    names: dict[str, str | None] = {}  # a chat has few of them
    found: list[tuple[str, str] | None] = []
    for cut in cuts:
        longer = _cut(cut[1]) if cut is not None and cut[0] in labelled else None
        said = (f"{cut[0]}: {longer[0]}", longer[1]) if cut is not None and longer is not None else cut
        if said is None:
            found.append(None)
            continue
        if said[0] not in names:
            names[said[0]] = _name(said[0], ios=ios)
        name = names[said[0]]
        found.append((name, said[1]) if name is not None else None)
    return found


def _name(raw: str, *, ios: bool) -> str | None:
    name = " ".join(clean(raw).split())
    # On Android: Anna changed the subject from "Party" to "Party: Sunday". The name would end inside a quotation.
    if not ios and sum(name.count(quote) for quote in _QUOTES) % 2 == 1:
        return None
    return name if 0 < len(name) <= MAX_SENDER else None


def _messages(
    entries: list[_Entry], senders: list[tuple[str, str] | None], *, ios: bool
) -> tuple[tuple[ChatMessage, ...], Counter[Kind]]:
    messages = []
    counts: Counter[Kind] = Counter()
    for entry, said in zip(entries, senders, strict=True):
        kind, text = classify(said[1], ios=ios) if said is not None else ("system", "")
        counts[kind] += 1
        if said is not None and text:
            messages.append(ChatMessage(said[0], text, entry.time))
    return tuple(messages), counts
