"""The REST API: jobs, schedules, workers, queues, statistics, the audit log, health, and metrics."""

from __future__ import annotations

import time
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from runner.actions.broker import queues_and_hints
from runner.actions.job_list import describe_jobs
from runner.actions.metrics import exposition
from runner.actions.pause import pause, resume
from runner.actions.schedule_table import ScheduleTable
from runner.actions.skipped import all_skipped
from runner.actions.stats import stats
from runner.actions.upcoming import looked_up, missed, upcoming
from runner.errors import Unavailable, UnknownProject, UsageError
from runner.ledger.audit import read_acts
from runner.ledger.fleet import read_workers
from runner.model.act import ActName
from runner.model.moment import read_moment, read_since
from runner.web import documents
from runner.web.api import MOST, Comment, Moment
from runner.web.documents import PROBLEMS, answers
from runner.web.requests import Admin, Archived, JobName, Reader, StrictRoute, answer, seconds, state_of
from runner.web.state import states_of

router = APIRouter(prefix="/api/v1", route_class=StrictRoute, dependencies=[Reader])
health = APIRouter()

MOST_ACTS = 20_000
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

Job = Annotated[str | None, Query(max_length=64)]


class NewPause(BaseModel):
    """The options of a pause."""

    model_config = ConfigDict(extra="forbid")

    duration: Annotated[str | None, Field(max_length=64)] = Field(
        default=None, description="Resume automatically after this time, such as 2h."
    )
    comment: Comment = Field(default=None, description="The reason.")


@router.get("/jobs", **answers(documents.Jobs))
def list_jobs(request: Request) -> Response:
    """Return the jobs as declared, and the problems of the job files."""
    project = state_of(request).project
    catalog = project.catalog
    jobs = [job.document() for job in describe_jobs(project, sorted(catalog.jobs), project.ledger)]
    return answer({"jobs": jobs, "problems": [str(problem) for problem in catalog.problems]})


@router.get("/jobs/{job}", **answers(documents.Job))
def get_job(job: JobName, request: Request) -> Response:
    """Return a job as declared."""
    project = state_of(request).project
    declared = project.catalog.get(job)
    [found] = describe_jobs(project, [declared.name], project.ledger)
    return answer(found.document())


@router.post("/jobs/{job}/pause", **answers(documents.Pause))
def pause_job(job: JobName, request: Request, person: Admin, body: NewPause | None = None) -> Response:
    """Pause a job; `*` means all jobs."""
    given = body or NewPause()
    length = seconds(given.duration, "duration")
    project = state_of(request).project
    return answer(pause(project, job, seconds=length, comment=given.comment, by=person.name).document())


@router.post("/jobs/{job}/resume", **answers(documents.Resumed))
def resume_job(job: JobName, request: Request, person: Admin) -> Response:
    """Resume a job; `*` ends the pause of all jobs."""
    return answer({"resumed": resume(state_of(request).project, job, by=person.name)})


@router.get("/jobs/{job}/stats", **answers(documents.JobStats))
def get_stats(job: JobName, request: Request, archived: Archived = False) -> Response:
    """Return the number of runs, the success rate, and the wait and run times of a job."""
    return answer(stats(state_of(request).project, job, archived=archived)[0].document())


@router.get("/stats", **answers(documents.Stats))
def list_stats(request: Request, archived: Archived = False) -> Response:
    """Return the statistics of all jobs."""
    found = stats(state_of(request).project, archived=archived)
    return answer({"stats": [figures.document() for figures in found]})


@router.get("/upcoming", **answers(documents.Upcoming))
def list_upcoming(
    request: Request,
    job: Job = None,
    begin: Annotated[
        str | None, Query(alias="from", description="The earliest time, such as 02:00.", max_length=64)
    ] = None,
    end: Annotated[str | None, Query(alias="to", description="The latest time.", max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 50,
) -> Response:
    """Return the missed runs, the next runs of all schedules in order of time, and the slots that are left out."""
    project = state_of(request).project
    zone = project.settings.timezone
    first = read_moment(begin, zone) if begin is not None else None
    last = read_moment(end, zone, first) if end is not None else None
    if first is not None and last is not None and last < first:
        raise UsageError("to is before from", hint="swap or correct them")
    late = missed(project, job) if first is None else []
    table = ScheduleTable(project.settings)
    coming = list(islice(upcoming(project, since=first, until=last, job=job, table=table), limit))
    since = round((time.time() if first is None else first) * 1000)
    until = coming[-1].slot if len(coming) == limit else None if last is None else round(last * 1000)
    return answer(
        {
            "upcoming": [run.document() for run in looked_up(project.ledger, [*late, *coming][:limit])],
            "skipped": [slots.document() for slots in all_skipped(project, table, since, until, limit=limit, job=job)],
        }
    )


@router.get("/workers", **answers(documents.Workers))
def list_workers(request: Request) -> Response:
    """Return the workers with their last reports. A worker that vanished is shown as lost for a day."""
    found = read_workers(state_of(request).project.ledger)
    return answer({"workers": [worker.document() for worker in found]})


@router.get("/queues", **answers(documents.Queues))
def list_queues(request: Request) -> Response:
    """Return the queues: their waiting runs by priority, their delayed runs, and their workers."""
    queues, _ = queues_and_hints(state_of(request).project)
    return answer({"queues": [queue.document() for queue in queues]})


@router.get("/audit", **answers(documents.Audit))
def list_acts(
    request: Request,
    job: Job = None,
    act: Annotated[ActName | None, Query()] = None,
    by: Annotated[str | None, Query(max_length=256)] = None,
    run: Annotated[str | None, Query(alias="id", description="A full id.", max_length=128)] = None,
    since: Annotated[str | None, Moment] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_ACTS)] = 50,
) -> Response:
    """Return the audit log, newest first."""
    project = state_of(request).project
    oldest = read_since(since, project.settings.timezone) if since is not None else None
    found = read_acts(project.ledger, limit=limit, act=act, job=job, by=by, run_id=run, since=oldest)
    return answer({"acts": [act.document() for act in found]})


@health.get("/healthz", **answers(documents.Health))
def healthz(request: Request) -> Response:
    """Return whether Redis answers; with several projects, one of them suffices. No login is needed."""
    states = states_of(request)
    try:
        if states.chosen(request) is not None:
            state_of(request).project.ledger.read(["healthz"])
        elif not states.projects.read_at_once(lambda project: project.ledger.read(["healthz"])).found:
            raise Unavailable("the Redis of no project answers")
    except UnknownProject:
        raise HTTPException(404) from None
    except Unavailable:
        raise Unavailable("Redis does not answer", hint="runner doctor reports the reason") from None
    return answer({"status": "ok"})


@health.get(
    "/metrics",
    response_class=Response,
    dependencies=[Reader],
    responses={**PROBLEMS, 200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def metrics(request: Request) -> Response:
    """Return metrics in Prometheus' text format."""
    return Response(exposition(state_of(request).project), media_type=PROMETHEUS)
