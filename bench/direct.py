"""A worker without encryption: the real tasks over the real model, in plain HTTP. For the ladder alone.

    python -m bench.direct --model DIR --listen 127.0.0.1:0 --admin 127.0.0.1:0 --announce FD

It serves with the same server, on as many threads, and runs the same code as the real worker. What it lacks is what
the next rung adds: Binary HTTP, HPKE, replay protection. A worker has no switch for this, and must not have one.
"""

import argparse
import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path

import msgspec

from inference.config import Measured
from inference.front import MAX_BODY
from inference.open import Task
from inference.runner import Runner
from inference.warmup import load_tasks
from seclude import bhttp
from seclude.daemon.answering import answering
from seclude.daemon.lifecycle import announce
from seclude.daemon.limits import ServerLimits
from seclude.daemon.messages import Request, Response
from seclude.daemon.server import Server
from seclude.tasks import JSON

DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(Measured)}


class Direct:
    """The handler: the body of a request is the task's, and its answer the answer's."""

    def __init__(self, task: Task, threads: int, waiting: int) -> None:
        self._task = task
        self._runner = Runner(threads, waiting)

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        content = await request.body.read()
        inner = bhttp.Request(
            request.method.encode(),
            b"https",
            b"direct.invalid",
            request.path.encode(),
            (bhttp.Field(b"content-type", JSON.encode()),),
            content,
        )
        answer = await self._runner.run(self._task, inner)
        return Response(answer.status, JSON, answer.content)

    def close(self) -> None:
        """End its threads."""
        self._runner.close()


async def serve(flags: argparse.Namespace) -> None:
    """Answer until SIGTERM."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    task = load_tasks(flags.model, int(DEFAULTS["model_threads"]))
    at_once, inflight = int(DEFAULTS["tasks_at_once"]), int(DEFAULTS["max_inflight"])
    direct = Direct(task, at_once, inflight - at_once)
    server = Server(answering(direct.handle), ServerLimits(max_body_bytes=MAX_BODY, max_inflight=inflight))
    bound = await server.start(flags.listen)
    announce(flags.announce, listen=bound, admin=bound)
    await ended.wait()
    await server.drain(1.0)
    direct.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one worker without encryption."""
    parser = argparse.ArgumentParser(prog="bench.direct")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("--admin", help="ignored")
    parser.add_argument("--announce", type=int)
    asyncio.run(serve(parser.parse_args(arguments)))


if __name__ == "__main__":
    main()
