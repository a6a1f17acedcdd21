"""The table of the guarantees names for each promise the tests that attack it, and they exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "guarantees.md"


def rows() -> dict[str, str]:
    """Return the tests of each promise, as the last column of the table has them."""
    table = PAGE.read_text("utf-8").partition("| promise | attack | test |\n")[2].partition("\n\n")[0]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[1:]]
    return {cells[0]: cells[-1] for cells in lines}


def test_there_are_promises() -> None:
    assert len(rows()) >= 15


@pytest.mark.parametrize(("promise", "tests"), rows().items(), ids=rows())
def test_a_promise_has_tests(promise: str, tests: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)`(?: \(([^)]*)\))?", tests)
    assert named, f"{promise}: no test is named"
    for path, functions in named:
        text = (ROOT / path).read_text("utf-8")
        for name in re.findall(r"`(\w+)`", functions):
            assert re.search(rf"^def test_\w*{name}|^ +def \w*{name}", text, re.MULTILINE), f"{path}: {name}"
