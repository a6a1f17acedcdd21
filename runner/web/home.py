"""The overview of a project: a status line, alarms, failures in groups, and its jobs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from runner._dataclass import dataclass
from runner.actions.approvals import Approvals, waiting_approvals
from runner.actions.metrics import deadlines
from runner.ledger.fleet import read_queues, read_workers
from runner.ledger.health.successes import overdue_successes
from runner.ledger.search import search
from runner.model.plural import things
from runner.model.run import State as RunState
from runner.model.run_query import RunQuery
from runner.web import overview
from runner.web.failures import Failures, group_failures
from runner.web.job_rows import JobRow, Standings, read_rows

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.model.queue import Queue
    from runner.model.run import Run
    from runner.web.calendar import Due
    from runner.web.state import State

ROWS = 25
"""Jobs that the overview shows. **Jobs** lists all of them."""
MOST_FAILURES = 60
"""How many failed runs of the last day are read, to show them in groups."""
MOST_GROUPS = 6
MOST_RUNNING = 5
A_DAY = 86400


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the status line, its color, and the address of the page about it."""

    text: str
    color: str
    href: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """The content of the overview."""

    status: Sequence[Part]
    standings: Standings
    rows: Sequence[JobRow]
    failing: frozenset[str]
    groups: Sequence[Failures]
    """Those of jobs that still fail come first."""
    more_failures: bool
    running: Sequence[Run]
    more_running: bool
    counts: dict[str, int]
    hours: overview.Plot
    live_workers: int
    stuck: Sequence[Queue]
    """Queues in which runs wait, and from which no worker takes."""
    overdue: Sequence[str]
    approvals: Sequence[Approvals]


def read_home(state: State) -> Home:
    """Read the content of the overview, in a bounded number of round trips.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    project, calendar, now = state.project, state.calendar, time.time()
    ledger = project.ledger
    standings = Standings.read(state)
    failed = search(ledger, RunQuery(state=(RunState.FAILURE,), since=now - A_DAY), limit=MOST_FAILURES).runs
    groups = group_failures(failed)
    failing = frozenset(filter(standings.failing, standings.jobs))
    groups.sort(key=lambda group: group.job not in failing)
    running = search(ledger, RunQuery(state=(RunState.STARTED,)), limit=MOST_RUNNING + 1).runs
    workers = [worker for worker in read_workers(ledger) if not worker.lost]
    stuck = [queue for queue in read_queues(ledger) if queue.waiting and not queue.workers]
    overdue, approvals = overdue_jobs(project), waiting_approvals(project)
    counts = overview.counts(ledger)
    due = next(iter(calendar.soonest(datetime.now(UTC), 1)), None) if state.settings.schedules else None
    return Home(
        status=status_line(
            failing=len(failing),
            overdue=len(overdue),
            stuck=len(stuck),
            workers=len(workers),
            approvals=sum(waiting.count for waiting in approvals),
            paused=sum(map(standings.paused, standings.jobs)),
            problems=len(project.catalog.problems),
            running=counts["STARTED"],
            jobs=len(standings.jobs),
            due=due,
            zone=calendar.zone,
        ),
        standings=standings,
        rows=read_rows(ledger, standings, standings.ordered(list(standings.jobs))[:ROWS], calendar),
        failing=failing,
        groups=groups[:MOST_GROUPS],
        more_failures=len(groups) > MOST_GROUPS or len(failed) >= MOST_FAILURES,
        running=running[:MOST_RUNNING],
        more_running=len(running) > MOST_RUNNING,
        counts=counts,
        hours=overview.hours(overview.by_hour(ledger, now), calendar.zone),
        live_workers=len(workers),
        stuck=stuck,
        overdue=overdue,
        approvals=approvals,
    )


def overdue_jobs(project: Project, job: str | None = None) -> list[str]:
    """Return the jobs, or that one, that have not succeeded for longer than ``alert_if_no_success``.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    limits = {name: limit for name, limit in deadlines(project.catalog).items() if job in (None, name)}
    return [name for name, late in overdue_successes(project.ledger, limits).items() if late]


def status_line(
    *,
    failing: int,
    overdue: int,
    stuck: int,
    workers: int,
    approvals: int,
    paused: int,
    problems: int,
    running: int,
    jobs: int,
    due: Due | None,
    zone: ZoneInfo,
    now: datetime | None = None,
) -> list[Part]:
    """Return the parts of the status line, the worst first."""
    bad, odd, calm = "bad", "odd", "wait"
    parts = [
        (failing, f"{things(failing, 'job')} failing", bad, "/jobs?show=failing"),
        (not workers and jobs, "no worker is running", bad, "/fleet"),
        (workers and stuck, f"{things(stuck, 'queue')} without a worker", bad, "/fleet"),
        (problems, f"{things(problems, 'problem')} in job files", bad, "/jobs"),
        (overdue, f"{things(overdue, 'job')} overdue", odd, "#attention"),
        (approvals, f"{things(approvals, 'approval')} awaited", odd, "#attention"),
        (paused, f"{things(paused, 'job')} paused", odd, "/jobs?show=paused"),
    ]
    found = [Part(text, color, href) for is_so, text, color, href in parts if is_so]
    if not found and jobs:
        found.append(Part("No job is failing", "good", "/jobs"))
    if running:
        found.append(Part(f"{running:,} running", calm, "/runs?state=STARTED"))
    if due is not None:
        found.append(Part(f"next start {_clock(due.start, now or datetime.now(UTC), zone)}", calm, "/schedule"))
    return found


def _clock(at: datetime, now: datetime, zone: ZoneInfo) -> str:
    """Return the time of day, and the day if it is not today."""
    there = at.astimezone(zone)
    days = (there.date() - now.astimezone(zone).date()).days
    return there.strftime("%H:%M" if not days else "%a %H:%M" if days < 7 else "%Y-%m-%d %H:%M")
