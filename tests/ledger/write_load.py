"""Writers in a process of their own, for a measurement: `write_load.py FOLDER LISTEN WRITERS SECONDS` prints JSON."""

import asyncio
import sys
import time
from pathlib import Path

import msgspec
import uvloop

from ledger.rules import PLAIN_LABEL
from seclude.daemon.secretfile import load_submit_secret
from seclude.ledger import seal_submission
from tests.ledger.ledger_rig import Connection


async def load(secret: bytes, listen: str, writers: int, seconds: float) -> dict[str, float]:
    times: list[float] = []
    end = time.perf_counter() + seconds

    async def write(writer: int) -> None:
        connection = Connection(listen)
        number = 0
        while (began := time.perf_counter()) < end:
            entry = b"%d of writer %d, some eighty octets as a digest with its domain separator takes" % (
                number,
                writer,
            )
            status, _ = await connection.post("/plain/add", seal_submission(PLAIN_LABEL, entry, secret))
            assert status == 200, status
            times.append(time.perf_counter() - began)
            number += 1
        connection.close()

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for writer in range(writers):
            tasks.create_task(write(writer))
    took = time.perf_counter() - began
    times.sort()
    return {
        "entries": len(times),
        "per_second": len(times) / took,
        "p50_ms": times[len(times) // 2] * 1e3,
        "p99_ms": times[len(times) * 99 // 100] * 1e3,
    }


if __name__ == "__main__":
    folder, listen, writers, seconds = sys.argv[1:]
    secret = load_submit_secret(Path(folder) / "submit.key")
    result = uvloop.run(load(secret, listen, int(writers), float(seconds)))
    print(msgspec.json.encode(result).decode())
