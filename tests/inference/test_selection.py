"""Selection: what is shown for a price, and what comes with it."""

from inference.engine.features import Clause, read_clauses
from inference.engine.lines import read_line
from inference.engine.selection import Selection
from inference.engine.threads import find_threads


def choose(texts: tuple[str, ...], worth: dict[str, float], budget: int) -> list[str]:
    """Return what is chosen for so many words, where clauses that begin so are worth so much."""
    lines = [read_line(index, "AB"[index % 2], text) for index, text in enumerate(texts)]
    threads = find_threads(lines)
    clauses = read_clauses(lines, threads)
    value = [next((worth[start] for start in worth if clause.text.startswith(start)), 0.1) for clause in clauses]

    def words(clause: Clause, opens: bool) -> int:
        return clause.words + opens

    selection = Selection(clauses, value, threads, words)
    selection.choose(range(len(clauses)), budget)
    assert sum(words(clauses[at], False) for at in selection.chosen) <= budget
    return [clauses[at].text for at in sorted(selection.chosen)]


def test_the_budget_is_kept_and_worth_for_words_decides() -> None:
    texts = ("Dinner is on Tuesday at seven at Luigi's place", "Tickets are twelve pounds", "The bus leaves at noon")
    assert choose(texts, {"Tickets": 0.5, "The bus": 0.4, "Dinner": 0.5}, 12) == list(texts[1:])
    assert choose(texts, {"Dinner": 0.9}, 10) == [texts[0]]


def test_what_has_been_told_is_worth_less() -> None:
    texts = ("Luigi's dinner costs twelve pounds", "Luigi's dinner costs twelve pounds!", "Bus seventeen leaves Monday")
    assert choose(texts, {"Luigi": 0.5, "Bus": 0.45}, 12) == [texts[0], texts[2]]


def test_the_beginning_of_a_sentence_comes_with_its_rest() -> None:
    text = "The wholesaler can do it tomorrow, they want a signature today"
    chosen = choose((text, "haha nice one"), {"they want": 0.9, "The wholesaler": 0.05}, 20)
    assert chosen[:2] == ["The wholesaler can do it tomorrow,", "they want a signature today"]


def test_a_question_and_its_answer_come_together() -> None:
    texts = ("can you pick me up at 7:40?", "sure")
    assert choose(texts, {"sure": 0.9, "can": 0.05}, 12) == list(texts)
    assert choose(texts, {"sure": 0.05, "can": 0.9}, 12) == list(texts)


def test_what_is_worth_little_is_left_out_though_there_is_room() -> None:
    texts = ("Dinner is on Tuesday at Luigi's", "the weather was rather grey again")
    assert choose(texts, {"Dinner": 0.5, "the weather": 0.01}, 100) == [texts[0]]
    assert choose(texts[1:], {"the weather": 0.01}, 100) == [texts[1]], "unless nothing else is there"
