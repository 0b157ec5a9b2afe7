"""``docs/faults.md``: a row for each fault, and every test that it names exists."""

import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
ROWS = [line for line in (CHECKOUT / "docs/faults.md").read_text().splitlines() if re.match(r"\| \d+ \|", line)]
NAMED = sorted(set(re.findall(r"(\*\*)?(test_\w+\.py)::(test_\w+)", "\n".join(ROWS))))


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_every_fault_has_a_row_with_all_its_cells():
    assert [int(cells(row)[0]) for row in ROWS] == list(range(1, 39))
    assert all(len(cells(row)) == 6 and all(cells(row)) for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"fault {cells(row)[0]}")
def test_a_row_names_its_tests_or_says_that_they_are_to_come(row):
    assert re.search(r"test_\w+\.py::test_\w+", cells(row)[5]) or cells(row)[5] == "to come"


@pytest.mark.parametrize(("bold", "file", "name"), NAMED)
def test_every_test_named_exists(bold, file, name):
    found = list((CHECKOUT / "test").rglob(file))
    assert len(found) == 1, f"expected one file {file}, found {len(found)}"
    assert re.search(rf"^(async )?def {name}\(", found[0].read_text(), re.MULTILINE)
    assert (found[0].parent.name == "system") == bool(bold), "bold are the tests with real processes"
