"""A worker without a model (`bench.front`) that writes down which tasks it began: a line for each, of its content.

    python tests/stack/tally.py --tally FILE --task-seconds 0.1 [what bench.front takes]

Each line is one write to the end of the file, so what a worker had begun is there when it has been killed.
"""

import argparse
import os
import time
from pathlib import Path
from unittest.mock import patch

from bench import front
from inference.answer import Answer, Task
from seclude import bhttp


def writing_down(task: Task, descriptor: int, seconds: float) -> Task:
    """Return a task that takes so much longer, and is written down when it begins."""

    def counted(request: bhttp.Request) -> Answer:
        os.write(descriptor, request.content + b"\n")
        time.sleep(seconds)
        return task(request)

    return counted


def main() -> None:
    """Run one front."""
    parser = argparse.ArgumentParser(prog="tally")
    parser.add_argument("--tally", type=Path, required=True)
    parser.add_argument("--task-seconds", type=float, default=0.0)
    flags, others = parser.parse_known_args()
    descriptor = os.open(flags.tally, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with patch.object(front, "nothing", writing_down(front.nothing, descriptor, flags.task_seconds)):
        front.main(others)


if __name__ == "__main__":
    main()
