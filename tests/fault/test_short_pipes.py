"""Takers die after they were asked to take a run, others get their descriptors, and then the connection is lost."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from runner.actions.project import Project as Opened
from runner.actions.submit import submit
from runner.model.run import State
from tests.fault.server import RedisServer
from tests.support.deadline import wait_until
from tests.support.processes import takers_of
from tests.support.project import write_project
from tests.support.proxy import Proxy

MODULE = '''
import os, threading, time
from pathlib import Path

HERE = Path(__file__).parent

def setup():
    """Hold low descriptors until somebody writes to the pipe ``release``: pipes made later have other numbers then."""
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(int(os.environ["HELD"]))]

    def release():
        (HERE / "release").read_bytes()
        for descriptor in held:
            os.close(descriptor)
        (HERE / "released").touch()

    threading.Thread(target=release, daemon=True).start()

def wait():
    while not (HERE / "go").exists():
        time.sleep(0.02)

def work():
    pass
'''

JOBS = {"wait": {"task": "held:wait"}, "work": {"task": "held:work"}}


@pytest.mark.parametrize("held", range(2, 6))
def test_every_taker_takes_runs_after_takers_died_and_the_connection_was_lost(held: int, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis", fsync="no") as server, Proxy(("127.0.0.1", server.port)) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        project = write_project(tmp_path / "p", url, JOBS, {"held.py": MODULE}, {"setup": "held:setup"})
        os.mkfifo(project.path / "release")
        opened = Opened.open(write_project(tmp_path / "q", server.url, JOBS, {}, namespace=project.namespace).path)
        go = project.path / "go"
        client, ring = opened.ledger.client, f"{project.namespace}:ring:default"

        def states(ids: list[str]) -> set[State]:
            return {run.state for run in opened.ledger.get_many(ids)}

        def perform_two_at_once() -> None:
            ids = [submit(opened, "wait", {}, trigger="api").id for _ in range(2)]
            wait_until(lambda: states(ids) == {State.STARTED}, 60.0, "both takers perform a run at once")
            go.touch()
            wait_until(lambda: states(ids) == {State.SUCCESS}, 60.0, "both runs end")
            wait_until(lambda: heard_of(ids), 30.0, "the parent has heard that both takers are idle")
            go.unlink()

        def heard_of(ids: list[str]) -> bool:
            ended = max(run.finished_at or "" for run in opened.ledger.get_many(ids))
            return any(record.seen_at > ended and record.running == 0 for record in opened.ledger.workers())

        with project.worker(concurrency=2, env={"HELD": str(held)}) as worker:
            perform_two_at_once()
            first = sorted(takers_of(worker.pid))
            for taker in first:
                os.kill(taker, signal.SIGSTOP)
            ids = [submit(opened, "work", {}, trigger="api").id for _ in first]
            wait_until(lambda: not client.exists(ring), 30.0, "both takers are asked to take one")
            (project.path / "release").write_bytes(b"now")
            wait_until((project.path / "released").exists, 30.0, "low descriptors are free")
            for taker in first:
                os.kill(taker, signal.SIGKILL)
                wait_until(lambda pid=taker: replaced(worker.pid, pid), 30.0, "another taker is in its place")  # type: ignore[misc]
            wait_until(lambda: states(ids) == {State.SUCCESS}, 60.0, "the runs of the dead are performed")
            seen = len(worker.lines())
            proxy.cut()
            worker.wait_for("runner worker ready", 60.0, after=seen)
            perform_two_at_once()


def replaced(worker: int, taker: int) -> bool:
    found = takers_of(worker)
    return taker not in found and len(found) == 2
