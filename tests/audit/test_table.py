"""`docs/audit.md` and the tests of this folder say the same: every finding has a row, every test stands in one."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.running import ROOT

PAGE = ROOT / "docs" / "audit.md"
HERE = Path(__file__).parent
WHATSAPP = [f"WAPI-{number}" for number in range(1, 29)] + [f"WAPI-X{number}" for number in range(1, 6)]
NITRO = [f"NITRO-{number}" for number in (1, 2, 4, 5, 6, 8, 9, 10, 11, 15, 18)]
DSTACK = [f"DSTACK-{number}" for number in (557, 558, 563, 565, 566, 567, 608, 609, 613, 614, 615)]
OTHERS = ["TNG-93", "NCC-1", "NCC-2", "NCC-3", *(f"WEAK-{number}" for number in range(1, 8))]
FINDINGS = [*WHATSAPP, *NITRO, *DSTACK, *OTHERS]
VERDICTS = ("tested", "tested, with a limit", "documented limit", "not applicable")
ROW = re.compile(r"\| ([A-Z]+-X?[0-9]+) \|")
TEST = re.compile(r"`(test_\w+)`")


@dataclass(frozen=True)
class Row:
    """One finding, as the page has it."""

    number: str
    cells: tuple[str, ...]

    @property
    def verdict(self) -> str:
        return self.cells[-1].partition(":")[0]

    @property
    def tests(self) -> list[str]:
        return TEST.findall(self.cells[-1])


def rows() -> list[Row]:
    lines = [line for line in PAGE.read_text().splitlines() if ROW.match(line)]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [Row(row[0], tuple(row[1:])) for row in cells]


def existing_tests() -> list[str]:
    """Return the names of all tests of this folder but those of this file."""
    names = []
    for path in HERE.glob("test_*.py"):
        if path.name != Path(__file__).name:
            functions = (ast.FunctionDef, ast.AsyncFunctionDef)
            tree = ast.parse(path.read_text())
            names += [node.name for node in tree.body if isinstance(node, functions) and node.name.startswith("test_")]
    return names


def number_of(test: str) -> list[str]:
    """Return the findings that a test is named by; `test_dstack_608_609_614_a_policy` is named by three."""
    found = re.match(r"test_([a-z]+)_((?:x?[0-9]+_)+)", test)
    assert found is not None, test
    numbers = found[2].strip("_").split("_")
    return [f"{found[1].upper()}-{number.upper().lstrip('0')}" for number in numbers]


def test_the_page_has_every_finding_once_and_no_other() -> None:
    assert [row.number for row in rows()] == FINDINGS


def test_the_reader_of_the_page_sees_every_row_of_its_tables() -> None:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    heads = [line for line in lines if line.startswith("| number |")]
    assert len(lines) - len(heads) == len(FINDINGS)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.number)
def test_a_row_says_what_holds_and_by_what(row: Row) -> None:
    assert len(row.cells) == 4
    assert row.verdict in VERDICTS
    assert bool(row.tests) == row.verdict.startswith("tested")
    assert all(cell for cell in row.cells)
    if row.verdict != "tested":
        assert (
            len(TEST.sub("", row.cells[-1].partition(":")[2]).strip(" ,;.")) > 20
        )  # the limit or the reason, in words


def test_every_test_that_a_row_names_exists_and_is_named_by_its_number() -> None:
    existing = set(existing_tests())
    for row in rows():
        assert set(row.tests) <= existing, row.number
        assert all(row.number in number_of(test) for test in row.tests), row.number


def test_every_test_stands_in_the_rows_of_its_numbers() -> None:
    named = {(row.number, test) for row in rows() for test in row.tests}
    assert len(existing_tests()) == len(set(existing_tests()))
    assert named == {(number, test) for test in existing_tests() for number in number_of(test)}
