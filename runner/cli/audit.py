"""``runner audit``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runner.cli.terminal.group import verb
from runner.cli.terminal.moments import show_moment
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import JOB, WholeNumber, in_one_form, json_option, jsonl_option, utc_option
from runner.cli.terminal.output import Output, table
from runner.cli.terminal.run_text import LONGEST_CELL, one_line
from runner.model.act import ACTS
from runner.model.moment import read_since
from runner.model.run import to_timestamp

if TYPE_CHECKING:
    from runner.ledger.audit import Act

MOST = 20_000


@verb(example="runner audit --since 24h\nrunner audit --job nightly-report --act revoke")
@click.option("--job", "-j", type=JOB, help="Only actions on this job.")
@click.option("--act", type=click.Choice(ACTS), help="Only actions of this kind.")
@click.option("--by", metavar="USER[@HOST]", help="Only actions of this user.")
@click.option(
    "--id", "run_id", metavar="ID", help="Only actions on the run with this full id, even if it was forgotten."
)
@click.option(
    "--since", metavar="DURATION|TIME", help="Only actions since this time, such as 24h, 2026-11-23, or 02:00."
)
@click.option(
    "--limit", "-n", type=WholeNumber(1, MOST), default=20, show_default=True, help="The maximum number of entries."
)
@json_option
@jsonl_option
@utc_option
def command(
    job: str | None,
    act: str | None,
    by: str | None,
    run_id: str | None,
    since: str | None,
    limit: int,
    as_json: bool,
    jsonl: bool,
    utc: bool,
) -> int:
    """Show who submitted, reran, revoked, or forgot runs, or paused or resumed jobs; newest first.

    Runs that schedules, hooks, and plain Celery clients submit are not listed. A request that changed nothing is not
    listed either. The last 10,000 or so entries of each kind are kept, and 1,000 failed logins to runner web.
    """
    from runner.ledger.audit import read_acts  # start-up time: --help reads no settings

    in_one_form(json=as_json, jsonl=jsonl)
    project = open_project()
    out = Output(as_json=as_json or jsonl, utc=utc)
    oldest = read_since(since, project.settings.timezone) if since is not None else None
    found = read_acts(project.ledger, limit=limit, act=act, job=job, by=by, run_id=run_id, since=oldest)
    if out.as_json:
        out.listed([each.document() for each in found], as_lines=jsonl)
    elif found:
        table(out, ("AT", "BY", "ACT", "JOB", "ID", "COMMENT"), [_row(out, each) for each in found], {})
    else:
        out.note("nothing is known")
    return 0


def _row(out: Output, each: Act) -> tuple[str, ...]:
    at = show_moment(to_timestamp(each.at), utc=out.utc)
    job = "all jobs" if each.job == "*" else each.job or ""
    return (at, each.by or "?", each.act, job, each.id or "", one_line(each.comment or "", LONGEST_CELL))
