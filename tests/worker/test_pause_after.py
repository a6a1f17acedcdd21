"""``pause_after`` with real workers, which are killed in between."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from tests.support.project import Project
from tests.support.work import FILES

JOBS = {"wrong": {"task": "work:value_error", "pause_after": 2}, "fine": {"task": "work:environment"}}


def test_a_job_is_paused_whatever_becomes_of_its_workers(make_project: Callable[..., Project]) -> None:
    project = make_project(JOBS, FILES, {"worker": {"lease": "2s"}})
    for _ in range(2):
        with project.worker() as worker:
            project.cli("submit", "wrong", "--wait").check(1)
            os.kill(worker.pid, signal.SIGKILL)
    refused = project.cli("submit", "wrong").check(5)
    assert "was paused by runner at" in refused.stderr
    assert "2 runs in a row ended in FAILURE (pause_after)" in refused.stderr
    assert "resume wrong" in refused.stderr
    [job] = [job for job in project.cli("jobs", "--json").check().json if job["name"] == "wrong"]
    assert job["paused"]["by"] == "runner"
    with project.worker():
        project.cli("resume", "wrong").check()
        project.cli("submit", "wrong", "--wait").check(1)
        project.cli("submit", "wrong", "--wait").check(1)
        project.cli("submit", "wrong").check(5)
        project.cli("submit", "fine", "--wait").check()
