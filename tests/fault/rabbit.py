"""The attack on RabbitMQ: everything that can happen to a broker happens, in turn and at random moments, under load."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.fault.ours import NAMESPACE, RunnerSystem
from tests.fault.system import orders
from tests.support.rabbit import VirtualHost

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fault.attacks import Field

HINTS = f"{NAMESPACE}.default"
"""The queue of the hints of the runs under attack."""


def attack_rabbit(field: Field) -> None:
    """Kill workers and takers, close connections, stop, kill, and block the node, and lose, forge, and double hints.

    Half of the runs may start only once; nothing but the death of who held one may start another one again.
    """
    system, size, host = field.system, field.size, field.broker
    assert isinstance(system, RunnerSystem)
    assert host is not None
    system.start_workers(size.workers, size.concurrency)
    begun = time.monotonic()
    todo = [replace(order, job=field.random.choice(("work", "once"))) for order in orders(size.runs, field.random)]
    with field.load_of(todo):
        for number in range(size.kills):
            due = begun + size.seconds * (number + field.random.random()) / size.kills
            time.sleep(max(0.0, due - time.monotonic()))
            WAYS[number % len(WAYS)](field, host)


def _close_connections(_: Field, host: VirtualHost) -> None:
    host.close_connections()


def _kill_taker(field: Field, _: VirtualHost) -> None:
    field.system.kill_child(field.random.choice(field.system.workers), field.random)


def _purge(_: Field, host: VirtualHost) -> None:
    if HINTS in host.queues():
        host.purge(HINTS)


def _kill_worker(field: Field, _: VirtualHost) -> None:
    field.system.kill_worker(field.random.choice(field.system.workers))
    field.system.add_worker(field.size.concurrency)


def _restart_node(field: Field, host: VirtualHost) -> None:
    if field.random.random() < 0.5:
        host.node.kill()
    else:
        host.node.stop()
    field.system.deaths.killed += 1
    host.node.start()


def _double(field: Field, host: VirtualHost) -> None:
    with host.connect() as connection:
        channel = connection.channel()
        if HINTS not in host.queues():
            return
        for _ in range(50):
            message = channel.basic_get(HINTS, no_ack=True)
            if message is None:
                return
            for _ in range(field.random.randint(0, 3)):
                channel.basic_publish(message, routing_key=HINTS)


def _block(field: Field, host: VirtualHost) -> None:
    with host.node.out_of_memory():
        time.sleep(field.random.uniform(0.5, 1.5))


def _lose_queue(_: Field, host: VirtualHost) -> None:
    if HINTS in host.queues():
        host.delete_queue(HINTS)


WAYS: tuple[Callable[[Field, VirtualHost], None], ...] = (
    _close_connections,
    _kill_taker,
    _purge,
    _kill_worker,
    _block,
    _double,
    _restart_node,
    _lose_queue,
)
