"""Highlights: what matters in a chat, in its writers' own words and in the order of the chat.

Messages are read in clauses. What speaks for a clause is written in `worth`: what it says, what it does among the lines
around it, and how it follows up what was said, by the similarity of their embeddings. What is shown is chosen by
`selection`, so that a third of the chat's words tell as much as they can. Every word of the result is the chat's.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from inference.engine.clauses import count_words
from inference.engine.encoder import Encoder
from inference.engine.features import Clause, read_clauses
from inference.engine.language import looks_english, words_of
from inference.engine.lines import Line, read_line
from inference.engine.nearness import nearness, similarities, with_nearness
from inference.engine.selection import Price, Selection
from inference.engine.threads import Threads, find_threads
from inference.engine.tongues.reading import guess
from inference.engine.topics import LONG, topics_of
from inference.engine.wording import write
from inference.engine.worth import worth
from seclude.tasks import Highlight, Message, Reason, SummarizeRequest, SummarizeResponse

MAX_ENCODED: Final = 300  # messages; about a second of one core
BLOCKS: Final = 30  # parts of a long chat, each of which sends its best messages
BRIEF: Final = 24  # messages; a chat of fewer holds little but facts
LEAST_WORDS: Final = 24  # of a summary: two or three messages, which nobody needs to have shortened
MOST_WORDS: Final = 900  # of a summary: five minutes to read
ROUNDS: Final = 3  # of spending words that were left over: hardly any are after two
EXCERPT: Final = 400  # characters of one message where highlights are counted by messages
AGAIN: Final = 0.6  # similarity above which two messages of a person are about the same; others have about 0.2

NOTHING: Final = "nothing to highlight"
UNKNOWN: Final = "language not known: only numbers, times, amounts and questions were recognised"

# What messengers write in place of a message.
_PLACEHOLDER: Final = re.compile(
    r"^\W*(?:<[^>]{1,40}>|(?:image|video|audio|gif|sticker|document|contact card|media) omitted|"
    r"(?:this message was|you) deleted(?: this message)?|missed (?:voice|video|group)(?: voice| video)? call|null|"
    r"messages and calls are end-to-end encrypted.{0,200})\W*$",
    re.IGNORECASE,
)
# Directions that would reorder what stands around them (CVE-2021-42574), and control characters that terminals obey.
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069]")


def summarize(
    request: SummarizeRequest, encoder: Encoder, chosen: Callable[[Highlight], None] = lambda _: None
) -> SummarizeResponse:
    """Choose the highlights of a chat; `chosen` hears of each, the most telling first."""
    messages = request.messages
    lines = lines_of(messages)
    threads = find_threads(lines)
    clauses = read_clauses(lines, threads)
    heads = _candidates(lines, clauses)
    vectors = encoder.embed([lines[head].text for head in heads])
    worths = _worths(lines, clauses, heads, vectors)
    selection = Selection(clauses, worths, threads, _price(lines, request.max_highlights))
    candidates = set(heads)
    among = [at for at, clause in enumerate(clauses) if clause.position in candidates]
    dated = len({message.time.date() for message in messages if message.time is not None}) > 1
    topical = dict(zip(heads, vectors, strict=True)) if len(heads) >= LONG else None

    def shown() -> list[Highlight]:
        return _highlights(messages, lines, clauses, list(selection.chosen), threads, topical)

    if request.max_highlights is not None:
        selection.choose(among, request.max_highlights)
    else:
        _fill(selection, among, words_for(messages), lambda: count_words(write(shown(), dated=dated)))
    highlights = shown()
    for item in highlights:
        chosen(item)
    highlights.sort(key=lambda item: item.index)
    known = looks_english(word for line in lines for word in words_of(line.text)) or guess(line.text for line in lines)
    return SummarizeResponse(
        kind="highlights",
        text=write(highlights, dated=dated),
        highlights=tuple(highlights),
        messages=len(messages),
        considered=len(lines),
        encoded=len(heads),
        model=encoder.name,
        note=NOTHING if not highlights else None if known else UNKNOWN,
    )


def lines_of(messages: Sequence[Message]) -> list[Line]:
    """Return the messages that have words."""
    return [
        read_line(index, message.sender, _UNPRINTABLE.sub("", message.text))
        for index, message in enumerate(messages)
        if not _PLACEHOLDER.match(message.text) and any(character.isalnum() for character in message.text)
    ]


def words_for(messages: Sequence[Message]) -> int:
    """Return how many words the highlights of a chat have, senders and dates counted: a third, or half if few."""
    words = sum(count_words(f"{message.sender}: {message.text}") for message in messages)
    share = words // 2 if len(messages) < BRIEF else words // 3
    return min(max(share, LEAST_WORDS), MOST_WORDS)


def _fill(selection: Selection, among: Sequence[int], limit: int, used: Callable[[], int]) -> None:
    """Choose as much as makes a text of at most so many words; prices know neither dates nor rows of one sender."""
    selection.choose(among, limit)
    for _ in range(ROUNDS):
        if (rest := limit - used()) > 0:
            selection.choose(among, rest)
    while used() > limit and selection.drop():
        pass


def _price(lines: Sequence[Line], most: int | None) -> Price:
    """Return what clauses cost: their words and the sender's, or where highlights are counted, one for each message."""
    if most is not None:
        return lambda _, opens: int(opens)
    senders = [count_words(line.sender) for line in lines]
    return lambda clause, opens: clause.words + (senders[clause.position] if opens else 0)


def _candidates(lines: Sequence[Line], clauses: Sequence[Clause]) -> list[int]:
    """Return the lines that can be shown, at most `MAX_ENCODED`, from everywhere in the chat."""
    latest = {(line.sender, line.low): position for position, line in enumerate(lines)}
    worths: dict[int, float] = {}
    for clause in clauses:
        line = lines[clause.position]
        bare = "link" in line.cues.reasons and line.words <= 1  # "location: https://..." tells nothing by itself
        # Of what somebody repeats, the last time.
        if not line.small_talk and not bare and latest[line.sender, line.low] == clause.position:
            worths[clause.position] = max(worths.get(clause.position, 0.0), worth(clause.features))
    if len(worths) <= MAX_ENCODED:
        return sorted(worths)
    room = dict.fromkeys(range(BLOCKS), MAX_ENCODED // BLOCKS)
    kept = []
    for position in sorted(worths, key=lambda position: -worths[position]):
        block = position * BLOCKS // len(lines)
        if room[block]:
            room[block] -= 1
            kept.append(position)
    return sorted(kept)


def _worths(
    lines: Sequence[Line], clauses: Sequence[Clause], heads: Sequence[int], vectors: NDArray[np.float32]
) -> list[float]:
    """Return what each clause is worth, now that it is known what its line follows up and what replaces it."""
    near = nearness(lines, heads, vectors)
    replaced = _replaced([lines[head] for head in heads], similarities(vectors))
    stays = {head: 1 - part for head, part in zip(heads, replaced, strict=True)}
    return [
        worth(with_nearness(clause.features, near.get(clause.position, {}))) * stays.get(clause.position, 1.0)
        for clause in clauses
    ]


def _replaced(lines: Sequence[Line], similar: NDArray[np.float32]) -> list[float]:
    """Return how much of each line the same person replaces later: a plan by a fact, or what was open by a decision."""
    replaced = [0.0] * len(lines)
    for i, j in zip(*np.nonzero(np.triu(similar > AGAIN, 1)), strict=True):
        before, after = lines[i].cues.reasons, lines[j].cues.reasons
        if lines[i].sender == lines[j].sender and (
            ("promise" in before - after and after) or "decision" in after - before
        ):
            replaced[i] = max(replaced[i], float(similar[i, j]))
    return replaced


def _highlights(
    messages: Sequence[Message],
    lines: Sequence[Line],
    clauses: Sequence[Clause],
    chosen: Sequence[int],
    threads: Threads,
    topical: Mapping[int, NDArray[np.float32]] | None,
) -> list[Highlight]:
    """Return the lines of the chosen clauses in the order of their choice, with their topics if lines have any."""
    parts: dict[int, list[int]] = defaultdict(list)
    for at in chosen:
        parts[clauses[at].position].append(at)
    topics = {} if topical is None else topics_of(list(parts), topical, threads)
    found = []
    for position, clauses_of_it in parts.items():
        bound = position in threads.asked or position in threads.answers or position in threads.needs
        line = lines[position]
        item = _highlight(messages[line.index], line, clauses, clauses_of_it, "context" if bound else "central")
        found.append(structs.replace(item, topic=topics.get(position)))
    return found


def _highlight(message: Message, line: Line, clauses: Sequence[Clause], parts: Sequence[int], why: Reason) -> Highlight:
    """Return the chosen clauses of a message, as many as an excerpt holds, with "…" for what is left out."""
    kept: set[int] = set()
    room = EXCERPT
    for at in parts:
        if not kept or len(clauses[at].text) <= room:
            kept.add(at)
            room -= len(clauses[at].text) + 1
    pieces: list[str] = []
    position = clauses[parts[0]].position
    first = min(kept)
    while first and clauses[first - 1].position == position:
        first -= 1
    for at in range(first, len(clauses)):
        if clauses[at].position != position:
            break
        if at in kept:
            pieces.append(_cut(clauses[at].text))
        elif not pieces or pieces[-1] != "…":
            pieces.append("…")
    reasons = sorted({reason for at in kept for reason in clauses[at].reasons}) or [why]
    return Highlight(line.index, _clean(message.sender), message.time, " ".join(pieces), tuple(reasons))


def _clean(text: str) -> str:
    """Return a text on one line, without what could pass for another line or another order of words."""
    return " ".join(_UNPRINTABLE.sub("", text).split())


def _cut(text: str) -> str:
    """Return a clause, ended between two words if it is longer than an excerpt."""
    if len(text) <= EXCERPT:
        return text
    head = text[:EXCERPT]
    return (head.rpartition(" ")[0] or head) + " …"
