"""The limit of concurrency while workers, children and Redis are killed; seen from outside, by locks on files."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path
from random import Random

from runner.actions.project import Project as Opened
from runner.actions.submit import submit
from runner.errors import Unavailable
from runner.model.run import State
from tests.fault.server import RedisServer
from tests.support.deadline import wait_until
from tests.support.processes import takers_of
from tests.support.project import write_project
from tests.support.running import Running
from tests.worker.test_concurrency import HOLDS, WITNESS, read

RUNS = 200
KILLS = 12


def test_no_slot_is_leaked_or_given_twice(tmp_path: Path) -> None:
    dice = Random(11)
    with RedisServer(tmp_path / "redis", fsync="always") as server, ExitStack() as stack:
        settings = {"worker": {"lease": "2s"}, "retention": {"runs": 1000}}
        project = write_project(tmp_path / "p", server.url, {"hold": HOLDS}, {"witness.py": WITNESS}, settings)
        opened = Opened.open(project.path)
        namespace = opened.ledger.namespace
        params = {"folder": str(tmp_path), "seconds": 0.02}
        ids = [submit(opened, "hold", params, trigger="api").id for _ in range(RUNS)]
        workers: list[Running] = [stack.enter_context(project.worker(concurrency=3)) for _ in range(2)]

        def ended() -> int:
            with server.client() as client:
                return int(client.zcard(f"{namespace}:state:SUCCESS"))

        for number in range(KILLS):
            wait_until(lambda least=number: ended() >= least * RUNS // (2 * KILLS), 90.0, "runs end")  # type: ignore[misc]
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
        assert {run.state for run in opened.ledger.get_many(ids)} == {State.SUCCESS}
        assert not [line for line in read(tmp_path) if "violation" in line]
        with server.client() as client:
            assert not client.exists(f"{namespace}:holders:hold", f"{namespace}:waiting:hold"), "a slot leaked"
