"""``runner run``."""

from __future__ import annotations

import shutil
import sys
from contextlib import nullcontext, suppress
from tempfile import TemporaryFile
from typing import IO

import click

from runner.cli.terminal.follow import Follower, exit_code_of
from runner.cli.terminal.group import verb
from runner.cli.terminal.interrupts import Terminated
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import DURATION, JOB, json_option, params_options, quiet_option
from runner.cli.terminal.output import Output, command_line, to_json, warn_of_problems
from runner.cli.terminal.params import read_document
from runner.errors import WaitTimeout
from runner.host.places import temporary_folder
from runner.model.run import State


@verb(example="runner run nightly-report -p day=2026-11-23 > report.json")
@click.argument("job", type=JOB)
@params_options
@click.option(
    "--timeout", type=DURATION, metavar="DURATION", help="Terminate the run after this time, with exit code 124."
)
@click.option("--verbose", "-v", is_flag=True, help="Show the whole log of the run's worker.")
@quiet_option
@json_option
def command(
    job: str,
    assignments: tuple[str, ...],
    document: str | None,
    timeout: float | None,
    verbose: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Run JOB in the foreground, and print its result as JSON.

    The command starts its own worker for this run, and for its steps if it is a flow, and exits when the run ends. The
    job's output goes to stderr.
    """
    from runner.actions.run_here import STDERR, run_here  # start-up time: --help reads no settings

    params = read_document(document)
    project = open_project()
    out = Output(as_json=as_json, quiet=quiet)
    warn_of_problems(out, project)
    follower = Follower(project, out)
    try:
        # Plain lines on a terminal too: the output of the job would break a live display.
        with TemporaryFile(dir=temporary_folder()) if quiet else nullcontext() as held:
            code = None
            try:
                run = run_here(
                    project,
                    job,
                    params,
                    assignments=assignments,
                    timeout=timeout,
                    verbose=verbose,
                    output=STDERR if held is None else held.fileno(),
                    on_change=follower.see,
                )
                code = exit_code_of(run)
            finally:
                if held is not None and code != 0:
                    _show(held)
        follower.report(run, output_shown=True)
        if not as_json and run.state is State.SUCCESS:
            out.data(to_json(run.result))
    except WaitTimeout as error:
        out.error(WaitTimeout(error.message, hint=command_line(project, "status", *follower.latest)))
        code = error.exit_code
    except (KeyboardInterrupt, Terminated) as error:
        code = 143 if isinstance(error, Terminated) else 130
        ids = ", ".join(follower.latest) or "(not submitted yet)"
        out.note(f"{'interrupted' if code == 130 else 'terminated'}: run {ids} was terminated")
    if as_json and follower.latest and (code != 0 or not quiet):
        # Read again: a run that was terminated has ended since it was last seen.
        out.document(project.ledger.get(next(iter(follower.latest))).document())
    return out.finish(code)


def _show(held: IO[bytes]) -> None:
    """Write the output of the job, and of a worker that did not start, to stderr."""
    held.seek(0)
    with suppress(OSError):
        shutil.copyfileobj(held, sys.stderr.buffer)
        sys.stderr.flush()
