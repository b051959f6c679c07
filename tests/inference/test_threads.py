"""Which line answers which question, and which must not stand alone."""

from inference.engine.threads import CHAIN, Line, Threads, find_threads, read_line


def lines(*chat: str) -> list[Line]:
    """Lines of "A: text"."""
    parts = [line.partition(": ") for line in chat]
    return [read_line(index, sender, text) for index, (sender, _, text) in enumerate(parts)]


def threads(*chat: str) -> Threads:
    return find_threads(lines(*chat))


def test_a_bare_yes_needs_its_question() -> None:
    found = threads("A: can you bring the cake on Friday?", "B: yes")
    assert found.answers == {0: (1,)}
    assert found.chain_of(1) == (0, 1)
    assert found.with_answers((0,)) == (0, 1)


def test_an_answer_is_found_over_other_lines() -> None:
    found = threads(
        "A: when does the train leave tomorrow?", "A: I forgot", "B: what a lovely dog that was", "C: 17:40 I think"
    )
    assert found.answers[0] == (3,)
    assert found.question_of(3) == 0


def test_an_evasion_is_no_answer() -> None:
    found = threads("A: do we need travel insurance?", "B: idk", "C: my cousin's wedding is that same week by the way")
    assert 0 not in found.answers


def test_an_answer_of_the_wrong_kind_is_none() -> None:
    found = threads("A: does anyone know when the audit starts?", "B: the coffee machine in here is terrible")
    assert 0 not in found.answers


def test_a_proposal_answers() -> None:
    found = threads("A: should we postpone the price change?", "B: not sure", "C: let's decide after the redeploy")
    assert found.answers[0] == (2,)


def test_a_counter_question_with_a_time_answers() -> None:
    assert threads("A: Wann treffen wir uns?", "B: um 18 Uhr am Bahnhof?").answers[0] == (1,)


def test_the_asker_does_not_answer() -> None:
    assert not threads("A: who has the key of the shed?", "A: I really need it today").answers


def test_a_long_answer_stands_alone() -> None:
    found = threads(
        "A: who has it?", "B: the neighbours on the second floor have had the key of the shed since last week"
    )
    assert found.answers == {0: (1,)}
    assert 1 not in found.needs


def test_a_correction_needs_what_it_corrects() -> None:
    found = threads("A: dinner is at 7 on Friday at Luigi's", "B: nice", "A: actually 8, sorry")
    assert found.chain_of(2) == (0, 2)


def test_a_burst_hangs_together() -> None:
    found = threads("A: we could all go and eat something nice", "A: at the new place next to the cinema")
    assert found.chain_of(1) == (0, 1)


def test_an_opener_before_a_full_statement_does_not_lean() -> None:
    found = threads("A: the italian place is full tonight", "B: perfect. I'll book a table for six at the other one")
    assert 1 not in found.needs


def test_a_chain_that_is_too_long_is_not_shown() -> None:
    found = threads("A: the game last night was something", *["B: it was", "A: it really was"] * CHAIN)
    assert found.chain_of(CHAIN - 1) is not None
    assert found.chain_of(CHAIN) is None


def test_scripts_without_spaces_are_not_taken_for_short() -> None:
    (line,) = lines("A: 明天下午三点在车站见面")
    assert line.words > 3
