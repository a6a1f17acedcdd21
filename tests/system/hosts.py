"""``python -m tests.system.hosts``: attacks a fleet on three hosts, 20 ms apart, and prints what became of the runs.

The hosts are network namespaces (see :mod:`tests.support.network`). Redis is on ``store``, a worker each on ``alpha``
and ``beta``. Submitters reach Redis by its Unix socket, which no attack on the network concerns.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from tests.fault.ours import RunnerSystem, RunnerWorker
from tests.fault.server import RedisServer
from tests.fault.system import Order, Worker, orders
from tests.fault.verdict import FINAL, Row, details, judge, table
from tests.fault.witness import Testimony
from tests.support.deadline import wait_until
from tests.support.need import need
from tests.support.network import Network, faked_clock, need_namespaces
from tests.support.project import COMMAND, clean_environment
from tests.support.running import Running

ROUND_TRIP = 0.020
LEASE = 3.0
SENTINELS = 26379
TAKERS = 2


class HostServer(RedisServer):
    """redis-server on a host, and on a Unix socket for all."""

    def __init__(self, folder: Path, network: Network, host: str, *words: str) -> None:
        self.path = folder / "redis.sock"
        self.host, self.address = host, network.address(host)
        listen = ("--bind", self.address, "--port", "6379", "--protected-mode", "no", "--unixsocket", str(self.path))
        super().__init__(folder, words=(*listen, *words), before=network.command(host), fsync="everysec")

    @property
    def url(self) -> str:
        """Where the outside reaches it."""
        return f"unix://{self.path}"


class Fleet(RunnerSystem):
    """Workers on hosts of their own."""

    def __init__(self, folder: Path, server: HostServer, network: Network, url: str, **environment: str) -> None:
        super().__init__(folder, server, server.port, lease=LEASE)
        self.network = network
        self.environment = {**self.environment, **environment, "RUNNER_REDIS_URL": url}
        self.reach(server)
        self.strangers = True  # those of the attacks before
        self.time = folder / "time"
        self.time.mkdir()
        self.by_host: dict[str, Worker] = {}

    def start_on(self, host: str, *, faked: bool = False) -> None:
        """Start a worker on a host, without waiting for it; with ``faked``, its clock may be moved."""
        environment = self.environment
        if faked:
            self.move_clock(0)
            environment = {**environment, **faked_clock(self.time)}
        command = self.network.command(host, *COMMAND, "worker", "-c", str(TAKERS))
        worker = RunnerWorker(command, cwd=self.project.path, env=clean_environment(environment))
        self.workers.append(worker)
        self.by_host[host] = worker

    def ready(self) -> None:
        """Wait until all workers consume."""
        for worker in self.workers:
            worker.wait_for(self.ready_line, 60.0)

    def move_clock(self, seconds: int) -> None:
        """Move the clock of the host that may be moved."""
        fresh = self.time / "clock.new"
        fresh.write_text(f"{seconds:+d}\n")
        fresh.replace(self.time / "clock")

    @contextmanager
    def cut_off(self, *hosts: str) -> Iterator[None]:
        """Partition hosts from all others; what their workers do meanwhile, zombies do."""
        since = time.monotonic()
        self.network.cut.update(hosts)
        try:
            yield
        finally:
            self.network.cut.difference_update(hosts)
            for worker in (self.by_host[host] for host in hosts if host in self.by_host):
                self.deaths.add([worker.pid, *worker.helpers, *worker.children], since, time.monotonic() + LEASE)

    def forget_all(self) -> None:
        """Begin the next attack with runs of its own."""
        self.accepted, self.facts = {}, []
        self.deaths = type(self.deaths)()
        self.witness.write_text("")


def load_of(count: int, random: Random, longest: float = 0.3) -> list[Order]:
    """Return a mixed load, of which every fourth run must not start twice."""
    mixed = orders(count, random, longest)
    return [replace(order, job="once", kind="good") if at % 4 == 0 else order for at, order in enumerate(mixed)]


# -- attacks


def drain(fleet: Fleet, size: Size) -> None:
    """No attack: how fast takers are, and how soon a run starts, when Redis is a round trip away."""
    before = _scripts(fleet)
    fleet.accept([Order("good", 0.0) for _ in range(size.runs)])
    fleet.wait_for_all(60.0)
    # Each submission is a script, too; the rest is of the workers, whose beats are among them.
    fleet.facts.append(f"{(_scripts(fleet) - before) / size.runs - 1:.2f} scripts a run")
    starts = sorted(
        (attempts[0] for attempts in Testimony.read(fleet.witness).starts.values()), key=lambda start: start.at
    )
    takers = {start.pid: [other.at for other in starts if other.pid == start.pid] for start in starts}
    between = statistics.median(
        later - former for times in takers.values() for former, later in itertools.pairwise(times)
    )
    fleet.facts.append(f"{(len(starts) - 1) / (starts[-1].at - starts[0].at):.0f} runs/s of {len(takers)} takers")
    fleet.facts.append(f"{between * 1000:.1f} ms a run and taker (p50), {between / ROUND_TRIP:.2f} round trips")
    waits = [_time_to_start(fleet) for _ in range(10)]
    fleet.facts.append(f"submission to start {statistics.median(waits) * 1000:.0f} ms (p50)")


def _scripts(fleet: Fleet) -> int:
    with fleet.server.client() as client:
        return int(client.info("commandstats")["cmdstat_evalsha"]["calls"])


def _time_to_start(fleet: Fleet) -> float:
    order = Order("good", 0.0)
    begun = time.monotonic()
    fleet.accept([order])
    starts = wait_until(lambda: Testimony.read(fleet.witness).starts.get(order.id), 20.0, "it starts")
    return starts[0].at - begun


def partition(fleet: Fleet, size: Size) -> None:
    """One worker is cut off for more than two leases, and comes back."""
    todo = load_of(size.runs, size.random)
    half = len(todo) // 2
    fleet.accept(todo[:half], seconds=1.0)
    with fleet.cut_off("alpha"):
        fleet.accept(todo[half:], seconds=2.2 * LEASE)
    fleet.facts.append(f"cut off for {2.2 * LEASE:.1f} s")


def lose_packets(fleet: Fleet, size: Size) -> None:
    """One packet in twenty gets lost, in each direction."""
    before = fleet.network.dropped, fleet.network.carried
    fleet.network.loss = 0.05
    try:
        fleet.accept(load_of(size.runs, size.random), seconds=size.seconds)
        fleet.wait_for_all(60.0)
    finally:
        fleet.network.loss = 0.0
    dropped, carried = fleet.network.dropped - before[0], fleet.network.carried - before[1]
    fleet.facts.append(f"{dropped:,} of {dropped + carried:,} packets lost")


def move_clock(fleet: Fleet, size: Size) -> None:
    """The clock of one worker's host is set 90 s ahead while runs go on, then 90 s back, then right."""
    todo = load_of(size.runs, size.random)
    third = len(todo) // 3
    for seconds, part in ((90, todo[:third]), (-90, todo[third : 2 * third]), (0, todo[2 * third :])):
        fleet.move_clock(seconds)
        fleet.accept(part, seconds=size.seconds / 3)
    losses = sum(run.losses for run in fleet.ledger.read(list(fleet.accepted)))
    if losses:
        fleet.facts.append(f"{losses} attempts lost")


@dataclass(frozen=True)
class Size:
    """How large the attacks are."""

    runs: int
    seconds: float
    random: Random


ATTACKS: dict[str, tuple[str, Callable[[Fleet, Size], None]]] = {
    "drain": ("one round trip a run", drain),
    "partition": ("a worker is cut off for two leases", partition),
    "loss": ("5 % of packets get lost", lose_packets),
    "clock": ("a host's clock moves by 90 s", move_clock),
}


def judge_apart(fleet: Fleet, attack: str, begun: float, notes: list[str], *, rollback: bool = False) -> Row:
    """Return the row of an attack; runs that must not start twice are judged by their own rule."""
    if not fleet.wait_for_all(30.0):
        notes.append("not all runs ended")
    seconds = time.monotonic() - begun
    everything = fleet.accepted
    once = [run_id for run_id, order in everything.items() if order.job == "once"]
    fleet.accepted = {run_id: order for run_id, order in everything.items() if order.job != "once"}
    row = judge(fleet, "three hosts", attack, seconds, notes, rollback=rollback, confirmed=rollback)
    fleet.accepted = everything
    starts = Testimony.read(fleet.witness).starts
    known = {run.id: run for run in fleet.ledger.read(once)}
    lost = [f"{run_id} at_most_once" for run_id in once if run_id not in known]
    stuck = [f"{run.id} {run.state}" for run in known.values() if run.state not in FINAL]
    wrong, twice = [], [run_id for run_id in once if len(starts.get(run_id, ())) > 1]
    for run in known.values():
        ended = any(start.event == "end" for start in starts.get(run.id, ()))
        lost_with_host = run.state == "FAILURE" and run.reason == "worker_lost" and fleet.deaths
        if run.state in FINAL and not (run.state == "SUCCESS" and ended) and not lost_with_host:
            wrong.append(f"{run.id} at_most_once {run.state} {run.reason}")
    failed = sum(run.state == "FAILURE" for run in known.values())
    facts = (*row.facts, f"{len(once)} at_most_once, {failed} of them worker_lost, {len(twice)} started twice")
    if twice:
        row = replace(row, notes=(*row.notes, f"{len(twice)} at_most_once started twice, such as {twice[0]}"))
    return replace(
        row,
        runs=len(everything),
        lost=(*row.lost, *lost),
        stuck=(*row.stuck, *stuck),
        wrong=(*row.wrong, *wrong),
        facts=facts if once else row.facts,
    )


@contextmanager
def three_hosts(folder: Path) -> Iterator[Fleet]:
    """Run Redis on one host, and a worker on each of two others, one of them with a clock that can be moved."""
    with ExitStack() as stack:
        network = stack.enter_context(Network(["store", "alpha", "beta"], ROUND_TRIP / 2))
        server = stack.enter_context(HostServer(folder / "store", network, "store"))
        fleet = Fleet(folder, server, network, f"redis://{server.address}:6379/0")
        stack.callback(fleet.close)
        fleet.start_on("alpha")
        fleet.start_on("beta", faked=True)
        fleet.ready()
        yield fleet


def attack(fleet: Fleet, name: str, size: Size) -> Row:
    """Run one of the attacks on a fleet, and judge it."""
    description, act = ATTACKS[name]
    fleet.forget_all()
    begun, notes = time.monotonic(), []
    try:
        act(fleet, size)
    except (AssertionError, TimeoutError) as error:
        notes.append(str(error).splitlines()[0][:120])
    if any(not worker.alive for worker in fleet.workers):
        notes.append("a worker ended by itself")
    return judge_apart(fleet, description, begun, notes)


# -- Sentinel


def fail_over(folder: Path, size: Size) -> Row:
    """Cut the host of the primary off until Sentinel has made the replica the primary, and judge what is left."""
    with ExitStack() as stack:
        network = stack.enter_context(Network(["store", "alpha", "beta"], ROUND_TRIP / 2))
        primary = stack.enter_context(HostServer(folder / "store", network, "store"))
        follow = ("--replicaof", f"{primary.address} 6379", "--repl-diskless-sync-delay", "0")
        replica = stack.enter_context(HostServer(folder / "alpha", network, "alpha", *follow))
        wait_until(lambda: replica.follows(), 30.0, "the replica follows")
        for host in network.names:
            stack.enter_context(_sentinel(folder, network, host, primary.address))
        hosts = ",".join(f"{network.address(host)}:{SENTINELS}" for host in network.names)
        fleet = Fleet(folder, primary, network, f"sentinel://{hosts}/main/0", RUNNER_DURABILITY="replicated")
        stack.callback(fleet.close)
        for host in ("alpha", "beta"):
            fleet.start_on(host)
        fleet.ready()
        todo = load_of(size.runs, size.random)
        half = len(todo) // 2
        begun, notes = time.monotonic(), []
        since = begun
        try:
            fleet.accept(todo[:half], seconds=2.0)
            since = time.monotonic()
            network.cut.add("store")
            wait_until(replica.is_primary, 60.0, "the replica takes over")
            fleet.facts.append(f"failed over within {time.monotonic() - since:.1f} s")
            # The host comes back, and what was the primary follows: without a replica, nothing would be confirmed.
            network.cut.clear()
            fleet.reach(replica)
            wait_until(primary.follows, 60.0, "the former primary follows")
            fleet.accept(todo[half:], seconds=2.0)
            # What a worker did for the old primary in the moment of the cut, it may have to do again.
            pids = [pid for worker in fleet.workers for pid in (worker.pid, *worker.helpers, *worker.children)]
            fleet.deaths.add(pids, since - 1.0, time.monotonic() + LEASE)
        except (AssertionError, TimeoutError) as error:
            notes.append(str(error).splitlines()[0][:120])
        return judge_apart(fleet, "Redis fails over through Sentinel", begun, notes, rollback=True)


@contextmanager
def _sentinel(folder: Path, network: Network, host: str, primary: str) -> Iterator[Running]:
    config = folder / f"sentinel-{host}.conf"
    config.write_text(
        f"port {SENTINELS}\nbind {network.address(host)}\nprotected-mode no\ndir {folder}\n"
        f"sentinel monitor main {primary} 6379 2\nsentinel down-after-milliseconds main 1000\n"
        "sentinel failover-timeout main 3000\n"
    )
    with Running(network.command(host, need("redis-server"), str(config), "--sentinel"), cwd=folder) as running:
        running.wait_for("monitor master main", 20.0, stream="out")
        yield running


def main() -> int:
    """Run the attacks that were asked for, and print the table."""
    names = [*ATTACKS, "failover"]
    parser = argparse.ArgumentParser(prog="python -m tests.system.hosts", description=__doc__)
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help=f"of {', '.join(names)}")
    parser.add_argument("--runs", type=int, default=400, help="of each attack (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="over which they are submitted")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if unknown := set(given.attacks) - set(names):
        parser.error(f"no such attack: {', '.join(sorted(unknown))}")
    need_namespaces()
    asked = given.attacks or names
    size = Size(given.runs, given.seconds, Random(given.seed))
    folder = Path(tempfile.mkdtemp(prefix="rh-", dir="/tmp"))
    rows: list[Row] = []
    try:
        if set(asked) & set(ATTACKS):
            (folder / "one").mkdir()
            with three_hosts(folder / "one") as fleet:
                rows += [attack(fleet, name, size) for name in ATTACKS if name in asked]
        if "failover" in asked:
            (folder / "two").mkdir()
            rows.append(fail_over(folder / "two", size))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for row in rows:
        if not row.kept:
            print(details(row), file=sys.stderr)
    print(f"three hosts, {ROUND_TRIP * 1000:g} ms round trip, lease {LEASE:g} s, seed {given.seed}")
    print(table(rows))
    return 0 if all(row.kept for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
