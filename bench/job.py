"""What the command and its generators say to each other over pipes: a job, and what came of it.

A generator gets one line of JSON, prepares, says `ready`, and is then told the moment to start. While it runs it says
how far it is, a line a second; at its end comes one report.
"""

from array import array
from typing import Final, Literal

from msgspec import Struct

from bench.arrivals import Arrivals

READY: Final = "ready"
TICK: Final = "tick"  # followed by how many answers there were so far, and how many failures
OVER: Final = "over"  # the requests ran out before the time did; what follows is no load any more
REPORT: Final = "report"  # followed by the length of the MessagePack that comes next


class WorkloadSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """What the requests are."""

    kind: Literal["opaque", "plain", "encapsulated"]
    """Octets that look like an encapsulated request, the task in plain JSON, or the task encapsulated."""
    body_bytes: int = 1079
    """Of an opaque request: 1 KiB and what an encapsulation adds."""
    key_config: bytes = b""
    """The key to encapsulate to, or whose identifier an opaque request names."""
    origin: str = ""
    padded: bool = True
    """Fill an encapsulated request up to its bucket, as a device does; an opaque one is as long as it is said to be."""
    streamed: bool = False
    """Ask for events; encapsulated, in chunks."""
    model: str = ""
    """Ask the language model of this name a question, streamed, in place of a summary."""
    tokens: int = 0
    """Of such an answer, at most."""
    inline: bool = False
    """Encapsulate when the request is due, and open the answer as soon as it is there, within the measured time."""
    check_every: int = 1
    """Which share of the answers is looked at: one in so many."""
    seed: int = 1


class Job(Struct, frozen=True, forbid_unknown_fields=True):
    """What one generator does."""

    url: str
    workload: WorkloadSpec
    warmup_seconds: float
    seconds: float
    connections: int
    arrivals: Arrivals | None
    """None for a closed loop, in which every connection is always busy."""
    index: int = 0
    generators: int = 1
    cooldown_seconds: float = 0.0
    """How long a closed loop goes on after the measured time, so that what began in it ends among others."""
    wait_seconds: float = 1.0
    """How long an arrival may wait for a connection before it counts as dropped."""
    timeout_seconds: float = 30.0
    supply: int = 0
    """How many requests a closed loop encapsulates in advance; it ends where they are used up."""
    ca_file: str | None = None


class Report(Struct, frozen=True):
    """What one generator saw; times are arrays of nanoseconds since the start, one entry for each request it sent."""

    intended: bytes
    sent: bytes
    first: bytes
    """When the first octet of the answer came; 0 where none did."""
    done: bytes
    outcome: bytes
    """An octet each: an index into `kinds`."""
    kinds: list[str]
    """The first one is success; the others name what failed."""
    dropped: bytes
    """Intended starts of arrivals that found no connection."""
    lags: bytes
    """How late the generator itself was, for each arrival of an open loop after the warm-up."""
    exhausted: bool = False
    """Whether the requests ran out before the time did."""
    heard: bytes = b""
    """When each piece of text came, of streamed chats; one request after the other."""
    counts: bytes = b""
    """How many of these each request has."""
    tokens: bytes = b""
    """How many tokens they are of."""


def nanoseconds(data: bytes) -> "array[int]":
    """Return the numbers of one field of a report."""
    numbers = array("q")
    numbers.frombytes(data)
    return numbers
