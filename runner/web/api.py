"""The REST API: the documents and errors of the command line, over HTTP."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from runner.actions.find import find_id
from runner.actions.forget import forget
from runner.actions.logs import read_log
from runner.actions.metrics import exposition
from runner.actions.pause import pause, resume
from runner.actions.rerun import rerun
from runner.actions.revoke import revoke
from runner.actions.submit import submit
from runner.errors import UsageError
from runner.ledger.search import Query as Search
from runner.ledger.search import search
from runner.ledger.submission import Submitted
from runner.model.duration import parse_duration
from runner.model.job_document import job_document
from runner.model.run import Run
from runner.model.run import State as RunState
from runner.web.access import NotAllowed, Person, Role
from runner.web.events import log_stream, stream
from runner.web.state import State

router = APIRouter(prefix="/api/v1")
health = APIRouter()

MOST = 500
LOG_LINES = 10_000
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

Document = dict[str, Any]
Reference = Annotated[str, Path(description="A full id, or a unique prefix of 8 or more characters.", max_length=128)]
JobName = Annotated[str, Path(description="The name of a job.", max_length=64)]


class Error(BaseModel):
    """What went wrong, and what to do about it."""

    code: str
    message: str
    hint: str | None = None
    exit_code: int


class Problem(BaseModel):
    """The body of every answer that is not 2xx."""

    error: Error


PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": words}
    for status, words in {
        401: "Nobody knows who asks.",
        403: "They may not do this.",
        404: "There is no such run or job.",
        409: "Refused: the job is disabled or paused, or the run has not finished.",
        422: "The request, or the params, are wrong.",
        429: "Too many failed logins.",
        503: "Redis cannot be reached.",
    }.items()
}


Text32 = Annotated[str | None, Field(max_length=32)]
Comment = Annotated[str | None, Field(max_length=1000)]


class NewRun(BaseModel):
    """A submission."""

    model_config = ConfigDict(extra="forbid")

    params: dict[str, Any] = {}
    """As the job declares them."""
    delay: Text32 = None
    """Start after this time, such as 10m."""
    expires: Text32 = None
    """No start later than this, such as 1h."""
    queue: Annotated[str | None, Field(max_length=64)] = None
    priority: Annotated[int | None, Field(ge=0, le=9)] = None
    force: bool = False
    """Also if the job is paused."""


class Revocation(BaseModel):
    """How to revoke."""

    model_config = ConfigDict(extra="forbid")

    terminate: bool = False
    """End it also if it is running."""
    comment: Comment = None


class NewPause(BaseModel):
    """How to pause."""

    model_config = ConfigDict(extra="forbid")

    duration: Text32 = None
    """Go on by itself after this time, such as 2h."""
    comment: Comment = None


def state_of(request: Request) -> State:
    """Return what all requests share."""
    found: State = request.app.state.runner
    return found


def person_of(request: Request) -> Person:
    """Return who asks."""
    found: Person = request.state.person
    return found


class AtLeast:
    """The dependency that refuses whoever has less than a role."""

    def __init__(self, role: Role) -> None:
        self.role = role

    def __call__(self, request: Request) -> Person:
        """Return who asks.

        Raises:
            NotAllowed: they may not.
        """
        person = person_of(request)
        if person.role < self.role:
            raise NotAllowed(f"{person.name} may {person.role.name.lower()}, this needs {self.role.name.lower()}")
        return person


Operator = Annotated[Person, Depends(AtLeast(Role.OPERATE))]
Admin = Annotated[Person, Depends(AtLeast(Role.ADMIN))]


def seconds(text: str | None, name: str) -> float | None:
    """Return the seconds that a duration means.

    Raises:
        UsageError: it is none.
    """
    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None


def read_states(words: list[str]) -> list[RunState]:
    """Return the states of that names.

    Raises:
        UsageError: there is none of that name.
    """
    known = {state.value: state for state in RunState}
    for word in words:
        if word.upper() not in known:
            raise UsageError(f"{word!r} is no state", hint=f"use {', '.join(known)}")
    return [known[word.upper()] for word in words]


# -- runs


@router.post("/jobs/{job}/runs", status_code=201, responses={**PROBLEMS, 200: {"description": "It was made before."}})
def submit_run(
    job: JobName,
    response: Response,
    request: Request,
    person: Operator,
    body: NewRun | None = None,
    idempotency_key: Annotated[str | None, Header(max_length=256)] = None,
) -> Document:
    """Submit a run. The same Idempotency-Key of a job again returns the run that exists, with 200."""

    given = body or NewRun()
    delay = seconds(given.delay, "delay")
    submitted = submit(
        state_of(request).project,
        job,
        given.params,
        key=idempotency_key,
        eta=time.time() + delay if delay is not None else None,
        expires=seconds(given.expires, "expires"),
        queue=given.queue,
        priority=given.priority,
        force=given.force,
        trigger="api",
        by=person.name,
    )
    response.status_code = 200 if submitted.duplicate else 201
    response.headers["Location"] = f"/api/v1/runs/{submitted.id}"
    return submitted_document(submitted)


def submitted_document(submitted: Submitted) -> Document:
    """Return the run document with ``duplicate``, as ``runner submit --json`` prints it."""
    known = submitted.run.document() if submitted.run is not None else {"id": submitted.id}
    return {**known, "duplicate": submitted.duplicate}


@router.get("/runs", responses=PROBLEMS)
def list_runs(
    request: Request,
    job: Annotated[str | None, Query(max_length=64)] = None,
    state: Annotated[list[str] | None, Query(max_length=6)] = None,
    reason: Annotated[str | None, Query(max_length=64)] = None,
    tag: Annotated[str | None, Query(max_length=64)] = None,
    trigger: Annotated[str | None, Query(max_length=16)] = None,
    since: Annotated[str | None, Query(description="Only submitted since then: 24h.", max_length=32)] = None,
    text: Annotated[str | None, Query(description="In errors.", max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 50,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> Document:
    """Return runs, newest submission first, and the cursor of the next page."""

    back = seconds(since, "since")
    wanted = Search(
        job=job,
        states=read_states(state or []),
        since=time.time() - back if back is not None else None,
        reason=reason or None,
        tag=tag or None,
        trigger=trigger or None,
        text=text or None,
    )
    page = search(state_of(request).project.ledger, wanted, limit=limit, cursor=cursor)
    return {"runs": [run.document() for run in page.runs], "cursor": page.cursor}


def _run(request: Request, reference: str) -> Run:
    project = state_of(request).project
    return project.ledger.get(find_id(project, reference, reading=False))


@router.get("/runs/{reference}", responses=PROBLEMS)
def get_run(reference: Reference, request: Request) -> Document:
    """Return a run."""
    return _run(request, reference).document()


@router.delete("/runs/{reference}", status_code=204, responses=PROBLEMS)
def forget_run(reference: Reference, request: Request, person: Admin) -> None:
    """Remove all that is known of a finished run."""
    forget(state_of(request).project, reference, by=person.name)


@router.post("/runs/{reference}/revoke", responses=PROBLEMS)
def revoke_run(reference: Reference, request: Request, person: Operator, body: Revocation | None = None) -> Document:
    """Revoke a run; a finished one does not change."""
    given = body or Revocation()
    run, _ = revoke(
        state_of(request).project, reference, terminate=given.terminate, comment=given.comment, by=person.name
    )
    return run.document()


@router.post("/runs/{reference}/rerun", status_code=201, responses=PROBLEMS)
def rerun_run(reference: Reference, request: Request, person: Operator) -> Document:
    """Submit a finished run again, with the same params."""
    return submitted_document(rerun(state_of(request).project, reference, by=person.name))


@router.get("/runs/{reference}/log", responses=PROBLEMS)
def get_log(
    reference: Reference,
    request: Request,
    attempt: Annotated[int | None, Query(ge=1, le=100_000)] = None,
    tail: Annotated[int, Query(ge=1, le=LOG_LINES)] = 1000,
) -> Document:
    """Return the last lines that a run wrote."""
    project = state_of(request).project
    run = _run(request, reference)
    return {"lines": [line.document() for line in read_log(project, run.id, attempt=attempt, tail=tail)]}


@router.get("/runs/{reference}/log/stream", responses=PROBLEMS, response_class=StreamingResponse)
def follow_log(
    reference: Reference, request: Request, after: Annotated[str | None, Query(pattern=r"^\d{1,19}-\d{1,19}$")] = None
) -> Response:
    """Follow what a run writes, as server-sent events: ``lines``, then ``end``."""
    run = _run(request, reference)
    last = request.headers.get("Last-Event-ID") or after
    return _events(log_stream(state_of(request).project.ledger, run.id, last))


@router.get("/events", responses=PROBLEMS, response_class=StreamingResponse)
def follow_events(
    request: Request,
    job: Annotated[str | None, Query(max_length=64)] = None,
    run: Annotated[str | None, Query(max_length=128)] = None,
    after: Annotated[str | None, Query(pattern=r"^\d{1,19}(-\d{1,19})?$")] = None,
) -> Response:
    """Follow what happens to runs, as server-sent events; ``Last-Event-ID`` goes on after that one."""
    state = state_of(request)
    last = request.headers.get("Last-Event-ID") or after
    return _events(stream(state.hub, after=last, job=job, run=run))


def _events(content: Any) -> StreamingResponse:
    return StreamingResponse(content, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


# -- jobs and the fleet


@router.get("/jobs", responses=PROBLEMS)
def list_jobs(request: Request) -> Document:
    """Return the jobs as they are declared, and the problems of those that cannot be used."""
    catalog = state_of(request).catalog
    jobs = [job_document(catalog.jobs[name]) for name in sorted(catalog.jobs)]
    return {"jobs": jobs, "problems": [str(problem) for problem in catalog.problems]}


@router.get("/jobs/{job}", responses=PROBLEMS)
def get_job(job: JobName, request: Request) -> Document:
    """Return a job as it is declared."""
    return job_document(state_of(request).catalog.get(job))


@router.post("/jobs/{job}/pause", responses=PROBLEMS)
def pause_job(job: JobName, request: Request, person: Admin, body: NewPause | None = None) -> Document:
    """Hold a job; ``*`` holds all."""
    given = body or NewPause()
    length = seconds(given.duration, "duration")
    project = state_of(request).project
    return pause(project, job, seconds=length, comment=given.comment, by=person.name).document()


@router.post("/jobs/{job}/resume", responses=PROBLEMS)
def resume_job(job: JobName, request: Request, person: Admin) -> Document:
    """Let a job go on; ``*`` ends the pause of all."""
    return {"resumed": resume(state_of(request).project, job, by=person.name)}


@router.get("/workers", responses=PROBLEMS)
def list_workers(request: Request) -> Document:
    """Return the live workers."""
    return {"workers": state_of(request).project.ledger.workers()}


@health.get("/healthz", responses={503: PROBLEMS[503]})
def healthz(request: Request) -> JSONResponse:
    """Say whether Redis answers."""
    ledger = state_of(request).project.ledger
    ledger.read(["healthz"])
    return JSONResponse({"status": "ok"})


@health.get("/metrics", response_class=PlainTextResponse, responses={401: PROBLEMS[401], 503: PROBLEMS[503]})
def metrics(request: Request) -> Response:
    """Return metrics in Prometheus' text format."""
    return Response(exposition(state_of(request).project), media_type=PROMETHEUS)
