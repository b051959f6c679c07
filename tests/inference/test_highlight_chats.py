"""Highlights of chats as people write them, by the real model: what a reader would miss must be there."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from inference.engine.encoder import SentenceEncoder
from inference.engine.highlights import BRIEF, summarize
from seclude.client.chats import select
from seclude.client.formats import parse_chat_file
from seclude.tasks import MAX_SENDER, Message, SummarizeRequest, SummarizeResponse
from tests.running import ROOT

WORK = """
Priya: morning all
Marco: morning
Priya: the nightly import failed again, customers are seeing stale prices
Lee: ugh, same error as last week?
Priya: looks like it, out of memory in the dedupe step
Marco: we should run it in batches instead of loading everything
Lee: agreed, makes sense
Marco: I'll have a PR up by 4pm
Priya: great. can you also add an alert when the job takes longer than 30 minutes?
Marco: yes
Lee: who tells support?
Priya: I'll post in #support now
Priya: done
Lee: did anyone try the new coffee machine
Marco: it's terrible
Lee: lol it really is
Marco: PR is up: https://git.example.com/pr/4812
Priya: reviewing tonight, will redeploy tomorrow morning
Lee: should we postpone the price change on Thursday?
Marco: not sure
Priya: let's decide after the redeploy
Lee: ok
Sam: the vendor quote came in btw, $12,400 for the year, they want an answer by May 30
Priya: that's 20% more than last year
Sam: yeah I asked for a discount
Lee: does anyone know when the audit starts?
Marco: have to run, bye
"""
DINNER = """
Ana: hey everyone! 👋
Ben: hiii
Ana: so are we doing dinner this week?
Carla: yes!! I've missed you all
Ana: friday or saturday?
Ben: friday works better for me
Carla: friday is good
Ana: ok friday then. where?
Ben: that new thai place on Mill Lane? heard it's great
Carla: ooh yes I love thai
Ana: the one next to the cinema?
Ben: yep, Baan Thai
Ana: perfect. I'll book a table for six at 7:30
Carla: can we do 8? I finish work at 7
Ana: sure, 8 it is
Carla: who else is coming?
Ana: Dan and the twins I think
Ben: Dan can't come, he's in Lisbon until Sunday
Ana: ah ok so five
Carla: did you see the game last night lol
Ben: omg yes, that goal was insane
Ana: I fell asleep 😂
Ana: booked! 8pm friday, under my name
Ben: amazing thanks Ana
Ana: oh and don't forget we owe Dan £25 each for the concert tickets
Ben: will send tonight
"""
GERMAN = """
Jonas: Hallo zusammen
Lena: Hi!
Jonas: Wann treffen wir uns morgen?
Lena: um 18 Uhr am Bahnhof?
Jonas: passt
Lena: Ich bringe den Salat mit
Jonas: super, ich besorge Getränke
Jonas: bis morgen 😊
"""
SMALL_TALK = """
Mia: hi
Tom: hey
Mia: how are you?
Tom: good you?
Mia: I watched that documentary about octopuses yesterday
Tom: oh nice, was it good?
Mia: so good. they are smarter than us
Tom: haha
Mia: gn
"""

TRIP = """
Sofia: ok so the lake weekend, is it happening
Max: yes please, I need out of this city
Priya: which weekend? I can't do the 12th
Max: 19th?
Sofia: 19th works for me
Priya: same
Jon: I'm on call on the 19th but only until noon
Sofia: fine, we drive Friday evening and you follow by train on Saturday
Jon: deal
Max: who drives?
Sofia: I can take three people, the roof box is broken though
Priya: I'll bring the small tent then, the big one doesn't fit
Max: did you see the thing about the bears lol
Jon: there are no bears there
Max: that's what they want you to think
Priya: 😂😂
Sofia: cabin is 180 for two nights, I paid the deposit of 60 yesterday
Priya: how much each?
Sofia: 45
Max: sent
Priya: will send it tonight
Jon: does the cabin have a stove? otherwise I bring the gas cooker
Sofia: good question, I'll ask the owner
Max: I do breakfast both days
Priya: I'm vegetarian now btw
Max: noted, no bacon for you
Sofia: where do we meet on Friday?
Max: my place at 5?
Priya: can we say 5:30, I have a meeting
Max: 5:30 at mine
Sofia: ok 5:30 then
Jon: which train should I take?
Sofia: the 13:04 to Lindau, I pick you up at the station
Jon: perfect thanks
Max: also someone has to bring firewood
Priya: is the water warm enough to swim?
"""
FAMILY = """
Mum: Hello my dears, how is everyone?
Lily: good! exam week though 😩
Tom: fine, working
Mum: Dad's scan is moved to Thursday 11:30, at St Mary's
Tom: oh. is someone going with him?
Mum: I can't, I have the inspection at school
Lily: I have my chemistry exam on Thursday at 10
Tom: I'll drive him. Pick him up at 10:45
Mum: Thank you Tom. He must not eat anything after midnight
Tom: got it
Lily: how long does it take?
Mum: about two hours they said
Mum: Other thing, Grandma turns 80 on the 3rd. Shall we do lunch at ours or the Italian?
Lily: italian!!
Tom: Italian. less work for you
Mum: Alright, Italian then. I'll book for 12 people at 1 pm
Lily: what do we give her
Tom: the photo book? I have most of the pictures
Lily: love it. I can do the layout this weekend, send me the pics by Friday
Tom: will do
Mum: It's about 90 euros if we want the big one. Split by three?
Tom: ok
Lily: ok but I pay next month
Mum: Of course sweetheart
Lily: I got the tax letter again, no idea what they want from me
Mum: Send me a photo
Tom: don't ignore it this time
Lily: yeah yeah
Mum: Who can take the dog from the 20th to the 27th?
Tom: not me, I'm in Berlin
Lily: my flat doesn't allow dogs
Mum: Then I'll ask Mrs Keller
Lily: good night ❤️
Mum: Good night 😘
"""
PARENTS = """
Anke: Hallo zusammen, wer kommt am Samstag zum Elternabend?
Ben: ich
Clara: Ich kann leider nicht, Mia ist krank
Dirk: bin dabei
Anke: Wir fangen um 19 Uhr an, in der Aula
Ben: muss man was mitbringen?
Anke: Nur die 25 Euro für die Klassenfahrt
Dirk: ach ja, stimmt
Clara: kann ich überweisen?
Anke: Ja, bis Freitag auf das Klassenkonto
Clara: super danke
Ben: Wann ist eigentlich die Klassenfahrt?
Anke: vom 12. bis 16. Mai
Dirk: 😂 da hab ich endlich ruhe
Anke: haha
Anke: Wir suchen noch zwei Begleitpersonen
Ben: ich frage mal meine Frau
Clara: Wie war denn gestern das Spiel?
Ben: 3:1 verloren
Clara: oh nein
"""
SUPPER = """
Lucía: hola chicos, cenamos el viernes?
Pablo: sí!
Marta: yo puedo a partir de las 21:00
Lucía: dónde?
Pablo: en el bar de siempre, en la calle Mayor
Marta: vale, reservo mesa para cinco
Lucía: perfecto
Pablo: jajaja viste el vídeo?
Marta: sí qué risa
Lucía: cuánto le debemos a Ana por el regalo?
Marta: 15 euros cada uno
Pablo: ok, le pago mañana
Lucía: quién trae el coche?
Pablo: yo no, está en el taller
"""

TEAM = """
Coach: Training on Tuesday is cancelled, the pitch is flooded
Amir: nooo
Ben: can we use the hall?
Coach: I asked, it's taken until 8
Carl: 8 is fine for me
Ben: me too
Coach: ok then Tuesday 8 pm in the hall, indoor shoes!
Amir: I don't have indoor shoes
Carl: I have a spare pair, size 43
Amir: perfect
Coach: Saturday's match starts at 10:30, meet at 9:15 at the bus stop
Ben: who washes the shirts this week?
Amir: not me again
Carl: I did it last time
Ben: ok I'll do it
Coach: Also the fee for the season is 85 euros, please pay by the end of the month
Carl: is there a discount for students?
Coach: yes, 60
Amir: did anyone find my water bottle
Ben: nope
Carl: the referee last week was so bad
Ben: worst ever
Amir: lol
Coach: Be nice. Bring your passes on Saturday please
"""


@pytest.fixture(scope="module")
def encoder(model: Path) -> SentenceEncoder:
    return SentenceEncoder(model)


def highlights(chat: str, encoder: SentenceEncoder) -> SummarizeResponse:
    parts = [line.partition(": ") for line in chat.strip().splitlines()]
    messages = tuple(Message(sender=sender, text=text) for sender, _, text in parts)
    return summarize(SummarizeRequest(messages=messages, max_highlights=screenful(messages)), encoder)


def screenful(messages: Sequence[Message]) -> int:
    """A third of a chat's messages, and room for a question and its answer; half of a chat that is short."""
    return len(messages) // 2 if len(messages) < BRIEF else len(messages) // 3 + 2


def test_work_keeps_the_problem_the_plan_the_deadline_and_the_open_question(encoder: SentenceEncoder) -> None:
    text = highlights(WORK, encoder).text
    for fact in ("import failed", "PR up by 4pm", "redeploy tomorrow morning", "$12,400", "when the audit starts?"):
        assert fact in text
    for chatter in ("coffee", "terrible", "morning all", "bye"):
        assert chatter not in text


def test_dinner_keeps_day_time_absence_and_debt(encoder: SentenceEncoder) -> None:
    text = highlights(DINNER, encoder).text
    for fact in ("8pm friday", "Dan can't come", "£25 each"):
        assert fact in text
    for chatter in ("asleep", "hiii", "amazing", "missed you"):
        assert chatter not in text


def test_another_language_still_gets_time_and_place(encoder: SentenceEncoder) -> None:
    answer = highlights(GERMAN, encoder)
    assert "um 18 Uhr am Bahnhof?" in answer.text
    assert answer.note is None


def test_a_trip_keeps_what_was_settled_and_not_how(encoder: SentenceEncoder) -> None:
    text = highlights(TRIP, encoder).text
    for fact in ("where do we meet on Friday?", "5:30 at mine", "13:04 to Lindau", "cabin is 180"):
        assert fact in text
    for chatter in ("bears", "no bacon", "perfect thanks"):
        assert chatter not in text


def test_a_family_keeps_who_takes_whom_and_what_is_still_open(encoder: SentenceEncoder) -> None:
    answer = highlights(FAMILY, encoder)
    for fact in (
        "Thursday 11:30",
        "Pick him up at 10:45",
        "Italian then. I'll book",
        "Who can take the dog",
        "ask Mrs Keller",
    ):
        assert fact in answer.text
    for chatter in ("good night", "yeah yeah", "exam week"):
        assert chatter not in answer.text


def test_a_team_keeps_its_dates_and_what_it_costs(encoder: SentenceEncoder) -> None:
    text = highlights(TEAM, encoder).text
    for fact in (
        "Training on Tuesday is cancelled",
        "Tuesday 8 pm in the hall",
        "starts at 10:30",
        "85 euros",
        "yes, 60",
    ):
        assert fact in text
    for chatter in ("last time", "referee", "lol", "nope"):
        assert chatter not in text


def test_parents_keep_their_evening_and_what_it_costs(encoder: SentenceEncoder) -> None:
    answer = highlights(PARENTS, encoder)
    for fact in (
        "am Samstag zum Elternabend?",
        "um 19 Uhr",
        "bis Freitag",
        "vom 12. bis 16. Mai",
    ):
        assert fact in answer.text
    for chatter in ("haha", "oh nein", "ruhe"):
        assert chatter not in answer.text


def test_a_supper_keeps_time_and_place_together(encoder: SentenceEncoder) -> None:
    text = highlights(SUPPER, encoder).text
    assert "Lucía: dónde?\nPablo: en el bar de siempre, en la calle Mayor" in text
    assert "las 21:00" in text
    assert "quién trae el coche?" in text
    assert "risa" not in text


def test_small_talk_gets_what_it_was_about(encoder: SentenceEncoder) -> None:
    answer = highlights(SMALL_TALK, encoder)
    assert "octopuses" in answer.text
    assert len(answer.highlights) <= 3


def demo(encoder: SentenceEncoder, *, unread: int | None = None) -> SummarizeResponse:
    chat = parse_chat_file((ROOT / "deploy" / "demo" / "chat.txt").read_bytes())
    chosen = select(chat, unread=unread)
    messages = tuple(Message(message.sender[:MAX_SENDER], message.text, message.time) for message in chosen)
    return summarize(SummarizeRequest(messages=messages, max_highlights=screenful(messages)), encoder)


def test_the_unread_of_the_demo_show_what_is_settled_and_what_is_open(encoder: SentenceEncoder) -> None:
    text = demo(encoder, unread=40).text
    for fact in (
        "Mara: Live music only until 7:30 pm then",
        "Devrim: Called the roofer: 240 euros",
        "Ilse: I am home on Wednesday, I will open the gate.",
        "money to Devrim by Tuesday",
        "I bake two plum cakes",
        "Could somebody ask the school about the gym?",
    ):
        assert fact in text
    assert "my cousin's band" not in text or "Until what time?" in text


def test_the_demo_shows_who_does_what_and_when(encoder: SentenceEncoder) -> None:
    answer = demo(encoder)
    for fact in (
        "Mara: Decided then: the street party is on Saturday 21 June, from 3 pm to 9 pm",
        "they can come on Wednesday at 8 am",
        "Please send your 48 euros to Devrim by Tuesday evening",
        "we have to fetch them on Friday before 4 pm",
        "it costs 35 euros",
        "Ilse: I bake two plum cakes",
    ):
        assert fact in answer.text
    assert answer.text.startswith("2025-06-13:\n")
    assert answer.note is None


@pytest.mark.parametrize(
    "news",
    [
        "Actually make it Wednesday instead",
        "There is a gas leak at the office, do not come in",
        "They moved the flight to 6:40 on Monday",
        "He's moved it to Monday 9am",
    ],
)
def test_what_changes_a_plan_is_not_dropped(encoder: SentenceEncoder, news: str) -> None:
    texts = ("Dinner is on Tuesday at 7 at Luigi's", "great", "who drives?", "I can drive", news, "ok")
    messages = tuple(Message("ABC"[number % 3], text) for number, text in enumerate(texts))
    answer = summarize(SummarizeRequest(messages=messages, max_highlights=6), encoder)
    assert any(news in highlight.text for highlight in answer.highlights)
