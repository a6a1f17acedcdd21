"""Runs that wait for other jobs, with real workers that are killed meanwhile."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from runner import submit_many
from runner.actions.project import Project as Opened
from runner.model.run import State
from tests.support.deadline import wait_until
from tests.support.project import Project
from tests.support.running import Running
from tests.support.work import FILES, JOBS

CHAIN: dict[str, Any] = {
    "extract": JOBS["echo"],
    "load": {**JOBS["echo"], "max_deliveries": 50, "require": [{"job": "extract", "within": "1h"}]},
    "report": {**JOBS["echo"], "max_deliveries": 50, "require": [{"job": "load", "within": "1h"}]},
    "echo": JOBS["echo"],
}


def test_none_starts_before_the_job_that_it_requires_and_none_is_lost(make_project: Callable[..., Project]) -> None:
    project = make_project(CHAIN, FILES, {"worker": {"lease": "2s"}})
    opened, dice = Opened.open(project.path), random.Random(5)
    loads = [run.id for run in submit_many("load", ({} for _ in range(60)), project=project.path)]
    reports = [run.id for run in submit_many("report", ({} for _ in range(60)), project=project.path)]

    def succeeded(ids: list[str]) -> int:
        return sum(run.state is State.SUCCESS for run in opened.ledger.get_many(ids))

    with ExitStack() as stack:
        workers: list[Running] = [stack.enter_context(project.worker(concurrency=2)) for _ in range(2)]

        def replace_one(worker: Running) -> None:
            os.kill(worker.pid, signal.SIGKILL)
            workers.remove(worker)
            workers.append(stack.enter_context(project.worker(concurrency=2)))

        # All processes are free for others.
        project.cli("submit", "echo", "--wait").check(0)
        explanation = project.cli("why", loads[0]).check().stdout
        assert "it waits for job extract to succeed: load requires that within 1h" in explanation
        [queue] = project.cli("queues", "--json").check().json
        assert (queue["waiting"], queue["held"]) == (0, 120)
        assert succeeded([*loads, *reports]) == 0

        extract = project.cli("submit", "extract", "--wait").check(0).id
        # Whoever has settled it, and everybody else, is gone before much could go on.
        for worker in list(workers):
            replace_one(worker)
        wait_until(lambda: succeeded(loads) > 10, 90.0, "runs end")
        replace_one(dice.choice(workers))
        wait_until(lambda: succeeded([*loads, *reports]) == 120, 90.0, "all runs end")

    ended = opened.ledger.get(extract).finished_at or ""
    done = opened.ledger.get_many([*loads, *reports])
    assert all(
        ended <= min(past_attempt["started_at"] for past_attempt in [*run.past_attempts, run.document()])
        for run in done
    )
    first = min(run.finished_at or "" for run in done if run.job == "load")
    assert all(first <= (run.started_at or "") for run in done if run.job == "report")
    assert not opened.ledger.client.exists(opened.ledger.keys.required)
