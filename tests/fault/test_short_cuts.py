"""A taker has got a run, and does not know it yet, when the connection breaks or the worker is asked to stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.model.run import Run
from tests.fault.boundaries import load_scripts, script_of
from tests.fault.ours import NAMESPACE, RunnerSystem
from tests.fault.server import RedisServer
from tests.fault.system import Order
from tests.fault.witness import Start, Testimony
from tests.support.deadline import wait_until
from tests.support.proxy import Command, Proxy, Verdict

RENEWALS = 6
"""How many of them happen in two leases."""


class Scene:
    """A worker with one taker. The answer to its question for a run is held back."""

    def __init__(self, folder: Path, server: RedisServer, proxy: Proxy, lease: float) -> None:
        self.system = RunnerSystem(folder, server, proxy.port, lease=lease)
        self.proxy = proxy
        self.script = "take"
        """The script whose answer is held back."""
        self.lost = False
        """Whether no question after the first one gets through, for two leases."""
        self.cut_off = False
        """Whether nothing that the worker sends after the first question gets through."""
        self.asked, self.go_on, self.renewed = threading.Event(), threading.Event(), threading.Event()
        self._renewals = 0
        # From the start, since connections from before know no gate.
        proxy.gate = self._gate

    def _gate(self, command: Command) -> Verdict:
        script = script_of(command)
        if script == "renew" and self.asked.is_set():
            self._renewals += 1
            if self._renewals >= RENEWALS:
                self.renewed.set()
        if self.cut_off and self.asked.is_set() and not self.go_on.is_set():
            return "cut-before"
        if script != self.script or self.go_on.is_set():
            return "pass"
        if not self.asked.is_set():
            if script == "take" and not self.waits():
                return "pass"
            self.asked.set()
            return "hold-answer"
        return "cut-before" if self.lost else "pass"

    def waits(self) -> bool:
        """Whether there is a run to be taken."""
        with self.system.server.client() as client:
            return any(client.scan_iter(f"{NAMESPACE}:queue:*"))

    def begin(self, order: Order, digest: str | None = None) -> None:
        """Have the taker get ``order``, of this version of the job, without knowing it."""
        with self.system.server.client() as client:
            load_scripts(client)
            self.system.start_workers(1, 1)
            known = f"{NAMESPACE}:known:*"
            wait_until(lambda: any(client.scan_iter(known)), 30.0, "the worker has told which jobs it starts")
            # Its first question may cross the submission: that one passes the gate, and gets the run.
            wait_until(
                lambda: any(connection["cmd"] == "blpop" for connection in client.client_list()),
                30.0,
                "its taker waits",
            )
        self.worker = self.system.workers[0]
        self.order = order
        self.system.submit(order, digest=digest)
        assert self.asked.wait(30.0), "the taker asks for the run"
        wait_until(lambda: self.run.state == "STARTED", 30.0, "the taker has got the run")
        assert not self.starts
        (self.taker,) = self.worker.children

    def tell_it(self) -> None:
        """Let the answer pass, or that of a later question, where it is lost for two leases."""
        if self.lost:
            assert self.renewed.wait(60.0), "the lease is renewed meanwhile"
        self.go_on.set()
        self.proxy.answers.set()

    @property
    def run(self) -> Run:
        return self.system.ledger.get(self.order.id)

    @property
    def starts(self) -> list[Start]:
        return Testimony.read(self.system.witness).starts.get(self.order.id, [])

    def judge(self, state: str = "SUCCESS", starts: int = 1) -> None:
        """Fail unless the run ends in ``state`` after one start."""
        wait_until(lambda: self.run.final, 60.0, "the run ends")
        found = self.run
        assert (str(found.state), found.attempts, found.losses) == (state, starts, 0), found.document()
        assert len(self.starts) == 1

    def close(self) -> None:
        self.go_on.set()
        self.proxy.answers.set()
        print(self.system.workers[0].stderr[-6000:])  # shown if the test fails
        self.proxy.gate = None
        self.system.close()


def cut(scene: Scene) -> None:
    scene.proxy.cut()


def terminate_worker(scene: Scene) -> None:
    scene.worker.signal(signal.SIGTERM)
    scene.worker.wait_for("stopping: no new work", 30.0)


@pytest.mark.parametrize("lost", [False, True], ids=["late", "lost"])
@pytest.mark.parametrize("job", ["work", "once"])
@pytest.mark.parametrize("harm", [cut, terminate_worker])
def test_a_run_that_a_taker_has_got_is_not_given_back(
    harm: Callable[[Scene], None], job: str, lost: bool, tmp_path: Path
) -> None:
    with RedisServer(tmp_path, fsync="no") as server, Proxy(("127.0.0.1", server.port)) as proxy:
        scene = Scene(tmp_path, server, proxy, lease=2.0 if lost else 60.0)
        scene.lost = lost
        try:
            scene.begin(Order("good", 1.0, job=job))
            harm(scene)
            if lost:
                proxy.cut()
            scene.tell_it()
            scene.judge()
            if harm is terminate_worker:
                assert scene.worker.wait(60.0) == 0
            else:
                assert scene.worker.alive
            wait_until(lambda: not server.client().hlen(f"{NAMESPACE}:claims"), 30.0, "no claim is left")
        finally:
            scene.close()


def test_what_a_taker_has_got_unheard_can_be_terminated(tmp_path: Path) -> None:
    with RedisServer(tmp_path, fsync="no") as server, Proxy(("127.0.0.1", server.port)) as proxy:
        scene = Scene(tmp_path, server, proxy, lease=60.0)
        try:
            scene.begin(Order("good", 300.0))
            scene.system.ledger.revoke(scene.order.id, by="test", terminate=True)
            cut(scene)
            scene.tell_it()
            scene.judge("REVOKED")
        finally:
            scene.close()


def test_what_a_taker_has_got_unheard_has_a_timeout(tmp_path: Path) -> None:
    with RedisServer(tmp_path, fsync="no") as server, Proxy(("127.0.0.1", server.port)) as proxy:
        scene = Scene(tmp_path, server, proxy, lease=60.0)
        try:
            scene.begin(Order("good", 300.0, job="timed"))
            cut(scene)
            scene.tell_it()
            scene.judge("FAILURE")
            assert scene.run.reason == "timeout"
        finally:
            scene.close()


def test_the_death_of_a_taker_that_was_told_late_is_noticed_at_once(tmp_path: Path) -> None:
    with RedisServer(tmp_path, fsync="no") as server, Proxy(("127.0.0.1", server.port)) as proxy:
        scene = Scene(tmp_path, server, proxy, lease=300.0)
        try:
            scene.begin(Order("good", 300.0, job="once"))
            cut(scene)
            scene.tell_it()
            wait_until(lambda: scene.starts, 30.0, "the job begins")
            os.kill(scene.taker, signal.SIGKILL)
            wait_until(lambda: scene.run.final, 60.0, "its death is noticed, long before its lease runs out")
            assert scene.run.reason == "worker_lost"
        finally:
            scene.close()


@pytest.mark.parametrize("script", ["take", "start"])
@pytest.mark.parametrize("job", ["work", "once"])
def test_a_taker_that_is_told_after_its_lease_does_not_perform_the_run(job: str, script: str, tmp_path: Path) -> None:
    with RedisServer(tmp_path, fsync="no") as server, Proxy(("127.0.0.1", server.port)) as proxy:
        scene = Scene(tmp_path, server, proxy, lease=1.0)
        scene.script, scene.cut_off = script, True
        try:
            scene.begin(Order("good", 0.0, job=job), "sha256:0" if script == "start" else None)
            wait_until(lambda: swept(scene), 30.0, "another worker finds that its lease has expired")
            scene.tell_it()
            scene.worker.wait_for("is not performed here: its lease expired", 30.0)
            wait_until(lambda: scene.run.final, 60.0, "the run ends")
            found = scene.run
            assert (found.reason, len(scene.starts)) == ((None, 1) if job == "work" else ("worker_lost", 0))
            assert (found.attempts, found.losses) == ((2, 1) if job == "work" else (1, 1)), found.document()
        finally:
            scene.close()


def swept(scene: Scene) -> bool:
    """Return whether the run was lost, after a beat of another worker, which takes nothing."""
    scene.system.ledger.beat(worker="other", keep=60, lease=1.0, record={})
    return scene.run.losses > 0


@pytest.mark.parametrize("job", ["work", "once"])
def test_a_taker_that_is_killed_before_it_hears_its_answer_costs_its_run_nothing(job: str, tmp_path: Path) -> None:
    with RedisServer(tmp_path, fsync="no") as server, Proxy(("127.0.0.1", server.port)) as proxy:
        scene = Scene(tmp_path, server, proxy, lease=300.0)
        try:
            scene.begin(Order("good", 0.0, job=job))
            os.kill(scene.taker, signal.SIGKILL)
            # No line of the job has been performed, so it may start again, however often it may be delivered.
            scene.go_on.set()
            scene.judge(starts=2)
            assert scene.starts[0].pid != scene.taker
            wait_until(lambda: not server.client().hlen(f"{NAMESPACE}:claims"), 30.0, "no claim is left")
        finally:
            scene.close()
