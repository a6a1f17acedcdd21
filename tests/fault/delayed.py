"""A hundred thousand delayed runs: they cost a worker no memory, survive all restarts, and start when they are due."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

from runner.ledger.ledger import Ledger
from runner.ledger.scripts import source
from runner.ledger.submission import Submission
from runner.model.job import JobSpec
from runner.model.run import to_datetime
from tests.fault.ours import NAMESPACE, RunnerSystem
from tests.fault.system import Order
from tests.fault.witness import Testimony
from tests.support.deadline import wait_until

if TYPE_CHECKING:
    from tests.fault.attacks import Field

DUE = 20
"""How many become due during the attack."""
APART = 0.1
"""Seconds from one of them to the next."""
AHEAD = 4.0
"""Seconds until the first is due: Redis and the worker start again meanwhile."""
ROOM = 6_000_000
"""Bytes that a worker may grow by, whatever for: ten thousand messages alone are larger."""


class _Noted(Ledger):
    """A ledger that notes what it would send."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger.client, ledger.settings)
        self.sent: list[tuple[Any, ...]] = []

    def script(self, name: str, *args: Any) -> Any:
        self.sent.append(args)
        return "known", "", [], ""


def submit_many(ledger: Ledger, job: JobSpec, params: dict[str, Any], count: int, eta: float) -> list[str]:
    """Submit many runs in few round trips; return their ids."""
    sha = ledger.client.script_load(source("runner.ledger", "submit"))
    ids = [str(uuid.uuid4()) for _ in range(count)]
    for at in range(0, count, 2000):
        noted = _Noted(ledger)
        pipeline = ledger.client.pipeline(transaction=False)
        for run_id in ids[at : at + 2000]:
            noted.submit(
                Submission(id=run_id, job=job, params=params, queue="default", priority=5, trigger="api", eta=eta)
            )
        for arguments in noted.sent:
            pipeline.evalsha(sha, 1, NAMESPACE, *arguments)
        pipeline.execute()
    return ids


def revoke_all(ledger: Ledger, ids: list[str]) -> None:
    """Revoke many runs in few round trips."""
    sha = ledger.client.script_load(source("runner.ledger", "revoke"))
    for at in range(0, len(ids), 2000):
        pipeline = ledger.client.pipeline(transaction=False)
        for run_id in ids[at : at + 2000]:
            pipeline.evalsha(sha, 1, NAMESPACE, run_id, "fault", "", "", "")
        pipeline.execute()


def delay_many(field: Field) -> None:
    """Delay a hundred thousand runs, kill worker and Redis, and see those that are due start, in order."""
    system = field.system
    assert isinstance(system, RunnerSystem)
    system.start_workers(1, 1)
    _pass_one(system)
    before = system.workers[0].memory
    far = submit_many(
        system.ledger, system.job("work"), {"kind": "good", "seconds": 0}, field.size.runs, time.time() + 7200.0
    )
    _pass_one(system)
    grown = system.workers[0].memory - before
    assert grown < ROOM, f"{len(far)} delayed runs cost the worker {grown:,} bytes"

    due = [Order("good", 0.0, delay=AHEAD + number * APART) for number in range(DUE)]
    mixed = list(due)
    field.random.shuffle(mixed)
    now = time.time()
    for order in mixed:
        system.submit(order, now=now)
        system.accepted[order.id] = order
    system.kill_worker(system.workers[0])
    field.server.kill()
    system.deaths.killed += 1
    field.server.start()
    with field.server.client() as client:
        delayed = int(client.zcard(f"{NAMESPACE}:delayed"))
    assert delayed == len(far) + DUE, f"{delayed} of {len(far) + DUE} are still delayed after the restart"
    system.start_workers(1, 1)

    wait_until(lambda: all(run.final for run in system.ledger.read([order.id for order in due])), 60.0, "they end")
    began = Testimony.read(system.witness).starts
    order_of_starts = sorted((order.id for order in due), key=lambda run_id: began[run_id][0].at)
    assert order_of_starts == [order.id for order in due], "they did not start in due order"
    late = 0.0
    for run in system.ledger.read([order.id for order in due]):
        assert run.started_at is not None
        assert run.eta is not None
        wait = (to_datetime(run.started_at) - to_datetime(run.eta)).total_seconds()
        assert wait >= 0.0, f"a run started {-wait:.3f} s before its time"
        late = max(late, wait)
    system.facts.append(f"{len(far):,} delayed: worker +{max(0, grown) / 1e6:.1f} MB, start {late:.2f} s late at most")
    revoke_all(system.ledger, far)


def _pass_one(system: RunnerSystem) -> None:
    """See one run through: the worker has taken notice of everything before it."""
    order = Order("good", 0.0)
    system.accept([order])
    wait_until(lambda: system.ledger.get(order.id).final, 60.0, "the run between ends")
