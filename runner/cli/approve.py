"""``runner approve``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from runner.cli.terminal.group import verb
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import json_option
from runner.cli.terminal.output import Output
from runner.cli.terminal.several_ids import act_on_all


def takes_answer(function: Callable[..., int]) -> Callable[..., int]:
    """Add the arguments of ``approve`` and ``reject`` to a command."""
    comment = click.option("--comment", metavar="TEXT", help="The reason; stored with the step and in the audit log.")
    return click.argument("ids", nargs=-1, required=True, metavar="ID...")(comment(json_option(function)))


@verb(example='runner approve 3f2a9c41 --comment "the numbers are right"')
@takes_answer
def command(ids: tuple[str, ...], comment: str | None, as_json: bool) -> int:
    """Approve steps that are waiting for approval, so that their flows continue.

    ID is the run of the step, or of its flow if only one step of it is waiting. A run that is not waiting for
    approval is refused with exit code 5.
    """
    return answer(ids, approved=True, comment=comment, as_json=as_json)


def answer(ids: tuple[str, ...], *, approved: bool, comment: str | None, as_json: bool) -> int:
    """Approve or reject steps; return the exit code."""
    from runner.actions.approve import approve  # start-up time: --help reads no settings

    project = open_project()
    out = Output(as_json=as_json)

    def one(reference: str) -> dict[str, Any]:
        run = approve(project, reference, approved=approved, comment=comment)
        out.note(f"run {run.id}: {run.job} is {'approved' if approved else 'rejected'}, flow {run.flow} continues")
        return run.document()

    return act_on_all(out, ids, one)
