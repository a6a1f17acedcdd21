"""The REST API: the documents and errors of the command line, over HTTP. Here: runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from runner.actions.approve import approve
from runner.actions.find import find_id, find_run, list_runs
from runner.actions.forget import forget
from runner.actions.logs import read_log
from runner.actions.rerun import rerun
from runner.actions.revoke import revoke
from runner.actions.submit import recorded, submit, submitted_document
from runner.actions.why import why
from runner.errors import UsageError
from runner.ledger.submission import Submitted
from runner.model.asking import BODY, ask
from runner.model.command_line import command_line
from runner.model.moment import read_since
from runner.model.run import to_timestamp
from runner.model.run_query import RunQuery
from runner.model.submit_options import SubmitOptions
from runner.web import documents
from runner.web.access import Person
from runner.web.asked import ask_query, parameters_of, properties_of, texts_of
from runner.web.documents import answers, streams
from runner.web.events import EventStream, follow, log_stream
from runner.web.requests import (
    Admin,
    Archived,
    JobName,
    Operator,
    Reader,
    ReadReference,
    Reference,
    StrictRoute,
    answer,
    counted_address,
    state_of,
)

router = APIRouter(prefix="/api/v1", route_class=StrictRoute, dependencies=[Reader])

MOST = 500
LOG_LINES = 10_000

Comment = Annotated[str | None, Field(max_length=1000)]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=256,
        description="The same key of a job again, with the same params, returns the run that exists.",
    ),
]
Moment = Query(description="A duration back from now, or a time: 24h, 2026-11-23, 02:00.", max_length=64)
LATE = '199 - "the run is recorded and will start, RabbitMQ has not confirmed that it knows of it"'
"""Warning of the answer to a submission."""
MADE_BEFORE = {"model": documents.SubmittedRun, "description": "It was made before."}


class NewRun(BaseModel):
    """A submission."""

    model_config = ConfigDict(extra="allow")

    params: dict[str, Any] = Field(default={}, description="As the job declares them.")

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe the options too, which are read by their declarations."""
        schema = handler.resolve_ref_schema(handler(core))
        schema["properties"] |= properties_of(SubmitOptions)
        return schema | {"additionalProperties": False}


class Revocation(BaseModel):
    """The options of a revocation."""

    model_config = ConfigDict(extra="forbid")

    terminate: bool = Field(default=False, description="End it also if it is running.")
    signal: Literal["TERM", "INT", "HUP", "QUIT", "KILL", "USR1", "USR2"] | None = Field(
        default=None, description="What `terminate` sends first; TERM by default."
    )
    comment: Comment = Field(default=None, description="Why; kept with the run.")


@router.post("/jobs/{job}/runs", **answers(documents.SubmittedRun, 201, **{"200": MADE_BEFORE}))
def submit_run(
    job: JobName, request: Request, person: Operator, body: NewRun | None = None, idempotency_key: Key = None
) -> Response:
    """Submit a run. The same Idempotency-Key of a job again returns the run that exists, with 200."""
    given = body or NewRun()
    project = state_of(request).project
    asked = {**(given.model_extra or {})}
    if idempotency_key is not None:
        if asked.get("key") is not None:
            raise UsageError("key and Idempotency-Key are one option", hint="use one of them")
        asked["key"] = idempotency_key
    options = ask(SubmitOptions, asked, BODY, zone=project.settings.timezone)
    return _submitted(
        request, lambda: submit(project, job, given.params, options=options, trigger="api", by=person.name)
    )


def _submitted(request: Request, attempt: Callable[[], Submitted]) -> Response:
    submitted = recorded(attempt)
    document = submitted_document(state_of(request).project, submitted)
    where = {"Location": f"/api/v1/runs/{submitted.id}"}
    # An error would make clients submit it again.
    late = {} if submitted.handed_over else {"Warning": LATE}
    return answer(document, 200 if submitted.duplicate else 201, **where, **late)


@router.get("/runs", **answers(documents.Runs), openapi_extra=parameters_of(RunQuery))
def show_runs(
    request: Request,
    limit: Annotated[int, Query(description="How many at most.", ge=1, le=MOST)] = 50,
    cursor: Annotated[str | None, Query(description="Of the page before.", max_length=200)] = None,
) -> Response:
    """Return runs that fit, a page at a time, and the cursor of the next page."""
    project = state_of(request).project
    wanted = ask_query(RunQuery, texts_of(request), project.settings.timezone)
    page = list_runs(project, wanted, limit=limit, cursor=cursor)
    return answer(
        {
            "runs": [run.document() for run in page.runs],
            "cursor": page.cursor,
            "looked_at": page.looked_at,
            "reached": to_timestamp(page.reached),
            "cut": page.cut,
        }
    )


@router.get("/runs/{reference}", **answers(documents.Run))
def show_run(reference: ReadReference, request: Request, archived: Archived = False) -> Response:
    """Return a run."""
    return answer(find_run(state_of(request).project, reference, archived=archived).document())


@router.delete("/runs/{reference}", status_code=204, response_model=None, responses=documents.PROBLEMS)
def forget_run(reference: Reference, request: Request, person: Admin) -> None:
    """Remove all that is known of a finished run."""
    forget(state_of(request).project, reference, by=person.name)


@router.post("/runs/{reference}/revoke", **answers(documents.Run))
def revoke_run(reference: Reference, request: Request, person: Operator, body: Revocation | None = None) -> Response:
    """Revoke a run; a finished one does not change."""
    given = body or Revocation()
    if given.signal is not None and not given.terminate:
        raise UsageError("signal needs terminate", hint="add terminate")
    run, _ = revoke(
        state_of(request).project,
        reference,
        terminate=given.terminate,
        signal=given.signal or "TERM",
        comment=given.comment,
        by=person.name,
    )
    return answer(run.document())


class Answer(BaseModel):
    """The options of an approval and of its rejection."""

    model_config = ConfigDict(extra="forbid")

    comment: Comment = Field(default=None, description="Why; kept with the step.")


@router.post("/runs/{reference}/approve", **answers(documents.Run))
def approve_run(reference: Reference, request: Request, person: Operator, body: Answer | None = None) -> Response:
    """Approve a step of a flow that waits for it, named by its run, or by its flow if that waits for one only."""
    return _answered(request, reference, person, body, approved=True)


@router.post("/runs/{reference}/reject", **answers(documents.Run))
def reject_run(reference: Reference, request: Request, person: Operator, body: Answer | None = None) -> Response:
    """Reject a step of a flow that waits for approval: it ends in FAILURE."""
    return _answered(request, reference, person, body, approved=False)


def _answered(request: Request, reference: str, person: Person, body: Answer | None, *, approved: bool) -> Response:
    comment = (body or Answer()).comment
    run = approve(state_of(request).project, reference, approved=approved, comment=comment, by=person.name)
    return answer(run.document())


@router.post("/runs/{reference}/rerun", **answers(documents.SubmittedRun, 201, **{"200": MADE_BEFORE}))
def rerun_run(reference: Reference, request: Request, person: Operator, idempotency_key: Key = None) -> Response:
    """Submit a finished run again, with the same params."""
    project = state_of(request).project
    return _submitted(request, lambda: rerun(project, reference, key=idempotency_key, by=person.name))


@router.get("/runs/{reference}/why", **answers(documents.Why))
def explain_run(reference: ReadReference, request: Request, archived: Archived = False) -> Response:
    """Say what a run waits for, or why it ended, and what to do about it."""
    project = state_of(request).project
    facts, explanation = why(project, reference, archived=archived)
    commands = [command_line(project.settings.project, *words) for words in explanation.commands]
    return answer(explanation.document(facts, commands))


@router.get("/runs/{reference}/log", **answers(documents.Log))
def show_log(
    reference: ReadReference,
    request: Request,
    attempt: Annotated[int | None, Query(ge=1, le=100_000)] = None,
    since: Annotated[str | None, Moment] = None,
    tail: Annotated[int, Query(ge=1, le=LOG_LINES)] = 1000,
    step: Annotated[str | None, Query(description="A step of a flow, or an item: load[3].", max_length=300)] = None,
    archived: Archived = False,
) -> Response:
    """Return the last lines that a run wrote; of a flow those of its step runs, in order of time."""
    project = state_of(request).project
    run = find_run(project, reference, archived=archived)
    oldest = read_since(since, project.settings.timezone) if since is not None else None
    lines = read_log(project, run.id, attempt=attempt, since=oldest, tail=tail, step=step, archived=archived)
    return answer({"lines": [line.document() for line in lines]})


@router.get("/runs/{reference}/log/stream", **streams("`lines` as they are written, then `end`."))
def follow_log(
    reference: ReadReference,
    request: Request,
    attempt: Annotated[int | None, Query(ge=1, le=100_000)] = None,
    after: Annotated[str | None, Query(pattern=r"^\d{1,19}-\d{1,19}$")] = None,
    last_event_id: Annotated[str | None, Header(pattern=r"^\d{1,19}-\d{1,19}$")] = None,
) -> Response:
    """Follow what a run writes, as server-sent events; `Last-Event-ID` goes on after that one."""
    project = state_of(request).project
    run = find_run(project, reference)
    lines = log_stream(project, run.id, last_event_id or after, attempt)
    return EventStream(lines, counted_address(request))


@router.get("/events", **streams("`run` for each change; `restart` where some are not known any more."))
def follow_events(
    request: Request,
    job: Annotated[str | None, Query(max_length=64)] = None,
    run: Annotated[str | None, Query(description="As in paths.", max_length=128)] = None,
    after: Annotated[str | None, Query(pattern=r"^\d{1,19}(-\d{1,19})?$")] = None,
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
) -> Response:
    """Follow what happens to runs, as server-sent events; `Last-Event-ID` goes on after that one."""
    state = state_of(request)
    if job is not None:
        list_runs(state.project, RunQuery(job=job), limit=1)  # a name that was mistyped would be silent for ever
    run_id = find_id(state.project, run) if run is not None else None
    changes = follow(state.hub, after=last_event_id or after, job=job, run=run_id)
    return EventStream(changes, counted_address(request))
