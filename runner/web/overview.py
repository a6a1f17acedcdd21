"""What the first page counts, in few round trips, however many runs there are."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runner.ledger.connection import reaching
from runner.model.run import Run, State
from runner.web.moments import took

if TYPE_CHECKING:
    from runner.ledger.ledger import Ledger

HOURS = 24
PLOT_HEIGHT = 60.0


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a plot, in its units: from ``y`` downwards, ``height`` long."""

    x: float
    y: float
    height: float
    state: str
    title: str


def counts(ledger: Ledger) -> dict[str, int]:
    """Return how many runs there are in each state."""
    with reaching(ledger.settings), ledger.client.pipeline(transaction=False) as pipe:
        for state in State:
            pipe.zcard(f"{ledger.namespace}:state:{state}")
        return dict(zip((str(state) for state in State), pipe.execute(), strict=True))


def by_hour(ledger: Ledger, now: float) -> list[tuple[float, dict[str, int]]]:
    """Return for each of the last hours its beginning (Unix s), and how many of its submissions are in which state."""
    begin = (now // 3600 - HOURS + 1) * 3600
    starts = [begin + 3600 * number for number in range(HOURS)]
    with reaching(ledger.settings), ledger.client.pipeline(transaction=False) as pipe:
        for start in starts:
            for state in State:
                pipe.zcount(f"{ledger.namespace}:state:{state}", start * 1000, f"({(start + 3600) * 1000}")
        found = iter(pipe.execute())
    return [(start, {str(state): int(next(found)) for state in State}) for start in starts]


def hours(counted: Sequence[tuple[float, dict[str, int]]]) -> list[Bar]:
    """Return the plot of :func:`by_hour`: a stack of bars an hour."""
    most = max((sum(of.values()) for _, of in counted), default=0) or 1
    found = []
    for number, (start, of) in enumerate(counted):
        y = PLOT_HEIGHT
        shown = time.strftime("%H:%M", time.localtime(start))
        for state, count in of.items():
            if count:
                height = PLOT_HEIGHT * count / most
                y -= height
                title = f"{shown}: {count} {state}"
                found.append(Bar(number, round(y, 2), round(height, 2), state, title))
    return found


def bars(runs: Iterable[Run]) -> list[Bar]:
    """Return the plot of how long runs took, the oldest first."""
    timed = [(run, took(run)) for run in reversed(list(runs))]
    most = max((seconds or 0.0 for _, seconds in timed), default=0.0) or 1.0
    return [
        Bar(
            number,
            round(PLOT_HEIGHT - max(1.0, PLOT_HEIGHT * (seconds or 0.0) / most), 2),
            round(max(1.0, PLOT_HEIGHT * (seconds or 0.0) / most), 2),
            str(run.state),
            f"{run.state}, {seconds or 0.0:.1f} s",
        )
        for number, (run, seconds) in enumerate(timed)
    ]


def latest(ledger: Ledger, names: Sequence[str]) -> dict[str, Run]:
    """Return the latest run of each job that has any."""
    with reaching(ledger.settings), ledger.client.pipeline(transaction=False) as pipe:
        for name in names:
            for state in State:
                pipe.zrange(f"{ledger.namespace}:job:{name}:{state}", 0, 0, desc=True, withscores=True)
        found = iter(pipe.execute())
    ids: dict[str, str] = {}
    for name in names:
        heads = [head for _ in State for head in next(found)]
        if heads:
            ids[name] = max(heads, key=lambda head: head[1])[0]
    runs = {run.id: run for run in ledger.read(list(ids.values()))}
    return {name: runs[run_id] for name, run_id in ids.items() if run_id in runs}


def queues(ledger: Ledger) -> list[dict[str, Any]]:
    """Return the queues: ``name``, how many messages wait by priority (9 first), and the ``consumers``."""
    workers = ledger.workers()
    with reaching(ledger.settings):
        known: Any = ledger.client.smembers(f"{ledger.namespace}:queues")
        names: list[str] = sorted({*known, *ledger.consumed_queues()})
        with ledger.client.pipeline(transaction=False) as pipe:
            for name in names:
                for priority in range(9, -1, -1):
                    pipe.llen(f"{ledger.namespace}:queue:{name}:{priority}")
            found = iter(pipe.execute())
    return [
        {
            "name": name,
            "waiting": {priority: waiting for priority in range(9, -1, -1) if (waiting := int(next(found)))},
            "consumers": [worker["name"] for worker in workers if name in worker["queues"]],
        }
        for name in names
    ]
