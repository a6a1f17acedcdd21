"""``runner runs``."""

from __future__ import annotations

import click

from runner.cli.frame.group import verb
from runner.cli.frame.moments import read_since, show_moment
from runner.cli.frame.opening import open_project
from runner.cli.frame.options import JOB, json_option, utc_option
from runner.cli.frame.output import STYLES, Output, table
from runner.cli.frame.run_text import LONGEST_CELL, one_line, params_text, state_text, took
from runner.errors import UsageError
from runner.model.run import Run, State

MOST = 100_000


@verb(example="runner runs --job nightly-report --state failure --since 24h")
@click.option("--job", "-j", type=JOB, help="Only runs of this job.")
@click.option(
    "--state",
    "-s",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in State], case_sensitive=False),
    help="Only in this state; may be repeated.",
)
@click.option("--since", metavar="DURATION|TIME", help="Only submitted since then: 24h, 2026-11-23, 02:00.")
@click.option("--limit", "-n", type=click.IntRange(1, MOST), default=20, show_default=True, help="How many at most.")
@click.option("--ids", "ids_only", is_flag=True, help="Print the ids only.")
@click.option("--jsonl", is_flag=True, help="Print one JSON object a line.")
@json_option
@utc_option
def command(
    job: str | None,
    states: tuple[str, ...],
    since: str | None,
    limit: int,
    ids_only: bool,
    jsonl: bool,
    as_json: bool,
    utc: bool,
) -> int:
    """List runs, newest submission first."""
    from runner.actions.find import list_runs  # start-up time: --help reads no settings

    if ids_only + jsonl + as_json > 1:
        raise UsageError("--ids, --json and --jsonl each say what to print", hint="use one of them")
    project = open_project()
    out = Output(as_json=as_json or jsonl, utc=utc)
    oldest = read_since(since, project.settings.timezone) if since is not None else None
    wanted = [State(str(state).upper()) for state in states]
    runs = list_runs(project, job=job, states=wanted, since=oldest, limit=limit)
    if not runs and job is not None:
        project.catalog.get(job)  # a name that was mistyped is no empty list
    if as_json:
        out.document([run.document() for run in runs])
    elif jsonl:
        out.lines(run.document() for run in runs)
    elif ids_only:
        for run in runs:
            out.data(run.id)
    elif runs:
        table(out, ("SUBMITTED", "ID", "JOB", "STATE", "TOOK", "PARAMS"), [_row(out, run) for run in runs], STYLES)
    else:
        out.note("no runs")
    return 0


def _row(out: Output, run: Run) -> tuple[str, ...]:
    # On a terminal the start of an id is enough to copy; a program gets all of it.
    shown = run.id[:13] if out.for_people else run.id
    submitted = show_moment(run.submitted_at, utc=out.utc)
    return (submitted, shown, run.job, state_text(run), took(run), one_line(params_text(run.params), LONGEST_CELL))
