"""Which line answers which question, and which must not stand alone."""

from inference.engine.lines import Line, read_line
from inference.engine.threads import CHAIN, Threads, find_threads


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


def test_an_answer_belongs_to_the_latest_question_that_it_may_answer() -> None:
    found = threads("A: when is the match?", "B: what a week", "C: when do we eat?", "D: at 7", "B: it rains again")
    assert found.answers == {2: (3,)}
    assert found.question_of(3) == 2


def test_a_late_answer_that_says_something_of_its_own_stands_alone() -> None:
    found = threads(
        "A: when does the audit start?",
        "B: the lift is stuck again",
        "C: the audit starts on Monday at 9",
        "D: Tuesday, they told me",
    )
    assert found.answers[0] == (2, 3)
    assert 2 not in found.needs
    assert found.question_of(3) == 0


def test_a_late_line_about_something_else_is_no_answer() -> None:
    found = threads(
        "A: when does the audit start?", "B: the lift is stuck again", "C: football practice moves to Thursday at 6"
    )
    assert 0 not in found.answers


def test_thanks_for_something_else_are_no_answer() -> None:
    found = threads(
        "A: where do we meet on Friday?",
        "B: the train at 13:04 is cancelled",
        "C: I'll take the car then and fetch you at the station",
        "B: perfect thanks",
    )
    assert 0 not in found.answers


def test_what_settles_a_counter_question_answers_the_question() -> None:
    found = threads(
        "A: where do we meet on Friday?",
        "B: my place at 5?",
        "C: can we say 5:30?",
        "B: 5:30 at mine",
        "A: ok 5:30 then",
    )
    assert found.answers[0] == (3, 4)
    assert found.chain_of(4) == (0, 4)
    assert found.with_answers((0, 1)) == (0, 1, 3, 4)


def test_a_bare_yes_to_a_counter_question_needs_it() -> None:
    found = threads("A: where do we meet on Friday?", "B: my place at 5?", "A: yes")
    assert found.chain_of(2) == (0, 1, 2)
    assert found.with_answers((0,)) == (0, 1, 2)


def test_a_question_word_alone_is_about_the_line_before() -> None:
    found = threads(
        "A: the band would play for dinner and 100 euros", "B: Until what time? We sleep at eight.", "A: 7:30"
    )
    assert found.chain_of(1) == (0, 1)
    assert found.completed == {0: (1, 2)}


def test_everybody_who_takes_a_part_answers() -> None:
    found = threads(
        "A: who brings what on Sunday?",
        "B: I bring both grills and the charcoal",
        "C: I bake two plum cakes for everybody",
        "D: bread from me",
        "A: I do the drinks then",
    )
    assert found.answers == {0: (1, 2, 3, 4)}
    assert not {1, 2} & found.needs.keys()
    assert found.question_of(3) == 0


def test_what_was_said_before_somebody_took_it_on_is_no_answer() -> None:
    found = threads("A: who washes the shirts this week?", "B: I did it last time", "C: ok I'll do it")
    assert found.answers == {0: (2,)}


def test_a_counter_offer_completes_the_offer() -> None:
    found = threads("A: would you take 120?", "B: I was thinking 150", "A: 135?", "B: ok deal")
    assert found.completed == {1: (2, 3)}
    assert found.with_answers((0,)) == (0, 1, 2, 3)


def test_an_answer_that_goes_on_stands_alone() -> None:
    found = threads("A: Thursday 7?", "B: perfect. 14 Harbour Road, ring at Miller")
    assert found.answers == {0: (1,)}
    assert 1 not in found.needs


def test_a_question_of_some_words_starts_anew_where_nothing_before_it_stands() -> None:
    found = threads("A: the film was long", "B: it was", "A: when can I pick it up", "B: any evening after 6")
    assert found.chain_of(1) == (0, 1)
    assert found.chain_of(3) == (2, 3)


def test_a_call_for_somebody_stays_open_until_somebody_comes() -> None:
    refused = threads("A: Somebody has to open the gate on Monday", "B: not me, sorry", "C: my car isn't here that day")
    assert refused.unmet == {0}
    assert not threads("A: Somebody has to open the gate on Monday", "B: I will open it").unmet


def test_only_calls_and_requests_and_facts_can_be_unmet() -> None:
    assert threads("A: did you like the film about the bears?").unmet == frozenset()
    assert threads("A: when does the audit start?").unmet == {0}


def test_a_yes_to_what_follows_from_a_statement_agrees_to_it() -> None:
    found = threads("A: the roofer wants 240 euros for it", "B: that's 48 for each. ok for all?", "C: yes", "D: fine")
    assert found.agreed == {0}


def test_agreement_is_to_the_statement_before() -> None:
    assert threads("A: we move it to Thursday", "B: haha", "B: agreed").agreed == {0}
    assert not threads("A: we move it to Thursday", "A: agreed").agreed


def test_when_and_where_are_answered_in_other_languages() -> None:
    assert threads("A: Wann ist die Klassenfahrt?", "B: vom 12. bis 16. Mai").answers == {0: (1,)}
    assert threads("A: ¿dónde cenamos?", "B: en el bar de siempre").answers == {0: (1,)}
    assert threads("A: quién trae el coche?", "B: yo no, está en el taller").unmet == {0}


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
