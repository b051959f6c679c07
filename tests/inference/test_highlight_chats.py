"""Highlights of chats as people write them, by the real model: what a reader would miss must be there."""

from pathlib import Path

import pytest

from inference.engine.encoder import SentenceEncoder
from inference.engine.highlights import NOT_ENGLISH, summarize
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


@pytest.fixture(scope="module")
def encoder(model: Path) -> SentenceEncoder:
    return SentenceEncoder(model)


def highlights(chat: str, encoder: SentenceEncoder) -> SummarizeResponse:
    parts = [line.partition(": ") for line in chat.strip().splitlines()]
    messages = tuple(Message(sender=sender, text=text) for sender, _, text in parts)
    return summarize(SummarizeRequest(messages=messages), encoder)


def test_work_keeps_the_problem_the_plan_the_deadline_and_the_open_question(encoder: SentenceEncoder) -> None:
    text = highlights(WORK, encoder).text
    for fact in ("import failed", "run it in batches", "PR up by 4pm", "$12,400", "when the audit starts?"):
        assert fact in text
    for chatter in ("coffee", "terrible", "morning all", "bye"):
        assert chatter not in text


def test_dinner_keeps_day_time_absence_and_debt(encoder: SentenceEncoder) -> None:
    text = highlights(DINNER, encoder).text
    for fact in ("8pm friday", "Dan can't come", "£25 each"):
        assert fact in text
    for chatter in ("insane", "asleep", "hiii", "amazing"):
        assert chatter not in text


def test_another_language_still_gets_time_and_place(encoder: SentenceEncoder) -> None:
    answer = highlights(GERMAN, encoder)
    assert "um 18 Uhr am Bahnhof?" in answer.text
    assert answer.note == NOT_ENGLISH


def test_small_talk_gets_what_it_was_about(encoder: SentenceEncoder) -> None:
    answer = highlights(SMALL_TALK, encoder)
    assert "octopuses" in answer.text
    assert len(answer.highlights) <= 2


def test_the_demo_shows_who_does_what_and_when(encoder: SentenceEncoder) -> None:
    chat = parse_chat_file((ROOT / "deploy" / "demo" / "chat.txt").read_bytes())
    messages = tuple(Message(message.sender[:MAX_SENDER], message.text, message.time) for message in chat.messages)
    answer = summarize(SummarizeRequest(messages=messages), encoder)
    for fact in (
        "Mara: Decided then: the street party is on Saturday 21 June, from 3 pm to 9 pm",
        "they can come on Wednesday at 8 am",
        "Please send your 48 euros to Devrim by Tuesday evening",
        "we have to fetch them on Friday before 4 pm",
        "it costs 35 euros",
    ):
        assert fact in answer.text
    assert answer.text.startswith("2025-06-13:\n")
    assert len(answer.highlights) == 12
    assert answer.note is None
