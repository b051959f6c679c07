"""Topics: what leans on one another stays together, what is alike joins, and the same chat has the same topics."""

from pathlib import Path

import numpy as np
import pytest

from inference.engine.encoder import SentenceEncoder
from inference.engine.highlights import summarize
from inference.engine.threads import Threads
from inference.engine.topics import LONG, MOST, topics_of
from inference.engine.wording import write
from seclude.tasks import Highlight, Message, SummarizeRequest

TENT = (
    "the camping tent for our camping weekend needs two new tent poles",
    "I'll order the tent poles for the camping tent on Monday for 30 euros",
    "the camping weekend with the tent is from 3 to 6 July",
    "I bring the camping stove and a tent lamp for the camping weekend in July",
)
CHOIR = (
    "the choir rehearsal for the choir concert moves to Tuesday at 19:30",
    "the choir sings its concert in the church on 12 June",
    "please bring the choir music to the choir rehearsal on Tuesday",
    "I will print the choir concert programme for the choir on 10 June",
)


def threads(needs: dict[int, int]) -> Threads:
    return Threads({}, {}, needs, {}, frozenset(), frozenset(), frozenset())


def test_what_is_alike_joins_and_topics_count_from_the_first() -> None:
    shown = {0: 0, 10: 0, 20: 1, 30: 1}
    vectors = {position: np.eye(2, dtype=np.float32)[axis] for position, axis in shown.items()}
    assert topics_of([30, 20, 10, 0], vectors, threads({})) == {0: 0, 10: 0, 20: 1, 30: 1}


def test_a_line_goes_with_what_it_leans_on_whatever_it_says() -> None:
    vectors = {position: np.eye(2, dtype=np.float32)[axis] for position, axis in {0: 0, 40: 1, 80: 1}.items()}
    found = topics_of([0, 40, 80, 81], vectors, threads({81: 0}))
    assert found == {0: 0, 81: 0, 40: 1, 80: 1}


def test_there_are_only_so_many_topics() -> None:
    shown = range(0, 600, 20)
    vectors = {position: np.eye(64, dtype=np.float32)[at] for at, position in enumerate(shown)}
    assert len(set(topics_of(shown, vectors, threads({})).values())) == MOST


def test_nothing_shown_has_no_topic() -> None:
    assert topics_of([], {}, threads({})) == {}


@pytest.fixture(scope="module")
def encoder(model: Path) -> SentenceEncoder:
    return SentenceEncoder(model)


def test_a_long_chat_is_told_topic_by_topic(encoder: SentenceEncoder) -> None:
    talk = [f"number {at} of the crossword is a river in Spain I think" for at in range(LONG)]
    texts = [*talk[:30]]
    for tent, choir in zip(TENT, CHOIR, strict=True):
        texts += [tent, *talk[30:33], choir, *talk[33:36]]
    texts += talk[36:]
    messages = tuple(Message("ABC"[at % 3], text) for at, text in enumerate(texts))
    answer = summarize(SummarizeRequest(messages=messages), encoder)
    again = summarize(SummarizeRequest(messages=messages), encoder)
    assert answer == again
    of = {item.text: item.topic for item in answer.highlights}
    tents, choirs = [{of[text] for text in talked if text in of} for talked in (TENT, CHOIR)]
    assert tents
    assert choirs
    assert tents.isdisjoint(choirs)
    firsts = list(dict.fromkeys(item.topic for item in answer.highlights))
    assert firsts == sorted(firsts, key=lambda topic: topic or 0), "numbered as they begin"
    assert answer.text.count("\n\n") == len(firsts) - 1


def test_a_short_chat_has_no_topics(encoder: SentenceEncoder) -> None:
    messages = tuple(Message("A", text) for text in (*TENT, *CHOIR))
    answer = summarize(SummarizeRequest(messages=messages), encoder)
    assert all(item.topic is None for item in answer.highlights)
    assert "\n\n" not in answer.text


def test_what_one_person_says_stands_in_one_line_within_a_topic() -> None:
    items = [
        Highlight(at, sender, None, text, ("time",), topic)
        for at, sender, text, topic in ((0, "A", "one", 0), (3, "A", "two", 0), (5, "A", "three", 1), (7, "B", "4", 0))
    ]
    assert write(items, dated=False) == "A: one \u00b7 two\nB: 4\n\nA: three"
