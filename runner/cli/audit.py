"""``runner audit``."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import click

from runner.cli.terminal.group import verb
from runner.cli.terminal.listing import Column, Listed, Listing, ListOptions, Pace, list_options
from runner.cli.terminal.moments import Clock
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import JOB, WholeNumber
from runner.cli.terminal.run_text import LONGEST_CELL, one_line
from runner.cli.terminal.show_list import show_list
from runner.model.act import ACTS
from runner.model.moment import read_since
from runner.model.run import to_timestamp

if TYPE_CHECKING:
    from runner.ledger.audit import Act

MOST = 20_000


@verb(example="runner audit --since 24h\nrunner audit --job nightly-report --act revoke\nrunner audit -w")
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
@list_options()
def command(
    job: str | None,
    act: str | None,
    by: str | None,
    run_id: str | None,
    since: str | None,
    limit: int,
    options: ListOptions,
) -> int:
    """Show who submitted, reran, revoked, or forgot runs, paused or resumed jobs, or edited job files; newest first.

    Runs that schedules, hooks, and plain Celery clients submit are not listed. A request that changed nothing is not
    listed either. The last 10,000 or so entries of each kind are kept, and 1,000 failed logins to runner web.
    """
    from runner.ledger.audit import read_acts  # start-up time: --help reads no settings

    project = open_project()
    out = options.output()
    oldest = read_since(since, project.settings.timezone) if since is not None else None

    def read(_changed: Collection[str]) -> Listed[Act]:
        return Listed(read_acts(project.ledger, limit=limit, act=act, job=job, by=by, run_id=run_id, since=oldest))

    pace = Pace(2.0, newest_first=True)
    show_list(out, options, _listing(options.clock(out)), read, "no entries", pace)
    return 0


def _listing(clock: Clock) -> Listing[Act]:
    return Listing(
        [
            Column("AT", lambda entry: clock.show(to_timestamp(entry.at))),
            Column("BY", lambda entry: entry.by or "?", priority=2, flexible=True),
            Column("ACT", lambda entry: entry.act),
            Column("JOB", lambda entry: "all jobs" if entry.job == "*" else entry.job or "", flexible=True),
            Column("ID", lambda entry: entry.id or "", priority=1, id=True),
            Column("COMMENT", lambda entry: one_line(entry.comment or "", LONGEST_CELL), priority=3, flexible=True),
        ],
        document=lambda entry: entry.document(),
        fields=dict.fromkeys(("at", "act", "by", "job", "id", "comment")),
        key=lambda entry: entry,
        name=lambda entry: entry.id,
    )
