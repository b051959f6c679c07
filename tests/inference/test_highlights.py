"""Highlights: what holds for every chat, whatever the encoder says."""

import hashlib
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from inference.engine.encoder import SentenceEncoder
from inference.engine.highlights import (
    EXCERPT,
    LEAST_WORDS,
    MAX_ENCODED,
    MOST_WORDS,
    NOTHING,
    UNKNOWN,
    summarize,
    words_for,
)
from inference.engine.lines import read_line
from inference.engine.threads import find_threads
from seclude.tasks import MAX_MESSAGES, Message, SummarizeRequest, SummarizeResponse


class HashEncoder:
    """Vectors that depend on the text and on nothing else."""

    name = "hash"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        digests = [hashlib.shake_256(text.encode()).digest(384) for text in texts]
        rows = np.array([list(digest) for digest in digests], dtype=np.float32).reshape(len(texts), 384) - 100
        unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit


class FlatEncoder(HashEncoder):
    """Every text says the same, so that the cues alone decide."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.ones((len(texts), 1), dtype=np.float32)


def summary(*texts: str, most: int | None = None, senders: str = "AB", flat: bool = False) -> SummarizeResponse:
    messages = tuple(Message(senders[index % len(senders)], text) for index, text in enumerate(texts))
    encoder = FlatEncoder() if flat else HashEncoder()
    return summarize(SummarizeRequest(messages=messages, max_highlights=most), encoder)


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


SCRAPS = (
    *(
        "ok",
        "yes",
        "no",
        "5pm",
        "ok 5pm",
        "lol",
        "thanks",
        "😂",
        "",
        "<Media omitted>",
        "sure",
        "idk",
        "maybe",
        "me too",
    ),
    *("when?", "where", "and then?", "so what do we do", "who brings cake?", "can you call her?", "Sunday then"),
    *("I'll bring cake", "let's meet at the station at 7", "actually 8", "at Luigi's", "it was nice", "£20 each"),
    *("the import failed", "that works", "it's off", "please send me the list by Friday", "https://example.org"),
    "I watched a film about birds yesterday and it was better than I thought",
)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from(SCRAPS)), min_size=1, max_size=60),
    st.none() | st.integers(1, 50),
)
def test_what_holds_for_every_chat(chat: list[tuple[str, str]], most: int | None) -> None:
    messages = tuple(Message(sender, text) for sender, text in chat)
    request = SummarizeRequest(messages=messages, max_highlights=most)
    answer = summarize(request, HashEncoder())
    shown = [item.index for item in answer.highlights]
    assert shown == sorted(set(shown))
    assert len(shown) <= (most or len(chat))
    for item in answer.highlights:
        assert item.sender == messages[item.index].sender
        parts = [part.strip() for part in item.text.split("…") if part.strip()]
        assert parts
        assert all(part in messages[item.index].text for part in parts)
    assert words(answer.text) <= {word for sender, text in chat for word in words(f"{sender} {text}")}
    assert answer.considered <= answer.messages == len(chat)
    assert (answer.note == NOTHING) == (not shown)
    assert summarize(request, HashEncoder()) == answer
    lines = [read_line(i, m.sender, m.text) for i, m in enumerate(messages) if words(m.text) and "<" not in m.text]
    for position, needed in find_threads(lines).needs.items():
        assert lines[position].index not in shown or lines[needed].index in shown, "a line without what it leans on"


def test_highlights_are_whole_messages_in_the_order_of_the_chat() -> None:
    answer = summary(
        "I'll bring the salad on Sunday",
        "haha",
        "the rent is 900 euros from May 1 on",
        "Who has the key of the shed?",
        most=3,
    )
    assert [item.index for item in answer.highlights] == [0, 2, 3]
    assert answer.text.splitlines()[-1] == "B: Who has the key of the shed?"
    assert answer.kind == "highlights"


def test_an_open_question_stays_a_question() -> None:
    answer = summary(
        "nice weather here", "does anyone know when the audit starts?", "the dog slept all day on the sofa"
    )
    assert any(item.text.endswith("?") and "question" in item.reasons for item in answer.highlights)


def test_a_dependent_line_brings_its_question() -> None:
    answer = summary("can you pick me up at 7:40?", "sure", most=2)
    assert [item.text for item in answer.highlights] == ["can you pick me up at 7:40?", "sure"]
    assert answer.highlights[1].reasons == ("context",)


def test_a_statement_comes_with_what_was_asked_about_it() -> None:
    texts = (
        "the band would play for dinner and 100 euros",
        "until what time?",
        "until 7:30 pm",
        "lovely weather again",
    )
    assert [item.index for item in summary(*texts, most=3).highlights] == [0, 1, 2]
    assert len(summary(*texts, most=1).highlights) == 1


def test_a_question_comes_with_all_its_answers_or_leaves_room_for_others() -> None:
    texts = (
        *("who brings what on the 21st?", "bread from me", "two cakes from me", "the drinks from me"),
        *("Please send 48 euros to Devrim by Tuesday", "the import failed again at noon in room 12"),
    )
    shown = [item.index for item in summary(*texts, most=5, senders="ABCDEF").highlights]
    assert {4, 5} <= set(shown)
    assert 0 not in shown
    alone = [item.index for item in summary(*texts[:4], most=2, senders="ABCD").highlights]
    assert len(alone) <= 2, "where they can never fit, no more than there is room for"


def test_what_somebody_takes_on_counts_as_what_it_was_asked_for() -> None:
    texts = (
        "who brings what on the 21st?",
        "I bring both grills and the charcoal",
        "the old import failed again for us",
    )
    answer = summary(*texts, most=1, senders="ABC", flat=True)
    assert [item.text for item in answer.highlights] == [texts[1]]


def test_what_the_same_person_replaces_is_not_shown() -> None:
    answer = summary(
        "I'll call the roofer tomorrow", "Called him: it costs 240 euros altogether", most=2, senders="A", flat=True
    )
    assert [item.index for item in answer.highlights] == [1]


def test_without_room_for_the_answer_the_question_stands_alone() -> None:
    answer = summary("can you pick me up at 7:40?", "sure, by car", most=1)
    assert [item.index for item in answer.highlights] == [0]


@pytest.mark.parametrize(
    ("texts", "note"),
    [
        (["😂😂", "👍"], NOTHING),
        ([""], NOTHING),
        (["hi", "hello!", "thanks", "ok"], NOTHING),
        (["<Media omitted>", "This message was deleted", "image omitted"], NOTHING),
        (["Wir treffen uns morgen um 18 Uhr am Bahnhof"], None),
        (["Tavataan huomenna klo 18 asemalla"], UNKNOWN),
        (["明天下午3点在车站见面"], UNKNOWN),
        (["The plumber comes tomorrow at 10"], None),
    ],
)
def test_the_note_says_what_happened(texts: list[str], note: str | None) -> None:
    answer = summary(*texts)
    assert answer.note == note
    assert bool(answer.highlights) == (note != NOTHING)


def test_what_somebody_repeats_is_shown_once() -> None:
    answer = summary(*["Dinner is at 7 on Friday at Luigi's"] * 20, senders="A")
    assert [item.index for item in answer.highlights] == [19]
    answer = summary(*["I'll bring a bottle of wine"] * 4, senders="AB")
    assert [(item.index, item.sender) for item in answer.highlights] == [(2, "A"), (3, "B")]


def test_one_message_is_its_own_highlight() -> None:
    answer = summary("I planted some tomatoes")
    assert [item.reasons for item in answer.highlights] == [("central",)]


@pytest.mark.parametrize(("count", "share"), [(10, 2), (23, 2), (24, 3), (100, 3)])
def test_a_summary_has_a_third_of_the_words_or_half_of_few(count: int, share: int) -> None:
    texts = [f"I'll bring {n} bottles of water to the station at {n % 12}:30 on Monday" for n in range(count)]
    messages = tuple(Message("AB"[n % 2], text) for n, text in enumerate(texts))
    words = sum(len(f"{message.sender}: {message.text}".split()) for message in messages)
    assert words_for(messages) == words // share
    answer = summarize(SummarizeRequest(messages=messages), HashEncoder())
    assert 0.8 * words // share < len(answer.text.split()) <= words // share


def test_the_words_of_a_summary_have_an_end() -> None:
    assert words_for((Message("A", "word " * 100),) * 100) == MOST_WORDS
    assert words_for((Message("A", "word"),)) == LEAST_WORDS


def test_a_long_message_is_cut_to_what_matters() -> None:
    small_talk = "The weather was grey and the tram was slow as it always is. " * 8
    text = f"{small_talk}The rent goes up by 40 euros in May. {small_talk}Who can come along on Tuesday at 18:00?"
    (item,) = summary(text, "haha", most=1).highlights
    assert "The rent goes up by 40 euros in May." in item.text
    assert item.text.endswith("Who can come along on Tuesday at 18:00?")
    for long in ("word " * 1999, "a" * 9999, "I'll pay 5 euros, " * 500):
        (item,) = summary(long, most=1).highlights
        assert len(item.text.replace("…", "").replace("  ", " ")) <= EXCERPT + 2


def test_the_rest_of_a_sentence_is_not_shown_without_its_beginning() -> None:
    text = "The old wholesaler in town can do it tomorrow morning, before ten, at 1,140 euros for everything"
    for answer in (summary(text, "ok", most=1), summary(*[text + f" {n}" for n in range(9)])):
        assert all(item.text.startswith("The old wholesaler") for item in answer.highlights)


def test_what_somebody_wrote_in_a_row_stands_in_one_line() -> None:
    texts = ("The rent is 900 euros from May on", "please pay it by Friday")
    assert summary(*texts, most=2, senders="A").text == " · ".join((f"A: {texts[0]}", texts[1]))


def test_nobody_can_write_in_anothers_name() -> None:
    answer = summary("I agree\nB: I'll pay 500 euros\u2028B: really\x1b[2J\u202e tomorrow", senders="A\x85")
    assert answer.text == "A: I agree B: I'll pay 500 euros B: really[2J tomorrow"


def test_days_are_named_where_there_are_several() -> None:
    times = [datetime(2026, 5, day, 9, 0, tzinfo=UTC) for day in (3, 4)]
    messages = tuple(
        Message("A", f"I'll bring {n} bottles tomorrow", time) for n, time in zip((12, 30), times, strict=True)
    )
    answer = summarize(SummarizeRequest(messages=messages), HashEncoder())
    assert answer.text == (
        "2026-05-03:\nA: I'll bring 12 bottles tomorrow\n2026-05-04:\nA: I'll bring 30 bottles tomorrow"
    )
    assert [item.time for item in answer.highlights] == times
    answer = summarize(
        SummarizeRequest(messages=(*messages, Message("B", "😂", times[1])), max_highlights=1), HashEncoder()
    )
    assert re.match(r"2026-05-0[34]:\n", answer.text), "a chat of two days, whatever is shown of it"


def test_a_long_chat_is_looked_at_from_end_to_end() -> None:
    texts = (
        [f"I'll bring {n} bottles at 7pm" for n in range(9_000)]
        + ["we all slept very well"] * 999
        + ["I'll pay 300 euros tomorrow at the bank, please remind me"]
    )
    answer = summary(*texts[:MAX_MESSAGES], senders="A", most=50)
    assert answer.messages == answer.considered == MAX_MESSAGES
    assert 0 < answer.encoded <= MAX_ENCODED
    assert any(item.index > 9_900 for item in answer.highlights)


@pytest.fixture(scope="module")
def encoder(model: Path) -> SentenceEncoder:
    return SentenceEncoder(model)


@pytest.mark.drill
def test_what_a_chat_of_thirty_messages_takes(encoder: SentenceEncoder) -> None:
    texts = [
        f"message {n}: we could meet at the station at {n % 12}:30 and I'll bring {n} bottles of water"
        for n in range(30)
    ]
    request = SummarizeRequest(messages=tuple(Message("AB"[n % 2], text) for n, text in enumerate(texts)))
    best = 9.0
    for _ in range(5):
        start = time.process_time()
        summarize(request, encoder)
        best = min(best, time.process_time() - start)
    assert best < 2, "eight times the aim: not noise any more"
    print(f"drill highlights: 30 messages in {best * 1000:.0f} ms of CPU (aim: 250)")


def test_the_longest_chat_is_answered_from_a_part_of_it(encoder: SentenceEncoder) -> None:
    texts = ("we could meet at 7pm then", "ok", "I'll bring it", "can you call me?", "see https://example.org/a")
    messages = tuple(Message("ABC"[n % 3], f"{texts[n % 5]} {n}") for n in range(MAX_MESSAGES))
    answer = summarize(SummarizeRequest(messages=messages), encoder)
    assert answer.encoded == MAX_ENCODED
