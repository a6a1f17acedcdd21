"""Read changed runs that match a query."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from runner.actions.find import with_full_ids
from runner.ledger.search import search
from runner.model.run import Run, to_datetime

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.model.run_query import RunQuery

MOST_AT_ONCE = 10_000
"""The maximum number of runs of one millisecond that are examined."""


def read_changed(project: Project, query: RunQuery, ids: Collection[str]) -> list[Run]:
    """Return the runs among ``ids`` that match ``query``, newest submission first.

    The index is queried for the milliseconds of their submissions, so a run matches exactly if a list would show it.

    Raises:
        UnknownRun, AmbiguousId, UsageError: the flow of the query is unknown or not a flow.
        Unavailable: Redis cannot be reached.
    """
    if query.archived:
        return []
    full = with_full_ids(project, query)
    submitted: dict[float, set[str]] = {}
    for run in project.ledger.read(list(ids)):
        if run.submitted_at is not None:
            submitted.setdefault(to_datetime(run.submitted_at).timestamp(), set()).add(run.id)
    found: list[Run] = []
    for at, wanted in sorted(submitted.items(), reverse=True):
        if (query.since is None or query.since <= at) and (query.until is None or at <= query.until):
            moment = replace(full, since=at, until=at, sort="newest")
            found += [run for run in search(project.ledger, moment, limit=MOST_AT_ONCE).runs if run.id in wanted]
    return found
