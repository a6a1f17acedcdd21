"""``runner queues``, seen from outside."""

from __future__ import annotations

from collections.abc import Callable

from tests.cli.fleet import JOBS
from tests.cli.jobs import FILES
from tests.support.project import Project


def test_queues(make_project: Callable[..., Project]) -> None:
    project = make_project(JOBS, FILES)
    for priority in ("9", "9", "2"):
        project.submit("hello", "--priority", priority)
    project.submit("hello", "--in", "1h")
    project.submit("hello", "--queue", "other")
    first, other = project.cli("queues", "--json").check().json
    assert set(first) == {"name", "waiting", "priorities", "delayed", "held", "workers"} | {
        *("concurrency", "running", "oldest", "hints")
    }
    assert (first["name"], first["waiting"], first["priorities"]) == ("default", 3, {"9": 2, "2": 1})
    assert (first["delayed"], first["workers"], first["concurrency"]) == (1, 0, 0)
    assert first["oldest"] > 0
    assert (other["name"], other["waiting"]) == ("other", 1)
    result = project.cli("queues").check()
    headings = ["QUEUE", "WAITING", "PRIORITIES", "DELAYED", "HELD", "WORKERS", "OLDEST"]
    assert result.stdout.splitlines()[0].split() == headings
    assert f"no worker takes from queue other: runner worker -Q other --project {project.path}\n" in result.stderr
