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
@click.option("--terminate", is_flag=True, help="Also kill a run in progress, with all its processes.")
@click.option(
    "--signal", "signal_name", metavar="NAME", help="The signal that --terminate sends first.  [default: TERM]"
)
@click.option("--comment", metavar="TEXT", help="The reason; stored with the run.")
@json_option
def command(ids: tuple[str, ...], terminate: bool, signal_name: str | None, comment: str | None, as_json: bool) -> int:
    """Revoke runs.

    A waiting run never starts, even if no worker is online now. A run in progress continues but is not retried; with
    --terminate, it is killed. A finished run does not change.
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
