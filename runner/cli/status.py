"""``runner status``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from runner.cli.frame.faults import error_document, worst
from runner.cli.frame.follow import exit_code_of
from runner.cli.frame.group import verb
from runner.cli.frame.moments import show_moment
from runner.cli.frame.opening import open_project
from runner.cli.frame.options import READ_REFERENCE, json_option, utc_option
from runner.cli.frame.output import STYLES, Output
from runner.cli.frame.run_text import aligned, block
from runner.cli.frame.step_text import tree_lines
from runner.errors import RunnerError, Unavailable
from runner.model.run import Run

if TYPE_CHECKING:
    from runner.actions.project import Project

ATTENTION = 1


@verb(example="runner status\nrunner status @nightly-report\nrunner status 3f2a9c41 --json | jq .state")
@click.argument("ids", nargs=-1, type=READ_REFERENCE, metavar="[ID...]")
@click.option(
    "--exit-status",
    is_flag=True,
    help="Use the exit codes of wait, or 5 if a run has not finished. Without ID: 1 if something needs attention.",
)
@json_option
@utc_option
def command(ids: tuple[str, ...], exit_status: bool, as_json: bool, utc: bool) -> int:
    """Show an overview of the project, or all details of runs.

    Without ID, 20 lines show failing jobs, active runs, waiting runs and the reasons, the next slots, workers, pauses,
    and the doctor's findings except those that need a look at every run. An ID is a full id, a unique prefix of 8 or
    more characters, or @JOB: the latest run of that job. A flow is shown with its steps.
    """
    if not ids:
        return _glance(exit_status=exit_status, as_json=as_json, utc=utc)
    from runner.actions.find import find_run  # start-up time: --help reads no settings

    project = open_project()
    out = Output(as_json=as_json, utc=utc)
    answers: list[dict[str, Any]] = []
    codes = []
    for number, reference in enumerate(ids):
        try:
            run = find_run(project, reference)
        except Unavailable:
            raise
        except RunnerError as error:
            codes.append(error.exit_code)
            answers.append(error_document(error))
            if not as_json:
                out.error(error)
            continue
        codes.append(exit_code_of(run) if exit_status else 0)
        answers.append(run.document())
        if not as_json:
            _show(project, out, run, first=number == 0)
    if as_json:
        out.documents(answers, single=len(ids) == 1)
    return worst(codes)


def _glance(*, exit_status: bool, as_json: bool, utc: bool) -> int:
    # start-up time: --help reads no settings
    from runner.actions.glance import glance
    from runner.cli.frame.glance_text import glance_rows

    project = open_project()
    out = Output(as_json=as_json, utc=utc)
    found = glance(project, str if as_json else partial(show_moment, utc=utc))
    if as_json:
        out.document(found.document())
    else:
        _print(out, glance_rows(found, utc=utc))
    return ATTENTION if exit_status and not found.healthy else 0


def _show(project: Project, out: Output, run: Run, *, first: bool) -> None:
    from runner.actions.step_tree import read_branches  # start-up time: --help reads no settings

    if not first:
        out.data("")
    steps = tree_lines(read_branches(project.ledger, run)) if run.steps else ()
    _print(out, block(run, utc=out.utc, steps=steps), styles={"state": STYLES[run.state]})


def _print(out: Output, rows: list[tuple[str, str]], styles: Mapping[str, str] | None = None) -> None:
    styles = styles or {}
    if not out.for_people:
        for line in aligned(rows):
            out.data(line)
        return
    from rich.console import Console  # start-up time: rich is for terminals only
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, show_header=False, pad_edge=False)
    drawn.add_column(style="bold", no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, text in rows:
        shown = Text(text, style=styles.get(name, ""))
        if name == "steps":
            for state, style in STYLES.items():
                shown.highlight_regex(rf"(?m)^ *\S+ +{state}\b.*$", style)
        drawn.add_row(name, shown)
    Console().print(drawn)
