"""``runner status``."""

from __future__ import annotations

from typing import Any

import click

from runner.cli.frame.faults import error_document, worst
from runner.cli.frame.follow import exit_code_of
from runner.cli.frame.group import verb
from runner.cli.frame.opening import open_project
from runner.cli.frame.options import READ_REFERENCE, json_option, utc_option
from runner.cli.frame.output import STYLES, Output
from runner.cli.frame.run_text import aligned, block
from runner.errors import RunnerError, Unavailable
from runner.model.run import Run


@verb(example="runner status @nightly-report\nrunner status 3f2a9c41 --json | jq .state")
@click.argument("ids", nargs=-1, required=True, type=READ_REFERENCE, metavar="ID...")
@click.option("--exit-status", is_flag=True, help="Exit as wait would; 5 if a run has not finished yet.")
@json_option
@utc_option
def command(ids: tuple[str, ...], exit_status: bool, as_json: bool, utc: bool) -> int:
    """Show all that is known of runs.

    An ID is a full id, a unique prefix of 8 or more characters, or @JOB: the latest run of that job.
    """
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
            _show(out, run, first=number == 0)
    if as_json:
        out.documents(answers, single=len(ids) == 1)
    return worst(codes)


def _show(out: Output, run: Run, *, first: bool) -> None:
    if not first:
        out.data("")
    rows = block(run, utc=out.utc)
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
        drawn.add_row(name, Text(text, style=STYLES[run.state] if name == "state" else ""))
    Console().print(drawn)
