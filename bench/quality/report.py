"""Scores of several engines on several chats, as tables, as claims that hold or do not, and as JSON."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

import msgspec

from bench.machine import describe
from bench.quality.chat import SHORT, Chat
from bench.quality.engines import Made
from bench.quality.score import Score
from bench.result import Figure
from bench.table import grid

SCHEMA: Final = "seclude-bench-quality/1"
RESAMPLES: Final = 1000
LONG: Final = 100  # messages
SIZES: Final = (f"under {SHORT}", f"{SHORT} to {LONG - 1}", f"{LONG} and more")
RECALL: Final = 0.85  # of the facts, that our summaries keep at least


@dataclass(frozen=True, slots=True)
class Trial:
    """One summary of one chat, and its score."""

    name: str
    """Of the chat."""
    chat: Chat
    made: Made
    score: Score


Trials = Mapping[str, Sequence[Trial]]
"""By engine; those of a chat stand together."""


@dataclass(frozen=True, slots=True)
class Total:
    """The trials of one engine taken together; where it drew several summaries of a chat, their mean."""

    chats: int
    facts: float
    kept: float
    named: float
    """Share of the kept facts that are somebody's and have the name with them."""
    inventions: float
    redundancy: float
    length: float
    over: float
    """Summaries that are too long."""

    @property
    def recall(self) -> float:
        """Share of all facts, whatever chat they are of."""
        return self.kept / max(self.facts, 1)


def total(trials: Sequence[Trial]) -> Total:
    """Sum up."""
    chats = len({trial.name for trial in trials})
    scores = [trial.score for trial in trials]
    draws = max(len(scores) / max(chats, 1), 1)
    named = [name for score in scores for name in score.named]
    return Total(
        chats=chats,
        facts=sum(len(score.kept) for score in scores) / draws,
        kept=sum(sum(score.kept) for score in scores) / draws,
        named=sum(named) / max(len(named), 1),
        inventions=sum(score.inventions for score in scores) / draws,
        redundancy=sum(score.redundancy for score in scores) / max(len(scores), 1),
        length=sum(score.words for score in scores) / max(sum(score.chat_words for score in scores), 1),
        over=sum(score.over for score in scores) / draws,
    )


def interval(trials: Sequence[Trial]) -> tuple[float, float]:
    """Return between which values the recall of other such chats would be in 95 of 100 cases.

    Chats are drawn from these with repetition (Efron's bootstrap), the same in every run: the facts of a
    chat share its writer and its subject, so a chat counts as one observation, and not each of its facts.
    """
    scores: dict[str, list[Score]] = {}
    for trial in trials:
        scores.setdefault(trial.name, []).append(trial.score)
    sums = [(fmean(sum(score.kept) for score in own), len(own[0].kept)) for own in scores.values()]
    chance = random.Random(0)  # noqa: S311 (a draw that everybody can repeat)
    recalls = []
    for _ in range(RESAMPLES):
        drawn = chance.choices(sums, k=len(sums))
        recalls.append(sum(kept for kept, _ in drawn) / max(sum(facts for _, facts in drawn), 1))
    recalls.sort()
    return recalls[RESAMPLES // 40], recalls[-1 - RESAMPLES // 40]


def size_of(chat: Chat) -> str:
    """Return which of the three sizes a chat has."""
    count = len(chat.messages)
    return SIZES[(count >= SHORT) + (count >= LONG)]


def language_of(chat: Chat) -> str:
    """Return the language of a chat."""
    return chat.language


def by_chat(trials: Sequence[Trial]) -> Iterator[str]:
    """Yield a row for each summary of one engine; "!" marks one that is too long."""
    rows = [("chat", "language", "messages", "facts", "recall", "invented", "repeated", "length", "CPU ms", "compared")]
    rows += [
        (
            trial.name,
            trial.chat.language,
            str(len(trial.chat.messages)),
            f"{sum(trial.score.kept)}/{len(trial.score.kept)}",
            f"{trial.score.recall:.2f}",
            str(trial.score.inventions),
            f"{trial.score.redundancy:.2f}",
            f"{trial.score.length:.2f}{'!' if trial.score.over else ' '}",
            f"{trial.made.cpu_ms:.0f}",
            str(trial.made.encoded),
        )
        for trial in trials
    ]
    return grid(rows)


def by_engine(trials: Trials) -> Iterator[str]:
    """Yield a row for each engine and size of chat."""
    rows = [("engine", "messages", "facts", "recall", "95 %", "named", "invented", "repeated", "length", "too long")]
    for engine, own in trials.items():
        for size in (*SIZES, "all"):
            part = [trial for trial in own if size in ("all", size_of(trial.chat))]
            if part:
                rows.append((engine, size, *_cells(total(part), *interval(part))))
    return grid(rows)


def _cells(found: Total, low: float, high: float) -> tuple[str, str, str, str, str, str, str, str]:
    return (
        f"{found.kept:.4g}/{found.facts:.4g}",
        f"{found.recall:.3f}",
        f"{low:.2f} to {high:.2f}",
        f"{found.named:.2f}",
        f"{found.inventions:.3g}",
        f"{found.redundancy:.2f}",
        f"{found.length:.2f}",
        f"{found.over:.3g}",
    )


def recall_by(key: Callable[[Chat], str], name: str, trials: Trials) -> Iterator[str]:
    """Yield the recall of each engine for each kind of chat that `key` tells apart."""
    rows = [(name, "chats", *trials)]
    for kind in sorted({key(trial.chat) for own in trials.values() for trial in own}):
        parts = [total([trial for trial in own if key(trial.chat) == kind]) for own in trials.values()]
        rows.append((kind, str(parts[0].chats), *(f"{part.recall:.2f}" for part in parts)))
    return grid(rows)


def fallbacks(trials: Trials) -> Iterator[str]:
    """Yield how many abstracts of each engine are highlights instead, where any are."""
    for engine, own in trials.items():
        count = sum(trial.made.fell_back for trial in own)
        if count:
            yield f"{engine}: {count} of {len(own)} have no abstract that held, and are scored by their highlights"


def claims(trials: Sequence[Trial]) -> list[Figure]:
    """Return what is claimed of an engine, each with its limit."""
    short = [trial for trial in trials if len(trial.chat.messages) < SHORT]
    longer = [trial for trial in trials if len(trial.chat.messages) >= SHORT]
    parts = {f"recall, {SHORT} messages and more": longer, f"recall, under {SHORT} messages": short}
    found = [
        Figure(name, total(part).recall, "of the facts", RECALL, total(part).recall >= RECALL)
        for name, part in parts.items()
        if part
    ]
    everything = total(trials)
    for name, value in {"inventions": everything.inventions, "summaries too long": everything.over}.items():
        found.append(Figure(name, value, "", 0, not value))
    return found


def verdicts(figures: Sequence[Figure]) -> Iterator[str]:
    """Yield a row for each figure with its limit."""
    rows = [("figure", "value", "unit", "limit", "")]
    rows += [
        (
            figure.name,
            f"{figure.value:.4g}",
            figure.unit,
            "" if figure.limit is None else f"{figure.limit:g}",
            "" if figure.good else "MISSED",
        )
        for figure in figures
    ]
    return grid(rows)


def misses(trials: Sequence[Trial]) -> Iterator[str]:
    """Yield what the summaries left out, with the messages that said it, and what they invented."""
    for trial in trials:
        lost = [fact for fact, kept in zip(trial.chat.facts, trial.score.kept, strict=True) if not kept]
        if lost or trial.score.inventions:
            yield f"\n{trial.name}"
        for fact in lost:
            yield f"  missed ({fact.kind}): {fact.what}"
            for place in fact.sources:
                yield f"      {place}  {trial.chat.messages[place].sender}: {trial.chat.messages[place].text}"
        for what in trial.score.falsehoods:
            yield f"  not so: {what}"
        for word in trial.score.unsupported:
            yield f"  not in the chat: {word}"


def as_json(trials: Trials, figures: Sequence[Figure], *, sealed: bool) -> bytes:
    """Return all scores. The chats and summaries are not in it, nor where they lie."""
    rows = {
        engine: [
            {
                "chat": trial.name,
                "language": trial.chat.language,
                "messages": len(trial.chat.messages),
                "cpu_ms": round(trial.made.cpu_ms, 1),
                "encoded": trial.made.encoded,
                "fell_back": trial.made.fell_back,
                "score": trial.score,
            }
            for trial in own
        ]
        for engine, own in trials.items()
    }
    content = {"schema": SCHEMA, "machine": describe(), "sealed": sealed, "engines": rows, "figures": figures}
    return msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"
