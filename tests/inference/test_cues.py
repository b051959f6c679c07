"""What the surface of a sentence tells, and how long reading it may take."""

import time

import pytest

from inference.engine.cues import is_small_talk, read_message, read_sentence, sentences_of
from inference.engine.language import looks_english, words_of
from seclude.tasks import Reason

STATED: set[Reason] = {"decision", "promise", "problem"}


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("let's take the early one", {"decision"}),
        ("8 it is", {"decision"}),
        ("yes it is", set()),
        ("the landlord approved it", {"decision"}),
        ("actually make it six", {"decision"}),
        ("I'll bring the salad", {"promise"}),
        ("I’ll bring the salad", {"promise"}),
        ("will send it over", {"promise"}),
        ("can you bring plates", {"question", "request"}),
        ("please don't forget the keys", {"request"}),
        ("the import failed again", {"problem"}),
        ("I can't make it, I'm sick", {"problem"}),
        ("see you at 17:30", {"time"}),
        ("the 14th works", {"time"}),
        ("on Thursday", {"time"}),
        ("in 20 minutes", {"time"}),
        ("it is due on 2026-05-04", {"decision", "time"}),
        ("that was £25", {"amount"}),
        ("12 euros", {"amount"}),
        ("140 each", {"amount"}),
        ("the code is 4711", {"amount"}),
        ("we are in room 4", {"place"}),
        ("12 Mill Street", {"place"}),
        ("I live in Lisbon", {"place"}),
        ("her birthday party", {"event"}),
        ("https://example.org/1234", {"link"}),
        ("who has the key?", {"question"}),
        ("who has the key", {"question"}),
        ("¿quién viene?", {"question"}),
        ("明天3点见", {"time"}),
        ("um 18 Uhr", {"time"}),
        ("Summary so far: all is well", {"decision"}),
        ("there was a summary of it", set()),
        ("Sunday at five then", {"decision", "time"}),
        ("since then it was lovely at five", {"time"}),
        ("I bring the grill", {"promise"}),
        ("I bring them every week", set()),
        ("you must hear it", {"request"}),
        ("I must say it was lovely", set()),
        ("vom 12. bis 16. Mai", {"time"}),
        ("el 5 de mayo", {"time"}),
        ("that was lovely", set()),
        ("sunset was lovely in may", set()),
        ("what a day", set()),
    ],
)
def test_a_sentence_gives_these_reasons(text: str, reasons: set[Reason]) -> None:
    assert read_sentence(text).reasons == reasons


@pytest.mark.parametrize(
    "text",
    [
        "should we postpone it?",
        "shall I bring the salad?",
        "is it cancelled?",
        "will you pay?",
        "did it fail?",
        "we should go at five?",
        "so have we decided",
    ],
)
def test_a_question_is_no_decision_promise_or_problem(text: str) -> None:
    cues = read_sentence(text)
    assert cues.asks
    assert not cues.reasons & STATED


def test_a_promise_with_a_tag_stays_a_promise() -> None:
    cues = read_sentence("I'll pay on the 28th, ok?")
    assert not cues.asks
    assert cues.reasons == {"promise", "question", "time"}


def test_a_question_in_the_middle_of_a_message_asks() -> None:
    cues = read_message("I finish at 7. Can we do 8? The car is at home.")
    assert cues.asks
    assert cues.reasons >= {"question", "time"}


def test_what_a_question_stands_next_to_is_stated() -> None:
    cues = read_message("The contract ends on 30 June. Do we renew it for 4,800 euros?")
    assert cues.stated == {"time"}
    assert cues.reasons == {"amount", "question", "time"}


@pytest.mark.parametrize("text", ["how are you?", "hey what's up?", "really?", "lol what?", "good, you?"])
def test_a_question_for_company_asks_nothing(text: str) -> None:
    assert not read_sentence(text).reasons


@pytest.mark.parametrize(
    "text", ["ok", "Hahaha 😂", "thanks so much!!", "good night everyone ❤️", "yes", "jajaja", "👍"]
)
def test_small_talk_is_known(text: str) -> None:
    assert is_small_talk(text)


@pytest.mark.parametrize("text", ["ok 5pm", "yes, Baan Thai", "thanks, the key is under the mat", "lol it's terrible"])
def test_what_says_something_is_no_small_talk(text: str) -> None:
    assert not is_small_talk(text)


def test_sentences_are_cut_and_nothing_is_lost() -> None:
    text = 'One. "Two?"  Three! \n Four… five 3.50 e.g.this'
    assert sentences_of(text) == ["One.", '"Two?"', "Three!", "Four…", "five 3.50 e.g.this"]
    assert "".join(sentences_of(text)).replace(" ", "") == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "english"),
    [
        ("im late sorry", True),
        ("Shall we meet at the station?", True),
        ("Wir treffen uns im Park", False),
        ("quedamos a las ocho en la puerta", False),
        ("on y va demain", False),
        ("ik kom morgen ook", False),
        ("明天见", False),
        ("", False),
    ],
)
def test_english_is_told_from_its_neighbours(text: str, english: bool) -> None:
    assert looks_english(words_of(text)) == english


PIECES = """
a|x          |1|1 |1.|1/|1,|at |at the |it is |we need a |oh |ok, |so and but |will re|x it is |move the |room |
1a |? |. |in |((((|."'|http://|www.|ha
""".strip().split("|")


@pytest.mark.parametrize("piece", PIECES)
def test_reading_takes_time_linear_in_the_text(piece: str) -> None:
    """Ten times the text may take ten times as long, with room for a busy machine; quadratic would be a hundred."""

    def seconds(length: int) -> float:
        text = ("x" + piece * length)[:length]
        best = 1.0
        for _ in range(3):
            start = time.process_time()
            read_message(text)
            best = min(best, time.process_time() - start)
        return best

    assert seconds(10_000) < 30 * max(seconds(1_000), 0.0005)
