"""What counts as a fact kept, as an invention, as a word said twice: the measure itself."""

import random
from datetime import datetime
from itertools import pairwise, product

import pytest

from bench.quality import command
from bench.quality.chat import Chat, Fact, Falsehood, Line, as_read, load_chats
from bench.quality.score import NEAR, redundancy, says, score
from bench.quality.unsupported import unsupported
from bench.quality.words import count_words, fold, pattern

OPEN = load_chats(command.OPEN)
DAY = datetime(2026, 2, 6, 12)


def fact(*needs: str | tuple[str, ...], who: str | None = None) -> Fact:
    lists = tuple((need,) if isinstance(need, str) else need for need in needs)
    return Fact(what="", kind="time", sources=(), needs=lists, who=who)


def chat(
    *messages: str, facts: tuple[Fact, ...] = (), falsehoods: tuple[Falsehood, ...] = (), language: str = "en"
) -> Chat:
    lines = [message.split(": ", 1) for message in messages]
    return Chat(
        title="t",
        setting="s",
        language=language,
        messages=tuple(Line(sender, text, DAY) for sender, text in lines),
        facts=facts,
        falsehoods=falsehoods,
    )


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("8", "at 8, sharp"),
        ("8", "from 8-1"),
        ("8", "8.00"),
        ("5", "£5 each"),
        ("6 €", "6 €"),
        ("5.20", "sat 5.20."),
        ("2. Februar", "am 2. Februar"),
        ("Dele", "Dele's shift"),
        ("let them out", "I'll let  them\nout"),
        ("Marta's", "Marta\u2019s mum"),
        ("Inés", "INES lo lleva"),
        ("Barış", "baris geliyor"),
        ("İnci", "inci"),
        ("Größe", "GRÖSSE"),
        ("वह", "वह आया।"),
    ],
)
def test_a_phrase_is_found_as_people_write_it(phrase: str, text: str) -> None:
    assert pattern(phrase).search(fold(text))


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("8", "8.15"),
        ("8", "18"),
        ("8", "1,800"),
        ("15", "8.15"),
        ("15", "8:15"),
        ("1", "1,000"),
        ("5.20", "15.20"),
        ("5.20", "5.205"),
        ("cat", "catch"),
        ("car", "scar"),
        ("क", "कि"),
        ("ticket", "tickets"),
        ("let them out", "let out them"),
    ],
)
def test_a_phrase_is_not_found_in_another_word_or_number(phrase: str, text: str) -> None:
    assert not pattern(phrase).search(fold(text))


@pytest.mark.parametrize(("between", "near"), [(NEAR - 2, True), (NEAR - 1, False)])
@pytest.mark.parametrize("order", [("Rob", "4.30"), ("4.30", "Rob")])
def test_what_a_fact_needs_must_stand_near_one_another(between: int, near: bool, order: tuple[str, str]) -> None:
    first, second = order
    assert says(f"{first} {'and ' * between}{second}", fact("Rob", "4.30")) is near


def test_words_all_over_a_summary_are_no_fact() -> None:
    far = "\nAnn: " + "blah " * NEAR + "\n"
    assert not says(f"Rob: ok{far}Ann: 4.30{far}Ann: the ovens", fact("Rob", "4.30", "ovens"))
    assert says(f"Rob: ok{far}Rob: 4.30, and the ovens{far}Ann: ovens", fact("Rob", "4.30", "ovens"))


def test_one_of_each_list_is_enough_and_none_of_one_is_not() -> None:
    either = fact(("sat", "saturday"), ("5.20", "17:20"))
    assert says("Saturday, 17:20", either)
    assert not says("Saturday or sat", either)


def test_the_search_agrees_with_trying_every_choice_of_places() -> None:
    chance = random.Random(1)
    words = [f"word{number}" for number in range(6)]
    for _ in range(300):
        text = [chance.choice([*words, *["and"] * 60]) for _ in range(120)]
        needed = chance.sample(words, 3)
        places = [[place for place, word in enumerate(text) if word == need] for need in needed]
        expected = any(max(choice) - min(choice) < NEAR for choice in product(*places))
        assert says(" ".join(text), fact(*needed)) is expected


def test_whose_a_fact_is_must_stand_in_its_lines() -> None:
    owned = fact("pavê", who="Tia Neide")
    assert score(chat("A: x", facts=(owned,)), "Tia Neide: levo o pavê").named == (True,)
    assert score(chat("A: x", facts=(owned,)), "Neide brings it: pavê").named == (True,)
    assert score(chat("A: x", facts=(owned,)), "Neide: oi\nAna: levo o pavê").named == (False,)
    assert score(chat("A: x", facts=(owned,)), "nothing").named == ()


def test_falsehoods_are_what_the_expressions_say_whatever_the_case() -> None:
    false = Falsehood(what="It is off.", any=(r"\btrip (is|was) off\b", r"\bcan't go\b"))
    trip = chat("A: x", falsehoods=(false,))
    assert score(trip, "the Trip IS off").falsehoods == ("It is off.",)
    assert score(trip, "they can\u2019t go and the trip was off").inventions == 1
    assert score(trip, "the trip is on").inventions == 0


@pytest.mark.parametrize(
    ("summary", "found"),
    [
        ("Ben books 4 seats at 16:30 for 1140 pounds.", ()),
        ("Ben books 4 seats at 4.30 for 1,140 pounds.", ()),
        ("Ben books 5 seats.", ("5",)),
        ("Ben books at 4.35.", ("4.35",)),
        ("They meet Carl at the Odeon.", ("Carl", "Odeon")),
        ("Carl pays.", ()),  # the first word of a sentence has a capital anyway
        ("They go on Saturday.", ()),
        ("They go on Sunday.", ("Sunday",)),
        ("2026-02-06:\nBen: the 4 seats\n2026-02-07:\nBen: seats", ()),
        ("2026-02-09:\nBen: the 4 seats", ("2026-02-09",)),
    ],
)
def test_what_the_chat_has_not_is_found(summary: str, found: tuple[str, ...]) -> None:
    messages = ("Ben: booked 4 seats at 16.30 on sat, row H", "Ana: great, 1,140 in all")
    assert unsupported(chat(*messages), summary) == found


def test_german_nouns_are_not_taken_for_names() -> None:
    assert unsupported(chat("Jens: ja", language="de"), "Jens bringt den Kuchen, 5 Stück") == ("5",)


def test_a_word_of_an_earlier_line_is_redundant_and_a_name_is_not() -> None:
    assert redundancy("Rosalind: bring chairs\nRosalind: bring tables", ["Rosalind"]) == pytest.approx(1 / 4)
    assert redundancy("chairs chairs chairs", []) == 0
    assert redundancy("", []) == 0


def test_the_chat_itself_has_length_one_and_a_short_one_may_keep_half() -> None:
    short = chat(*["Ann: one two three four five"] * 23)
    long = chat(*["Ann: one two three four five"] * 24)
    whole = score(short, "\n".join(map(as_read, short.messages)))
    assert (whole.words, whole.length, whole.over) == (138, 1.0, True)
    assert (short.budget, long.budget) == (69, 48)
    assert not score(short, "word " * 69).over
    assert score(short, "word " * 70).over


def test_marks_alone_are_no_words() -> None:
    assert count_words("ok \u2014 \U0001f644 5.20 !! :") == 2


@pytest.mark.parametrize("name", OPEN)
def test_a_chat_invents_nothing_and_the_next_one_says_none_of_its_facts(name: str) -> None:
    texts = {key: "\n".join(map(as_read, found.messages)) for key, found in OPEN.items()}
    follower = dict(pairwise([*OPEN, next(iter(OPEN))]))[name]
    whole = score(OPEN[name], texts[name])
    assert not whole.unsupported
    assert whole.recall > 0.75  # what is said far apart in it is not found in one place
    assert sum(score(OPEN[name], texts[follower]).kept) <= 1
    assert score(OPEN[name], texts[follower]).unsupported


def test_messages_say_the_facts_that_are_taken_from_them() -> None:
    told = [
        says("\n".join(as_read(found.messages[place]) for place in sorted(each.sources)), each)
        for found in OPEN.values()
        for each in found.facts
    ]
    assert len(told) > 150
    assert told.count(False) <= 1  # one of four long messages, of which the summary must keep the middle out
