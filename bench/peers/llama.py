"""llama.cpp beside the engine: a process of its own, told when to decode, so that both can take turns.

It is looked for as `llama-cpp-python` in a Python that is named, and as a rule is not the project's own: it is built
from source, for the machine at hand. No code of it is ours.
"""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import msgspec
from msgspec import Struct

from bench.loops import Taken
from bench.peers.start import SkippedError

LOOP: Final = Path(__file__).parent / "llamaloop.py"


class _Answer(Struct, frozen=True):
    cpu: int
    wall: int
    tokens: list[list[int]]


class LlamaLoop:
    """The loop in the other process."""

    def __init__(self, to: IO[bytes], answers: IO[bytes]) -> None:
        self._to, self._answers = to, answers

    def __call__(self, ids: Sequence[int], rows: int, steps: int) -> Taken:
        """Decode there."""
        self._to.write(msgspec.json.encode({"ids": list(ids), "rows": rows, "steps": steps}) + b"\n")
        self._to.flush()
        line = self._answers.readline()
        if not line:
            raise SkippedError("it ended")
        answer = msgspec.json.decode(line, type=_Answer)
        count = steps * rows * 1000
        return Taken(answer.cpu / count, answer.wall / count, answer.tokens)


@contextmanager
def llama_loop(python: Path, gguf: Path, threads: int, rows: int) -> Iterator[LlamaLoop]:
    """Have llama.cpp with a model for as long as it is needed; raises SkippedError where it cannot be had."""
    if not gguf.is_file():
        raise SkippedError(f"there is no {gguf}")
    try:
        process = subprocess.Popen(  # noqa: S603 - the program that was named
            [python, "-I", LOOP, gguf, str(threads), str(rows)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as exc:
        raise SkippedError(f"{python}: {exc.strerror}") from None
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            if not process.stdout.readline():  # what it says of itself when it has loaded
                process.kill()
                raise SkippedError(process.stderr.read().decode().strip().rpartition("\n")[2] or "it did not start")
            yield LlamaLoop(process.stdin, process.stdout)
        finally:
            process.kill()
