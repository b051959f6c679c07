"""What a person sees in the terminal."""

from datetime import datetime

import pytest

from seclude.client.render import clean, render_rewrite, render_summary
from seclude.tasks import Highlight, RewriteResponse, SummarizeResponse


@pytest.mark.parametrize(
    "hostile",
    ["\x1b[2Jgone", "\x9b2Jgone", "a\rb", "\x07", "right\u202eleft", "a\u200bb", "\u2028line", "\x00"],
)
def test_nothing_that_steers_a_terminal_gets_through(hostile: str) -> None:
    shown = clean(hostile)
    assert all(character.isprintable() for character in shown)
    assert "\x1b" not in shown


@pytest.mark.parametrize("text", ["plain", "naïve £20", "मैं कल आऊँगा", "👩\u200d👩\u200d👧 family", "İyi günler"])
def test_ordinary_text_stays(text: str) -> None:
    assert clean(text) == text


def test_a_text_of_several_lines_becomes_one() -> None:
    assert clean("a\n\tb") == "a b"


def answer(**changes: object) -> SummarizeResponse:
    highlight = Highlight(0, "Ana", datetime(2025, 6, 13, 18, 5), "We meet at 9.", ("time",))
    values = {
        "kind": "highlights",
        "text": "",
        "highlights": (highlight,),
        "messages": 3,
        "considered": 3,
        "encoded": 3,
        "model": "m",
        **changes,
    }
    return SummarizeResponse(**values)  # type: ignore[arg-type]


def test_a_highlight_has_its_day_time_and_sender() -> None:
    assert render_summary(answer()).splitlines() == [
        "1 highlight of 3 messages",
        "",
        "Fri 13 Jun",
        "  18:05  Ana: We meet at 9.",
    ]


def test_a_note_is_shown() -> None:
    assert "(nothing to highlight)" in render_summary(answer(highlights=(), note="nothing to highlight"))


def test_a_rewrite_is_called_a_suggestion() -> None:
    suggestion = RewriteResponse("suggestion", "shorter", "Short.", True, ())
    assert render_rewrite(suggestion) == "Suggestion:\nShort."
    unchanged = RewriteResponse("suggestion", "shorter", "Short.", False, ())
    assert "nothing to change" in render_rewrite(unchanged)
