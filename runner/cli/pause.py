"""``runner pause``."""

from __future__ import annotations

import click

from runner.cli.terminal.group import verb
from runner.cli.terminal.moments import show_moment
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import JOB, POSITIVE_DURATION, json_option, utc_option
from runner.cli.terminal.output import Output, command_line
from runner.errors import UsageError
from runner.model.pause import ALL


@verb(example='runner pause nightly-report --for 2h --comment "database is moving"\nrunner pause --all')
@click.argument("job", required=False, type=JOB)
@click.option("--all", "everything", is_flag=True, help="Pause all jobs of the project.")
@click.option(
    "--for", "seconds", type=POSITIVE_DURATION, metavar="DURATION", help="Resume automatically after this time."
)
@click.option("--comment", metavar="TEXT", help="The reason, which is shown with the pause.")
@json_option
@utc_option
def command(
    job: str | None, everything: bool, seconds: float | None, comment: str | None, as_json: bool, utc: bool
) -> int:
    """Pause a job at once, on all hosts.

    While it is paused, its schedule submits nothing, its waiting runs do not start, and submit refuses it without
    --force. Runs in progress continue. runner resume ends the pause.
    """
    from runner.actions.pause import pause  # start-up time: --help reads no settings

    if (job is None) == (not everything):
        raise UsageError("name a job, or give --all", hint="runner pause JOB, or: runner pause --all")
    project = open_project()
    out = Output(as_json=as_json, utc=utc)
    held = pause(project, job or ALL, seconds=seconds, comment=comment)
    if as_json:
        out.document(held.document())
        return 0
    until = f" until {show_moment(held.document()['until'], utc=utc)}" if held.ends is not None else ""
    again = command_line(project, "resume", *([job] if job else ["--all"]))
    out.note(f"paused: {job or 'all jobs'}{until}; to resume: {again}")
    return 0
