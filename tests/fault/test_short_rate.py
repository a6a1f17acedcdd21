"""The rate of starts while Redis, workers, and their processes are killed."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

from runner.actions.project import Project as Opened
from runner.actions.submit import submit
from runner.errors import Unavailable
from runner.model.run import State
from tests.fault.server import RedisServer
from tests.support.deadline import wait_until
from tests.support.processes import takers_of
from tests.support.project import write_project
from tests.support.running import Running
from tests.worker.test_rate import NOTES, WITNESS, begun, closest

RUNS, LIMIT, KILLS = 200, 20, 9


def test_no_start_is_forgotten_and_no_pass_leaks(tmp_path: Path) -> None:
    dice = Random(13)
    job: dict[str, Any] = {**NOTES, "rate": {"limit": LIMIT, "per": "1s"}}
    with RedisServer(tmp_path / "redis", fsync="always") as server, ExitStack() as stack:
        settings = {"worker": {"lease": "2s"}, "retention": {"runs": 1000}}
        project = write_project(tmp_path / "p", server.url, {"note": job}, {"witness.py": WITNESS}, settings)
        opened = Opened.open(project.path)
        keys = opened.ledger.keys
        ids = [submit(opened, "note", {"folder": str(tmp_path)}, trigger="api").id for _ in range(RUNS)]
        workers: list[Running] = [stack.enter_context(project.worker(concurrency=3)) for _ in range(2)]

        def ended() -> int:
            with server.client() as client:
                return int(client.zcard(keys.state("SUCCESS")))

        for number in range(KILLS):
            wait_until(lambda least=number: ended() >= least * RUNS // (KILLS + 1), 90.0, "runs end")  # type: ignore[misc]
            worker = dice.choice(workers)
            if number % 3 == 0:
                server.kill()
                server.start()
            elif number % 3 == 1:
                os.kill(worker.pid, signal.SIGKILL)
                workers.remove(worker)
                workers.append(stack.enter_context(project.worker(concurrency=3)))
            elif found := takers_of(worker.pid):
                os.kill(dice.choice(found), signal.SIGKILL)

        def over() -> bool:
            try:
                return all(run.final for run in opened.ledger.get_many(ids))
            except Unavailable:
                return False

        wait_until(over, 90.0, "all runs end")
        runs = opened.ledger.get_many(ids)
        assert {run.state for run in runs} == {State.SUCCESS}
        assert closest(list(begun(runs).values()), LIMIT) > 1.0
        with server.client() as client:
            assert not client.exists(keys.rates, keys.rated("note"), keys.named("passes:note")), "a pass leaked"
