"""Clauses: what may be left out of a message, and what never alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.engine.clauses import LEAST, MOST, clauses_of, count_words


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("I bring both grills and charcoal", ["I bring both grills and charcoal"]),
        (
            "I bake two plum cakes and bring the big coffee pot.",
            ["I bake two plum cakes", "and bring the big coffee pot."],
        ),
        (
            "i'll be 10 min late cos of the tram, leave my ticket at the desk pls",
            ["i'll be 10 min late", "cos of the tram,", "leave my ticket at the desk pls"],
        ),
        (
            "Ich komme erst um neun, ihr könnt schon anfangen",
            ["Ich komme erst um neun,", "ihr könnt schon anfangen"],
        ),
        ("they moved it to 6.40 (the early one I think)", ["they moved it to 6.40", "(the early one I think)"]),
        ("Moved to Monday. The old room, same time", ["Moved to Monday.", "The old room, same time"]),
    ],
)
def test_a_message_is_cut_where_something_is_added(text: str, clauses: list[str]) -> None:
    assert [clause for clause, _ in clauses_of(text)] == clauses


@pytest.mark.parametrize(
    "text",
    [
        "I can come on any of those days, but not on Friday",
        "we meet at five at the station, no sorry six",
        "You can have the van tomorrow, if you bring it back before the evening",
        "puedo llevar a los niños, pero no el viernes por la tarde",
        "ich kann euch alle abholen, aber nicht vor sieben Uhr abends",
        "what is also still open from last week: who asks number ten about the music?",
        "main sabko le aaunga kal shaam ko, lekin Rohit ko nahi",
        "eu levo todo mundo amanhã de manhã, mas não a bagagem",
        "hepinizi yarın sabah alırım oradan, ama eşyaları almam",
    ],
)
def test_what_limits_or_corrects_is_never_left_out(text: str) -> None:
    assert clauses_of(text) == [(text, True)]


def test_the_first_clause_of_a_sentence_is_known() -> None:
    text = "The wholesaler can do it tomorrow, they deliver before ten. Somebody must sign it today"
    assert [begins for _, begins in clauses_of(text)] == [True, False, True]


@given(st.text(alphabet=st.sampled_from("ab ,.;:-()\n?!andifé"), max_size=300))
def test_the_clauses_are_the_message(text: str) -> None:
    clauses = clauses_of(text)
    assert " ".join(clause for clause, _ in clauses).split() == text.split()
    assert len(clauses) == 1 or all(count_words(clause) >= LEAST for clause, _ in clauses[:-1])


def test_a_long_message_has_a_bounded_number_of_clauses() -> None:
    assert len(clauses_of("one two three four, " * 500)) == MOST
