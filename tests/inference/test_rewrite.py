"""The rules of writing: what they change, and what they leave alone."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.tasks.edits import MAX_CHANGES, Draft
from inference.tasks.rewrite import NOT_ENGLISH, NOTHING, RULES, rewrite
from seclude.tasks import TONES, RewriteRequest, Tone

BY_RULES: tuple[Tone, ...] = ("proofread", "shorter", "professional")


def rewritten(text: str, tone: Tone) -> str:
    return rewrite(RewriteRequest(text=text, tone=tone)).text


@pytest.mark.parametrize(
    ("draft", "suggestion"),
    [
        ("i dont know if im coming", "I don't know if I'm coming"),
        ("lets go ,im late . see u at 5pm!!", "Let's go, I'm late. See you at 5pm!"),
        ("teh meeting is on friday ,ok?", "The meeting is on Friday, ok?"),
        ("it was a a long day and the the end", "It was a long day and the end"),
        ("Its been fun and its not over", "It's been fun and it's not over"),
        ("We should of gone. they r right", "We should have gone. They are right"),
        (
            "an banana, a apple, a university and an hour with a user",
            "A banana, an apple, a university and an hour with a user",
        ),
        ("Your welcome! Your right hand is fine.", "You're welcome! Your right hand is fine."),
        ("what do you think ?? no way !", "What do you think? No way!"),
        ("he said “i dont know”. then he left", "He said “I don't know”. Then he left"),
        ("I’m sure he didnt", "I’m sure he didn't"),
        ("u r late", "You are late"),
        ("sry, smth came up. c u tmrw", "Sorry, something came up. See you tomorrow"),
    ],
)
def test_proofreading_corrects(draft: str, suggestion: str) -> None:
    assert rewritten(draft, "proofread") == suggestion


@pytest.mark.parametrize(
    "text",
    [
        "I said that that was fine. He had had enough, which was very very sad.",
        "My iPhone is here. iPhone again. e.g. this one, i.e. that, in the U.S. it is fine",
        "We are well. I am ill. Its colour is fine. Were you there?",
        "1. first\n2. second\ni. the third",
        "Wait... what? Really?! Yes!",
        "This is fine :) and this :-D and <3 ;)",
        "The plan a is better than plan b",
    ],
)
def test_proofreading_leaves_alone_what_may_be_right(text: str) -> None:
    assert rewritten(text, "proofread") == text


VERBATIM = (
    *("https://teh.example/i/dont?u=1&alot", "www.recieve.com", "teh@recieve.org", "@teh_u", "#alot", "`i dont`"),
    *("```teh  u\nalot```", "3,50", "5pm", "12:30", "2-3", "teh.py", "/usr/teh", "snake_teh", "getTeh", "--dont", "U2"),
    *("🙂", "\U0001f469\u200d\U0001f469\u200d\U0001f467", ":-)", "<3", "4ever", "v1.2"),
)


@pytest.mark.parametrize("tone", BY_RULES)
@pytest.mark.parametrize("span", VERBATIM)
def test_what_is_no_prose_is_never_touched(span: str, tone: Tone) -> None:
    text = f"I think {span} is really good, dont you think so lol !! we have {span}"
    assert rewritten(text, tone).count(span) == 2


def test_quoted_lines_are_never_touched() -> None:
    assert rewritten("> teh u alot\nteh end is near", "proofread") == "> teh u alot\nthe end is near"


@pytest.mark.parametrize(
    ("draft", "suggestion"),
    [
        ("I just wanted to let you know that the room is free.", "The room is free."),
        ("So, basically I actually think that we should really go now.", "I think that we should go now."),
        ("We met in order to talk due to the fact that it was time.", "We met to talk because it was time."),
        ("The room is free. Let me know if you have any questions. Have a great day!", "The room is free."),
        ("Hi Tom, I hope you're doing well. The room is free.", "Hi Tom, the room is free."),
        ("Thank you very much for the help", "Thank you for the help"),
        ("It's kind of cold", "It's cold"),
    ],
)
def test_shortening_drops_what_says_nothing(draft: str, suggestion: str) -> None:
    shorter = rewritten(draft, "shorter")
    assert shorter.lower() == suggestion.lower()
    assert len(shorter) < len(draft)


@pytest.mark.parametrize(
    "text",
    [
        "I think it is at 5, maybe, probably later.",
        "It is not really good and not very cheap, and the very best of it never really worked.",
        "What kind of bread is this? It is a sort of cake.",
        "Do you really want this?",
        "Thanks!",
        "Have a great day!",
        "I am the only one who really did",
    ],
)
def test_shortening_keeps_doubts_negations_and_questions(text: str) -> None:
    if text.endswith("really did"):
        assert "only one" in rewritten(text, "shorter")
    else:
        assert rewritten(text, "shorter") == text


@pytest.mark.parametrize(
    ("draft", "suggestion"),
    [
        (
            "hey guys!!! u gotta fix this NOW, I NEED IT BY 5PM lol",
            "Hello everyone. You have to fix this now, I need it by 5PM",
        ),
        (
            "it's late and he's been gone, that's what I'd like",
            "It is late and he has been gone, that is what I would like",
        ),
        (
            "Don't you agree? I can't, you know. Why won't it work?",
            "Do you not agree? I cannot, you know. Why will it not work?",
        ),
        ("I don't think they're here, we'll see", "I do not think they are here, we will see"),
        ("we've gotta run, let's go", "We have to run, let us go"),
        ("THE API DOCS ARE WRONG AND NOBODY CARES", "The API docs are wrong and nobody cares"),
        ("IBM SAP and the PDF are fine. Anna's car too", "IBM SAP and the PDF are fine. Anna's car too"),
        ("yeah that's fine xx", "Yes that is fine"),
        ("omg idk what you mean haha", "I do not know what you mean"),
        ("hi there Tom, is it done yet?!", "Hi Tom, is it done yet?"),
        ("hey, cant make it tmrw, sry!!", "Hello, I cannot make it tomorrow, sorry."),
        ("np, can't open it. couldnt find the key tho", "No problem, cannot open it. I could not find the key though"),
        ("hey i cant come tmrw", "Hello I cannot come tomorrow"),
        ("hi we can't make it", "Hi we cannot make it"),
        ("hey they cant come today", "Hello they cannot come today"),
        ("Sry can't come. I was told they cannot come", "Sorry I cannot come. I was told they cannot come"),
    ],
)
def test_a_professional_tone_leaves_the_chat_behind(draft: str, suggestion: str) -> None:
    assert rewritten(draft, "professional") == suggestion


@pytest.mark.parametrize("tone", BY_RULES)
@pytest.mark.parametrize(
    "text",
    ["Wir treffen uns im Park , ok ?", "on y va demain , ça va !", "mleko i chleb", "明天见", "😂", "im Park am See"],
)
def test_another_language_is_left_alone_and_said_so(text: str, tone: Tone) -> None:
    answer = rewrite(RewriteRequest(text=text, tone=tone))
    assert (answer.text, answer.changed, answer.changes, answer.note) == (text, False, (), NOT_ENGLISH)


def test_nothing_to_change_is_said() -> None:
    answer = rewrite(RewriteRequest(text="This is fine.", tone="proofread"))
    assert (answer.changed, answer.changes, answer.note) == (False, (), NOTHING)


def test_an_answer_is_a_suggestion_with_its_changes() -> None:
    answer = rewrite(RewriteRequest(text="We met at the the cafe , and u were late", tone="proofread"))
    assert answer.kind == "suggestion"
    assert answer.changed
    assert [(change.rule, change.before, change.after) for change in answer.changes] == [
        ("slang", "u", "you"),
        ("doubled word", "the the", "the"),
        ("spacing", "cafe ,", "cafe,"),
    ]
    assert answer.note is None


def test_the_list_of_changes_is_bounded_and_the_changes_are_not() -> None:
    answer = rewrite(RewriteRequest(text="the dont " * 500, tone="proofread"))
    assert len(answer.changes) == MAX_CHANGES
    assert "dont" not in answer.text


def test_the_tones_without_rules_are_known() -> None:
    assert set(TONES) - set(RULES) == {"rephrase", "supportive", "funny"}


@given(
    st.lists(
        st.sampled_from([*VERBATIM, "i", "dont", "the", "!!", " ", "\n", "it's", "YOU NEED", "so,", "lol", ".", "u"])
    ),
    st.sampled_from(BY_RULES),
)
def test_every_draft_keeps_its_numbers_and_its_sense(parts: list[str], tone: Tone) -> None:
    text = " ".join(parts) or "x"
    answer = rewrite(RewriteRequest(text=text, tone=tone))
    assert re.findall(r"\d", answer.text) == re.findall(r"\d", text)
    assert answer.text.count("?") <= text.count("?")
    assert answer.changed == (answer.text != text)


@pytest.mark.parametrize("tone", BY_RULES)
@pytest.mark.parametrize(
    "piece",
    ["a", "A", "i ", "A ", "the ", " ", "!", "hope ", ". ", "`", "> ", "ha", "x ", "NOW ", "so, ", ", ", "1", "it's "],
)
def test_the_longest_draft_takes_a_moment(piece: str, tone: Tone) -> None:
    text = ("We think " + piece * 10_000)[:10_000]
    start = time.process_time()
    rewrite(RewriteRequest(text=text, tone=tone))
    assert time.process_time() - start < 5


def test_a_rule_that_refuses_changes_nothing() -> None:
    draft = Draft("one two")
    draft.apply("filler", re.compile("two"), lambda match: match.group())
    assert (draft.text, draft.changes) == ("one two", [])
