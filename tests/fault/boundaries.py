"""Breaks off at each command that a submitter or a worker sends, and counts the messages that a run has then.

A run that is not final has exactly one live message, at every boundary: before the command reached Redis, and after
Redis obeyed but before the answer came back; whether the connection is cut there, or the process is killed.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from runner.ledger.scripts import digest, source
from tests.fault.forgery import dump, envelope
from tests.fault.ours import NAMESPACE, RunnerSystem, live_messages
from tests.fault.system import Kind, Order, System
from tests.fault.witness import Testimony
from tests.support.deadline import wait_until
from tests.support.proxy import Command, Verdict

if TYPE_CHECKING:
    from tests.fault.attacks import Field

Harm = Literal["cut-before", "cut-after", "kill-before", "kill-after"]
Target = Literal["worker", "template", "child"]

FINAL = ("SUCCESS", "FAILURE", "REVOKED")

HARMS: tuple[Harm, ...] = ("cut-before", "cut-after", "kill-before", "kill-after")

INBOX = ("celery", "celery\x06\x163", "celery\x06\x166", "celery\x06\x169")


@dataclass(frozen=True)
class Scene:
    """What leads to a script: the runs that are submitted, and what is done to the worker."""

    script: str
    kind: Kind = "good"
    seconds: float = 0.1
    settles: bool | None = None
    """Of a ``take``: whether it settles the run before, or none; None does not matter."""
    foreign: bool = False
    """Whether the run was submitted of another version of the job, so that the taker itself has it started."""
    plain: bool = False
    """Whether a plain Celery client publishes the run."""
    first: Literal["quit", "kill-child"] | None = None
    """What happens to the worker once the run has started."""
    targets: tuple[Target, ...] = ("worker", "template", "child")
    """Which of its processes may be killed there: any of them knows, or asks."""


SCENES = {
    "take": Scene("take", settles=False),
    "take-settling": Scene("take", seconds=0.5, settles=True),
    "claim": Scene("claim", plain=True, targets=("worker",)),
    "start": Scene("start", foreign=True),
    "settle": Scene("settle", kind="wrong"),
    "retry": Scene("retry", kind="again"),
    "hand_back": Scene("hand_back", seconds=2.0, first="quit", targets=("worker",)),
    "lost": Scene("lost", seconds=2.0, first="kill-child", targets=("worker",)),
}


@dataclass(frozen=True)
class Boundary:
    """Where a worker is broken off: at which script, how, and which of its processes is killed."""

    name: str
    """Of the scene."""
    harm: Harm
    target: Target = "worker"

    @property
    def scene(self) -> Scene:
        """What leads to it."""
        return SCENES[self.name]


def boundaries() -> Iterator[Boundary]:
    """Yield every boundary of an attempt in a worker."""
    for name, scene in SCENES.items():
        for harm in HARMS:
            for target in scene.targets if harm.startswith("kill") else ("worker",):
                yield Boundary(name, harm, target)


NAMES = [("runner.delivery", name) for name in ("claim", "renew", "drop")] + [
    ("runner.ledger", name)
    for name in (
        "take",
        "start",
        "settle",
        "retry",
        "hand_back",
        "hand_back_waiting",
        "lost",
        "fail",
        "beat",
        "progress",
        "submit",
    )
]

SCRIPTS = {digest(package, name): name for package, name in NAMES}


def script_of(command: Command) -> str | None:
    """Return the name of the script that a command runs, or None."""
    return SCRIPTS.get(command.words[1].decode()) if command.name == "EVALSHA" else None


def load_scripts(client: Any) -> None:
    """Have Redis know all scripts, so that none is sent twice the first time."""
    for package, name in NAMES:
        client.script_load(source(package, name))


class Trap:
    """A gate of the proxy that springs once, at one question."""

    def __init__(self, field: Field, boundary: Boundary) -> None:
        self._field, self._boundary = field, boundary
        self._mutex = threading.Lock()
        self.sprung = threading.Event()

    def __call__(self, command: Command) -> Verdict:
        """Judge a command."""
        if script_of(command) != self._boundary.scene.script or self.sprung.is_set() or not self._fits(command):
            return "pass"
        with self._mutex:
            if self.sprung.is_set():
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

    def _fits(self, command: Command) -> bool:
        """Whether this is the question that is meant, and there is something to ask for."""
        scene = self._boundary.scene
        if scene.script not in ("take", "claim"):
            return True
        # The id of the run that is settled comes first, behind the namespace.
        if scene.settles is not None and bool(command.words[4]) != scene.settles:
            return False
        with self._field.server.client() as client:
            return bool(client.exists(*INBOX)) if scene.plain else any(client.scan_iter(f"{NAMESPACE}:queue:*"))

    def _kill(self) -> None:
        system = self._field.system
        worker = system.workers[0]
        if self._boundary.target == "worker":
            system.kill_worker(worker)
        else:
            kill(system, worker.helpers if self._boundary.target == "template" else worker.children)


def kill(system: System, pids: Sequence[int]) -> None:
    """SIGKILL processes of a worker."""
    for pid in pids:
        system.deaths.add([pid], time.monotonic())
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    system.deaths.killed += 1


def break_off_everywhere(field: Field) -> None:
    """Break a worker off at each boundary in turn; each run must come to its end all the same."""
    system = field.system
    assert isinstance(system, RunnerSystem)
    every = list(boundaries())
    with field.server.client() as client:
        load_scripts(client)
        for number, boundary in enumerate(every):
            if field.size.kills and number % max(1, round(len(every) / max(1, field.size.kills))):
                continue
            _break_off(field, system, client, boundary)


def _break_off(field: Field, system: RunnerSystem, client: Any, boundary: Boundary) -> None:
    if not any(worker.alive for worker in system.workers):
        system.start_workers(1, 1)
    worker, scene = system.workers[0], boundary.scene
    trap = Trap(field, boundary)
    field.proxy.gate = trap
    # Connections from before know no gate.
    field.proxy.cut()
    orders = _submit(system, client, scene)
    ids = [order.id for order in orders]
    if scene.first is not None:
        start = wait_until(lambda: Testimony.read(system.witness).starts.get(ids[0], []), 30.0, "the run starts")[0]
        if scene.first == "quit":
            # What it hands back starts again: asked for, and no loss.
            system.deaths.add([start.pid], time.monotonic())
            os.kill(worker.pid, signal.SIGQUIT)
        else:
            kill(system, [start.pid])
    try:
        wait_until(trap.sprung.is_set, 30.0, f"{boundary} is reached")
        if boundary.harm.startswith("kill"):
            wait_until(lambda: not worker.alive or boundary.target != "worker", 10.0, "the worker is dead")
        check(client, ids, str(boundary), plain=scene.plain)
    finally:
        field.proxy.gate = None
    if scene.first == "quit":
        wait_until(lambda: not worker.alive, 40.0, "the worker has ended")
    if not worker.alive:
        if worker in system.workers:
            system.retire(worker)
        system.start_workers(1, 1)
    wait_until(lambda: _ended(system, ids), 40.0, f"the runs end after {boundary}")
    check(client, ids, f"after {boundary}")


def _submit(system: RunnerSystem, client: Any, scene: Scene) -> list[Order]:
    """Have the runs of a scene wait: two where one is settled by the question for the next."""
    orders = [Order(scene.kind, scene.seconds) for _ in range(2 if scene.settles else 1)]
    if scene.plain:
        for order in orders:
            params = {"kind": order.kind, "seconds": order.seconds}
            client.lpush("celery", dump(envelope(task="work", run_id=order.id, params=params, ours=False)))
            system.accepted[order.id] = order
    elif scene.foreign:
        for order in orders:
            system.submit(order, digest="sha256:0")
            system.accepted[order.id] = order
    else:
        system.accept(orders)
    return orders


def _ended(system: RunnerSystem, ids: list[str]) -> bool:
    found = system.ledger.read(ids)
    return len(found) == len(ids) and all(run.final for run in found)


def check(client: Any, ids: list[str], where: str, *, plain: bool = False) -> None:
    """Fail unless each run that is not final has exactly one message.

    A message of a final run is none that lives: the guard drops it. With ``plain``, a run that is not made yet has the
    message of the client, which nobody else counts.
    """
    messages, states = snapshot(client, ids)
    for run_id in ids:
        state = states[run_id]
        if state is None:
            assert messages[run_id] == int(plain), f"{where}: {messages[run_id]} messages without a run"
        elif state not in FINAL:
            assert messages[run_id] == 1, f"{where}: {state} with {messages[run_id]} live messages"


def snapshot(client: Any, ids: list[str]) -> tuple[Any, dict[str, str | None]]:
    """Return live messages and states as they were at one moment: nothing moved between two readings."""
    for _ in range(200):
        before = {run_id: client.hget(f"{NAMESPACE}:run:{run_id}", "state") for run_id in ids}
        seen = _messages(client, before)
        after = {run_id: client.hget(f"{NAMESPACE}:run:{run_id}", "state") for run_id in ids}
        again = _messages(client, after)
        if before == after and seen == again:
            return seen, after
    raise AssertionError("the runs never stood still")


def _messages(client: Any, states: dict[str, str | None]) -> Counter[str]:
    """Count live messages: those of plain clients too, for the runs that are not made yet."""
    plain: Counter[str] = Counter()
    for key in INBOX:
        plain.update(str(json.loads(raw)["headers"]["id"]) for raw in client.lrange(key, 0, -1))
    claims = [json.loads(claim.partition("\n")[0]) for claim in client.hvals(f"{NAMESPACE}:claims")]
    held = Counter(str(claim.get("id")) for claim in claims if not claim["ours"])
    found = live_messages(client, NAMESPACE)
    found.subtract(held)
    found.update(element for element in (plain + held).elements() if states.get(element, "") is None)
    return found
