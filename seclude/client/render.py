"""What the `seclude` command prints for a person. Control characters of a chat never reach the terminal."""

import unicodedata
from typing import Final

from seclude.attestation.steps import Step
from seclude.tasks import Highlight, RewriteResponse, Sentence, SummarizeResponse

JOINER: Final = "\u200d"  # holds the parts of an emoji together
# Of an abstract: what was checked, and that it was not all.
CHECKED: Final = (
    "its numbers, times, dates and names were looked up in the chat, where they could be told; it can still be wrong"
)


def clean(text: str) -> str:
    """Return the text on one line without control and direction characters, which could rewrite a terminal."""
    kept = "".join(
        " " if character in "\n\t" else character
        for character in text
        if character in f"\n\t{JOINER}" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
    )
    return " ".join(kept.split())


def render_highlight(highlight: Highlight) -> str:
    """Return one highlight of a streamed summary as a line, with its day, since they come in no order of time."""
    stamp = "" if highlight.time is None else f"{highlight.time:%a %d %b %H:%M}  "
    return f"  {stamp}{clean(highlight.sender)}: {clean(highlight.text)}"


def render_sentence(sentence: Sentence) -> str:
    """Return one sentence of the abstract of a streamed summary as a line, marked as a model's."""
    return f"  [model] {clean(sentence.text)}"


def render_end(answer: SummarizeResponse) -> str:
    """Return what ends a streamed summary; who wrote the sentences that came, if there were any."""
    note = f"\n\n({clean(answer.note)})" if answer.note else ""
    model = f"\n[model] written by {_model(answer)}: {CHECKED}" if answer.abstract is not None else ""
    return f"{_count(len(answer.highlights), 'highlight')} of {_count(answer.messages, 'message')}{model}{note}"


def render_summary(answer: SummarizeResponse) -> str:
    """Return the abstract if there is one, then the highlights, a line each, with the day where it changes.

    Those of one topic stand together, and an empty line between topics.
    """
    lines = [] if answer.abstract is None else _abstract(answer, answer.abstract)
    lines += [f"{_count(len(answer.highlights), 'highlight')} of {_count(answer.messages, 'message')}"]
    day = ""
    topic = 0
    for highlight in sorted(answer.highlights, key=lambda item: (item.topic or 0, item.index)):
        if (highlight.topic or 0) != topic:
            topic = highlight.topic or 0
            day = ""
            lines.append("")
        stamp = ""
        if highlight.time is not None:
            if (date := f"{highlight.time:%a %d %b}") != day:
                day = date
                lines.append(f"\n{day}" if lines[-1] else day)
            stamp = f"{highlight.time:%H:%M}  "
        lines.append(f"  {stamp}{clean(highlight.sender)}: {clean(highlight.text)}")
    if answer.note:
        lines.append(f"\n({clean(answer.note)})")
    return "\n".join(lines)


def _abstract(answer: SummarizeResponse, abstract: str) -> list[str]:
    return [f"Written by {_model(answer)}: {CHECKED}", "", f"  {clean(abstract)}", ""]


def _model(answer: SummarizeResponse) -> str:
    return f"a model ({clean(answer.abstract_model or 'unnamed')})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def render_rewrite(answer: RewriteResponse) -> str:
    """Return the suggestion, marked as one."""
    note = f"\n\n({clean(answer.note)})" if answer.note else ""
    by = f", written by a model ({clean(answer.model)}), which can have changed the meaning" if answer.model else ""
    if not answer.changed:
        return f"No suggestion.{note}" if answer.note else "Suggestion: nothing to change."
    return f"Suggestion{by}:\n" + "\n".join(clean(line) for line in answer.text.splitlines()) + note


def render_step(step: Step) -> str:
    """Return one passed verification step."""
    return f"{step.number:>2}  {step.title}\n      {clean(step.found)}"
