"""``runner workers``."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import fields
from typing import TYPE_CHECKING

from runner.cli.terminal.group import verb
from runner.cli.terminal.listing import Column, Listed, Listing, ListOptions, Pace, list_options
from runner.cli.terminal.moments import Clock
from runner.cli.terminal.opening import open_projects
from runner.cli.terminal.several_projects import Shown, flatten
from runner.cli.terminal.show_list import show_list
from runner.model.plural import things
from runner.model.worker import Worker

if TYPE_CHECKING:
    from runner.actions.projects import Named

STYLES = {"running": "green", "stopping": "yellow", "lost": "red"}


@verb(example="runner workers\nrunner workers -w\nrunner workers -o '{name} {state}'")
@list_options()
def command(options: ListOptions) -> int:
    """List the workers with their last reported state.

    A worker that is silent for a lease counts as lost. It is listed for another day.
    """
    from runner.ledger.fleet import read_workers  # start-up time: --help needs no ledger

    out = options.output()
    shown = Shown(out, open_projects())

    def read(_changed: Collection[str]) -> Listed[Named[Worker]]:
        answers = shown.read(lambda project: read_workers(project.ledger))
        rows = flatten(answers, list)
        return Listed(rows, [note for row in rows for note in _problems(row.value)])

    show_list(out, options, shown.listing(_listing(options.clock(out))), read, "no workers", Pace(2.0))
    return shown.code


def _problems(worker: Worker) -> Iterator[str]:
    if worker.problems.count and not worker.lost:
        kept = f"; an earlier state of {', '.join(worker.kept)} is in force" if worker.kept else ""
        yield f"warning: {worker.name}: problems in files of jobs: {worker.problems.first[0]}{kept}"


def _listing(clock: Clock) -> Listing[Worker]:
    return Listing(
        [
            Column("WORKER", lambda worker: worker.name, flexible=True),
            Column("STATE", lambda worker: worker.state, styles=STYLES),
            Column("RUNNING", lambda worker: f"{worker.running} of {worker.concurrency}"),
            Column("QUEUES", lambda worker: ", ".join(worker.queues), priority=1, flexible=True),
            Column("JOBS", lambda worker: str(worker.jobs), priority=4, right=True),
            Column("CATALOG", _catalog, priority=5),
            Column("SINCE", lambda worker: clock.show(worker.started_at), priority=3),
            Column("SEEN", lambda worker: clock.show_past(worker.seen_at), priority=2),
            Column("VERSION", lambda worker: worker.version or "", priority=6),
            Column("POOL", lambda worker: worker.pool, wide=True),
            Column("HOST", lambda worker: worker.host, wide=True),
            Column("PID", lambda worker: str(worker.pid), wide=True),
        ],
        document=Worker.document,
        fields={**dict.fromkeys(field.name for field in fields(Worker)), "problems": ("count", "first")},
        key=lambda worker: worker.name,
        name=lambda worker: worker.name,
        unsteady=["seen_at"],
    )


def _catalog(worker: Worker) -> str:
    problems = worker.problems.count
    catalog = (worker.catalog or "").removeprefix("sha256:")[:8]
    return f"{catalog} ({things(problems, 'problem')})" if problems else catalog
