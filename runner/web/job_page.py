"""The page of a job, and of one that is no longer declared."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Request, Response

from runner._dataclass import dataclass
from runner.actions.backfill import MOST_AT_ONCE, Backfilled
from runner.actions.find import find_run
from runner.actions.stats import stats
from runner.errors import RunnerError
from runner.ledger.pauses import read_pauses
from runner.model.interface import given_texts
from runner.model.job import JobSpec
from runner.model.pause import paused
from runner.model.run_query import RunQuery
from runner.model.submit_options import SubmitOptions
from runner.web.asked import fields_of
from runner.web.durations import duration_chart, usual_durations
from runner.web.flows import declared_graph
from runner.web.home import overdue_jobs
from runner.web.jobs import Field, form_of, job_source, job_yaml
from runner.web.render import page
from runner.web.requests import JobName, Reader, state_of
from runner.web.schedule_text import schedule_phrase
from runner.web.steps import MOST_ROWS

router = APIRouter(include_in_schema=False, dependencies=[Reader])

HISTORY = 50
"""Runs in the chart."""
LISTED = 20
"""Runs in the table below it."""
COMING = 5
SLOTS = 50
"""Slots of a backfill that are shown before they are submitted."""


@dataclass(frozen=True, slots=True)
class BackfillForm:
    """The form of a backfill: what was typed, and the error or the slots that it led to."""

    typed: Mapping[str, str]
    error: RunnerError | None = None
    found: Backfilled | None = None


@router.get("/jobs/{name}")
def show_job(name: JobName, request: Request, like: Annotated[str | None, Query(max_length=128)] = None) -> Response:
    """Show a job; ``like`` is a run whose params fill the form."""
    project = state_of(request).project
    job = project.catalog.jobs.get(name)
    if job is None:
        return _gone_page(request, name)
    given = find_run(project, like, reading=False).params if like else None
    return job_page(request, job, form_of(job, given), None, 200, like=like)


def _gone_page(request: Request, name: str) -> Response:
    """Show a job that no file declares any more, or that has an error: its runs and its problems."""
    project = state_of(request).project
    history = project.records.page(RunQuery(job=name), limit=HISTORY).runs
    if not history and name not in project.catalog.broken:
        project.catalog.get(name)  # raises an error that names the job that was probably meant
    return page(
        request,
        "gone",
        name=name,
        history=history[:LISTED],
        chart=duration_chart(history, _now(), ZoneInfo(project.settings.timezone)),
        at=project.catalog.broken.get(name),
        problems=[problem for problem in project.catalog.problems if f"jobs.{name}" in f"{problem.path}."],
    )


def job_page(
    request: Request,
    job: JobSpec,
    form: list[Field],
    error: RunnerError | None,
    status: int,
    typed: Mapping[str, list[str]] | None = None,
    backfill: BackfillForm | None = None,
    like: str | None = None,
) -> Response:
    """Show a job.

    Args:
        request: the request.
        job: the job.
        form: the fields of its params, with the values that were typed.
        error: the error that a submitted form caused.
        status: the HTTP status of the page.
        typed: the fields of a submitted form.
        backfill: the form of a backfill that was sent.
        like: the run whose params fill the form.
    """
    state = state_of(request)
    project = state.project
    history = project.records.page(RunQuery(job=job.name), limit=HISTORY).runs
    pause = paused(read_pauses(project.ledger), job.name)
    now = datetime.now(UTC)
    due = state.calendar.coming(job.name, now, COMING) if job.schedule else []
    figures = stats(project, job.name)[0]
    left_out = state.calendar.left_out_of(job.name, now, due[-1].start if due else now + timedelta(days=366), COMING)
    return page(
        request,
        "job",
        status,
        job=job,
        source=job_source(state.settings.project, job),
        yaml=job_yaml(job),
        form=form,
        like=like,
        options=fields_of(SubmitOptions, typed or {}),
        asks=bool(given_texts(SubmitOptions, typed or {})),
        error=error,
        history=history[:LISTED],
        chart=duration_chart(history, _now(), ZoneInfo(state.settings.timezone)),
        stats=figures,
        usual=usual_durations(history),
        step_stats=figures.steps if len(figures.steps) <= MOST_ROWS else (),
        due=due,
        times=schedule_phrase(job.schedule, state.settings.timezone) if job.schedule else None,
        left_out=left_out,
        schedules=state.settings.schedules,
        pause=pause.document() if pause is not None else None,
        overdue=overdue_jobs(project, job.name),
        backfill=backfill or BackfillForm({}),
        drawing=declared_graph(job.steps),
        most_at_once=MOST_AT_ONCE,
        most_slots=SLOTS,
    )


def _now() -> int:
    return round(time.time() * 1000)
