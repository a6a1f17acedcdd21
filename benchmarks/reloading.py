"""From the moment a file of jobs is saved until a run goes by what it says, beside the restart it takes without that.

Runs are submitted one after the other, under a spec that is older than all, until one was run by the new one. So the
worker learns of the change from the file, and not from the run.
"""

from __future__ import annotations

import time
from pathlib import Path
from uuid import uuid4

from benchmarks.pairs import Row, quantile
from benchmarks.place import PATIENCE, Place

JOBS = 100
CHANGES = 60
RESTARTS = 3
MOST_SECONDS = 1.0


def measure(place: Place) -> list[Row]:
    """Save in three ways in turn: over the old file, by renaming, and emptied first."""
    from runner.actions.project import Project
    from runner.ledger.submission import Submission
    from runner.model.run import State

    changes, starts = place.some(CHANGES, 3), place.some(RESTARTS, 1)
    file = place.folder / "jobs.d" / "live.yaml"
    file.write_text(_text(0))
    project = Project.open(place.folder)
    job = project.catalog.get("live-0")
    taken: list[float] = []

    def run() -> str | None:
        run_id = str(uuid4())
        project.ledger.submit(
            Submission(id=run_id, job=job, params={}, queue="live", priority=9, trigger="api", submitted_by=None)
        )
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            [found] = project.ledger.read([run_id])
            if found.final:
                assert found.state is State.SUCCESS, found
                return found.spec_digest
            time.sleep(0.002)
        raise RuntimeError(f"run {run_id} does not end")

    with place.worker(place.our_worker(1, "live")):
        before = run()
        for number in range(1, changes + 1):
            start = _save(file, _text(number), number % 3)
            while (now := run()) == before:
                assert time.monotonic() - start < PATIENCE
            taken.append(time.monotonic() - start)
            before = now
    file.unlink()
    restarts = []
    for _ in range(starts):
        start = time.monotonic()
        with place.worker(place.celery_worker("plain", 1)):
            restarts.append(time.monotonic() - start)
    taken.sort()
    theirs = quantile(sorted(restarts), 0.5)
    return [
        Row("save to effect / start of a Celery worker, median", quantile(taken, 0.5), theirs, "s", changes),
        Row("save to effect, p95", quantile(taken, 0.95), None, "s", changes, most=MOST_SECONDS, bounds="figure"),
    ]


def _text(number: int) -> str:
    return "jobs:\n" + "".join(
        f"  live-{n}:\n    task: work:noop\n    queue: live\n    timeout: {number + 1}m\n" for n in range(JOBS)
    )


def _save(file: Path, text: str, way: int) -> float:
    """Write the file; return when that was done."""
    if way == 0:
        file.write_text(text)
    elif way == 1:
        beside = file.with_suffix(".tmp")
        beside.write_text(text)
        beside.rename(file)
    else:
        with file.open("w") as opened:
            opened.flush()
            time.sleep(0.05)
            opened.write(text)
    return time.monotonic()
