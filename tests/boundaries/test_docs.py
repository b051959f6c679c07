"""Documents that are made from the code say what the code says."""

from docs.render_tasks import render
from tests.running import ROOT


def test_the_page_of_tasks_is_made_from_the_schemas() -> None:
    assert (ROOT / "docs" / "tasks.md").read_text() == render(), "run: python docs/render_tasks.py > docs/tasks.md"


def test_every_field_is_described() -> None:
    rows = [line.split(" | ") for line in render().splitlines() if line.startswith("| `")]
    assert rows
    assert [row[0] for row in rows if len(row) != 3 or len(row[2]) < 10] == []
