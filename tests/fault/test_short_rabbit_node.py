"""A node of RabbitMQ stops, dies, and loses everything: workers go on, and so do submissions when it is back."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fault.ours import NAMESPACE, RunnerSystem
from tests.fault.rabbit import HINTS
from tests.fault.server import RedisServer
from tests.fault.system import Order
from tests.fault.verdict import details, judge, table
from tests.support.deadline import wait_until
from tests.support.rabbit import RabbitMQ, VirtualHost, rabbit

LEASE = 3.0


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualHost]:
    """The first virtual host of a node of one's own, which comes back with the node, whatever is lost."""
    with rabbit(tmp_path_factory.mktemp("node")) as node:
        yield VirtualHost(node, "/")


@pytest.fixture(scope="module")
def system(host: VirtualHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerSystem]:
    folder: Path = tmp_path_factory.mktemp("system")
    with RedisServer(folder, fsync="no") as server:
        system = RunnerSystem(folder, server, server.port, lease=LEASE, broker_url=host.url)
        try:
            system.start_workers(1, 1)
            yield system
        finally:
            system.close()


def check(system: RunnerSystem) -> None:
    """Check what became of all runs so far, and that the worker lives."""
    assert system.wait_for_all(30.0)
    row = judge(system, "", "", 0.0)
    assert row.kept, f"\n{table([row])}\n{details(row)}"
    worker = system.workers[0]
    assert worker.alive, worker.stderr[-3000:]


def refused(system: RunnerSystem) -> None:
    """Submit by the command, which must say that it could not hand the run over."""
    done = system.project.cli("submit", "work", "-p", "kind=good").check(69)
    assert "recorded, not handed over" in done.stderr
    assert "Traceback" not in done.stderr
    [run_id] = set(re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", done.stderr))
    order = Order("good", 0.0, id=run_id)
    system.accepted[run_id] = order


def test_a_run_may_take_longer_than_the_consumer_timeout(system: RunnerSystem, host: VirtualHost) -> None:
    host.node.consumer_timeout(1000)
    try:
        # Channels that are open have the former one.
        host.close_connections()
        wait_until(lambda: host.consumers(HINTS), 20.0, "it consumes again")
        system.accept([Order("good", 4.0, job="once"), Order("good", 0.0)])
        check(system)
        assert "acknowledgment on channel" not in system.workers[0].stderr, "RabbitMQ has closed a channel"
    finally:
        host.node.consumer_timeout(1_800_000)


def test_a_submission_that_a_memory_alarm_blocks_is_recorded_and_starts(
    system: RunnerSystem, host: VirtualHost
) -> None:
    with host.node.out_of_memory():
        refused(system)
    check(system)
    wait_until(lambda: system.ledger.client.zcard(f"{NAMESPACE}:hints") == 0, 30.0, "no hint is left to publish")


def stop(node: RabbitMQ) -> None:
    node.stop()


def kill(node: RabbitMQ) -> None:
    node.kill()


def lose(node: RabbitMQ) -> None:
    node.kill()
    shutil.rmtree(node.folder / "mnesia")


@pytest.mark.parametrize(
    "end", [stop, pytest.param(kill, marks=pytest.mark.long), pytest.param(lose, marks=pytest.mark.long)]
)
def test_an_outage_of_the_broker_loses_no_run(
    system: RunnerSystem, host: VirtualHost, end: Callable[[RabbitMQ], None]
) -> None:
    node, worker = host.node, system.workers[0]
    # What is running goes on, and what waits behind it starts, without a broker.
    system.accept([Order("good", 2.0, job="once"), Order("good", 0.0), Order("again", 0.0)])
    end(node)
    refused(system)
    assert system.wait_for_all(30.0), "runs do not start while the broker is away"
    node.start()
    wait_until(lambda: host.consumers(HINTS), 30.0, "the worker consumes again")
    wait_until(lambda: system.ledger.client.zcard(f"{NAMESPACE}:hints") == 0, 30.0, "no hint is left to publish")
    system.accept([Order("good", 0.0), Order("good", 0.0, job="once")])
    assert system.wait_for_all(30.0)
    check(system)
    assert node.password not in worker.stderr
