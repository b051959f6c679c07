"""Highlights as the text that a reader gets: a line for what somebody says, under its day, topic after topic."""

from collections.abc import Sequence
from typing import Final

from seclude.tasks import Highlight

NEXT: Final = " \u00b7 "  # between two things that one person says with nothing of another shown between them


def write(highlights: Sequence[Highlight], *, dated: bool) -> str:
    """Return highlights as lines, under their dates if the chat has several: "tomorrow" is read with its day.

    Topics are parted by an empty line, and come in the order of their numbers.
    """
    lines: list[str] = []
    day = None
    before: Highlight | None = None
    for item in sorted(highlights, key=lambda item: (item.topic or 0, item.index)):
        if before is not None and before.topic != item.topic:
            lines.append("")
            before = None
        if dated and item.time is not None and item.time.date() != day:
            day, before = item.time.date(), None
            lines.append(f"{day.isoformat()}:")
        if before is not None and before.sender == item.sender:
            lines[-1] += f"{NEXT}{item.text}"
        else:
            lines.append(f"{item.sender}: {item.text}")
        before = item
    return "\n".join(lines)
