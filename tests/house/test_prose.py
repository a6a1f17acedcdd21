"""The check of our prose finds the worst habits, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROSE = Path(__file__).parents[2] / ".ci/prose.py"

BAD = [
    "Return what the ledger knows.",
    "Return why a run ended.",
    "The user is told of it.",
    "So many attempts may fail.",
    "A run that is no\n    flow is skipped.",
    "Return its id; None else.",
    "A queue, e.g. default.",
    "A run can not start.",
    "It waits for ever.",
]
GOOD = [
    "Return the reason why a run ended, or None if there is no reason.",
    "It is no longer there, and nobody else can be told apart.",
    "Write ``return what`` or `is no flow` as code.",
]


def found(file: Path, text: str) -> str:
    file.write_text(text, "utf-8")
    return subprocess.run([sys.executable, PROSE, file], stdout=subprocess.PIPE, text=True).stdout


@pytest.mark.parametrize(
    "place", ['def run():\n    """{}"""\n', "# {}\n", "raise ValueError('''{} Read the documentation first''')\n"]
)
def test_bad_prose_is_found_in_code(tmp_path: Path, place: str) -> None:
    comment = place.startswith("#")
    bad = [place.format(text.replace("\n    ", "\n# " if comment else "\n    ")) for text in BAD]
    assert [text for text in bad if not found(tmp_path / "job.py", text)] == []
    good = "\n".join(place.format(text) for text in GOOD if "return what" not in text or "raise" not in place)
    assert found(tmp_path / "job.py", good) == ""


def test_pages_are_checked_without_their_code(tmp_path: Path) -> None:
    page = "# A page\n\n```sh\necho so many\n```\n\nA run is `so many`. \n\nIt is no\nflow, e.g. here.\n"
    lines = found(tmp_path / "page.md", page).splitlines()
    assert [line.split(":")[1] for line in lines] == ["9", "9"]
