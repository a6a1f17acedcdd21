"""``runner watch``."""

from __future__ import annotations

import os
import shutil
from datetime import datetime
from typing import TYPE_CHECKING

import click

from runner.cli.terminal.columns import clip
from runner.cli.terminal.group import verb
from runner.cli.terminal.moments import show_moment
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import READ_REFERENCE, jsonl_option, utc_option
from runner.cli.terminal.output import STYLES, Output, printable
from runner.cli.terminal.readers import while_read
from runner.cli.terminal.run_text import one_line, short_id
from runner.model.run import to_datetime, to_timestamp
from runner.model.step_run import step_name

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.ledger.events import Event


@verb(example="runner watch\nrunner watch nightly-report\nrunner watch 3f2a9c41 --jsonl | jq .state")
@click.argument("what", required=False, type=READ_REFERENCE, metavar="[ID|JOB]")
@click.option(
    "--from", "after", metavar="EVENT", help="Start after the event with this id, from --jsonl; 0: the oldest stored."
)
@jsonl_option
@utc_option
def command(what: str | None, after: str | None, jsonl: bool, utc: bool) -> int:
    """Show state changes as they happen: of a run until it ends, of a job, or of all jobs.

    A flow is shown with its steps. The command continues after an outage of Redis without missing a change, and ends
    when nobody reads its output any more. An ID is a full id, a unique prefix of 8 or more characters, or @JOB: the
    latest run of that job.
    """
    from runner.actions.watch import watch, watched  # start-up time: --help reads no settings
    from runner.ledger.events import Gap  # start-up time: as above

    project = open_project()
    out = Output(as_json=jsonl, utc=utc)
    job, run_id = watched(project, what)
    with while_read():
        if run_id is not None and after is None and out.for_people and project.records.get(run_id).steps is not None:
            _watch_flow(project, run_id)
            return 0
        for event in watch(project, job=job, run_id=run_id, after=after):
            if isinstance(event, Gap):
                out.warn(f"some events after {event.after} are no longer stored")
            elif jsonl:
                out.lines([event.document()])
            else:
                out.data(_line(out, event), styled=True)
    return 0


def _watch_flow(project: Project, flow: str) -> None:
    """Show a flow and its steps on a terminal until it ends."""
    from runner.actions.wait import wait  # start-up time: --help reads no settings
    from runner.cli.terminal.live import LiveRuns  # start-up time: rich is for terminals only

    with LiveRuns(stderr=False) as display:
        wait(project, [flow], on_change=display.see, patience=None)


def _line(out: Output, event: Event) -> str:
    """Return the line of an event; on a terminal it has a short id, and is never longer than a line there."""
    state = f"{event.state:<8}"
    run_id = short_id(event.id) if out.for_people else event.id
    end = f"attempt {event.attempt}" if event.state == "STARTED" else event.reason or ""
    line = "  ".join(printable(part) for part in (_time(out, event), state, _name(event), run_id, end)).rstrip()
    if not out.for_people:
        return line
    line = clip(one_line(line), max(20, shutil.get_terminal_size().columns))
    return line if os.environ.get("NO_COLOR") else line.replace(state, click.style(state, fg=STYLES[event.state]), 1)


def _time(out: Output, event: Event) -> str:
    """Return the time of an event; on a terminal without the date if that is today's."""
    at = to_timestamp(event.at) or ""
    here = to_datetime(at).astimezone()
    if out.for_people and not out.utc and here.date() == datetime.now(here.tzinfo).date():
        return here.strftime("%H:%M:%S")
    return show_moment(at, utc=out.utc)


def _name(event: Event) -> str:
    if event.item is not None or (event.step is not None and "/" not in event.job):
        return f"{event.job} ({step_name(event.step or '?', event.item)})"
    return event.job
