"""Follow a run, a job, or everything as it happens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from runner.actions.find import find_id
from runner.errors import UnknownRun
from runner.ledger.events import Event, Events, Gap
from runner.model.run import Run, to_datetime

if TYPE_CHECKING:
    from runner.actions.project import Project

_LIKE_AN_ID = re.compile("@.*|[0-9a-fA-F-]+")
"""What was mistyped as a job's name does not look so; the ids of Celery's clients, that may, are found."""


def watched(project: Project, reference: str | None) -> tuple[str | None, str | None]:
    """Return the job and the run's id that ``reference`` means; one of them, or none, is given.

    Raises:
        UnknownJob: it is neither a job nor a run, and does not look like an id.
        UnknownRun, AmbiguousId, UsageError: see :func:`runner.actions.find.find_id`.
    """
    if reference is None:
        return None, None
    if reference in project.catalog.jobs:
        return reference, None
    try:
        return None, find_id(project, reference)
    except UnknownRun:
        if not _LIKE_AN_ID.fullmatch(reference):
            project.catalog.get(reference)
        raise


def watch(
    project: Project, *, job: str | None = None, run_id: str | None = None, after: str | None = None
) -> Iterator[Event | Gap]:
    """Yield events as they happen, each once and in order, also after an outage of Redis.

    With a run it begins with where that run is now (or with its events after ``after``), and ends when the run has
    ended. Otherwise, it goes on forever. With a flow, the events of its step runs are shown, too.

    Args:
        project: the project.
        job: only events of this job.
        run_id: only events of this run.
        after: the id of the event to continue after; None: from now on.

    Raises:
        UnknownRun: the run is not or no longer known.
        UsageError: ``after`` is not the id of an event.
        Unavailable: Redis cannot be reached at the beginning.
    """
    events = Events(project.ledger, after)
    seen: tuple[str, int] | None = None
    flows = {run_id}
    if run_id is not None:
        run = project.records.get(run_id)
        if after is None:
            seen = (run.state, run.attempts)
            yield _now(run, events.last)
            if run.final:
                return
    for event in events.follow():
        if isinstance(event, Event):
            if run_id is None:
                if job is None or event.job == job:
                    yield event
            elif event.flow in flows:
                # It may be a flow itself.
                flows.add(event.id)
                yield event
            elif event.id == run_id and (event.state, event.attempt) != seen:
                seen = (event.state, event.attempt)
                yield event
                if event.state in ("SUCCESS", "FAILURE", "REVOKED"):
                    return
            continue
        if event is not None:
            yield event
        if run_id is not None:
            # Reading ends overdue runs. Their events come first, if they are still kept.
            run = project.records.get(run_id)
            if run.final and (isinstance(event, Gap) or events.caught_up()):
                if seen != (run.state, run.attempts):
                    yield _now(run, events.last)
                return


def _now(run: Run, last: str) -> Event:
    """Return the state of a run as an event, with the time at which the run reached it."""
    at = run.finished_at or (run.started_at if run.state == "STARTED" else run.submitted_at)
    moment = round(to_datetime(at).timestamp() * 1000) if at is not None else 0
    return Event(last, moment, run.id, run.job, run.state, run.reason, run.attempts)
