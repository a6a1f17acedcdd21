"""``runner forget``."""

from __future__ import annotations

from typing import Any

import click

from runner.cli.terminal.group import verb
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import json_option
from runner.cli.terminal.output import Output
from runner.cli.terminal.several_ids import act_on_all


@verb(example="runner forget $(runner runs --job nightly-report --state success --ids)")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@json_option
def command(ids: tuple[str, ...], as_json: bool) -> int:
    """Delete the records, results, and logs of finished runs.

    If a run has not finished, it is refused with exit code 5.
    """
    from runner.actions.forget import forget  # start-up time: --help reads no settings

    project = open_project()
    out = Output(as_json=as_json)

    def one(reference: str) -> dict[str, Any]:
        run_id = forget(project, reference)
        out.note(f"run {run_id} is forgotten")
        return {"id": run_id, "forgotten": True}

    return act_on_all(out, ids, one)
