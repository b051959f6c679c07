"""What a person can do when their device refuses a pool: one clause for each step of `verify_bundle`."""

from typing import Final

from seclude.attestation.judge import TITLES
from seclude.errors import VerificationError

NEWER: Final = "get a newer trust file from whoever publishes this service"
STAY_AWAY: Final = "do not use this service, and tell whoever publishes it"

BY_STEP: Final = {
    1: "try again, and if it stays so tell whoever runs the relay",
    2: NEWER,
    3: f"{NEWER}, and if theirs says the same do not use the service",
    4: STAY_AWAY,
    5: STAY_AWAY,
    6: STAY_AWAY,
    7: "check this device's clock, and if it is right try again in a few minutes",
    8: f"{NEWER}, and if theirs says the same do not use the service",
    9: NEWER,
    10: "check this device's clock, and if it is right try again in a minute",
    11: "keep this message and its evidence: not everybody is shown the same keys, so " + STAY_AWAY,
    12: "update this software",
    13: f"{NEWER}, and if theirs says the same do not use the service",
    14: "check this device's clock, and if it is right try again in a minute",
    15: "keep this message: the log was shown with two histories, so " + STAY_AWAY,
    16: STAY_AWAY,
    17: "try again in a minute, and if it stays so " + STAY_AWAY,
    18: "try again later: others must be able to look at new software first, and old software must be replaced",
}


def explain(refusal: VerificationError) -> str:
    """Return why nothing was sent and what to do about it, in one sentence."""
    advice = BY_STEP.get(refusal.step, STAY_AWAY)
    title = f' ("{TITLES[refusal.step]}")' if refusal.step in TITLES else ""
    return f"refused, nothing was sent: step {refusal.step}{title}: {refusal}; {advice}"
