"""``runner backfills``."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import click

from runner.cli.terminal.group import verb
from runner.cli.terminal.listing import Column, Listed, Listing, ListOptions, Pace, list_options
from runner.cli.terminal.moments import Clock
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import WholeNumber
from runner.cli.terminal.show_list import show_list
from runner.model.run import FINAL, State, to_timestamp

if TYPE_CHECKING:
    from runner.ledger.backfills import Backfill

MOST = 1000


@verb(example="runner backfills --limit 5\nrunner backfills -w")
@click.option(
    "--limit",
    "-n",
    type=WholeNumber(1, MOST),
    default=20,
    show_default=True,
    help="The maximum number of backfills.",
)
@list_options()
def command(limit: int, options: ListOptions) -> int:
    """List backfills, newest first, with the number of their runs and how these ended."""
    from runner.actions.backfill import backfills  # start-up time: --help reads no settings

    project = open_project()
    out = options.output()

    def read(_changed: Collection[str]) -> Listed[Backfill]:
        return Listed(backfills(project, limit))

    pace = Pace(2.0, newest_first=True)
    show_list(out, options, _listing(options.clock(out)), read, "no backfills", pace)
    return 0


def _listing(clock: Clock) -> Listing[Backfill]:
    def count(state: State) -> Column[Backfill]:
        priority = {State.SUCCESS: 2, State.FAILURE: 1, State.REVOKED: 4}[state]
        return Column(str(state), lambda found: str(found.ended.get(state, 0)), priority=priority, right=True)

    return Listing(
        [
            Column("ID", lambda found: found.id, id=True),
            Column("JOB", lambda found: found.job, flexible=True),
            Column("FROM", lambda found: clock.short(to_timestamp(found.begin)), priority=3),
            Column("TO", lambda found: clock.short(to_timestamp(found.end)), priority=3),
            Column("AT ONCE", lambda found: str(found.at_once or ""), priority=6, right=True),
            Column("RUNS", lambda found: str(found.made), right=True),
            Column("UNFINISHED", lambda found: str(found.document()["unfinished"]), priority=5, right=True),
            *(count(state) for state in (State.SUCCESS, State.FAILURE, State.REVOKED)),
        ],
        document=lambda found: found.document(),
        fields=dict.fromkeys(
            (
                *("id", "job", "from", "to", "at_once", "again", "submitted_by", "submitted_at", "slots", "runs"),
                *("unfinished", *(str(state) for state in State if state in FINAL), "revoked"),
            )
        ),
        key=lambda found: found.id,
        name=lambda found: found.id,
    )
