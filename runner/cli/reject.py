"""``runner reject``."""

from __future__ import annotations

import click

from runner.cli.approve import answer
from runner.cli.frame.group import verb
from runner.cli.frame.options import json_option


@verb(example='runner reject 3f2a9c41 --comment "rows are missing"')
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--comment", metavar="TEXT", help="The reason; stored with the step and in the audit log.")
@json_option
def command(ids: tuple[str, ...], comment: str | None, as_json: bool) -> int:
    """Reject steps that wait for an approval: they end REVOKED, rejected.

    ID is the run of the step, or its flow if that waits for one approval only. A run that does not wait for an approval
    is refused with exit code 5.
    """
    return answer(ids, approved=False, comment=comment, as_json=as_json)
