"""``runner revoke``."""

from __future__ import annotations

from typing import Any

import click

from runner.cli.frame.each import each
from runner.cli.frame.group import verb
from runner.cli.frame.opening import open_project
from runner.cli.frame.options import json_option
from runner.cli.frame.output import Output
from runner.cli.frame.run_text import state_text
from runner.errors import UsageError


@verb(example='runner revoke 3f2a9c41 --terminate --comment "wrong day"')
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--terminate", is_flag=True, help="End it also if it is running, with all its processes.")
@click.option("--signal", "signal_name", metavar="NAME", help="What --terminate sends first.  [default: TERM]")
@click.option("--comment", metavar="TEXT", help="Why; kept with the run.")
@json_option
def command(ids: tuple[str, ...], terminate: bool, signal_name: str | None, comment: str | None, as_json: bool) -> int:
    """Revoke runs.

    One that waits never starts, whether or not a worker is online now. One that runs goes on, and no retry follows
    it, unless --terminate ends it. A finished run does not change.
    """
    from runner.actions.revoke import revoke  # start-up time: --help reads no settings

    if signal_name is not None and not terminate:
        raise UsageError("--signal is what --terminate sends", hint="add --terminate")
    project = open_project()
    out = Output(as_json=as_json)

    def one(reference: str) -> dict[str, Any]:
        run, changed = revoke(project, reference, terminate=terminate, signal=signal_name or "TERM", comment=comment)
        if not changed:
            out.note(f"run {run.id} of {run.job} had ended already: {state_text(run)}, nothing changed")
        elif run.final:
            out.note(f"run {run.id} of {run.job}: {state_text(run)}")
        else:
            out.note(f"run {run.id} of {run.job}: {state_text(run)}, {run.detail or 'revoked'}")
        return run.document()

    return each(out, ids, one)
