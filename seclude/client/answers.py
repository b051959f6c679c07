"""What an answer from outside the encapsulation means for the person who asked.

Relay and gateway wrote it, who are not trusted: of all it says, only its status and the type of its problem count, and
no word of it is shown.
"""

from seclude.daemon.messages import UpstreamResponse
from seclude.errors import OHTTP_KEY, BusyError, DecodeError, Error, TaskError, UpstreamError
from seclude.ohttp.media import PROBLEM, media_type
from seclude.tasks import Problem, decode


def parse_problem(content_type: str | None, content: bytes) -> Problem:
    """Return a peer's problem document, or an empty one where it is none."""
    if media_type(content_type) != PROBLEM:
        return Problem()
    try:
        return decode(Problem, content)
    except DecodeError:
        return Problem()


def refusal(answer: UpstreamResponse, problem: Problem) -> Error:
    """Say in one sentence why there is no encapsulated answer, and what to do."""
    if problem.type == OHTTP_KEY:
        return UpstreamError("the gateway does not know the current key, twice; its pool is being replaced: try again")
    match answer.status:
        case 400:
            return UpstreamError("the pool cannot open what was sealed to its current key, twice; try again later")
        case 503 | 429:
            return BusyError(f"no worker is free; {when(answer)}")
        case 502:
            return UpstreamError("the gateway cannot be reached through the relay; try again later")
        case 504:
            return UpstreamError("the gateway did not answer in time; ask for less, or try again later", timed_out=True)
        case 413:
            return TaskError("the request is too large for the relay; send fewer messages", status=413)
        case status:
            return UpstreamError(f"the relay refused the request (status {status}); check `relays` in the trust file")


def when(answer: UpstreamResponse) -> str:
    """Say when to try again, as far as the answer promises anything."""
    seconds = answer.retry_after or ""
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) <= 3):  # the relay may write anything
        return "try again later"
    return "try again in a few seconds" if int(seconds) <= 1 else f"try again in {seconds} seconds"
