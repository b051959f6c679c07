"""Whether a text says only what its source says: what is found, what is not, and what cannot be told."""

import pytest

from inference.engine.facts import Kind, facts_of
from inference.engine.faithful import CIRCLES, COPIED, TALK, Source, check, circles, sentences

CHAT = (
    "Ana: can we meet at 5.20 on friday? bring 40 euros each",
    "Bo: ok, I'll ask Klaus. The code is on https://www.example.org/door?x=1",
    "Ayşe: cumaya kadar two hundred and thirty-five chairs, 14.3. at the latest",
    "Priya: रात ९ बजे, 1,000 rupees",
)


def lacks(text: str, *, openings: bool = True) -> set[Kind]:
    return set(Source(CHAT).lacks(text, openings=openings))


@pytest.mark.parametrize(
    "text",
    [
        "They meet at 17:20.",
        "They meet at 5:20 pm on Friday.",
        "They meet at 5.20pm on Freitag.",
        "El viernes a las 17h20.",
        "Sexta às 5h20.",
        "Cuma 17.20'de.",
        "शुक्रवार 5:20",
        "Everyone brings €40.",
        "Klaus will be asked.",
        "It is on example.org/door?x=1.",
        "It is on HTTPS://example.org/door?x=1)",
        "235 chairs are wanted by March 14.",
        "Bis 14 März: zwei hundert und fünfunddreißig.",
        "Ayşe's chairs are Ayşe'nin.",
        "At 9 pm, 1000 rupees, or ₹1,000.",
        "At nine.",
        "They talked about much, and may meet again.",
    ],
)
def test_what_the_source_says_in_other_forms_is_found(text: str) -> None:
    assert lacks(text) == set()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("They meet at 17:30.", Kind.TIME),
        ("They meet at 5:20 on Thursday.", Kind.DATE),
        ("It is due in April.", Kind.DATE),
        ("It is due tomorrow.", Kind.DATE),
        ("Mañana lo hacen.", Kind.DATE),
        ("Everyone brings 45 euros.", Kind.NUMBER),
        ("Everyone brings forty-one euros.", Kind.NUMBER),
        ("Treinta y seis sillas.", Kind.NUMBER),
        ("Sechsunddreißig Stühle.", Kind.NUMBER),
        ("बारह कुर्सियाँ", Kind.NUMBER),
        ("Everyone brings $40.", Kind.CURRENCY),
        ("Then Petra will be asked.", Kind.NAME),
        ("Petra will be asked.", Kind.NAME),
        ("They go to Lisbon.", Kind.NAME),
        ("It is on example.com.", Kind.LINK),
        ("It is on https://www.example.org/door?x=2", Kind.LINK),
        ("Write to bo@example.org.", Kind.LINK),
    ],
)
def test_what_it_does_not_say_is_counted_by_kind(text: str, kind: Kind) -> None:
    assert kind in lacks(text)


def test_a_time_with_its_half_of_the_day_is_not_the_other_one() -> None:
    source = Source(["Bo: at 7 pm", "Bo: or 18:30"])
    assert source.lacks("At 7 am.")
    assert source.lacks("At 6:30 am.")
    assert not source.lacks("At 19:00, or at 6:30.")


def test_a_capital_that_its_place_explains_is_no_name() -> None:
    assert lacks("Everyone agrees. Finally they meet.") == set()
    assert lacks("Petra will be asked.", openings=False) == set()
    assert lacks("OK, I am there.") == set()


def test_a_german_noun_with_an_article_is_no_name() -> None:
    source = Source(["Jens: wir brauchen Turnschuhe"])
    assert not source.lacks("Die Kinder bringen auf den Ausflug ihre Turnschuhen mit.")
    assert source.lacks("Das ist für Lindner und nicht für die Schule.")


def test_a_number_in_words_ends_where_another_begins() -> None:
    numbers = [fact.readings for fact in facts_of("two, three hundred and five, twenty one, two five")]
    values = [{reading for reading in readings if reading.startswith("number")} for readings in numbers]
    assert [value for value in values if value] == [
        {"number 2"},
        {"number 305"},
        {"number 21"},
        {"number 2"},
        {"number 5"},
    ]


def test_every_text_holds_against_itself() -> None:
    for text in (*CHAT, "Rufen Sie Frau Lindner am 2. Februar um halb acht an: +49 170 1234567, 3x 12,50 €!"):
        assert not Source([text]).lacks(text), text


def test_sentences_that_do_not_hold_are_dropped_and_only_counted() -> None:
    verdict = check("They meet on Friday. Petra brings 50 euros. Klaus will be asked.", Source(CHAT))
    assert verdict.held == ("They meet on Friday.", "Klaus will be asked.")
    assert (verdict.dropped, verdict.why) == (1, {"name": 1, "number": 1})
    assert "Petra" not in repr(verdict)


@pytest.mark.parametrize("text", ["Sure, here is a summary:", "As an AI language model it is hard to say.", "Summary:"])
def test_talk_about_the_task_is_dropped(text: str) -> None:
    verdict = check(f"{text}\nThey meet on Friday.", Source(CHAT))
    assert verdict.held == ("They meet on Friday.",)
    assert verdict.why[TALK] == 1


def test_what_is_said_again_is_dropped() -> None:
    verdict = check(
        "They meet on Friday. On Friday they meet. They meet and they meet and they meet and.", Source(CHAT)
    )
    assert verdict.held == ("They meet on Friday.",)
    assert verdict.why == {CIRCLES: 1}
    assert check("Bo brings 40. Bo brings 235.", Source(CHAT)).held == ("Bo brings 40.", "Bo brings 235.")
    assert circles("not sure what not sure what not sure what")


@pytest.mark.parametrize(
    "text", ["Bo: ok, they meet on Friday.", "I'll ask Klaus.", "Ich bringe 40 Euro.", "Ask me at 5."]
)
def test_a_message_is_no_statement_about_the_chat(text: str) -> None:
    verdict = check(text, Source(CHAT, ["Ana", "Bo"]))
    assert (verdict.held, verdict.why[COPIED]) == ((), 1)


def test_all_of_a_copied_line_is_copied() -> None:
    verdict = check("Bo: ok. The code is there. Yes.\nThey meet on Friday.", Source(CHAT, ["Ana", "Bo"]))
    assert (verdict.held, verdict.why[COPIED]) == (("They meet on Friday.",), 3)


def test_a_quotation_with_its_speaker_is_one() -> None:
    text = "Bo says: \u201cok, I'll ask Klaus\u201d."
    assert check(text, Source(CHAT, ["Ana", "Bo"])).held == (text,)


def test_sentences_end_where_they_end() -> None:
    text = 'We meet at 5 p.m. at St. Mary\'s. Then Dr. Smith comes. "Really?" Yes…'
    text += "\n- am 2. Februar um 5. So um 17:20.\n2) so"
    assert sentences(text) == [
        "We meet at 5 p.m. at St. Mary's.",
        "Then Dr. Smith comes.",
        '"Really?"',
        "Yes…",
        "am 2. Februar um 5.",
        "So um 17:20.",
        "so",
    ]


def test_a_source_that_was_cleared_knows_nothing() -> None:
    source = Source(CHAT, ["Ana"])
    source.clear()
    assert source.lacks("At 5.20.")
    assert not source.is_line("Ana: hello")


@pytest.mark.parametrize("unit", ["a.", "1:", "9,9.", "www.a", "@a.b", "A b ", "x-", "1/", "und ", "hundred ", "'s"])
def test_a_text_made_to_be_read_slowly_is_read(unit: str) -> None:
    """The longest draft there may be; no more facts than characters."""
    text = unit * (10_000 // len(unit))
    assert len(list(facts_of(text))) <= len(text)
