"""Samples and results that the tests write themselves."""

from array import array
from collections import Counter
from collections.abc import Sequence

from bench.engine import Samples
from bench.histogram import MS
from bench.machine import Machine
from bench.result import Result, case_of, steps_of

MACHINE = Machine("a processor", 2, "Linux 6", "3.11", "0123456789ab", {"seclude": "0.1.0"})


def samples(latencies_ms: Sequence[float], *, failed: int = 0, dropped: int = 0, **cpu_us: float) -> Samples:
    """A second in which requests took so long, and parties so many CPU microseconds for each of them."""
    latency = array("q", (round(each * MS) for each in latencies_ms))
    count = len(latency)
    return Samples(
        seconds=1.0,
        latency=latency,
        service=latency[:],
        first=latency[:],
        done=array("q", (n * 1_000_000_000 // max(1, count) for n in range(count))),
        failed=Counter({"status 503": failed} if failed else {}),
        dropped=dropped,
        offered=count + failed + dropped,
        completed=count,
        cpu_ns={party: round(spent * 1000 * count) for party, spent in cpu_us.items()},
    )


def ladder(slower: float = 1.0, *, dearer: float = 1.0) -> Result:
    """A ladder of two rungs and three rounds."""
    direct = [samples([9, 10, 11 + each], worker=7000, client=200) for each in range(3)]
    hpke = [
        samples([slower * value for value in (11, 12, 13 + each)], worker=7500 * dearer, client=600)
        for each in range(3)
    ]
    rungs = [("model direct", direct), ("HPKE", hpke)]
    return Result(
        kind="ladder",
        machine=MACHINE,
        config={"rounds": 3},
        cases=[case_of(name, rounds) for name, rounds in rungs],
        steps=steps_of(rungs),
    )
