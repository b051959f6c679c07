"""What is shown of a chat, so that what a summary may hold tells as much as it can.

Greedily, the clause comes next that is worth most for its price: its worth, less a part for what has been told
(budgeted coverage with diminishing returns; Lin and Bilmes, NAACL 2010). A clause brings what it leans on, and a
question its answers as far as there is room; its worth is then that of all of them together, and so is its price.
"""

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from inference.engine.features import Clause
from inference.engine.threads import Threads

THRIFT: Final = 0.7  # power of the price by which a worth is divided: 1 would choose scraps, 0 the longest messages
TOLD: Final = 0.3  # part of its worth that a clause loses when all of its words have been told
ENOUGH: Final = 0.05  # worth below which a clause is not shown, unless nothing else is there

Price = Callable[[Clause, bool], int]
"""What a clause costs of the budget, and whether its line, with its writer's name, comes with it."""


class Selection:
    """The choice in the making: clauses by their numbers in the chat."""

    def __init__(self, clauses: Sequence[Clause], worth: Sequence[float], threads: Threads, price: Price) -> None:
        self._clauses = clauses
        self._worth = worth
        self._price = price
        self._of_line: dict[int, list[int]] = defaultdict(list)
        for at, clause in enumerate(clauses):
            self._of_line[clause.position].append(at)
        self._best = {position: max(found, key=worth.__getitem__) for position, found in self._of_line.items()}
        self._needed = {position: threads.chain_of(position) for position in self._of_line}
        self._wanted = {position: threads.with_answers(chain) for position, chain in self._needed.items() if chain}
        self._leaning: dict[int, set[int]] = defaultdict(set)
        for position, wanted in self._wanted.items():
            for other in wanted:
                self._leaning[other].add(position)
        self.chosen: dict[int, None] = {}
        """In the order of their choice."""
        self._bundles: list[list[int]] = []
        self._lines: set[int] = set()
        self._told: set[str] = set()

    def choose(self, candidates: Iterable[int], budget: int) -> None:
        """Choose among the candidates until the budget, in the prices' unit, is used."""
        whole = budget
        waiting = [
            (-self._value(at), at)
            for at in candidates
            if self._clauses[at].position in self._wanted and at not in self.chosen
        ]
        heapq.heapify(waiting)
        while waiting:
            promised, at = heapq.heappop(waiting)
            if at in self.chosen or (self._worth[at] < ENOUGH and self.chosen):
                continue
            value = self._value(at)
            if value < -promised - 1e-9:  # some of it has been told since
                heapq.heappush(waiting, (-value, at))
                continue
            bundle = self._bundle(at, self._wanted)
            if self._cost(bundle) > budget:
                if self._cost(bundle) <= whole:
                    continue  # some of the answers would pass for all of them
                bundle = self._bundle(at, self._needed)
            cost = self._cost(bundle)
            if cost > budget:
                continue
            budget -= cost
            self._bundles.append(bundle)
            for opened in self._take(bundle):  # what leans on these lines has become cheaper
                for position in self._leaning[opened]:
                    for other in self._of_line[position]:
                        if other not in self.chosen:
                            heapq.heappush(waiting, (-self._value(other), other))

    def drop(self) -> bool:
        """Take back what was chosen last with all it brought; return whether that was not the only choice."""
        if len(self._bundles) < 2:
            return False
        for each in self._bundles.pop():
            del self.chosen[each]
        return True

    def _bundle(self, at: int, company: Mapping[int, tuple[int, ...] | None]) -> list[int]:
        """Return a clause with its sentence up to it, and its company: the best of each line of it not shown yet."""
        position = self._clauses[at].position
        others = [other for other in company[position] or () if other != position and other not in self._lines]
        whole = [self._sentence(self._best[other]) for other in others]
        return [each for sentence in (*whole, self._sentence(at)) for each in sentence if each not in self.chosen]

    def _sentence(self, at: int) -> range:
        begin = at
        while not self._clauses[begin].begins:
            begin -= 1
        return range(begin, at + 1)

    def _value(self, at: int) -> float:
        bundle = self._bundle(at, self._wanted)
        value = 0.0
        for each in bundle:
            content = self._clauses[each].content
            told = len(content & self._told) / len(content) if content else 0.0
            value += self._worth[each] * (1 - TOLD * told)
        # Where clauses cost nothing, their mean counts: a long sentence must not win by its length.
        return value / float(max(self._cost(bundle), 0.1 * max(len(bundle), 1)) ** THRIFT)

    def _cost(self, bundle: Sequence[int]) -> int:
        opened: set[int] = set()
        cost = 0
        for each in bundle:
            clause = self._clauses[each]
            cost += self._price(clause, clause.position not in self._lines and clause.position not in opened)
            opened.add(clause.position)
        return cost

    def _take(self, bundle: Sequence[int]) -> Iterator[int]:
        """Choose clauses, and yield the lines that are shown only now."""
        for each in bundle:
            clause = self._clauses[each]
            self.chosen[each] = None
            self._told |= clause.content
            if clause.position not in self._lines:
                self._lines.add(clause.position)
                yield clause.position
