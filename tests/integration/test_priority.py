"""The order in which a real worker takes runs that wait."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.support.project import Project

WORK = """
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
        project.submit("note", "-p", f"number={10 * priority + place}", "--priority", str(priority))
        for priority, place in _numbered(priorities)
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


def _numbered(priorities: list[int]) -> list[tuple[int, int]]:
    seen: dict[int, int] = {}
    numbered = []
    for priority in priorities:
        seen[priority] = seen.get(priority, -1) + 1
        numbered.append((priority, seen[priority]))
    return numbered
