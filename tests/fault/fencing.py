"""A worker that slept through its lease wakes up: nothing that it does may count any more."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tests.fault.ours import NAMESPACE, RunnerSystem
from tests.fault.system import Order, Worker
from tests.fault.witness import Start, Testimony
from tests.support.deadline import wait_until

if TYPE_CHECKING:
    from tests.fault.attacks import Field


def fence(field: Field) -> None:
    """Freeze A past its lease; B starts the run; wake A and let it do what it likes; kill B; a third start ends it.

    Once with a job that has ended by the time A wakes (it acknowledges and settles), once with one that has
    outlived its timeout (its parent settles that), once with A's takers awake all the time.
    """
    system = field.system
    assert isinstance(system, RunnerSystem)
    # Lives through it all, has no room for the run, and beats, or there would be a pause in the sweeps.
    ways = (("work", 5.0, True), ("timed", 5.0, True), ("work", 9.0, False))
    for job, seconds, whole in ways if field.size.kills else ways[:1]:
        _fence(field, system, job, seconds, whole)


def _fence(field: Field, system: RunnerSystem, job: str, seconds: float, whole: bool) -> None:
    system.start_workers(1, 1)
    first = system.workers[0]
    order = Order("good", seconds, job=job)
    system.accept([order])
    started = _wait_for_start(system, order.id, 1)
    since = system.freeze(first, whole=whole)
    system.start_workers(1, 1)
    second = system.workers[1]
    again = _wait_for_start(system, order.id, 2)
    # The job of the first start is over by now, or beyond its timeout, and the second one still runs.
    ripe = (started.at + seconds if whole else again.at) + 0.3
    time.sleep(max(0.0, min(ripe, again.at + seconds * 0.6) - time.monotonic()))
    system.thaw(first, since)
    # A's taker may settle, A may renew, acknowledge and time out; what it has done shows in a renewal at the latest.
    first.wait_for("lost its claim|lease was lost|stale|refused|is settled already", 20.0)
    now = system.ledger.get(order.id)
    assert str(now.state) == "STARTED", f"a zombie changed the run to {now.state}"
    assert now.worker is not None
    assert str(second.pid) in now.worker, "the run belongs to B no more"
    system.kill_worker(second)
    _wait_for_start(system, order.id, 3)
    wait_until(lambda: system.ledger.get(order.id).final, 40.0, "the third start ends the run")
    done = system.ledger.get(order.id)
    assert (str(done.state), done.attempts, done.losses) == ("SUCCESS", 3, 2), done
    assert outcomes(system.ledger.client, order.id) == ["SUCCESS"]
    end(system, first)


def end(system: RunnerSystem, worker: Worker) -> None:
    """SIGTERM a worker and wait for its end."""
    worker.terminate(60.0)
    system.retire(worker)


def outcomes(client: Any, run_id: str) -> list[str]:
    """Return the final states that a run was announced in, one for each time."""
    entries = client.xrange(f"{NAMESPACE}:events")
    return [
        fields["state"]
        for _, fields in entries
        if fields["id"] == run_id and fields["state"] in ("SUCCESS", "FAILURE", "REVOKED")
    ]


def _wait_for_start(system: RunnerSystem, run_id: str, number: int) -> Start:
    def starts() -> Start | None:
        found = Testimony.read(system.witness).starts.get(run_id, [])
        return found[number - 1] if len(found) >= number else None

    begun = wait_until(starts, 40.0, f"start {number} of the run")
    assert begun is not None
    return begun
