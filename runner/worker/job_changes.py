"""The message by which a worker tells its template process about changed jobs."""

from __future__ import annotations

from collections.abc import Iterable

from runner.app.celery_types import JsonObject
from runner.app.factory import RunnerApp
from runner.attempt.state import Known, SharedState
from runner.catalog.catalog import Catalog
from runner.catalog.jobs_file import Entry, build
from runner.catalog.steps import step_specs


def changes(app: RunnerApp, catalog: Catalog, names: Iterable[str], removed: Iterable[str]) -> JsonObject:
    """Return the changes of a worker's jobs."""
    # The job of a step is built from its flow's entry, which changes with any of its steps.
    declared = (name for name in names if "/" not in name)
    entries = [[list(entry), file] for entry, file in map(catalog.jobs.entry, declared)]
    return {
        "jobs": entries,
        "removed": list(removed),
        "secret_variables": sorted(app.secret_variables),
        "known": Known.of(app).digest,
    }


def take_over(shared: SharedState, changed: JsonObject) -> None:
    """Apply the message of :func:`changes`, without importing code of jobs."""
    app = shared.app
    for entry, file in changed["jobs"]:
        job = build(Entry(*entry), file)
        app.put_jobs([job, *step_specs(job)])
    app.remove_jobs(changed["removed"])
    app.fix_secret_variables(frozenset(changed["secret_variables"]))
    shared.known = Known(changed["known"])
