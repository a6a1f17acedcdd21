"""A project with schedules, for ``tick``, ``scheduler``, and ``upcoming``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.project import Project, write_project
from tests.support.servers import Server

JOBS = """\
jobs:
  second: {task: "time:time", schedule: {every: 1s}}
  night:
    task: time:time
    tags: [nightly]
    schedule: {cron: "30 2 * * *", timezone: Europe/Berlin, jitter: 10m}
  idle: {task: "time:time", enabled: false, schedule: "@daily"}
  by-hand: {task: "time:time"}
"""


@pytest.fixture
def scheduled(tmp_path: Path, redis_server: Server) -> Project:
    """A project with schedules, and without a worker."""
    return write_project(tmp_path / "p", redis_server.url, JOBS, settings={"timezone": "Europe/Berlin"})


def slots(project: Project, job: str) -> list[str]:
    runs = project.cli("runs", "--job", job, "--limit", "1000", "--json").check().json
    assert all(run["trigger"] == "schedule" for run in runs)
    return sorted(run["slot"] for run in runs)
