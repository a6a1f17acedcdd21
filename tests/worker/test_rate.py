"""The rate of starts seen from outside: each attempt writes down when it began."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from runner import submit_many
from runner.actions.project import Project as Opened
from runner.actions.submit import submit
from runner.model.run import Run, State, to_datetime
from tests.support.deadline import wait_until
from tests.support.processes import takers_of
from tests.support.project import Project
from tests.support.running import Running
from tests.support.work import FILES, JOBS

WITNESS = """
import os, time
from runner import current_run

def note(folder):
    now, run = time.time(), current_run()
    file = os.open(f"{folder}/starts", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{run.id} {run.attempt} {now}\\n".encode())
    os.close(file)
"""

LIMIT, PER = 100, 2.0
RUNS = 1000
KILLS = 8

NOTES: dict[str, Any] = {
    "task": "witness:note",
    "params": {"folder": {"type": "string"}},
    "max_deliveries": 50,
    "rate": {"limit": LIMIT, "per": "2s"},
}


def begun(runs: list[Run]) -> dict[tuple[str, int], float]:
    """Return when each attempt began, by Redis' clock."""
    found: dict[tuple[str, int], float] = {}
    for run in runs:
        times = {past_attempt["attempt"]: past_attempt["started_at"] for past_attempt in run.past_attempts} | {
            run.attempts: run.started_at
        }
        found |= {(run.id, attempt): to_datetime(at or "").timestamp() for attempt, at in times.items()}
    return found


def closest(times: list[float], limit: int) -> float:
    """Return the shortest time in which more than ``limit`` of ``times`` lie."""
    times = sorted(times)
    return min(after - before for before, after in zip(times, times[limit:], strict=False))


def test_never_more_start_than_the_rate_says_whatever_is_killed(
    make_project: Callable[..., Project], tmp_path: Path
) -> None:
    settings = {"worker": {"lease": "2s"}, "retention": {"runs": RUNS}}
    project = make_project({"note": NOTES}, {**FILES, "witness.py": WITNESS}, settings)
    opened, dice = Opened.open(project.path), random.Random(9)
    made = submit_many("note", ({"folder": str(tmp_path)} for _ in range(RUNS)), project=project.path)
    ids = [run.id for run in made]
    with ExitStack() as stack:
        workers: list[Running] = [stack.enter_context(project.worker(concurrency=3)) for _ in range(2)]

        def ended() -> int:
            return int(opened.ledger.client.zcard(opened.ledger.keys.state("SUCCESS")))

        for number in range(KILLS):
            wait_until(lambda least=number: ended() >= least * RUNS // (KILLS + 1), 120.0, "runs end")  # type: ignore[misc]
            worker = dice.choice(workers)
            if number % 3 == 2:
                os.kill(worker.pid, signal.SIGKILL)
                workers.remove(worker)
                workers.append(stack.enter_context(project.worker(concurrency=3)))
            elif found := takers_of(worker.pid):
                os.kill(dice.choice(found), signal.SIGKILL)
        wait_until(lambda: ended() == RUNS, 120.0, "all runs end")

    runs = opened.ledger.get_many(ids)
    assert {run.state for run in runs} == {State.SUCCESS}
    starts = begun(runs)
    assert closest(list(starts.values()), LIMIT) > PER
    lines = [line.split() for line in (tmp_path / "starts").read_text().splitlines()]
    seen = {(run_id, int(attempt)): float(at) for run_id, attempt, at in lines}
    assert {run_id for run_id, _ in seen} == set(ids)
    # From its start until it could write, an attempt took some time; by as much they may lie closer.
    lag = max(at - starts[attempt] for attempt, at in seen.items())
    assert closest(list(seen.values()), LIMIT) > PER - lag
    client, keys = opened.ledger.client, opened.ledger.keys
    assert not client.exists(keys.rates, keys.rated("note"), keys.named("passes:note")), "a pass leaked"


def test_a_run_that_waits_for_its_rate_keeps_no_taker(make_project: Callable[..., Project], tmp_path: Path) -> None:
    slow = {**NOTES, "rate": {"limit": 1, "per": "1h"}}
    project = make_project({"note": slow, "echo": JOBS["echo"]}, {**FILES, "witness.py": WITNESS})
    opened = Opened.open(project.path)
    with project.worker(concurrency=1):
        first, *others = [submit(opened, "note", {"folder": str(tmp_path)}, trigger="api").id for _ in range(5)]
        project.cli("wait", first).check(0)
        project.cli("submit", "echo", "--wait").check(0)
    runs = opened.ledger.get_many(others)
    assert {(run.state, run.detail) for run in runs} == {(State.PENDING, "waiting for its rate limit")}
    assert opened.ledger.client.hlen(opened.ledger.keys.claims) == 0
    explanation = project.cli("why", others[1]).check().stdout
    assert "it waits for its rate limit (1 start in 1h), until" in explanation
    assert "1 run is waiting before it" in explanation


def test_those_that_wait_start_in_their_order(make_project: Callable[..., Project], tmp_path: Path) -> None:
    project = make_project({"note": {**NOTES, "rate": {"limit": 2, "per": "500ms"}}}, {**FILES, "witness.py": WITNESS})
    opened = Opened.open(project.path)
    with project.worker(concurrency=1):
        ids = [submit(opened, "note", {"folder": str(tmp_path)}, trigger="api").id for _ in range(7)]
        wait_until(lambda: all(run.final for run in opened.ledger.get_many(ids)), 60.0, "all runs end")
    assert [line.split()[0] for line in (tmp_path / "starts").read_text().splitlines()] == ids
