"""What a person sees in the terminal."""

from datetime import datetime

import pytest

from seclude.client.render import CHECKED, clean, render_end, render_rewrite, render_sentence, render_summary
from seclude.tasks import Highlight, RewriteResponse, Sentence, SummarizeResponse


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


def test_an_abstract_stands_above_and_says_whose_it_is() -> None:
    shown = render_summary(answer(kind="abstract", abstract="They\x1b[2J meet.\nAt 9.", abstract_model="m\x07x"))
    assert shown.splitlines()[:4] == [f"Written by a model (mx): {CHECKED}", "", "  They[2J meet. At 9.", ""]
    assert shown.endswith(render_summary(answer()))


def test_a_streamed_sentence_is_marked_and_the_mark_is_explained() -> None:
    assert render_sentence(Sentence("They\x1b meet.\n")) == "  [model] They meet."
    assert "[model]" not in render_end(answer())
    end = render_end(answer(kind="abstract", abstract="They meet.", abstract_model="mx", note="part of it"))
    assert end.splitlines() == [
        "1 highlight of 3 messages",
        f"[model] written by a model (mx): {CHECKED}",
        "",
        "(part of it)",
    ]


def test_a_note_is_shown() -> None:
    assert "(nothing to highlight)" in render_summary(answer(highlights=(), note="nothing to highlight"))


def test_a_rewrite_is_called_a_suggestion() -> None:
    suggestion = RewriteResponse("suggestion", "shorter", "Short.", True, ())
    assert render_rewrite(suggestion) == "Suggestion:\nShort."
    by_model = RewriteResponse("suggestion", "shorter", "Short.", True, (), model="mx")
    assert (
        render_rewrite(by_model) == "Suggestion, written by a model (mx), which can have changed the meaning:\nShort."
    )
    unchanged = RewriteResponse("suggestion", "shorter", "Short.", False, ())
    assert render_rewrite(unchanged) == "Suggestion: nothing to change."
    noted = RewriteResponse("suggestion", "shorter", "Short.", False, (), note="why")
    assert render_rewrite(noted) == "No suggestion.\n\n(why)"
