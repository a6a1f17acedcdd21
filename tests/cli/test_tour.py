"""A tour of the command line on a terminal of 80 columns, as a text file to read.

``RUNNER_TEST_WRITE_TOUR=1`` writes it anew, with the commands that it has.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Sequence
from difflib import unified_diff
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from rich.cells import cell_len

from tests.support.project import Project, write_project
from tests.support.servers import Server
from tests.support.terminal import Terminal, screen

FOLDER = Path(__file__).parent / "tour"
TOUR = FOLDER / "tour.txt"
SHOP = """\
def greet(name="world"):
    return f"Hello, {name}!"


def report(region="eu"):
    print("building the report of", region)
    return {"rows": 3}
"""
ID = "7c6ffe98-0ef5-4c0b-91ab-65d2c4d9ddcf"
SPAN = r"\d+y \d+d|\d+d \d+h|\d+h \d\dm|\d+m \d\ds|\d+(?:\.\d+)? (?:ms|s)|\d+[smhdy]"
LISTS = ("help", "runs", "jobs", "workers", "queues", "stats", "audit", "upcoming", "status")
SURE = 40
"""Characters of a line with an ellipsis that are there in any case."""
ALIKE = [
    (r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", ID),
    (r"[0-9a-f]{8}-[0-9a-f-]*…", f"{ID[:18]}…"),
    (r"\b[0-9a-f]{8}\b(?!-)", ID[:8]),
    (r"celery-\d+-[^\s:]*", "celery-4711-9d0f3a@host"),
    (r"\b\w[\w.-]*(?<!3a)@host\b", "ann@host"),
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?(?:[+-]\d\d:\d\d|Z)", "2026-11-28 02:00:00+01:00"),
    (rf"\b(?:{SPAN}) ago\b|(?<=  )now\b|^now\b|(?<=SUCCESS )now\b", "2m ago"),
    (rf"\bin (?:{SPAN})", "in 2h"),
    (r"\b\d+(?:\.\d+)? (?:ms|s)\b", "120 ms"),
]
"""What differs from one time to the next, and what the tour has instead."""
_RUN = """
import contextlib, io, json, os, sys
from runner.cli.main import run
real = os.uname()
os.uname = lambda: os.uname_result((real.sysname, "host", *real[2:]))
for words in json.loads(sys.argv[1]):
    if "ID" in words:
        with contextlib.redirect_stdout(io.StringIO()) as newest, contextlib.redirect_stderr(io.StringIO()):
            run(["runs", "-n", "1", "-o", "name"])
        words[words.index("ID")] = newest.getvalue().strip()
    print("\\f", end="", flush=True)
    run(words)
"""


def show(project: Project, lines: Sequence[str]) -> str:
    """Return the commands with what a terminal shows of each; what differs from time to time is replaced."""
    arguments = json.dumps([shlex.split(line)[1:] for line in lines])
    with Terminal([sys.executable, "-c", _RUN, arguments], cwd=project.path, both=True) as terminal:
        assert terminal.end(deadline=150.0) == 0, terminal.text
        _, *answers = terminal.raw.split("\f")
    blocks = []
    for line, answer in zip(lines, answers, strict=True):
        shown = screen(answer, 1000)  # a message that is longer than the terminal stays whole here
        if line.split()[1] in LISTS:
            assert [row for row in shown if cell_len(row) > 80 and not row.startswith(("warning: ", "hint: "))] == []
        blocks.append("\n".join([f"$ {line}", *shown]).rstrip())
    text = "\n\n".join(blocks).replace(str(project.path), "/srv/shop").replace(project.redis_url, "redis://localhost")
    for pattern, sample in ALIKE:
        text = re.sub(rf"(?:{pattern})( {{2,}})?", partial(_padded, sample), text, flags=re.MULTILINE)
    return f"{text}\n"


def _padded(sample: str, match: re.Match[str]) -> str:
    """Return a sample in as many cells as what it stands for, if other columns follow."""
    return f"{sample}  ".ljust(len(match[0])) if match[1] else sample


def loose(text: str) -> list[str]:
    """Return lines to compare.

    Columns may be wider, so that texts are cut elsewhere. A quick run is not always seen while it is STARTED.
    """
    lines = [re.sub(" {2,}", "  ", line) for line in text.splitlines()]
    lines = [line[:SURE] if line.endswith("…") else line for line in lines]
    return [line for line in lines if not line.startswith(("PENDING ", "STARTED "))]


@pytest.mark.timeout(300)
def test_the_tour_shows_what_a_terminal_shows(redis_server: Server) -> None:
    written = TOUR.read_text("utf-8")
    lines = [line.removeprefix("$ ") for line in written.splitlines() if line.startswith("$ ")]
    assert len(lines) >= 25
    jobs = (FOLDER / "jobs.yaml").read_text("utf-8")
    # Where a text is cut hangs on the length of the path, which is the same every time.
    with TemporaryDirectory(prefix="tour", dir="/tmp") as folder:
        settings = {"timezone": "Europe/Berlin"}
        project = write_project(Path(folder) / "shop", redis_server.url, jobs, {"shop.py": SHOP}, settings)
        with project.worker():
            shown = show(project, lines)
    if os.environ.get("RUNNER_TEST_WRITE_TOUR"):
        written = shown
        TOUR.write_text(written, "utf-8")
    differences = unified_diff(loose(written), loose(shown), "tour.txt", "a terminal", lineterm="", n=1)
    assert not list(differences), "\n".join(differences)
