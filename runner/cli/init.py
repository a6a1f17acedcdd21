"""``runner init``."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import IO

import click

from runner.cli.terminal.group import verb
from runner.cli.terminal.missing_text import show_missing
from runner.cli.terminal.opening import named_project
from runner.cli.terminal.output import Output, command_line, printable
from runner.errors import InvalidSettings, UsageError
from runner.model.plural import things

_LARGEST = 16 * 1024**2
"""The largest crontab that is read, in bytes."""

MINE = "\0"
"""Stands for the user's own crontab. No file can have this name."""


@verb(
    example="runner init demo && cd demo && runner up -d && runner submit hello --wait\n"
    "runner init --from-crontab\n"
    "runner init --from-crontab /etc/crontab --system"
)
@click.argument("folder", metavar="[DIR]", type=click.Path(), required=False)
@click.option(
    "--from-crontab",
    "source",
    is_flag=False,
    flag_value=MINE,
    metavar="[FILE|-]",
    help="Write jobs.d/crontab.yaml with a job for each line of your crontab, of FILE, or of stdin.",
)
@click.option("--system", is_flag=True, help="Expect a user name in every line, as in /etc/crontab and /etc/cron.d.")
def command(folder: str | None, source: str | None, system: bool) -> int:
    """Create a project in DIR, by default the current folder: settings, an example job, and schemas for editors.

    If one of the files exists, nothing is written, and the exit code is 2.

    With --from-crontab, the project gets jobs.d/crontab.yaml instead of the example; in an existing project, only that
    file is added. Lines that cannot be converted are printed, and are kept as comments. Write DIR before
    --from-crontab.
    """
    if system and source is None:
        raise UsageError("--system needs --from-crontab", hint="add --from-crontab FILE")
    named = named_project()
    if folder is not None and named is not None:
        raise UsageError("DIR and --project both name the folder", hint="use one of them")
    out, target = Output(), folder or named or "."
    if source is not None:
        return _from_crontab(out, target, source, system=system)
    from runner.authoring.init import init  # start-up time: --help derives no schema

    for path in init(Path(target)):
        out.note(f"wrote {path}")
    go = "" if target == "." else f"cd {shlex.quote(target)} && "
    why = _refused(Path(target).absolute())
    if why is not None:
        out.note(f"name the project in each command, as below: {why}")
        go = f"export RUNNER_PROJECT={shlex.quote(str(Path(target).absolute()))} && "
    out.note(f"now: {go}runner up -d && runner submit hello --wait")
    out.note(f"a job of your own: {go}runner new NAME MODULE:FUNCTION")
    return 0


def _refused(folder: Path) -> str | None:
    """Return the reason why a search would not use the project in ``folder``, or None."""
    from runner.host.trust import Trust  # start-up time: --help reads no settings
    from runner.settings.discovery import check_found
    from runner.settings.trusted_folders import trusted_folders

    try:
        check_found(folder, Trust(True, trusted_folders(os.environ)))
    except InvalidSettings as error:
        return error.message
    return None


def _from_crontab(out: Output, folder: str, source: str, *, system: bool) -> int:
    # start-up time: --help reads no settings
    from runner.actions.from_crontab import from_crontab
    from runner.actions.project import Project

    carried = from_crontab(Path(folder), _read(source), system=system)
    for path in carried.files:
        out.note(f"wrote {path}")
    out.note(f"{things(len(carried.jobs), 'job')}: {', '.join(carried.jobs)}")
    if carried.left:
        out.note("these lines could not be converted:")
    for left in carried.left:
        out.note(f"  line {left.line}: {printable(left.source)}\n    {printable(left.why)}")
    project = Project.open(Path(folder).absolute())
    out.note("now: read the file, and comment out these lines in the crontab. Then have the schedules submitted:")
    out.note(f"  {command_line(project, 'cron', 'install')}   # cron does, every minute")
    show_missing(out, project)
    return 0


def _bounded(file: IO[bytes], name: str) -> bytes:
    data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise UsageError(f"{name} has more than {_LARGEST // 1024**2} MiB", hint="is it a crontab?")
    return data


def _read(source: str) -> bytes | None:
    if source == MINE:
        return None
    if source == "-":
        return _bounded(sys.stdin.buffer, "stdin")
    try:
        with Path(source).open("rb") as file:
            return _bounded(file, source)
    except OSError as error:
        raise UsageError(f"{source} cannot be read: {error.strerror}", hint="check the path") from None
