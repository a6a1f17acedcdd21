"""Forged messages under the id of a run that waits: they pass the guard, and must bring nothing of their own along."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault.forgery import dump, envelope, signature
from tests.fault.ours import NAMESPACE, RunnerSystem
from tests.fault.server import RedisServer
from tests.fault.system import Order
from tests.fault.witness import Testimony
from tests.support.deadline import wait_until

LINKS = {"callbacks": [signature()], "errbacks": [signature()], "chain": [signature()], "chord": signature()}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerSystem]:
    folder: Path = tmp_path_factory.mktemp("forgery")
    with RedisServer(folder, fsync="no") as server:
        system = RunnerSystem(folder, server, server.port)
        try:
            system.start_workers(1, 1)
            yield system
        finally:
            system.close()


def forge(system: RunnerSystem, order: Order, task: str, embed: dict[str, object] | None = None) -> None:
    """Push a marked message under the id of a run that waits for its time, and a good run behind it."""
    raw = dump(envelope(task=task, run_id=order.id, params={"kind": order.kind, "seconds": 0}, embed=embed))
    with system.server.client() as client:
        client.lpush(f"{NAMESPACE}:queue:default:5", raw)
    behind = Order("good", 0.0)
    system.submit(behind)
    wait_until(lambda: system.ledger.get(behind.id).final, 20.0, "the good run behind it ends")
    assert system.workers[0].alive


def canaries(system: RunnerSystem) -> int:
    """Count how often the canary ran."""
    return len(Testimony.read(system.witness).starts.get("canary", []))


@pytest.mark.parametrize("kind", ["good", "wrong"])
@pytest.mark.parametrize("link", LINKS)
def test_links_are_not_followed(system: RunnerSystem, link: str, kind: str) -> None:
    order = Order(kind, 0.0, delay=3600.0)  # type: ignore[arg-type]
    system.submit(order)
    before = canaries(system)
    forge(system, order, "work", {link: LINKS[link]})
    assert canaries(system) == before, "the canary ran"


@pytest.mark.parametrize("task", ["canary", "neighbor", "timed"])
def test_a_run_is_started_as_no_other_job(system: RunnerSystem, task: str) -> None:
    order = Order("good", 0.0, delay=3600.0)
    system.submit(order)
    forge(system, order, task)
    run = system.ledger.get(order.id)
    assert (str(run.state), run.attempts) == ("PENDING", 0), f"started as {task}: {run.state} {run.error}"


def test_what_a_plain_client_puts_into_a_queue_of_runs_is_adopted(system: RunnerSystem) -> None:
    order = Order("good", 0.0)
    params = {"kind": order.kind, "seconds": 0}
    with system.server.client() as client:
        client.lpush(
            f"{NAMESPACE}:queue:default:5", dump(envelope(task="work", run_id=order.id, params=params, ours=False))
        )
    behind = Order("good", 0.0)
    system.submit(behind)
    wait_until(lambda: len(system.ledger.read([order.id])) == 1, 20.0, "it is a run")
    wait_until(lambda: system.ledger.get(order.id).state == "SUCCESS", 20.0, "the run ends")
