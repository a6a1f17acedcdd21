"""``runner revoke``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runner.cli.terminal.group import verb
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import json_option
from runner.cli.terminal.output import Output
from runner.cli.terminal.run_text import state_text
from runner.cli.terminal.several_ids import act_on_all
from runner.errors import UsageError
from runner.model.plural import things

if TYPE_CHECKING:
    from runner.actions.project import Project


@verb(example='runner revoke 3f2a9c41 --terminate --comment "wrong day"')
@click.argument("ids", nargs=-1, metavar="[ID...]")
@click.option("--backfill", metavar="ID", help="Revoke all runs of this backfill that have not ended.")
@click.option("--terminate", is_flag=True, help="Also kill a run in progress, with all its processes.")
@click.option(
    "--signal", "signal_name", metavar="NAME", help="The signal that --terminate sends first.  [default: TERM]"
)
@click.option("--comment", metavar="TEXT", help="The reason; stored with the run.")
@json_option
def command(
    ids: tuple[str, ...],
    backfill: str | None,
    terminate: bool,
    signal_name: str | None,
    comment: str | None,
    as_json: bool,
) -> int:
    """Revoke runs.

    A waiting run never starts, even if no worker is online now. A run in progress continues but is not retried; with
    --terminate, it is killed. A finished run does not change.
    """
    from runner.actions.revoke import revoke  # start-up time: --help reads no settings

    if signal_name is not None and not terminate:
        raise UsageError("--signal needs --terminate", hint="add --terminate")
    if bool(ids) == (backfill is not None):
        raise UsageError("name either runs or a backfill", hint="runner revoke ID…, or: runner revoke --backfill ID")
    project = open_project()
    out = Output(as_json=as_json)
    if backfill is not None:
        return _revoke_backfill(project, out, backfill, terminate, signal_name or "TERM", comment)

    def one(reference: str) -> dict[str, Any]:
        run, changed = revoke(project, reference, terminate=terminate, signal=signal_name or "TERM", comment=comment)
        if not changed:
            out.note(f"run {run.id} of {run.job} had already ended: {state_text(run)}, nothing changed")
        elif run.final:
            out.note(f"run {run.id} of {run.job}: {state_text(run)}")
        else:
            out.note(f"run {run.id} of {run.job}: {state_text(run)}, {run.detail or 'revoked'}")
        return run.document()

    return act_on_all(out, ids, one)


def _revoke_backfill(
    project: Project, out: Output, backfill: str, terminate: bool, signal_name: str, comment: str | None
) -> int:
    from runner.actions.backfill import revoke_all  # start-up time: --help reads no settings

    found, ended, going_on = revoke_all(project, backfill, terminate=terminate, signal=signal_name, comment=comment)
    out.note(f"backfill {found.id} of {found.job}: {things(ended, 'run')} revoked")
    if going_on:
        how = "are being terminated" if terminate else "continue, and are not retried"
        out.note(f"{things(going_on, 'run')} {how}")
    if out.as_json:
        out.document(found.document())
    return 0
