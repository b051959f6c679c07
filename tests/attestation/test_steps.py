"""Steps: what passed is told in order, and a failure carries the number of its step."""

import pytest

from seclude.attestation.steps import Step, Steps
from seclude.errors import DecodeError, EvidenceError, PolicyError, TooLargeError, UsageError, VerificationError

TITLES = {1: "first", 2: "second"}


def test_steps_that_pass_are_told_in_order_with_what_was_found() -> None:
    observed: list[Step] = []
    steps = Steps(TITLES, observed.append)
    with steps.step(1) as found:
        found.append("this")
        found.append("that")
        assert observed == []  # not before its end
    with steps.step(2):
        pass
    assert observed == steps.passed == [Step(1, "first", "this; that"), Step(2, "second", "")]


@pytest.mark.parametrize("kind", [EvidenceError, PolicyError, VerificationError])
def test_a_failure_keeps_its_type_and_gets_the_number_of_its_step(kind: type[VerificationError]) -> None:
    failure = kind("no")
    with pytest.raises(kind) as caught, Steps(TITLES).step(2):
        raise failure
    assert caught.value is failure
    assert failure.step == 2


@pytest.mark.parametrize("kind", [DecodeError, TooLargeError])
def test_octets_that_do_not_parse_are_no_evidence(kind: type[DecodeError]) -> None:
    with pytest.raises(EvidenceError, match="truncated in enc: 31 of 32") as caught, Steps(TITLES).step(1):
        raise kind("truncated in enc: 31 of 32")
    assert caught.value.step == 1
    assert isinstance(caught.value.__cause__, kind)


def find_half(steps: Steps) -> None:
    with steps.step(2) as found:
        found.append("half of it")
        raise EvidenceError("no")


def test_a_step_that_failed_is_not_among_those_that_passed() -> None:
    observed: list[Step] = []
    steps = Steps(TITLES, observed.append)
    with steps.step(1):
        pass
    with pytest.raises(EvidenceError):
        find_half(steps)
    assert [step.number for step in steps.passed] == [step.number for step in observed] == [1]


def test_the_outer_of_two_verifications_has_the_last_word_on_the_number() -> None:
    with pytest.raises(EvidenceError) as caught, Steps(TITLES).step(2), Steps(TITLES).step(1):
        raise EvidenceError("no")
    assert caught.value.step == 2


def test_a_bug_of_our_own_is_not_made_to_look_like_a_verdict() -> None:
    steps = Steps(TITLES)
    with pytest.raises(UsageError), steps.step(1):
        raise UsageError("opened twice")
    with pytest.raises(KeyError), steps.step(3):
        pass
    assert steps.passed == []
