"""``runner status``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from runner.cli.terminal.declared import asked_for, declared_options
from runner.cli.terminal.faults import error_document, worst
from runner.cli.terminal.follow import exit_code_of
from runner.cli.terminal.group import verb
from runner.cli.terminal.hints import remember
from runner.cli.terminal.list_table import terminal_pairs
from runner.cli.terminal.moments import show_moment
from runner.cli.terminal.opening import open_projects
from runner.cli.terminal.options import READ_REFERENCE, json_option, utc_option
from runner.cli.terminal.output import STYLES, Output
from runner.cli.terminal.run_text import aligned, block
from runner.cli.terminal.several_projects import Shown
from runner.cli.terminal.step_text import tree_lines
from runner.errors import ArchiveUnavailable, RunnerError, Unavailable, UsageError
from runner.model.run import Run
from runner.model.run_query import Reading

if TYPE_CHECKING:
    from runner.actions.projects import Named

ATTENTION = 1


@verb(example="runner status\nrunner status @nightly-report\nrunner status 3f2a9c41 --json | jq .state")
@click.argument("ids", nargs=-1, type=READ_REFERENCE, metavar="[ID...]")
@click.option(
    "--exit-status",
    is_flag=True,
    help="Use the exit codes of wait, or 5 if a run has not finished. Without ID: 1 if something needs attention.",
)
@declared_options(Reading)
@json_option
@utc_option
def command(asked: dict[str, object], ids: tuple[str, ...], exit_status: bool, as_json: bool, utc: bool) -> int:
    """Show an overview of the project, or all details of runs.

    Without ID, 20 lines show failing jobs, active runs, waiting runs and the reasons, the next slots, workers, pauses,
    and the doctor's findings except those that need a look at every run. An ID is a full id, a unique prefix of 8 or
    more characters, or @JOB: the latest run of that job. A flow is shown with its steps. With more than one --project,
    an overview of each is shown, and an ID is searched for in all of them.
    """
    if not ids:
        if asked:
            raise UsageError("--archived needs an ID", hint="runner runs --archived lists archived runs")
        return _glance(exit_status=exit_status, as_json=as_json, utc=utc)
    out = Output(as_json=as_json, utc=utc)
    shown = Shown(out, open_projects())
    archived = asked_for(Reading, shown.projects.first, asked).archived
    answers: list[dict[str, Any]] = []
    codes = []
    for number, reference in enumerate(ids):
        try:
            of = shown.find(reference, archived=archived)
        except (Unavailable, ArchiveUnavailable) as error:
            if not shown.projects.several:
                raise
            codes.append(_failed(out, error, answers))
            continue
        except RunnerError as error:
            codes.append(_failed(out, error, answers))
            continue
        codes.append(exit_code_of(of.value) if exit_status else 0)
        answers.append(shown.document(of, of.value.document()))
        if not as_json:
            _show(shown, of, first=number == 0)
    if as_json:
        out.documents(answers, single=len(ids) == 1)
    return worst([*codes, shown.code])


def _failed(out: Output, error: RunnerError, answers: list[dict[str, Any]]) -> int:
    answers.append(error_document(error))
    if not out.as_json:
        out.error(error)
    return error.exit_code


def _glance(*, exit_status: bool, as_json: bool, utc: bool) -> int:
    # start-up time: --help reads no settings
    from runner.actions.glance import glance
    from runner.cli.terminal.glance_text import glance_rows

    out = Output(as_json=as_json, utc=utc)
    shown = Shown(out, open_projects())
    show = str if as_json else partial(show_moment, utc=utc)
    found = shown.read(lambda project: glance(project, show))
    if as_json:
        answers = [shown.document(of, of.value.document()) for of in found]
        out.documents(answers, single=not shown.projects.several)
    else:
        for number, of in enumerate(found):
            shown.title(of, first=number == 0)
            remember(of.project.settings.project)
            _print(out, glance_rows(of.value, utc=utc), fold=False)
    healthy = all(of.value.healthy for of in found)
    return worst([shown.code, ATTENTION if exit_status and not healthy else 0])


def _show(shown: Shown, of: Named[Run], *, first: bool) -> None:
    from runner.actions.step_tree import read_branches  # start-up time: --help reads no settings

    out, run = shown.out, of.value
    if not first:
        out.data("")
    steps = tree_lines(read_branches(of.project, run), short=out.for_people) if run.steps else ()
    whose = [("project", of.name)] if shown.projects.several else []
    _print(out, [*whose, *block(run, utc=out.utc, steps=steps)], styles={"state": STYLES[run.state]})


def _print(
    out: Output, rows: list[tuple[str, str]], styles: Mapping[str, str] | None = None, *, fold: bool = True
) -> None:
    """Print names and texts; a text that is too long for the terminal is folded, or cut with an ellipsis."""
    styles = styles or {}
    if not out.for_people:
        for line in aligned(rows):
            out.data(line)
        return
    if not fold:
        for line in terminal_pairs(rows):
            out.data(line, styled=True)
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
