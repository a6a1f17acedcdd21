"""``runner init``."""

from __future__ import annotations

from pathlib import Path

import click

from runner.cli.frame.group import verb
from runner.cli.frame.output import Output


@verb(example="runner init demo && cd demo && runner up -d && runner submit hello --wait")
@click.argument("folder", metavar="[DIR]", type=click.Path(), default=".")
def command(folder: str) -> int:
    """Make a project in DIR, the working folder by default: settings, an example job, schemas for editors.

    Nothing is overwritten: if one of the files exists, nothing is written and the exit code is 2.
    """
    from runner.actions.init import init  # start-up time: --help derives no schema

    out = Output()
    for path in init(Path(folder)):
        out.note(f"wrote {path}")
    go = "" if folder == "." else f"cd {folder} && "
    out.note(f"now: {go}runner up -d && runner submit hello --wait")
    out.note(f"a job of your own: {go}runner new NAME MODULE:FUNCTION")
    return 0
