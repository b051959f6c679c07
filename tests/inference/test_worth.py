"""Worth: every weight has a feature that is read, and what matters is worth more than chatter."""

import pytest

from inference.engine.features import read_clauses
from inference.engine.lines import read_line
from inference.engine.threads import find_threads
from inference.engine.worth import AGAINST, FOR, worth

CHAT = (
    ("Ana", "Hello everyone! 👋"),
    ("Ben", "The rent goes up by 40 euros from 1 May, please pay it by Friday"),
    ("Ana", "ok"),
    ("Ana", '"it is what it is" haha 😂'),
    ("Cem", "FOOD: I'll bring the big salad and two loaves of bread!!"),
    ("Ana", "thanks"),
    ("Ben", "see https://example.org/list which has all of it"),
    ("Cem", "Who has the key of the shed??"),
    ("Ana", "I'll bring it at 7:30, the party at Luigi's starts then"),
    ("Ben", "the boiler is broken so we cancelled Thursday"),
    ("Cem", "the train from Lindau is at 6.45"),
    ("Ana", "the train is late"),
    ("Ben", "when does Dana's train from Lindau arrive?"),
    ("Cem", "six, last year it was always late..."),
    ("Ben", "thanks Cem, could you fetch her?"),
    ("Ana", "do we know who has the train tickets?"),
)


def read(*chat: tuple[str, str]) -> dict[str, dict[str, float]]:
    lines = [read_line(index, sender, text) for index, (sender, text) in enumerate(chat)]
    return {clause.text: dict(clause.features) for clause in read_clauses(lines, find_threads(lines))}


def test_every_weight_has_its_feature() -> None:
    seen = {name for features in read(*CHAT).values() for name, value in features.items() if value}
    by_encoder = {"central", "echoed", "close reply"}
    assert set(FOR) | set(AGAINST) <= seen | by_encoder
    assert not set(FOR) & set(AGAINST)
    assert all(weight.value > 0 and weight.why for weight in (*FOR.values(), *AGAINST.values()))


@pytest.mark.parametrize(
    ("fact", "chatter"),
    [
        ("I'll bring two loaves of bread on Sunday", "the dog slept all day on the sofa"),
        ("Yo llevo dos panes el domingo a las 8", "el perro ha dormido todo el día en el sofá"),
        ("Eu levo dois pães no domingo às 20h", "o cachorro dormiu o dia todo no sofá da sala"),
        ("Ich bringe am Sonntag um 8 zwei Brote mit", "der Hund hat den ganzen Tag auf dem Sofa geschlafen"),
        ("Pazar saat 8'de iki ekmek getiririm", "köpek bütün gün kanepede uyudu yine"),
        ("Main Sunday ko 8 baje do bread laaunga", "kutta poora din sofe pe soya raha"),
    ],
)
def test_a_promise_with_a_time_is_worth_more_than_the_dog(fact: str, chatter: str) -> None:
    for chat in ((("A", fact), ("B", chatter)), (("B", chatter), ("A", fact))):
        features = read(("C", "x"), *chat)
        assert worth(features[fact]) > worth(features[chatter])


def test_the_chance_is_one() -> None:
    assert 0 < worth({}) < 0.01
    assert worth(dict.fromkeys(FOR, 3.0)) <= 1
    assert worth(dict.fromkeys(AGAINST, 3.0)) >= 0
