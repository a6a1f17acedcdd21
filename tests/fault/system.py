"""What is attacked: workers and submissions of one system, behind one interface."""

from __future__ import annotations

import os
import signal
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Literal

from tests.fault.server import RedisServer
from tests.fault.witness import Deaths
from tests.support.processes import PROC, children_of, end_session
from tests.support.running import Running

Kind = Literal["good", "again", "wrong"]

EXPECTED: dict[str, str] = {"good": "SUCCESS", "again": "SUCCESS", "wrong": "FAILURE"}
"""The state in which each kind of run must end."""


@dataclass(frozen=True)
class Order:
    """A run that shall be submitted; ``seconds`` is how long its job takes, ``delay`` when it becomes due."""

    kind: Kind
    seconds: float
    delay: float = 0.0
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    job: str = "work"


def orders(count: int, random: Random, longest: float = 0.1) -> list[Order]:
    """Return a mixed load: most end well, some fail once, some for good, some are due later."""
    kinds: tuple[Kind, ...] = ("good",) * 16 + ("again",) * 3 + ("wrong",)
    return [
        Order(
            random.choice(kinds), round(random.uniform(0.0, longest), 3), random.choice([0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
        )
        for _ in range(count)
    ]


@dataclass(frozen=True)
class Report:
    """What a system says of the runs that it accepted, once it had its time."""

    states: dict[str, str]
    """State by id; runs that it does not know are left out."""
    poisoned: frozenset[str] = frozenset()
    """Ids that ended because their process died again and again, if the system tells."""
    worker_lost: frozenset[str] = frozenset()
    """Ids that ended because their process died, and may not start again, if the system tells."""
    losses: dict[str, int] = field(default_factory=dict)
    """How many lost attempts it charged to a run, where any."""
    messages: frozenset[str] = frozenset()
    """Ids of runs that a message somewhere stands for."""
    leftovers: int = 0
    """Claims, leases and messages that nothing needs any more."""


class Worker(Running):
    """A worker process, and the processes that perform runs for it."""

    @property
    def children(self) -> list[int]:
        """The ids of the processes that perform runs."""
        return children_of(self.pid)

    @property
    def helpers(self) -> list[int]:
        """The ids of the processes that those are forked from, if it is not the worker's own."""
        return []

    @property
    def memory(self) -> int:
        """Resident memory of its first process, in bytes."""
        status = (PROC / str(self.pid) / "status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    @property
    def alive(self) -> bool:
        """Whether its first process runs."""
        return self.process.poll() is None


class System(ABC):
    """A fleet of workers of one kind, and a way to submit to it."""

    name = ""
    lease = 3.0
    """Seconds until what a dead worker held may start again."""

    def __init__(self, folder: Path, server: RedisServer, worker_port: int) -> None:
        self.folder = folder
        self.server = server
        self.worker_port = worker_port
        self.witness = folder / "witness"
        self.deaths = Deaths()
        self.strangers = False
        """Whether others submit, too, so that unknown runs are expected."""
        self.accepted: dict[str, Order] = {}
        self.workers: list[Worker] = []
        self.ended: list[Worker] = []
        self.facts: list[str] = []
        """What an attack measured, for the table."""

    # -- what differs

    @abstractmethod
    def reach(self, server: RedisServer) -> None:
        """Submit to this server from now on, and ask it."""

    @abstractmethod
    def submit(self, order: Order) -> None:
        """Submit once; raises if it is not confirmed."""

    @abstractmethod
    def make_worker(self, concurrency: int) -> Worker:
        """Start a worker and do not wait for it."""

    @abstractmethod
    def unfinished(self) -> int:
        """Count the accepted runs without an outcome, cheaply."""

    @abstractmethod
    def report(self) -> Report:
        """Return the system's reports of all accepted runs."""

    ready_line = ""

    # -- what does not

    def start_workers(self, count: int, concurrency: int = 2) -> None:
        """Start workers; return when all consume."""
        started = [self.add_worker(concurrency) for _ in range(count)]
        for worker in started:
            worker.wait_for(self.ready_line, 60.0)

    def add_worker(self, concurrency: int = 2) -> Worker:
        """Start one more worker, without waiting for it."""
        worker = self.make_worker(concurrency)
        self.workers.append(worker)
        return worker

    def accept(self, orders: Iterable[Order], *, seconds: float = 0.0, patience: float = 60.0) -> None:
        """Submit ``orders``, spread over ``seconds``, each until it is confirmed: always under the same id.

        Raises:
            TimeoutError: one was not confirmed within ``patience`` seconds.
        """
        todo = list(orders)
        begun = time.monotonic()
        for number, order in enumerate(todo):
            ahead = begun + seconds * number / len(todo) - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
            self._accept(order, patience)

    def _accept(self, order: Order, patience: float) -> None:
        end = time.monotonic() + patience
        while True:
            try:
                self.submit(order)
                self.accepted[order.id] = order
                return
            except Exception as error:
                if time.monotonic() > end:
                    raise TimeoutError(f"a submission was not confirmed in {patience:g} s: {error}") from error
                time.sleep(0.1)

    def wait_for_all(self, seconds: float) -> bool:
        """Return whether every accepted run had an outcome; gives up once ``seconds`` passed without another one."""
        end = time.monotonic() + seconds
        fewest = len(self.accepted) + 1
        while time.monotonic() < end:
            try:
                left = self.unfinished()
                if left == 0:
                    return True
                if left < fewest:
                    # A slow machine does not mean that a run is stuck.
                    fewest, end = left, time.monotonic() + seconds
            except Exception:  # noqa: BLE001 - Redis may be under attack still
                time.sleep(0.2)
            time.sleep(0.1)
        return False

    # -- attacks on processes

    def kill_worker(self, worker: Worker) -> None:
        """SIGKILL the worker's first process, as a machine out of memory would."""
        self.deaths.add([worker.pid, *worker.helpers, *worker.children], time.monotonic())
        self.deaths.killed += 1
        worker.kill()
        self.retire(worker)

    def kill_child(self, worker: Worker, random: Random) -> bool:
        """SIGKILL a process that performs runs; return whether there was one."""
        children = worker.children
        if not children:
            return False
        victim = random.choice(children)
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            return False
        self.deaths.add([victim], time.monotonic())
        self.deaths.killed += 1
        return True

    def kill_helpers(self, worker: Worker) -> None:
        """SIGKILL what a worker forks the processes from that perform runs; they die with it."""
        helpers = worker.helpers
        self.deaths.add([*helpers, *worker.children], time.monotonic())
        self.deaths.killed += 1
        for pid in helpers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def freeze(self, worker: Worker, *, whole: bool) -> float:
        """SIGSTOP the worker, or (``whole``) what performs its runs too, as when its host sleeps; return when."""
        at = time.monotonic()
        # From the outside in: none is made or replaced meanwhile.
        os.kill(worker.pid, signal.SIGSTOP)
        if whole:
            for pid in worker.helpers:
                os.kill(pid, signal.SIGSTOP)
            for pid in worker.children:
                os.kill(pid, signal.SIGSTOP)
        return at

    def thaw(self, worker: Worker, since: float) -> None:
        """SIGCONT the worker; what it held while it was frozen may have been started elsewhere."""
        pids = [worker.pid, *worker.helpers, *worker.children]
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)
        self.deaths.add(pids, since, time.monotonic())

    def retire(self, worker: Worker) -> None:
        """Take a dead worker off the list; its processes are ended with the system."""
        if worker in self.workers:
            self.workers.remove(worker)
        self.ended.append(worker)

    def close(self) -> None:
        """End every process that was started."""
        for worker in self.workers:
            if worker.alive:
                for number in (signal.SIGCONT, signal.SIGKILL):
                    os.kill(worker.pid, number)
        for worker in (*self.workers, *self.ended):
            worker.process.wait()
            end_session(worker.pid)
            worker.__exit__(None, None, None)
