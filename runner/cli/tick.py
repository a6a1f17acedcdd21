"""``runner tick``."""

from __future__ import annotations

import click

from runner.cli.terminal.group import verb
from runner.cli.terminal.moments import show_moment
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import json_option
from runner.cli.terminal.output import Output, warn_of_problems
from runner.model.run import to_timestamp


@verb(example="* * * * *  runner tick --project /srv/reports   (in a crontab)")
@click.option("--verbose", "-v", is_flag=True, help="Print the submitted runs.")
@json_option
def command(verbose: bool, as_json: bool) -> int:
    """Submit the scheduled runs that became due since the last tick.

    Prints nothing if all is well. You can call it as often as you like, on any number of hosts: each slot of a
    schedule, and each version of a watched file, gets only one run.
    """
    from runner.actions.tick import tick  # start-up time: --help reads no settings

    project = open_project()
    out = Output(as_json=as_json)
    warn_of_problems(out, project)
    ticked = tick(project)
    for job, fault in ticked.faults.items():
        out.warn(f"job {job} is left out, {fault}")
    if as_json:
        submitted = [{"job": job, "slot": to_timestamp(slot), "id": run_id} for job, slot, run_id in ticked.submitted]
        files = [{"job": job, "path": path, "id": run_id} for job, path, run_id in ticked.files]
        watched = {"files": files} if any(project.catalog.jobs.with_option("watch")) else {}
        out.document({"submitted": submitted, **watched, "next": to_timestamp(ticked.next)})
    elif verbose:
        for job, slot, run_id in ticked.submitted:
            out.note(f"submitted {job} for {show_moment(to_timestamp(slot), utc=False)}: {run_id}")
        for job, path, run_id in ticked.files:
            out.note(f"submitted {job} for {path!r}: {run_id}")
    return 0
