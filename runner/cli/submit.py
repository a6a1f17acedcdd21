"""``runner submit``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runner.cli.frame.follow import follow
from runner.cli.frame.group import verb
from runner.cli.frame.opening import open_project
from runner.cli.frame.options import (
    DURATION,
    JOB,
    json_option,
    params_options,
    quiet_option,
    timeout_option,
)
from runner.cli.frame.output import Output, warn_of_problems
from runner.cli.frame.params import read_document
from runner.cli.frame.submitted import print_submitted, submitting, warn_of_queue
from runner.errors import UsageError
from runner.model.moment import read_future

if TYPE_CHECKING:
    from runner.actions.project import Project


@verb(
    example=(
        "runner submit nightly-report -p day=2026-11-23 --wait\n"
        "0 2 * * *  runner submit nightly-report --wait --quiet --project /srv/reports   (in a crontab)"
    )
)
@click.argument("job", type=JOB)
@params_options
@click.option("--wait", is_flag=True, help="Wait for the end; the exit code tells the outcome.")
@timeout_option
@click.option("--in", "delay", type=DURATION, metavar="DURATION", help="Start after this time, such as 10m.")
@click.option("--at", metavar="TIME", help="Start then; without an offset in the project's zone.")
@click.option("--expires", type=DURATION, metavar="DURATION", help="Do not start later than this after the start time.")
@click.option("--queue", metavar="NAME", help="Instead of the job's queue.")
@click.option("--priority", type=click.IntRange(0, 9), help="Instead of the job's; 9 is served first.")
@click.option("--key", metavar="TEXT", help="Submitting the same key of a job again gives the first run.")
@click.option("--force", is_flag=True, help="Run it although the job is paused.")
@quiet_option
@json_option
def command(
    job: str,
    words: tuple[str, ...],
    document: str | None,
    wait: bool,
    timeout: float | None,
    delay: float | None,
    at: str | None,
    expires: float | None,
    queue: str | None,
    priority: int | None,
    key: str | None,
    force: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Submit a run of JOB and print its id.

    With --wait, changes and the outcome go to stderr, and the exit code is 0 for SUCCESS, 1 for FAILURE, 3 for
    REVOKED and 124 if --timeout passed; the run goes on then.
    """
    from runner.actions.submit import new_id, submit  # start-up time: --help reads no settings

    if timeout is not None and not wait:
        raise UsageError("--timeout says how long to wait", hint="add --wait; a job's own limit is timeout in jobs.d")
    params = read_document(document)
    project = open_project()
    out = Output(as_json=as_json, quiet=quiet)
    warn_of_problems(out, project)
    run_id = new_id()
    with submitting(project, out, run_id):
        submitted = submit(
            project,
            job,
            params,
            words=words,
            run_id=run_id,
            eta=_eta(project, delay, at),
            delay=delay,
            expires=expires,
            queue=queue,
            priority=priority,
            key=key,
            force=force,
        )
    print_submitted(project, out, submitted, wait=wait)
    if submitted.run is not None and not (quiet and not wait):
        warn_of_queue(project, out, submitted.run)
    if not wait:
        return out.finish(0)
    code, runs = follow(project, out, [submitted.id], timeout=timeout)
    if as_json and runs and (code != 0 or not quiet):
        out.document({**runs[-1].document(), "duplicate": submitted.duplicate})
    return out.finish(code)


def _eta(project: Project, delay: float | None, at: str | None) -> float | None:
    if delay is not None and at is not None:
        raise UsageError("--in and --at both say when to start", hint="use one of them")
    return None if at is None else read_future(at, project.settings.timezone)
