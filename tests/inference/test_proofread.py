"""Short forms, spelling and grammar: what each puts right, and in which company it does not."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.tasks import grammar, spelling
from inference.tasks.edits import Draft, Edit
from inference.tasks.proofread import proofread
from inference.tasks.slang import SHORTHAND, SLANG
from inference.tasks.words import APOSTROPHES, SPELLING, WORDY
from seclude.errors import ConfigError
from seclude.tasks import Change


def proofed(text: str) -> str:
    draft = Draft(text)
    proofread(draft)
    return draft.text


def test_the_map_of_short_forms_is_broad_and_says_each_once() -> None:
    assert len({form.split()[0] for form in SHORTHAND} | set(SLANG)) >= 150
    assert not set(SHORTHAND) & set(SLANG)
    for before, after in (SHORTHAND | SLANG | SPELLING | APOSTROPHES | WORDY).items():
        assert before == before.lower().strip() != after == after.strip() != ""


@pytest.mark.parametrize("form", SHORTHAND)
def test_every_short_form_is_written_out(form: str) -> None:
    draft = Draft(f"I think {form}, she said")
    proofread(draft)
    assert SHORTHAND[form].lower() in draft.text.lower()
    assert draft.changes[0] == Change("slang", form, SHORTHAND[form])


@pytest.mark.parametrize(
    ("draft", "suggestion"),
    [
        ("ur coming w/ us, r u", "You're coming with us, are you"),
        ("pls bring ur own chair", "Please bring your own chair"),
        ("bc it rains we stay w/o him", "Because it rains we stay without him"),
        ("Thx! Np, Tmrw then", "Thanks! No problem, Tomorrow then"),
    ],
)
def test_short_forms_are_read_in_their_place(draft: str, suggestion: str) -> None:
    assert proofed(draft) == suggestion


@pytest.mark.parametrize(
    "text",
    [
        "She is an RN and moved from BC, in 400 bc or so",
        "We saw Angkor Wat with Luv and Coz",
        "Lmk if it is ur b/f, brb",
        "The path is /w/o/b/c and the key is w/x",
    ],
)
def test_what_may_mean_something_else_stays(text: str) -> None:
    assert proofed(text) == text


@pytest.mark.parametrize(
    ("word", "suggestion"),
    [("hospitel", "hospital"), ("pictuers", "pictures"), ("becouse", "because"), ("anothe", "another")],
)
def test_a_slip_in_a_common_word_is_put_right(word: str, suggestion: str) -> None:
    draft = Draft(f"the {word} here")
    spelling.correct(draft)
    assert draft.text == f"the {suggestion} here"
    assert draft.changes == [Change("spelling", word, suggestion)]


@pytest.mark.parametrize(
    "word",
    # Names, brands, dialects and British forms; short, rare and doubtful words; and what has another sign in it.
    """
    marek siobhan ngozi nikoss whatsapp airbnb deliveroo kubernetes knackered brekkie bruv favourite neighbours tyre
    mashallah bonjour krakow befr wrod Hospitel HOSPITEL hospitel's hospitel-like everyones childrens gonna wifi
    becouse.txt @becouse #becouse becouse_ becouse2
    """.split(),  # noqa: SIM905 (a list of words reads as one)
)
def test_a_word_that_may_be_right_stays(word: str) -> None:
    draft = Draft(f"the {word} here")
    spelling.correct(draft)
    assert draft.text == f"the {word} here"


def test_another_dictionary_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / spelling.DICTIONARY).write_text("the 23135851162\n")
    monkeypatch.setattr(spelling, "files", lambda _package: tmp_path)
    with pytest.raises(ConfigError, match="dictionary"):
        spelling._load()


@pytest.mark.parametrize(
    ("draft", "suggestion"),
    [
        ("we was late, they has gone", "we were late, they have gone"),
        ("I think it have stopped, he don't know", "I think it has stopped, he doesn't know"),
        ("a hour with an unicorn, a umbrella and an lemon", "an hour with a unicorn, an umbrella and a lemon"),
        ("Their is no milk", "There is no milk"),
        ("you could of said", "you could have said"),
        ("older then the hills", "older than the hills"),
        ("I loose my keys", "I lose my keys"),
        ("we went passed it, it's to early", "we went past it, it's too early"),
        ("who's turn is it", "whose turn is it"),
        ("“they was” she said, and they was", "“they was” she said, and they were"),
    ],
)
def test_grammar_is_put_right(draft: str, suggestion: str) -> None:
    corrected = Draft(draft)
    grammar.correct(corrected)
    assert corrected.text == suggestion
    assert {change.rule for change in corrected.changes} <= {"grammar", "article"}


@pytest.mark.parametrize(
    "text",
    [
        "One of you has my charger. The people who like it are here.",
        "the one who called you has left",
        "If it were up to me, I wish he were here",
        "Plan a is better than option a or b, an sms is an mri",
        "We could of course go by tram",
        "If it's faster then take the bus. Tell me more then!",
        "Your right hand, your welcome drink",
        "The plan is to close at six. Nice weather to go out in",
        "it's just past the church, we have past papers",
        "Who's home? Are there kids? Let loose the hounds, the loose control knob",
        "ok ok no no it was so so good, see you at 10 w Tom",
        "She said its only entrance is shut",
    ],
)
def test_what_is_right_in_a_chat_stays(text: str) -> None:
    corrected = Draft(text)
    grammar.correct(corrected)
    assert corrected.text == text


def test_every_rule_that_is_trusted_exists_and_puts_something_right() -> None:
    slips = {
        "a-vs-an": "a apple",
        "subject-verb-agreement": "we was",
        "its-vs-it-s": "its been",
        "there-their-theyre": "there own",
        "of-vs-have": "could of",
        "your-vs-youre": "your kidding",
        "then-vs-than": "better then this",
        "affect-vs-effect": "the affect",
        "lose-vs-loose": "to loose",
        "lead-vs-led": "has lead to",
        "breath-vs-breathe": "to breath",
        "to-vs-too": "is to much",
        "whose-vs-who-s": "who's turn",
        "passed-vs-past": "went passed",
        "weather-vs-whether": "weather or not",
    }
    assert slips.keys() == grammar.TRUSTED.keys()
    for text in slips.values():
        draft = Draft(text)
        grammar.correct(draft)
        assert len(draft.changes) == 1, text


@pytest.mark.parametrize("sign", ["`", "> "])
def test_code_and_quoted_lines_keep_their_grammar(sign: str) -> None:
    text = f"{sign}we was here with a umbrella{sign.strip()}"
    draft = Draft(text)
    grammar.correct(draft)
    assert draft.text == text


@given(st.text(alphabet="we was,.!\n i'hte", max_size=2_000))
def test_pieces_hold_the_whole_draft_and_no_more(text: str) -> None:
    pieces = [match.group() for match in grammar._PIECE.finditer(text)]
    assert all(0 < len(piece) <= grammar.PIECE for piece in pieces)
    assert "".join(pieces) == text.replace("\n", "") or re.sub(r"\s", "", "".join(pieces)) == re.sub(r"\s", "", text)


def test_a_slip_is_found_wherever_it_stands_in_a_long_draft() -> None:
    text = "we was there. " * 500
    assert len(text) > 10 * grammar.PIECE
    draft = Draft(text)
    grammar.correct(draft)
    assert draft.text == text.replace("was", "were")


def test_edits_that_overlap_are_made_once_and_in_order() -> None:
    draft = Draft("one two three")
    draft.edit("grammar", [Edit(0, 3, "1"), Edit(2, 7, "x"), Edit(8, 13, "three"), Edit(8, 13, "3")])
    assert (draft.text, [change.before for change in draft.changes]) == ("1 two 3", ["one", "three"])
    assert "one" not in repr(Edit(0, 3, "one"))
