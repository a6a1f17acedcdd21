"""A project with a worker that has told what it runs, for ``plan``, ``workers``, and ``queues``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.jobs import FILES
from tests.support.deadline import wait_until
from tests.support.project import Project, write_project
from tests.support.running import Running

PASSWORD = "correct-horse-battery"
JOBS = f"""\
jobs:
  hello:
    task: "clijobs:hello"
    timeout: 30s
    env: {{PASSWORD: {PASSWORD}, MODE: one}}
  nightly:
    task: "clijobs:hello"
    schedule: "0 2 * * *"
  gone: {{task: "clijobs:hello"}}
"""
CHANGED = (
    JOBS.replace("timeout: 30s", "timeout: 1m\n    retry: {max_retries: 2}")
    .replace(PASSWORD, "another-password")
    .replace("0 2", "0 3")
    .replace("gone", "fresh")
)


@pytest.fixture
def fleet(make_project: Callable[..., Project]) -> Iterator[tuple[Project, Running]]:
    """A project, and a worker of it that has told what it runs."""
    project = make_project(JOBS, FILES)
    with project.worker(concurrency=1) as worker:
        wait_until(lambda: any(record["catalog"] for record in workers(project)), 30.0, "the worker tells what it runs")
        yield project, worker


def workers(project: Project) -> list[dict[str, Any]]:
    return list(project.cli("workers", "--json").check().json)


def beside(project: Project, jobs: str, tmp_path: Path) -> Project:
    """Return the same project with other jobs, as somebody has it who has not deployed yet."""
    return write_project(tmp_path / "beside", project.redis_url, jobs, FILES, None, project.namespace)
