"""A refusal says what to do."""

from seclude.attestation.judge import TITLES
from seclude.client.advice import BY_STEP, explain
from seclude.errors import PolicyError


def test_every_step_has_its_advice() -> None:
    assert BY_STEP.keys() == TITLES.keys()


def test_a_refusal_is_one_sentence_with_step_cause_and_advice() -> None:
    sentence = explain(PolicyError("epoch 3 is past its end", step=10))
    assert sentence.startswith(
        'refused, nothing was sent: step 10 ("epoch is the current slot\'s"): epoch 3 is past its end; '
        "check this device's clock"
    )
    assert "\n" not in sentence
