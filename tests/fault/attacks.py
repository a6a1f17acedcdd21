"""The attacks. Each submits a load, does harm meanwhile, and returns; what became of the runs is judged afterwards."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from random import Random

from tests.fault.boundaries import break_off_everywhere
from tests.fault.delayed import delay_many
from tests.fault.fencing import fence
from tests.fault.flows import attack_flows, judge_flows
from tests.fault.forge import forge
from tests.fault.ours import RunnerSystem
from tests.fault.rabbit import attack_rabbit
from tests.fault.server import Fsync, RedisServer
from tests.fault.system import Order, System, orders
from tests.fault.verdict import Judge, judge
from tests.support.deadline import wait_until
from tests.support.proxy import Proxy
from tests.support.rabbit import VirtualHost


@dataclass(frozen=True)
class Size:
    """How large an attack is."""

    runs: int
    kills: int
    seconds: float
    """Over which the runs are submitted and the harm is done."""
    workers: int = 3
    concurrency: int = 4


@dataclass
class Field:
    """Everything that an attack can reach."""

    system: System
    server: RedisServer
    proxy: Proxy
    random: Random
    size: Size
    stack: ExitStack
    """What is to be ended with the attack."""
    broker: VirtualHost | None = None
    """Where RabbitMQ carries the hints."""

    def load(self, longest: float = 0.1) -> Load:
        """Return a load to submit beside the attack."""
        return self.load_of(orders(self.size.runs, self.random, longest))

    def load_of(self, todo: list[Order]) -> Load:
        """Return a load of these runs."""
        return Load(self, todo)


class Load:
    """Submits while the body of the ``with`` does harm; leaving it waits until all are confirmed."""

    def __init__(self, field: Field, todo: list[Order]) -> None:
        self._error: BaseException | None = None
        self._field, self._todo = field, todo
        self._thread = threading.Thread(target=self._submit, daemon=True, name="load")

    def _submit(self) -> None:
        try:
            self._field.system.accept(self._todo, seconds=self._field.size.seconds)
        except BaseException as error:  # noqa: BLE001 - it is raised where the load is waited for
            self._error = error

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._thread.join(self._field.size.seconds + 120.0)
        if kind is None:
            assert not self._thread.is_alive(), "the load was not submitted in time"
            if self._error is not None:
                raise self._error


def kill_at_random(field: Field) -> None:
    """SIGKILL workers and the processes that perform their runs, in turn and at random moments."""
    system, random, size = field.system, field.random, field.size
    system.start_workers(size.workers, size.concurrency)
    begun = time.monotonic()
    with field.load():
        for number in range(size.kills):
            due = begun + size.seconds * (number + random.random()) / size.kills
            time.sleep(max(0.0, due - time.monotonic()))
            victim = random.choice(system.workers)
            if number % 2 == 0 and system.kill_child(victim, random):
                continue
            system.kill_worker(victim)
            system.add_worker(size.concurrency)


def kill_whoever(field: Field) -> None:
    """SIGKILL takers, the templates that they are forked from, and the parents of both, at random moments."""
    system, random, size = field.system, field.random, field.size
    system.start_workers(size.workers, size.concurrency)
    begun = time.monotonic()
    with field.load(longest=0.05):
        for number in range(size.kills):
            due = begun + size.seconds * (number + random.random()) / size.kills
            time.sleep(max(0.0, due - time.monotonic()))
            # Not those that are about to start: they have nothing that could get lost.
            victims = wait_until(
                lambda: [worker for worker in system.workers if worker.children], 60.0, "a worker has takers"
            )
            victim, whom = random.choice(victims), random.choice(("taker",) * 4 + ("template", "parent"))
            if whom == "parent":
                system.kill_worker(victim)
                system.add_worker(size.concurrency)
            elif whom == "template":
                system.kill_helpers(victim)
            else:
                system.kill_child(victim, random)


def freeze_a_worker(field: Field) -> None:
    """SIGSTOP a worker for longer than its lease, SIGCONT it, again and again."""
    system, size = field.system, field.size
    system.start_workers(size.workers, size.concurrency)
    with field.load(longest=0.3):
        for number in range(max(1, size.kills)):
            victim = field.random.choice(system.workers)
            since = system.freeze(victim, whole=number % 2 == 0)
            time.sleep(system.lease * 2.5)
            system.thaw(victim, since)
            system.deaths.killed += 1
            time.sleep(field.random.uniform(0.5, 1.5))


def kill_redis(field: Field) -> None:
    """SIGKILL Redis and start it again with its data."""
    system, size = field.system, field.size
    system.start_workers(size.workers, size.concurrency)
    with field.load():
        for _ in range(max(1, size.kills)):
            time.sleep(field.random.uniform(0.5, 1.5) * size.seconds / max(1, size.kills) / 2)
            field.server.kill()
            system.deaths.killed += 1
            time.sleep(field.random.uniform(0.2, 1.5))
            field.server.start()


def freeze_redis(field: Field) -> None:
    """SIGSTOP Redis for three seconds."""
    system, size = field.system, field.size
    system.start_workers(size.workers, size.concurrency)
    with field.load():
        for _ in range(max(1, size.kills)):
            time.sleep(field.random.uniform(0.3, 1.0))
            field.server.freeze()
            try:
                time.sleep(3.0)
            finally:
                field.server.thaw()


def black_hole(field: Field) -> None:
    """Let the network between workers and Redis swallow everything for a while, then deliver, or lose, what it held."""
    system, size = field.system, field.size
    system.start_workers(size.workers, size.concurrency)
    with field.load():
        for number in range(max(1, size.kills)):
            time.sleep(field.random.uniform(0.5, 1.5))
            field.proxy.black_hole()
            time.sleep(system.lease * (0.5 if number % 3 == 0 else 2.0))
            if number % 2:
                field.proxy.cut()
            field.proxy.forward()


def cut_the_network(field: Field) -> None:
    """Break off every connection, at random moments."""
    system, size = field.system, field.size
    system.start_workers(size.workers, size.concurrency)
    with field.load():
        for _ in range(max(1, size.kills)):
            time.sleep(field.random.uniform(0.1, 2.0 * size.seconds / max(1, size.kills)))
            field.proxy.cut()


def cut_all_the_while(field: Field) -> None:
    """Break off every connection, again and again, while runs that may start only once go on; no process dies."""
    system, size = field.system, field.size
    system.start_workers(size.workers, size.concurrency)
    todo = [replace(order, job=field.random.choice(("work", "once"))) for order in orders(size.runs, field.random, 0.3)]
    with field.load_of(todo):
        pause = size.seconds / max(1, size.kills)
        for _ in range(max(1, size.kills)):
            time.sleep(field.random.uniform(0.2, 1.8) * pause)
            field.proxy.cut()


def cut_and_kill(field: Field) -> None:
    """Break off every connection, and SIGKILL a process that performs runs at about the same moment."""
    system, size = field.system, field.size
    system.start_workers(size.workers, size.concurrency)
    with field.load():
        for _ in range(max(1, size.kills)):
            time.sleep(field.random.uniform(0.1, 2.0 * size.seconds / max(1, size.kills)))
            field.proxy.cut()
            # Up to the moment at which the worker is connected again.
            time.sleep(field.random.uniform(0.0, 0.1))
            for worker in system.workers:
                system.kill_child(worker, field.random)


def rolling_restarts(field: Field) -> None:
    """SIGTERM one worker after the other, each replaced before the next."""
    system, size = field.system, field.size
    system.start_workers(size.workers, size.concurrency)
    with field.load(longest=0.3):
        for _ in range(max(1, size.kills)):
            new = system.add_worker(size.concurrency)
            new.wait_for(system.ready_line, 60.0)
            old = system.workers[0]
            old.signal(signal.SIGTERM)
            assert old.wait(60.0) == 0, old.stderr[-3000:]
            system.retire(old)
            system.deaths.killed += 1


def fill_memory(field: Field) -> None:
    """Let Redis refuse every write for want of memory, for a while."""
    system, size = field.system, field.size
    system.start_workers(size.workers, size.concurrency)
    with field.server.client() as client, field.load():
        for _ in range(max(1, size.kills)):
            time.sleep(field.random.uniform(0.5, 1.5))
            client.config_set("maxmemory", "1mb")
            client.config_set("maxmemory-policy", "noeviction")
            try:
                time.sleep(field.random.uniform(1.0, 2.0) * system.lease / 2)
            finally:
                client.config_set("maxmemory", "0")


def pause_of_four_leases(field: Field) -> None:
    """Freeze Redis for four leases while ten long jobs run, then fail over to a server whose clock is 60 s ahead.

    None of them may start twice.
    """
    system, size = field.system, field.size
    replica = replicate(field, clock_offset=60)
    system.start_workers(2, 5)
    system.accept([Order("good", system.lease * 7) for _ in range(10)])
    wait_until(lambda: _lines(system) >= 10, 30.0, "the long jobs run")
    field.server.freeze()
    try:
        time.sleep(system.lease * 4)
    finally:
        field.server.thaw()
    wait_until(replica.follows, 30.0, "the replica has caught up")
    with field.server.client() as client:
        client.set("fault:mark", 1)
        assert client.wait(1, 10_000) == 1, "the replica did not catch up"
    fail_over(field, replica)
    system.accept(orders(size.runs, field.random))


def fail_over_under_load(field: Field) -> None:
    """SIGKILL the primary under load and go on with its replica: what was not replicated is rolled back."""
    system, size = field.system, field.size
    replica = replicate(field)
    system.start_workers(size.workers, size.concurrency)
    with field.load():
        time.sleep(size.seconds / 2)
        field.server.kill()
        system.deaths.killed += 1
        fail_over(field, replica)


def fail_over_what_was_confirmed(field: Field) -> None:
    """The same with ``durability: replicated`` and two replicas, the one with more of the data taking over."""
    system, size = field.system, field.size
    assert isinstance(system, RunnerSystem)
    system.replicated()
    replicas = [replicate(field, name=name) for name in ("replica", "another")]
    system.start_workers(size.workers, size.concurrency)
    with field.load():
        time.sleep(size.seconds / 2)
        field.server.kill()
        system.deaths.killed += 1
        # As Sentinel chooses.
        best, other = sorted(replicas, key=RedisServer.offset, reverse=True)
        other.follow(best)
        fail_over(field, best)


def replicate(field: Field, clock_offset: int = 0, name: str = "replica") -> RedisServer:
    """Start a replica of the server under attack; it ends with the attack."""
    primary = field.server
    words = ("--replicaof", "127.0.0.1", str(primary.port))
    replica = RedisServer(primary.folder / name, fsync=primary.fsync, words=words, clock_offset=clock_offset)
    field.stack.enter_context(replica)
    wait_until(replica.follows, 30.0, "the replica follows")
    return replica


def fail_over(field: Field, replica: RedisServer) -> None:
    """Make the replica the server, behind the same address, and end the former one."""
    if field.server.alive:
        field.server.kill()
    replica.promote()
    field.proxy.upstream = ("127.0.0.1", replica.port)
    field.proxy.cut()
    field.server = replica
    field.system.reach(replica)


def _lines(system: System) -> int:
    with suppress(FileNotFoundError):
        return system.witness.read_text().count(" start ")
    return 0


@dataclass(frozen=True)
class Attack:
    """One row of the table."""

    name: str
    promise: str
    words: str
    act: Callable[[Field], None]
    share: float
    """Of ``--runs``."""
    kills: float
    """Of ``--kills``."""
    patience: float
    """Seconds that may pass without another run ended, once the attack is over."""
    fsync: Fsync = "always"
    least_kills: int = 1
    rollback: bool = False
    """Whether writes that Redis had acknowledged may be gone, and with them runs and the ends of attempts."""
    confirmed: bool = False
    """Whether, with that, no run may be gone all the same."""
    may_lose_leases: bool = False
    """Whether a worker may be away so long that its leases are given to others."""
    runner_only: bool = False
    """Whether it attacks something that stock Celery does not have."""
    rabbit: bool = False
    """Whether RabbitMQ carries the hints, on a node of the attack's own."""
    pace: float | None = None
    """Of ``--seconds``; that of ``--kills`` if it has none of its own."""
    judge: Judge = judge
    """Tells what became of the runs."""


ATTACKS = (
    Attack("kill", "nothing is lost", "SIGKILL, workers, children", kill_at_random, 1.0, 1.0, 90.0),
    Attack(
        "takers",
        "any process may die",
        "SIGKILL, parents, templates, takers",
        kill_whoever,
        5.0,
        10.0,
        90.0,
        runner_only=True,
        pace=3.0,
    ),
    Attack(
        "flows",
        "flows end as they should",
        "SIGKILL, all processes, Redis",
        attack_flows,
        0.1,
        2.0,
        120.0,
        runner_only=True,
        pace=1.0,
        judge=judge_flows,
    ),
    Attack("freeze", "a lost lease is fenced", "SIGSTOP, worker, 2.5 leases", freeze_a_worker, 0.1, 0.05, 60.0),
    Attack("redis-kill", "AOF always loses nothing", "SIGKILL, Redis, restarted", kill_redis, 0.1, 0.05, 60.0),
    Attack(
        "redis-freeze",
        "a freeze costs time alone",
        "SIGSTOP, Redis, 3 s",
        freeze_redis,
        0.05,
        0.03,
        60.0,
        may_lose_leases=True,
    ),
    Attack(
        "black-hole",
        "silence costs time alone",
        "black hole, 0.5 to 2 leases",
        black_hole,
        0.1,
        0.04,
        90.0,
        may_lose_leases=True,
    ),
    Attack("cut", "outcomes outlive connections", "connections broken off", cut_the_network, 0.1, 0.2, 60.0),
    Attack(
        "cut-live",
        "a cut ends no live run",
        "connections broken off, always",
        cut_all_the_while,
        0.1,
        2.0,
        90.0,
        runner_only=True,
    ),
    Attack("cut-kill", "a worker outlives both", "children killed, all cut", cut_and_kill, 0.05, 0.1, 60.0),
    Attack("rolling", "restarts repeat nothing", "SIGTERM, one by one", rolling_restarts, 0.1, 0.08, 60.0),
    Attack(
        "memory",
        "full memory loses nothing",
        "maxmemory 1mb",
        fill_memory,
        0.05,
        0.03,
        60.0,
        may_lose_leases=True,
    ),
    Attack("forge", "only declared jobs run", "forgeries, broadcasts", forge, 0.02, 0.0, 60.0, runner_only=True),
    Attack(
        "boundaries",
        "one message a run, always",
        "cut, killed at each command",
        break_off_everywhere,
        0.0,
        0.22,
        60.0,
        runner_only=True,
    ),
    Attack(
        "fence",
        "a zombie changes nothing",
        "A frozen, A wakes, B killed",
        fence,
        0.0,
        0.0,
        60.0,
        runner_only=True,
    ),
    Attack(
        "delayed",
        "delayed runs start in time",
        "SIGKILL, worker and Redis",
        delay_many,
        5.0,
        0.0,
        60.0,
        fsync="everysec",
        runner_only=True,
    ),
    Attack(
        "rabbit",
        "a broker may do anything",
        "RabbitMQ: cut, killed, blocked, purged",
        attack_rabbit,
        0.1,
        0.4,
        90.0,
        runner_only=True,
        rabbit=True,
        pace=1.0,
    ),
    Attack("pause", "a live run starts once", "4 leases' pause, +60 s clock", pause_of_four_leases, 0.02, 0.0, 90.0),
    Attack(
        "failover",
        "what was replicated stays",
        "SIGKILL, primary",
        fail_over_under_load,
        0.1,
        0.0,
        90.0,
        rollback=True,
    ),
    Attack(
        "failover-replicated",
        "what was confirmed stays",
        "SIGKILL, primary, replicated",
        fail_over_what_was_confirmed,
        0.05,
        0.0,
        90.0,
        rollback=True,
        confirmed=True,
        runner_only=True,
    ),
)
