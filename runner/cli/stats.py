"""``runner stats``."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from runner.cli.terminal.declared import asked_for, declared_options
from runner.cli.terminal.group import verb
from runner.cli.terminal.listing import Column, Listed, Listing, ListOptions, Pace, list_options
from runner.cli.terminal.moments import show_moment
from runner.cli.terminal.opening import open_projects
from runner.cli.terminal.options import JOB
from runner.cli.terminal.output import Output, is_utf8
from runner.cli.terminal.run_text import aligned
from runner.cli.terminal.several_projects import Shown, flatten
from runner.cli.terminal.show_list import print_rows, show_list
from runner.model.run import State, to_timestamp
from runner.model.run_query import Reading
from runner.model.run_time import duration_text

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.actions.projects import Named
    from runner.actions.stats import Stats

BARS = "▁▂▃▄▅▆▇█"
PLAIN_BARS = ".:-=+*#@"


@verb(example="runner stats\nrunner stats nightly-report --json\nrunner stats -o '{job} {success_rate}'")
@click.argument("job", required=False, type=JOB)
@declared_options(Reading)
@list_options()
def command(asked: dict[str, object], job: str | None, options: ListOptions) -> int:
    """Show the number of runs of a job or of all jobs, the success rate, and the wait and run times.

    A flow has a row for each of its steps. If a step is another job, its row counts the runs of that job in all flows.

    Only runs that retention keeps are counted, and those in the archive if there is one. p50 and p95 are percentiles:
    50 or 95 percent of the last runs took this long or less.
    """
    out = options.output()
    shown = Shown(out, open_projects(out))
    archived = asked_for(Reading, shown.projects.first, asked).archived

    def read(_changed: Collection[str] = ()) -> Listed[Named[Stats]]:
        from runner.actions.stats import stats  # start-up time: --help reads no settings

        def of_project(project: Project) -> list[Stats]:
            project.look()
            return stats(project, job, archived=archived)

        return Listed(flatten(shown.read(of_project), list))

    if job is not None and options.form in (None, "json") and not options.follow:
        _show_job(out, shown, read().rows)
    else:
        pace = Pace(15.0, shown.projects)
        show_list(out, options, shown.listing(_LISTING), read, "no jobs", pace)
    return shown.code


def _show_job(out: Output, shown: Shown, found: Sequence[Named[Stats]]) -> None:
    if out.as_json:
        documents = [shown.document(row, row.value.document()) for row in found]
        out.documents(documents, single=not shown.projects.several)
        return
    for number, row in enumerate(found):
        shown.title(row, first=number == 0)
        _show(out, row.value)
        if row.value.steps:
            out.data("")
            print_rows(out, ListOptions(utc=out.utc), _OF_STEPS, row.value.steps, "")


def _show(out: Output, found: Stats) -> None:
    counts = ", ".join(f"{count} {state}" for state, count in found.tally.counts.items() if count)
    rows = [
        ("job", found.tally.job),
        ("runs", f"{found.runs}" + (f": {counts}" if counts else "")),
        ("success", _rate(found)),
        ("last success", show_moment(to_timestamp(found.tally.last_success), utc=out.utc)),
        ("wait", _pair(found.wait(0.5), found.wait(0.95))),
        ("run", _pair(found.duration(0.5), found.duration(0.95))),
        ("sampled", f"the last {len(found.tally.durations)} that ended"),
        ("last days", f"{_days(found)}  {found.dates[0]} to {found.dates[-1]}"),
    ]
    for line in aligned([(name, text) for name, text in rows if text]):
        out.data(line)


def _rate(found: Stats) -> str:
    rate = found.success_rate
    if rate is None:
        return ""
    # Rounded down: 100 % is said of nothing that ever failed.
    return f"{int(rate * 1000) / 10:g} %"


def _seconds(value: float | None) -> str:
    return "" if value is None else duration_text(value)


def _pair(middle: float | None, most: float | None) -> str:
    return "" if middle is None else f"p50 {_seconds(middle)}, p95 {_seconds(most)}"


def _days(found: Stats) -> str:
    return sparkline([sum(day) for day in found.tally.days])


def sparkline(values: Sequence[int]) -> str:
    """Return a bar for each value; a space for none at all."""
    bars, most = BARS if is_utf8(sys.stdout) else PLAIN_BARS, max(values, default=0)
    return "".join(bars[(value * len(bars) - 1) // most] if value else " " for value in values)


_COLUMNS: list[Column[Stats]] = [
    Column("JOB", lambda found: found.tally.job, flexible=True),
    Column("RUNS", lambda found: str(found.runs), right=True),
    Column("ACTIVE", lambda found: str(found.active), priority=3, right=True),
    Column("SUCCESS", _rate, right=True),
    Column("WAIT P95", lambda found: _seconds(found.wait(0.95)), priority=4, right=True),
    Column("RUN P50", lambda found: _seconds(found.duration(0.5)), priority=1, right=True),
    Column("RUN P95", lambda found: _seconds(found.duration(0.95)), priority=2, right=True),
    Column("LAST DAYS", _days, priority=5),
]
_LISTING: Listing[Stats] = Listing(
    _COLUMNS,
    document=lambda found: found.document(),
    fields={
        **dict.fromkeys(("job", "runs")),
        "states": tuple(State),
        **dict.fromkeys(("success_rate", "last_success")),
        "wait_seconds": ("p50", "p95"),
        "run_seconds": ("p50", "p95"),
        **dict.fromkeys(("sampled", "days", "steps")),
    },
    key=lambda found: found.tally.job,
    name=lambda found: found.tally.job,
)
_OF_STEPS: Listing[Stats] = replace(
    _LISTING, columns=[Column("STEP", lambda found: found.step or "", flexible=True), *_COLUMNS]
)
