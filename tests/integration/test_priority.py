"""The order in which a real worker takes runs that wait."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from runner.actions.project import Project as Opened
from runner.actions.submit import submit
from runner.model.submit_options import SubmitOptions
from tests.support.deadline import wait_until
from tests.support.project import Project

WORK = """
import time
from pathlib import Path

def hold(name):
    Path(f"holding-{name}").touch()
    end = time.monotonic() + 90
    while not Path(f"release-{name}").exists() and time.monotonic() < end:
        time.sleep(0.02)

def note(number):
    with open("order", "a") as file:
        file.write(f"{number}\\n")
"""


def order(project: Project, ids: list[str]) -> list[int]:
    with project.worker(concurrency=1):
        project.cli("wait", *ids, timeout=90.0).check()
    return [int(line) for line in (project.path / "order").read_text().split()]


def test_each_of_ten_priorities_is_served_before_the_lower_ones(make_project: Callable[..., Project]) -> None:
    job = {"task": "work:note", "params": {"number": {"type": "integer"}}}
    project = make_project({"note": job}, {"work.py": WORK})
    priorities = [*range(10), *range(10)]
    random.Random(7).shuffle(priorities)
    ids = [
        project.submit("note", "-p", f"number={10 * priority + index}", "--priority", str(priority))
        for priority, index in _numbered(priorities)
    ]
    served = order(project, ids)
    # Highest first; runs of one priority in the order in which they were submitted.
    assert served == sorted(served, key=lambda number: (-(number // 10), number % 10))
    assert len(served) == 20


def test_the_priority_of_the_job_counts_where_the_submitter_gives_none(make_project: Callable[..., Project]) -> None:
    params = {"number": {"type": "integer"}}
    jobs = {f"p{priority}": {"task": "work:note", "params": params, "priority": priority} for priority in (0, 3, 5, 9)}
    jobs["plain"] = {"task": "work:note", "params": params}
    project = make_project(jobs, {"work.py": WORK})
    wanted = [("p0", 0), ("p5", 5), ("plain", 6), ("p3", 3), ("p9", 9)]
    ids = [project.submit(job, "-p", f"number={number}") for job, number in wanted]
    assert order(project, ids) == [9, 5, 6, 3, 0]


HOLD_AND_NOTE = {
    "hold": {"task": "work:hold", "params": {"name": {"type": "string"}}},
    "note": {"task": "work:note", "params": {"number": {"type": "integer"}}},
}


def hold(project: Project, name: str) -> tuple[str, Path]:
    """Keep a taker busy; return the run, and the file that ends it."""
    run_id = project.submit("hold", "-p", f"name={name}")
    wait_until((project.path / f"holding-{name}").exists, 30.0, "a worker is busy")
    return run_id, project.path / f"release-{name}"


def note(project: Project, numbers: range, priority: int = 5) -> list[str]:
    opened = Opened.open(project.path)
    return [
        submit(opened, "note", {"number": number}, options=SubmitOptions(priority=priority), trigger="api").id
        for number in numbers
    ]


def test_a_run_of_priority_9_is_the_next_to_start_however_many_wait(make_project: Callable[..., Project]) -> None:
    project = make_project(HOLD_AND_NOTE, {"work.py": WORK})
    with project.worker(concurrency=1), project.worker(concurrency=1):
        (first, release), (second, release_second) = hold(project, "a"), hold(project, "b")
        ids = [*note(project, range(8)), *note(project, range(9, 10), priority=9)]
        release.touch()
        project.cli("wait", *ids, timeout=60.0).check()
        release_second.touch()
        project.cli("wait", first, second, timeout=60.0).check()
    assert (project.path / "order").read_text().split() == list("901234567")


def test_no_run_waits_while_a_taker_is_idle(make_project: Callable[..., Project]) -> None:
    project = make_project(HOLD_AND_NOTE, {"work.py": WORK})
    with project.worker(concurrency=1), project.worker(concurrency=1):
        ids = note(project, range(2))
        long, release = hold(project, "long")
        ids += note(project, range(2, 10))
        project.cli("wait", *ids, timeout=60.0).check()
        assert project.document(long)["state"] == "STARTED"
        release.touch()
        project.cli("wait", long, timeout=60.0).check()


def _numbered(priorities: list[int]) -> list[tuple[int, int]]:
    seen: dict[int, int] = {}
    numbered = []
    for priority in priorities:
        seen[priority] = seen.get(priority, -1) + 1
        numbered.append((priority, seen[priority]))
    return numbered
