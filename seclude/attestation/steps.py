"""A verification as numbered steps: each passes with words on what was found, or fails with its number.

A verifier states its steps in its module's docstring, in `TITLES`, and at the code, under the same numbers.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from seclude.errors import DecodeError, EvidenceError, VerificationError


@dataclass(frozen=True, slots=True)
class Step:
    """A step that passed, and what was found there: public facts only."""

    number: int
    title: str
    found: str


Observer = Callable[[Step], None]


class Steps:
    """The steps of one verification that passed so far."""

    __slots__ = ("_observe", "passed", "titles")

    def __init__(self, titles: Mapping[int, str], observe: Observer | None = None) -> None:
        self.titles = titles
        self.passed: list[Step] = []
        self._observe = observe

    @contextmanager
    def step(self, number: int) -> Iterator[list[str]]:
        """Run one step; the words appended to the list say what was found, and a failure carries the number.

        A `VerificationError` keeps its type; bytes that do not parse become an `EvidenceError`.
        """
        found: list[str] = []
        try:
            yield found
        except VerificationError as exc:
            exc.step = number
            raise
        except DecodeError as exc:
            raise EvidenceError(str(exc), step=number) from exc
        step = Step(number, self.titles[number], "; ".join(found))
        self.passed.append(step)
        if self._observe is not None:
            self._observe(step)
