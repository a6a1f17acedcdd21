"""Breaks off at each command that a submitter or a worker sends, and counts the messages that a run has then.

A run that is not final has exactly one live message, at every boundary: before the command reached Redis, and after
Redis obeyed but before the answer came back; whether the connection is cut there, or the process is killed.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from runner.ledger.scripts import digest
from tests.fault.ours import NAMESPACE, RunnerSystem, live_messages
from tests.fault.system import Order
from tests.fault.witness import Testimony
from tests.support.deadline import wait_until
from tests.support.proxy import Command, Verdict

if TYPE_CHECKING:
    from tests.fault.attacks import Field

Harm = Literal["cut-before", "cut-after", "kill-before", "kill-after"]
Target = Literal["worker", "child"]

FINAL = ("SUCCESS", "FAILURE", "REVOKED")


@dataclass(frozen=True)
class Boundary:
    """Where a worker is broken off: at which script, how, and which of its processes is killed."""

    script: str
    harm: Harm
    target: Target = "worker"


def boundaries() -> Iterator[Boundary]:
    """Yield every boundary of an attempt in a worker."""
    harms: tuple[Harm, ...] = ("cut-before", "cut-after", "kill-before", "kill-after")
    for script in ("claim", "start", "settle", "retry", "hand_back"):
        for harm in harms:
            targets: tuple[Target, ...] = ("worker",)
            if harm.startswith("kill") and script in ("start", "settle", "retry"):
                targets = ("worker", "child")
            for target in targets:
                yield Boundary(script, harm, target)


def script_of(command: Command) -> str | None:
    """Return the name of the script that a command runs, or None."""
    if command.name != "EVALSHA":
        return None
    for package, names in (
        ("runner.delivery", ("claim", "renew", "drop")),
        ("runner.ledger", ("start", "settle", "retry", "hand_back", "lost", "fail", "beat", "progress", "submit")),
    ):
        for name in names:
            if command.words[1].decode() == digest(package, name):
                return name
    return None


class Trap:
    """A gate of the proxy that springs once, at one script for one run."""

    def __init__(self, field: Field, boundary: Boundary) -> None:
        self._field, self._boundary = field, boundary
        self._mutex = threading.Lock()
        self.sprung = threading.Event()

    def __call__(self, command: Command) -> Verdict:
        """Judge a command."""
        if script_of(command) != self._boundary.script:
            return "pass"
        with self._mutex:
            if self.sprung.is_set():
                return "pass"
            if self._boundary.script == "claim" and not self._has_work():
                return "pass"
            self.sprung.set()
        harm, _, when = self._boundary.harm.partition("-")
        if harm == "kill" and when == "before":
            self._kill()
            return "cut-before"
        if harm == "kill":
            # Killed once Redis has obeyed: the answer is withheld, so the process waits for it until then.
            threading.Timer(0.2, self._kill).start()
            return "cut-after"
        return "cut-before" if when == "before" else "cut-after"

    def _has_work(self) -> bool:
        with self._field.server.client() as client:
            return any(client.scan_iter(f"{NAMESPACE}:queue:*"))

    def _kill(self) -> None:
        system = self._field.system
        worker = system.workers[0]
        if self._boundary.target == "worker":
            system.kill_worker(worker)
        else:
            for pid in worker.children:
                system.deaths.add([pid], time.monotonic())
                os.kill(pid, signal.SIGKILL)
            system.deaths.killed += 1


def break_off_everywhere(field: Field) -> None:
    """Break a worker off at each boundary in turn; each run must come to its end all the same."""
    system = field.system
    assert isinstance(system, RunnerSystem)
    with field.server.client() as client:
        for number, boundary in enumerate(boundaries()):
            if field.size.kills and number % max(1, round(22 / max(1, field.size.kills))):
                continue
            _break_off(field, system, client, boundary)


def _break_off(field: Field, system: RunnerSystem, client: Any, boundary: Boundary) -> None:
    if not any(worker.alive for worker in system.workers):
        system.start_workers(1, 1)
    worker = system.workers[0]
    trap = Trap(field, boundary)
    field.proxy.gate = trap
    # Connections from before know no gate.
    field.proxy.cut()
    # A hand-back needs a job that is still running when the worker is told to stop.
    order = Order("again" if boundary.script == "retry" else "good", 2.0 if boundary.script == "hand_back" else 0.1)
    system.accept([order])
    if boundary.script == "hand_back":
        wait_until(lambda: Testimony.read(system.witness).starts.get(order.id), 30.0, "the run starts")
        # What it hands back starts again: asked for, and no loss.
        system.deaths.add([worker.pid], time.monotonic())
        os.kill(worker.pid, signal.SIGQUIT)
    try:
        wait_until(trap.sprung.is_set, 30.0, f"{boundary} is reached")
        if boundary.harm.startswith("kill"):
            wait_until(lambda: not worker.alive or boundary.target == "child", 10.0, "the worker is dead")
        check(client, [order.id], str(boundary))
    finally:
        field.proxy.gate = None
    if boundary.script == "hand_back":
        wait_until(lambda: not worker.alive, 40.0, "the worker has ended")
    if not worker.alive:
        if worker in system.workers:
            system.retire(worker)
        system.start_workers(1, 1)
    wait_until(lambda: system.ledger.get(order.id).final, 40.0, f"the run ends after {boundary}")
    check(client, [order.id], f"after {boundary}")


def check(client: Any, ids: list[str], where: str) -> None:
    """Fail unless each run that is not final has exactly one message.

    A message of a final run is none that lives: the guard drops it.
    """
    messages, states = snapshot(client, ids)
    for run_id in ids:
        state = states[run_id]
        if state is None:
            assert messages[run_id] == 0, f"{where}: a message without a run"
        elif state not in FINAL:
            assert messages[run_id] == 1, f"{where}: {state} with {messages[run_id]} live messages"


def snapshot(client: Any, ids: list[str]) -> tuple[Any, dict[str, str | None]]:
    """Return live messages and states as they were at one moment: nothing moved between two readings."""
    for _ in range(200):
        before = {run_id: client.hget(f"{NAMESPACE}:run:{run_id}", "state") for run_id in ids}
        seen = live_messages(client, NAMESPACE)
        after = {run_id: client.hget(f"{NAMESPACE}:run:{run_id}", "state") for run_id in ids}
        again = live_messages(client, NAMESPACE)
        if before == after and seen == again:
            return seen, after
    raise AssertionError("the runs never stood still")
