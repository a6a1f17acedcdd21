"""``runner backfills``."""

from __future__ import annotations

import click

from runner.cli.terminal.group import verb
from runner.cli.terminal.moments import show_moment
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import WholeNumber, json_option, utc_option
from runner.cli.terminal.output import Output, table

COLUMNS = ("ID", "JOB", "FROM", "TO", "AT ONCE", "RUNS", "UNFINISHED", "SUCCESS", "FAILURE", "REVOKED")


@verb(example="runner backfills --limit 5")
@click.option("--limit", "-n", type=WholeNumber(1, 1000), default=20, show_default=True, help="How many at most.")
@json_option
@utc_option
def command(limit: int, as_json: bool, utc: bool) -> int:
    """List backfills, the newest first: how many runs each has, and how they ended."""
    from runner.actions.backfill import backfills  # start-up time: --help reads no settings

    project = open_project()
    out = Output(as_json=as_json, utc=utc)
    found = [each.document() for each in backfills(project, limit)]
    if as_json:
        out.listed(found, as_lines=False)
    elif found:
        rows = [
            (
                each["id"][:8],
                each["job"],
                show_moment(each["from"], utc=utc),
                show_moment(each["to"], utc=utc),
                str(each["at_once"] or ""),
                *(str(each[name]) for name in ("runs", "unfinished", "SUCCESS", "FAILURE", "REVOKED")),
            )
            for each in found
        ]
        table(out, COLUMNS, rows, {})
    else:
        out.note("no backfills")
    return 0
