"""``runner runs``."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import click

from runner.cli.terminal.declared import asked_for, declared_options
from runner.cli.terminal.group import verb
from runner.cli.terminal.moments import show_moment
from runner.cli.terminal.opening import open_projects
from runner.cli.terminal.options import JOB, WholeNumber, in_one_form, json_option, jsonl_option, utc_option
from runner.cli.terminal.output import STYLES, Output, table
from runner.cli.terminal.run_text import LONGEST_CELL, one_line, params_text, state_text, took
from runner.cli.terminal.several_projects import Shown
from runner.model.run import Run, to_timestamp
from runner.model.run_query import RunQuery
from runner.model.step_run import step_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.actions.projects import Named
    from runner.ledger.search import Page

MOST = 100_000
COLUMNS = ("id", "job", "state", "reason", "submitted_at", "started_at", "finished_at", "attempts", "retries", "losses")
MORE_COLUMNS = ("queue", "worker", "trigger", "submitted_by", "key", "flow", "step", "item")


@verb(
    example="runner runs --job nightly-report --state failure --since 24h\n"
    "runner runs --flow @nightly --state failure\n"
    "runner runs --reason timeout --tag finance --csv > timeouts.csv"
)
@declared_options(RunQuery, short={"job": "-j", "state": "-s"}, types={"job": JOB})
@click.option(
    "--limit", "-n", type=WholeNumber(1, MOST), default=20, show_default=True, help="The maximum number of runs."
)
@click.option("--cursor", metavar="TEXT", help="Show the next page, after the one that printed this cursor.")
@click.option("--ids", "ids_only", is_flag=True, help="Print only the ids.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values, for spreadsheets.")
@json_option
@jsonl_option
@utc_option
def command(
    asked: dict[str, object],
    limit: int,
    cursor: str | None,
    ids_only: bool,
    as_csv: bool,
    as_json: bool,
    jsonl: bool,
    utc: bool,
) -> int:
    """List runs, newest submission first, one page at a time.

    Step runs of flows are left out; --steps lists them too, and --flow those of one flow.

    Runs that Redis no longer keeps are read from the archive, if there is one.

    Job, state, and time are looked up in an index. For the other filters, up to 10,000 runs are examined at a time. If
    that was not enough, stderr shows the command that continues the search.
    """
    in_one_form(ids=ids_only, csv=as_csv, json=as_json, jsonl=jsonl)
    out = Output(as_json=as_json or jsonl, utc=utc)
    shown = Shown(out, open_projects())
    query = asked_for(RunQuery, shown.projects.first, asked)
    page = shown.projects.list_runs(query, limit=limit, cursor=cursor)
    shown.told(page.pages)
    if out.as_json:
        out.listed([shown.document(of, of.value.document()) for of in page.runs], as_lines=jsonl)
    elif as_csv:
        _print_csv(out, shown, page.runs)
    elif ids_only:
        for of in page.runs:
            out.data(of.value.id)
    elif page.runs:
        steps = any(of.value.step for of in page.runs)
        headings = ("SUBMITTED", "ID", "JOB", *(["STEP"] if steps else []), "STATE", "TOOK", "PARAMS")
        rows = [(*shown.cell(of), *_row(out, of.value, steps=steps)) for of in page.runs]
        table(out, (*shown.heading, *headings), rows, STYLES)
    else:
        out.note("no runs")
    for each in page.pages:
        _tell_of_cut(out, shown, each)
    if page.cursor is not None:
        out.note(f"for the next page, add: --cursor {page.cursor}")
    return shown.code


def _tell_of_cut(out: Output, shown: Shown, of: Named[Page]) -> None:
    page = of.value
    if page.cut:
        reached = show_moment(to_timestamp(page.reached), utc=out.utc)
        back = f", back to {reached}" if reached else ""
        whose = f" of project {of.name}" if shown.projects.several else ""
        out.note(f"examined {page.looked_at} runs{whose}{back}; there are more")


def _row(out: Output, run: Run, *, steps: bool) -> tuple[str, ...]:
    # On a terminal the start of an id is enough to copy; a program gets all of it.
    shown = run.id[:13] if out.for_people else run.id
    submitted = show_moment(run.submitted_at, utc=out.utc)
    step = [step_name(run.step, run.item) if run.step else ""] if steps else []
    params = one_line(params_text(run.params), LONGEST_CELL)
    return (submitted, shown, run.job, *step, state_text(run), took(run), params)


def _print_csv(out: Output, shown: Shown, runs: Sequence[Named[Run]]) -> None:
    columns = (*COLUMNS, *MORE_COLUMNS)
    out.data(_csv_line([*(["project"] if shown.heading else []), *columns, "params", "error"]))
    for of in runs:
        run = of.value
        error = f"{run.error['type']}: {run.error['message']}" if run.error else ""
        values = [getattr(run, column) for column in columns]
        out.data(_csv_line([*shown.cell(of), *values, json.dumps(run.params, ensure_ascii=False), error]))


def _csv_line(values: list[object]) -> str:
    written = io.StringIO()
    # What ends a line is what the writer quotes: a field may have several.
    csv.writer(written, lineterminator="\r\n").writerow(
        ["" if value is None else _harmless(str(value)) for value in values]
    )
    return written.getvalue().removesuffix("\r\n")


def _harmless(text: str) -> str:
    # A spreadsheet would compute what begins like this, and a submitter chooses the text.
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
