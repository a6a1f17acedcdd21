"""The processes of one worker, ended or stopped one by one: the template, its takers, and the parent of both."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from runner.model.run import Run
from tests.fault.ours import NAMESPACE, RunnerSystem
from tests.fault.server import RedisServer
from tests.fault.system import Order
from tests.fault.verdict import details, judge
from tests.fault.witness import Start, Testimony
from tests.support.deadline import wait_until
from tests.support.processes import PROC, takers_of, templates_of
from tests.support.project import write_project

LEASE = 2.0

STARTS_ANOTHER = """
import os, subprocess
from pathlib import Path

def work():
    other = subprocess.Popen(["sleep", "600"])
    Path("pids.new").write_text(f"{os.getpid()} {other.pid}")
    Path("pids.new").rename("pids")
    other.wait()
"""


@pytest.fixture
def system(tmp_path: Path) -> Iterator[RunnerSystem]:
    with RedisServer(tmp_path, fsync="no") as server:
        system = RunnerSystem(tmp_path, server, server.port, lease=LEASE)
        try:
            yield system
        finally:
            for worker in (*system.workers, *system.ended):
                print(worker.stderr[-6000:])  # shown if the test fails
            system.close()


def starts(system: RunnerSystem, order: Order) -> list[Start]:
    return Testimony.read(system.witness).starts.get(order.id, [])


def run_of(system: RunnerSystem, order: Order) -> Run:
    return system.ledger.get(order.id)


def lives(pid: int) -> bool:
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def see_all_end(system: RunnerSystem) -> None:
    """Fail unless every run ends as it should, and the worker lives."""
    assert system.wait_for_all(60.0), "all runs end"
    row = judge(system, "", "", 0.0)
    assert row.kept, details(row)
    assert all(worker.alive for worker in system.workers)


@pytest.mark.parametrize("noted", [True, False], ids=["by-the-attack", "by-somebody-else"])
def test_a_run_that_may_start_once_fails_with_its_taker(system: RunnerSystem, noted: bool) -> None:
    system.start_workers(1, 1)
    order = Order("good", 300.0, job="once")
    system.accept([order])
    wait_until(lambda: starts(system, order), 30.0, "the job begins")
    if noted:
        assert system.kill_child(system.workers[0], Random(1))
    else:
        os.kill(system.workers[0].children[0], signal.SIGKILL)
    assert system.wait_for_all(60.0), "the run ends"
    found = run_of(system, order)
    assert (found.state, found.reason, len(starts(system, order))) == ("FAILURE", "worker_lost", 1)
    # The judge accepts this outcome after a death that it knows of, and no other.
    row = judge(system, "", "", 0.0)
    assert (row.kept, len(row.wrong)) == (noted, int(not noted)), details(row)


def test_a_worker_outlives_the_template_that_its_takers_are_forked_from(system: RunnerSystem) -> None:
    system.start_workers(1, 3)
    worker = system.workers[0]
    running = [Order("good", 4.0, job=job) for job in ("work", "work", "once")]
    system.accept(running)
    wait_until(lambda: all(starts(system, order) for order in running), 30.0, "all takers perform a run")
    system.accept([Order("good", 0.05) for _ in range(20)])
    (template,), takers = worker.helpers, worker.children
    # A run that may start only once ends with the process that performs it.
    del system.accepted[running[2].id]
    system.strangers = True
    system.kill_helpers(worker)
    wait_until(lambda: not any(lives(pid) for pid in takers), 10.0, "its takers die with it")
    wait_until(lambda: len(worker.children) == 3, 30.0, "there are as many takers as before")
    assert template not in worker.helpers
    see_all_end(system)
    assert [run_of(system, order).losses for order in running] == [1, 1, 1]
    assert run_of(system, running[2]).reason == "worker_lost"
    system.accept([Order("good", 0.0) for _ in range(10)])
    see_all_end(system)


def test_templates_may_die_one_after_the_other(system: RunnerSystem) -> None:
    system.start_workers(1, 2)
    worker = system.workers[0]
    for _ in range(4):
        (template,) = wait_until(lambda: worker.helpers, 30.0, "there is a template")
        system.accept([Order("good", 0.02) for _ in range(10)])
        system.kill_helpers(worker)
        wait_until(lambda former=template: worker.helpers not in ([], [former]), 30.0, "there is another one")  # type: ignore[misc]
    see_all_end(system)


def test_what_takers_have_started_ends_with_their_parent(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis", fsync="no") as server:
        jobs = {"work": {"task": "starts:work"}}
        project = write_project(tmp_path / "p", server.url, jobs, {"starts.py": STARTS_ANOTHER})
        with project.worker(concurrency=2) as worker:
            project.submit("work")
            wait_until((project.path / "pids").exists, 30.0, "the job has started another process")
            pids = [int(part) for part in (project.path / "pids").read_text().split()]
            pids += [*templates_of(worker.pid), *takers_of(worker.pid)]
            os.kill(worker.pid, signal.SIGKILL)
            wait_until(lambda: not any(lives(pid) for pid in pids), 10.0, "all of them are gone")


def test_a_stopped_taker_keeps_its_run(system: RunnerSystem) -> None:
    system.start_workers(1, 2)
    order = Order("good", 0.5, job="once")
    system.accept([order])
    start = wait_until(lambda: starts(system, order), 30.0, "the run starts")[0]
    os.kill(start.pid, signal.SIGSTOP)
    client, leases = system.ledger.client, f"{NAMESPACE}:leases"
    token = str(client.hget(f"{NAMESPACE}:run:{order.id}", "token"))
    since = float(client.zscore(leases, token) or 0)
    longer = since + 2000 * LEASE
    # Its parent lives, and renews the lease: a run that cannot be told from a slow one is nobody else's.
    wait_until(lambda: float(client.zscore(leases, token) or 0) > longer, 30.0, "its lease is renewed for two leases")
    assert run_of(system, order).state == "STARTED"
    os.kill(start.pid, signal.SIGCONT)
    see_all_end(system)
    assert (run_of(system, order).attempts, run_of(system, order).losses) == (1, 0)


def test_a_stopped_taker_is_ended_by_the_timeout_of_its_run(system: RunnerSystem) -> None:
    system.start_workers(1, 1)
    worker = system.workers[0]
    order = Order("good", 0.5, job="timed")
    system.submit(order)
    start = wait_until(lambda: starts(system, order), 30.0, "the run starts")[0]
    os.kill(start.pid, signal.SIGSTOP)
    wait_until(lambda: run_of(system, order).final, 30.0, "the run ends")
    found = run_of(system, order)
    assert (str(found.state), found.reason, found.attempts, found.losses) == ("FAILURE", "timeout", 1, 0)
    wait_until(lambda: worker.children and start.pid not in worker.children, 30.0, "another taker is in its place")
    behind = Order("good", 0.0)
    system.submit(behind)
    wait_until(lambda: run_of(system, behind).state == "SUCCESS", 30.0, "runs go on")


def test_takers_of_a_stopped_parent_take_nothing_more(system: RunnerSystem) -> None:
    system.start_workers(1, 2)
    worker = system.workers[0]
    running = [Order("good", 1.0) for _ in range(2)]
    system.accept(running)
    wait_until(lambda: all(starts(system, order) for order in running), 30.0, "all takers perform a run")
    since = system.freeze(worker, whole=False)
    system.accept([Order("good", 0.02) for _ in range(10)])
    # They have ended what they performed, and found that nobody would renew the lease of another one.
    wait_until(lambda: time.monotonic() > since + LEASE, 30.0, "a lease has passed")
    wait_until(lambda: all(run_of(system, order).final for order in running), 30.0, "what they performed is settled")
    late = [Order("good", 0.0) for _ in range(10)]
    system.accept(late)
    before = len(Testimony.read(system.witness).starts)
    wait_until(lambda: time.monotonic() > since + 3 * LEASE, 30.0, "two more have passed")
    assert len(Testimony.read(system.witness).starts) == before, "a run was started under a lease that nobody renews"
    assert {str(run_of(system, order).state) for order in late} == {"PENDING"}
    system.thaw(worker, since)
    see_all_end(system)
    assert system.ledger.client.zcard(f"{NAMESPACE}:leases") == 0
