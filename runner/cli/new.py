"""``runner new``."""

from __future__ import annotations

from pathlib import Path

import click

from runner.cli.terminal.group import verb
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import POSITIVE_DURATION
from runner.cli.terminal.output import Output, command_line


@verb(example="runner new daily-report reports:build\nrunner new daily-report reports:build --print")
@click.argument("name")
@click.argument("task", metavar="MODULE:FUNCTION")
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The job file to add the job to; NAME.yaml in jobs.d by default.",
)
@click.option("--print", "show", is_flag=True, help="Print the new content of the file, and write nothing.")
@click.option(
    "--import-timeout",
    type=POSITIVE_DURATION,
    metavar="DURATION",
    help="Time limit for importing the function; 10s by default.",
)
def command(name: str, task: str, file: Path | None, show: bool, import_timeout: float | None) -> int:
    """Add a job for a Python function. Params are taken from its signature, type hints, defaults, and docstring.

    The function is imported in a separate process. If the file exists, the job is added at the end of its jobs, and
    every other line stays as it is.
    """
    from runner.authoring.new_job import IMPORT_SECONDS, new_job  # start-up time: --help reads no settings

    project = open_project()
    out = Output()
    seconds = import_timeout or IMPORT_SECONDS
    made = new_job(project.settings, name, task, file, write=not show, import_seconds=seconds)
    if show:
        out.data(made.text.rstrip("\n"))
        return 0
    out.note(f"{'added to' if made.added else 'wrote'} {made.path}")
    given = [word for param in made.required for word in ("-p", f"{param}=VALUE")]
    out.note(f"now: {command_line(project, 'run', name, *given)}")
    return 0
