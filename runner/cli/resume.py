"""``runner resume``."""

from __future__ import annotations

import click

from runner.cli.terminal.group import verb
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import JOB
from runner.cli.terminal.output import Output
from runner.errors import UsageError
from runner.model.pause import ALL


@verb(example="runner resume nightly-report\nrunner resume --all")
@click.argument("job", required=False, type=JOB)
@click.option("--all", "everything", is_flag=True, help="End the pause of all jobs; jobs paused by name stay paused.")
def command(job: str | None, everything: bool) -> int:
    """Resume a paused job. Its waiting runs start in order."""
    from runner.actions.pause import resume  # start-up time: --help reads no settings

    if (job is None) == (not everything):
        raise UsageError("name a job, or give --all", hint="runner resume JOB, or: runner resume --all")
    project = open_project()
    out = Output()
    if resume(project, job or ALL):
        out.note(f"resumed: {job or 'all jobs'}")
    else:
        out.note(
            f"{job} is not paused" if job else "pause --all is not in effect; runner jobs shows jobs paused by name"
        )
    return 0
