"""`seclude-ledger submit`: hands a signed snapshot to the ledger, and waits until its witnesses have cosigned it.

The ledger answers when the entry stands under a checkpoint that met its quorum. Until then the same submission is sent
again, which changes nothing where it stands already.

Every snapshot is the whole state, so one that was made from an older one than the newest would undo what came between,
a revocation too. That is looked for first, in what the ledger itself shows: whoever lies about it only delays us.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ledger.publish.current import NoSnapshotError, fetch_current
from ledger.publish.documents import StateFile, load_state
from ledger.publish.reach import Answer, Reach
from ledger.publish.statewords import shown, signatures
from ledger.publish.verb import DAY_SECONDS, enter
from seclude.attestation.slots import in_words
from seclude.attestation.snapshot import publishers_needed
from seclude.daemon.secretfile import load_submit_secret
from seclude.errors import ConfigError, DecodeError, Error, UpstreamError, VerificationError
from seclude.ledger import STATE_LABEL, seal_submission
from seclude.ledger import Path as Place

WAIT_SECONDS: Final = 60.0  # for witnesses; longer than the pause between two rounds of asking them
PAUSE_SECONDS: Final = 1.0  # before the same is sent again, where the ledger does not say how long
MAX_PAUSE_SECONDS: Final = 10.0  # whatever it says
ANSWER_SECONDS: Final = 30.0  # a ledger holds a submission until its witnesses had time to answer
EXAMPLE: Final = """example:
  seclude-ledger submit --ledger https://ledger.example --secret submit.key --from last.txt next.txt"""


class NotTakenError(Error):
    """Raised when a ledger refuses a submission, and would again."""


def fill(parser: argparse.ArgumentParser) -> None:
    """Add what `submit` takes."""
    parser.description = "Submit a signed snapshot, and wait until it is cosigned."
    parser.epilog = EXAMPLE
    parser.add_argument("--ledger", metavar="URL", required=True, help="https beyond this machine")
    parser.add_argument("--ca", metavar="PEM", type=Path, help="believe a ledger that these know, not the system's")
    parser.add_argument("--secret", metavar="FILE", type=Path, required=True, help="from `keygen --kind submit`")
    parser.add_argument(
        "--wait", metavar="SECONDS", type=_seconds, default=WAIT_SECONDS, help=f"default: {WAIT_SECONDS:.0f}"
    )
    parser.add_argument(
        "--from", dest="last", metavar="LAST", type=Path, help="refuse unless this is still the newest one in the log"
    )
    parser.add_argument("file", metavar="SNAPSHOT", type=Path, help="signed by as many publishers as it takes")


def run(arguments: argparse.Namespace) -> int:
    """Submit, and say that it stands in the log."""
    state = load_state(arguments.file)
    _require_signed(state, arguments.file)
    last = None if arguments.last is None else load_state(arguments.last)
    body = seal_submission(STATE_LABEL, state.serialize(), load_submit_secret(arguments.secret))
    reach = Reach(arguments.ledger, arguments.ca)
    place = _require_follows(state, last, reach)
    submit(reach, body, arguments.wait, place)
    print(f"{arguments.file} stands in the log and is cosigned; gateways and devices learn of it by the next slot")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `seclude-ledger submit`."""
    return enter("submit", fill, run, arguments)


def submit(reach: Reach, body: bytes, wait_seconds: float, place: int | None = None) -> None:
    """Send a submission until it stands in the log; raises `NotTakenError`, or `UpstreamError` when time is over.

    With `place` the ledger takes it as that entry or not at all.
    """
    path = str(Place.ADD_STATE) if place is None else f"{Place.ADD_STATE}/{place}"
    deadline = time.monotonic() + wait_seconds
    while True:
        reason, pause = "", PAUSE_SECONDS
        try:
            answer = reach.ask("POST", path, body, seconds=ANSWER_SECONDS)
            if answer.status == 200:
                return
            reason = _reason(answer)
            pause = min(answer.retry_after_seconds or PAUSE_SECONDS, MAX_PAUSE_SECONDS)
        except UpstreamError as exc:  # it may have been taken all the same, and is the same when sent again
            reason = str(exc)
        if time.monotonic() + pause > deadline:
            raise UpstreamError(f"not cosigned within {wait_seconds:g} seconds, try again: {reason}")
        time.sleep(pause)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= DAY_SECONDS:  # a number that is none compares with nothing
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds up to {DAY_SECONDS}")
    return seconds


def _reason(answer: Answer) -> str:
    said = f": {shown(answer.sentence)}" if answer.sentence else ""
    if answer.status not in (502, 503, 504):
        hint = "; is it the ledger's own submit secret?" if answer.status == 403 else ""
        raise NotTakenError(f"the ledger refuses it with {answer.status}{said}{hint}")
    return f"the ledger answers {answer.status}{said}"


def _require_follows(state: StateFile, last: StateFile | None, reach: Reach) -> int | None:
    """Return the index that a snapshot must get so as to undo nothing, if that can be told; raises `ConfigError`.

    Between this look and the ledger's own another snapshot may come, or one may stand there that nobody has cosigned
    yet: the index is what both see alike.
    """
    try:
        current = fetch_current(reach, None, "")
    except NoSnapshotError:
        if last is not None:
            raise ConfigError("the log has no snapshot yet, so none that --from could name") from None
        return 0
    except UpstreamError:
        if last is not None:
            raise
        return None  # no checkpoint was cosigned yet, or nobody answers, which submitting tells apart
    except (DecodeError, VerificationError) as exc:
        raise UpstreamError(f"the ledger serves what is no log: {exc}") from exc
    newest = current.state
    if newest.text == state.text:
        return None
    if last is None:
        kept = {each.manifest for each in state.snapshot.revocations}
        for each in newest.snapshot.revocations:
            if each.manifest not in kept:
                raise ConfigError(
                    f"it takes back the revocation of {each.manifest}: make it anew from the newest snapshot in the "
                    "log, or name that with --from if this is meant"
                )
    elif newest.text != last.text:
        raise ConfigError(
            f"the log has another snapshot by now, issued {in_words(newest.snapshot.issued)}: fetch it with "
            "`seclude-ledger state --out` and make this one anew from it"
        )
    return current.checkpoint.size


def _require_signed(state: StateFile, path: Path) -> None:
    """Raise `ConfigError` where the ledger would refuse it for its signatures' number."""
    if len({(each.name, each.key_id) for each in state.signatures}) < publishers_needed(state.snapshot):
        raise ConfigError(f"{path} has {signatures(state.signers, state.snapshot)}; sign it with `seclude-ledger sign`")
