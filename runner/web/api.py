"""The REST API has the documents and errors of the command line. This module has the routes for runs."""

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
from runner.model.command_line import command_line
from runner.model.interface import BODY, parse_options
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
        description="If the job has a run with this key and the same params, that run is returned.",
    ),
]
Moment = Query(description="A duration before now, or a time: 24h, 2026-11-23, 02:00.", max_length=64)
LATE = '199 - "the run is recorded and will start, but RabbitMQ has not confirmed its message"'
"""The header Warning of the response to a submission."""
MADE_BEFORE = {"model": documents.SubmittedRun, "description": "The run existed before."}


class NewRun(BaseModel):
    """A submission."""

    model_config = ConfigDict(extra="allow")

    params: dict[str, Any] = Field(default={}, description="The params, as the job declares them.")

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the options, which are read by their own declarations."""
        schema = handler.resolve_ref_schema(handler(core))
        schema["properties"] |= properties_of(SubmitOptions)
        return schema | {"additionalProperties": False}


class Revocation(BaseModel):
    """The options of a revocation."""

    model_config = ConfigDict(extra="forbid")

    terminate: bool = Field(default=False, description="Also terminate the run if it is running.")
    signal: Literal["TERM", "INT", "HUP", "QUIT", "KILL", "USR1", "USR2"] | None = Field(
        default=None, description="The signal that `terminate` sends first; TERM by default."
    )
    comment: Comment = Field(default=None, description="The reason; stored with the run.")


@router.post("/jobs/{job}/runs", **answers(documents.SubmittedRun, 201, **{"200": MADE_BEFORE}))
def submit_run(
    job: JobName, request: Request, person: Operator, body: NewRun | None = None, idempotency_key: Key = None
) -> Response:
    """Submit a run. If the job has a run with the same Idempotency-Key, return that run with 200."""
    given = body or NewRun()
    project = state_of(request).project
    asked = {**(given.model_extra or {})}
    if idempotency_key is not None:
        if asked.get("key") is not None:
            raise UsageError("key and Idempotency-Key are the same option", hint="use one of them")
        asked["key"] = idempotency_key
    options = parse_options(SubmitOptions, asked, BODY, zone=project.settings.timezone)
    return _submitted(
        request, lambda: submit(project, job, given.params, options=options, trigger="api", by=person.name)
    )


def _submitted(request: Request, attempt: Callable[[], Submitted]) -> Response:
    submitted = recorded(attempt)
    document = submitted_document(state_of(request).project, submitted)
    where = {"Location": f"/api/v1/runs/{submitted.id}"}
    # After an error, clients would submit it again.
    late = {} if submitted.handed_over else {"Warning": LATE}
    return answer(document, 200 if submitted.duplicate else 201, **where, **late)


@router.get("/runs", **answers(documents.Runs), openapi_extra=parameters_of(RunQuery))
def show_runs(
    request: Request,
    limit: Annotated[int, Query(description="The maximum number of runs.", ge=1, le=MOST)] = 50,
    cursor: Annotated[str | None, Query(description="The cursor of the previous page.", max_length=200)] = None,
) -> Response:
    """Return a page of the runs that match the filters, and the cursor of the next page."""
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
    """Forget a finished run: remove its record, result, and log."""
    forget(state_of(request).project, reference, by=person.name)


@router.post("/runs/{reference}/revoke", **answers(documents.Run))
def revoke_run(reference: Reference, request: Request, person: Operator, body: Revocation | None = None) -> Response:
    """Revoke a run. A finished run does not change."""
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
    """The options of an approval or a rejection."""

    model_config = ConfigDict(extra="forbid")

    comment: Comment = Field(default=None, description="The reason; stored with the step.")


@router.post("/runs/{reference}/approve", **answers(documents.Run))
def approve_run(reference: Reference, request: Request, person: Operator, body: Answer | None = None) -> Response:
    """Approve a waiting step of a flow. Name its run, or the flow if only one of its steps waits."""
    return _answered(request, reference, person, body, approved=True)


@router.post("/runs/{reference}/reject", **answers(documents.Run))
def reject_run(reference: Reference, request: Request, person: Operator, body: Answer | None = None) -> Response:
    """Reject a step of a flow that waits for approval. It ends in FAILURE."""
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
    """Explain what a run waits for or why it ended, and what to do about it."""
    project = state_of(request).project
    facts, explanation = why(project, reference, archived=archived)
    commands = [command_line(project.settings.project, *arguments) for arguments in explanation.commands]
    return answer(explanation.document(facts, commands))


@router.get("/runs/{reference}/log", **answers(documents.Log))
def show_log(
    reference: ReadReference,
    request: Request,
    attempt: Annotated[int | None, Query(ge=1, le=100_000)] = None,
    since: Annotated[str | None, Moment] = None,
    tail: Annotated[int, Query(ge=1, le=LOG_LINES)] = 1000,
    step: Annotated[
        str | None, Query(description="Only this step of a flow, or this item: load[3].", max_length=300)
    ] = None,
    archived: Archived = False,
) -> Response:
    """Return the last log lines of a run; of a flow, those of its step runs, in order of time."""
    project = state_of(request).project
    run = find_run(project, reference, archived=archived)
    oldest = read_since(since, project.settings.timezone) if since is not None else None
    lines = read_log(project, run.id, attempt=attempt, since=oldest, tail=tail, step=step, archived=archived)
    return answer({"lines": [line.document() for line in lines]})


@router.get("/runs/{reference}/log/stream", **streams("`lines` as they are written, and finally `end`."))
def follow_log(
    reference: ReadReference,
    request: Request,
    attempt: Annotated[int | None, Query(ge=1, le=100_000)] = None,
    after: Annotated[str | None, Query(pattern=r"^\d{1,19}-\d{1,19}$")] = None,
    last_event_id: Annotated[str | None, Header(pattern=r"^\d{1,19}-\d{1,19}$")] = None,
) -> Response:
    """Stream the log lines of a run as server-sent events. `Last-Event-ID` continues after that event."""
    project = state_of(request).project
    run = find_run(project, reference)
    lines = log_stream(project, run.id, last_event_id or after, attempt)
    return EventStream(lines, counted_address(request))


@router.get("/events", **streams("`run` for each change; `restart` if some changes are no longer stored."))
def follow_events(
    request: Request,
    job: Annotated[str | None, Query(max_length=64)] = None,
    run: Annotated[str | None, Query(description="The id of a run, as in paths.", max_length=128)] = None,
    after: Annotated[str | None, Query(pattern=r"^\d{1,19}(-\d{1,19})?$")] = None,
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
) -> Response:
    """Stream the changes of runs as server-sent events. `Last-Event-ID` continues after that event."""
    state = state_of(request)
    if job is not None:
        list_runs(state.project, RunQuery(job=job), limit=1)  # the stream of a mistyped name would stay silent
    run_id = find_id(state.project, run) if run is not None else None
    changes = follow(state.hub, after=last_event_id or after, job=job, run=run_id)
    return EventStream(changes, counted_address(request))
