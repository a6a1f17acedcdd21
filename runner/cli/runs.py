"""``runner runs``."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from runner.cli.terminal.declared import asked_for, declared_options
from runner.cli.terminal.group import verb
from runner.cli.terminal.listing import Column, Listed, Listing, ListOptions, Pace, list_options
from runner.cli.terminal.moments import Clock, show_moment
from runner.cli.terminal.opening import open_projects
from runner.cli.terminal.options import JOB, WholeNumber
from runner.cli.terminal.output import STYLES
from runner.cli.terminal.run_text import LONGEST_CELL, one_line, params_text, state_text, took
from runner.cli.terminal.several_projects import Shown, flatten
from runner.cli.terminal.show_list import show_list
from runner.errors import UsageError
from runner.model.run import FIELDS, Run, to_timestamp
from runner.model.run_query import RunQuery
from runner.model.step_run import step_name

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.actions.projects import Named
    from runner.ledger.search import Page

MOST = 100_000
CSV_FIELDS = (
    *("id", "job", "state", "reason", "submitted_at", "started_at", "finished_at", "attempts", "retries", "losses"),
    *("queue", "worker", "trigger", "submitted_by", "key", "flow", "step", "item", "params", "error"),
)
OBJECTS = {
    "error": ("type", "message", "traceback"),
    "progress": ("fraction", "message"),
    "revocation": ("by", "comment", "at"),
}


@verb(
    example="runner runs --job nightly-report --state failure --since 24h\n"
    "runner runs --flow @nightly --state failure\n"
    "runner runs --reason timeout --tag finance -o csv > timeouts.csv\n"
    "runner runs -w --state failure -o '{id} {job} {error.type}'"
)
@declared_options(RunQuery, short={"job": "-j", "state": "-s"}, types={"job": JOB})
@click.option(
    "--limit", "-n", type=WholeNumber(1, MOST), default=20, show_default=True, help="The maximum number of runs."
)
@click.option("--cursor", metavar="TEXT", help="Show the next page, after the one that printed this cursor.")
@list_options("ids", "csv")
def command(asked: dict[str, object], limit: int, cursor: str | None, options: ListOptions) -> int:
    """List runs, newest submission first, one page at a time.

    Step runs of flows are left out; --steps lists them too, and --flow those of one flow.

    Runs that Redis no longer keeps are read from the archive, if there is one.

    Job, state, and time are looked up in an index. For the other filters, up to 10,000 runs are examined at a time. If
    that was not enough, stderr shows the command that continues the search.
    """
    if options.follow and cursor is not None:
        raise UsageError("-w follows the first page, so it cannot be combined with --cursor", hint="leave out one")
    out = options.output()
    shown = Shown(out, open_projects(out))
    query = asked_for(RunQuery, shown.projects.first, asked)
    reader = _Reader(shown, query, limit, cursor, following=options.follow, more=not options.redraws(out))
    listing = shown.listing(_listing(options.clock(out)))
    pace = Pace(15.0, shown.projects, newest_first=query.sort == "newest" and query.flow is None)
    show_list(out, options, listing, reader.read, "no runs", pace)
    return shown.code


class _Reader:
    """Reads a page of runs. When it is followed, ``more`` reads every run that fits and has changed since."""

    def __init__(
        self, shown: Shown, query: RunQuery, limit: int, cursor: str | None, *, following: bool, more: bool
    ) -> None:
        self._shown = shown
        self._query = query
        self._limit = limit
        self._cursor = cursor
        self._following = following
        self._more = following and more
        self._unfinished: dict[str, Named[Run]] = {}

    def read(self, changed: Collection[str] = ()) -> Listed[Named[Run]]:
        """Read the page, or with ``more`` the runs that have changed.

        Args:
            changed: the ids of runs that have changed since the last call.
        """
        if self._more and changed:
            rows, notes = self._read_changed(changed), []
        else:
            page = self._shown.projects.list_runs(self._query, limit=self._limit, cursor=self._cursor)
            self._shown.warn_of_unreachable(page.pages)
            rows, notes = list(page.runs), [note for of in page.pages for note in self._cut(of)]
            if page.cursor is not None and not self._following:
                notes.append(f"for the next page, add: --cursor {page.cursor}")
        if self._more:
            self._unfinished |= {row.value.id: row for row in rows}
            for row in rows:
                if row.value.final:
                    del self._unfinished[row.value.id]
        return Listed(rows, notes)

    def _read_changed(self, changed: Collection[str]) -> list[Named[Run]]:
        """Read the changed runs that fit, and those that were listed and do not fit any more."""
        from runner.actions.changed_runs import read_changed  # start-up time: few lists are followed

        def read(project: Project) -> list[Run]:
            return read_changed(project, self._query, changed)

        rows = flatten(self._shown.read(read), list)
        listed = [self._unfinished[run_id] for run_id in changed if run_id in self._unfinished]
        others = [row for row in listed if all(row.value.id != other.value.id for other in rows)]
        return [
            *rows,
            *(replace(row, value=run) for row in others for run in row.project.records.read([row.value.id])),
        ]

    def _cut(self, of: Named[Page]) -> Iterator[str]:
        page = of.value
        if page.cut:
            reached = show_moment(to_timestamp(page.reached), utc=self._shown.out.utc)
            back = f", back to {reached}" if reached else ""
            whose = f" of project {of.name}" if self._shown.projects.several else ""
            yield f"examined {page.looked_at} runs{whose}{back}; there are more"


def _listing(clock: Clock) -> Listing[Run]:
    return Listing(
        [
            Column("SUBMITTED", lambda run: clock.show(run.submitted_at), priority=1 if clock.ages else 0),
            Column("ID", lambda run: run.id, id=True),
            Column("JOB", lambda run: run.job, flexible=True, least=16),
            Column(
                "STEP", lambda run: step_name(run.step, run.item) if run.step else "", 1, flexible=True, optional=True
            ),
            Column("STATE", state_text, least=10, styles=STYLES),
            Column("TOOK", took, priority=2),
            Column("PARAMS", lambda run: one_line(params_text(run.params), LONGEST_CELL), priority=3, flexible=True),
            Column("QUEUE", lambda run: run.queue, wide=True),
            Column("WORKER", lambda run: run.worker or "", wide=True),
            Column("TRIGGER", lambda run: run.trigger, wide=True),
            Column("BY", lambda run: run.submitted_by or "", wide=True),
        ],
        document=Run.document,
        fields={**dict.fromkeys(FIELDS), **OBJECTS, "damaged": None},
        key=lambda run: run.id,
        name=lambda run: run.id,
        record=_record,
        record_fields=CSV_FIELDS,
    )


def _step(run: Run) -> str:
    return step_name(run.step, run.item) if run.step else ""


def _record(run: Run) -> dict[str, Any]:
    error = f"{run.error['type']}: {run.error['message']}" if run.error else None
    return {**run.document(), "error": error}
