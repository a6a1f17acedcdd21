"""RabbitMQ cuts, forgets, and doubles what is published, and carries forgeries: no run is lost, doubled, or stuck."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from tests.fault.ours import RunnerSystem
from tests.fault.rabbit import HINTS
from tests.fault.server import RedisServer
from tests.fault.system import Order, orders
from tests.fault.verdict import details, judge, table
from tests.fault.witness import Testimony
from tests.support.deadline import wait_until
from tests.support.rabbit import RabbitMQ, VirtualHost, virtual_host

LEASE = 3.0


@pytest.fixture(scope="module")
def host(rabbit_node: RabbitMQ) -> Iterator[VirtualHost]:
    with virtual_host(rabbit_node) as host:
        yield host


@pytest.fixture(scope="module")
def fleet(host: VirtualHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerSystem]:
    """A Redis, and one worker that gets its hints from the host."""
    folder: Path = tmp_path_factory.mktemp("rabbit")
    with RedisServer(folder, fsync="no") as server:
        system = RunnerSystem(folder, server, server.port, lease=LEASE, broker_url=host.url)
        try:
            system.start_workers(1, 2)
            yield system
        finally:
            system.close()


@pytest.fixture
def system(fleet: RunnerSystem) -> Iterator[RunnerSystem]:
    """The fleet, whose worker must have lived through the test, and whose runs are judged."""
    fleet.accepted.clear()
    fleet.witness.unlink(missing_ok=True)
    yield fleet
    assert fleet.wait_for_all(30.0)
    row = judge(fleet, "", "", 0.0)
    assert row.kept, f"\n{table([row])}\n{details(row)}"
    assert fleet.workers[0].alive, fleet.workers[0].stderr[-3000:]


def load(count: int) -> list[Order]:
    random = Random(3)
    return [replace(order, job=random.choice(("work", "once"))) for order in orders(count, random, 0.05)]


def end_within(system: RunnerSystem, order: Order, seconds: float) -> None:
    """Wait for the end of a run, which must come within ``seconds``."""
    wait_until(lambda: system.ledger.get(order.id).final, seconds, "the run ends")


def test_connections_that_the_server_closes_cost_no_run(system: RunnerSystem, host: VirtualHost) -> None:
    closed = 0
    for _ in range(4):
        system.accept(load(15))
        closed += host.close_connections()
    assert closed, "there was nothing to close"
    worker = system.workers[0]
    # Its connection comes back, and with it what wakes it.
    wait_until(lambda: host.consumers(HINTS), 20.0, "it consumes again")
    assert worker.alive


def test_hints_that_are_lost_after_their_confirm_are_not_needed(system: RunnerSystem, host: VirtualHost) -> None:
    # Both takers are busy, so that hints stay in the queue.
    system.accept([Order("good", 1.5), Order("good", 1.5)])
    wait_until(lambda: system.witness.exists() and system.witness.read_text().count("start") == 2, 20.0, "both run")
    system.accept(load(10))
    wait_until(lambda: host.queues()[HINTS], 20.0, "hints are in the queue")
    host.purge(HINTS)


def test_a_client_that_dies_before_it_publishes_leaves_a_run_that_starts(system: RunnerSystem) -> None:
    order = Order("good", 0.0)
    courier, system.ledger.courier = system.ledger.courier, None
    try:
        system.accept([order])
    finally:
        system.ledger.courier = courier
    end_within(system, order, LEASE + 5.0)


def test_a_hint_that_comes_many_times_starts_its_run_once(system: RunnerSystem, host: VirtualHost) -> None:
    order = Order("good", 0.5, job="once")
    system.accept([order])
    host.publish(HINTS, *[f'{{"id": "{order.id}", "queue": "default", "priority": 5}}'] * 300)
    end_within(system, order, 20.0)
    wait_until(lambda: host.queues()[HINTS] == 0, 20.0, "the worker has acknowledged them all")


FORGED: tuple[bytes, ...] = (
    b"",
    b"\x00\xff\xfe garbage",
    b"null",
    b"7",
    b"[]",
    b"{}",
    b'{"id": null, "queue": null, "priority": null}',
    b'{"id": 7, "queue": ["default"], "priority": "high"}',
    b'{"id": "no-such-run", "queue": "default", "priority": 5}',
    b'{"id": "../../etc", "queue": "no such queue", "priority": 99999999999999999999}',
    b'{"id": "x", "queue": "default", "priority": -1}',
    b'{"task": "canary.shared", "id": "x", "args": [], "kwargs": {}}',
    b"[" * 100_000,
    b'{"id": "' + b"x" * 1_000_000 + b'"}',
)


def test_forged_hints_start_nothing_and_stop_nobody(system: RunnerSystem, host: VirtualHost) -> None:
    later = Order("good", 0.0, delay=3600.0)
    system.submit(later)
    forged = [*FORGED, b'{"id": "%s", "queue": "default", "priority": 9}' % later.id.encode()]
    for properties in (
        {},
        {"content_type": "application/vnd.runner.hint+json"},
        {"content_type": "application/x-python-serialize", "content_encoding": "gzip"},
        {"priority": 255, "expiration": "60000", "reply_to": "celery", "correlation_id": "x"},
    ):
        host.publish(HINTS, *forged, **properties)
    system.accept(load(10))
    wait_until(lambda: host.queues()[HINTS] == 0, 20.0, "the worker has acknowledged them all")
    assert str(system.ledger.get(later.id).state) == "PENDING", "a hint has started a run before its time"
    assert not Testimony.read(system.witness).starts.get("canary")
    system.ledger.revoke(later.id, by="test")
