"""The REST API: backfills."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from runner.actions.backfill import MOST_AT_ONCE, backfill, backfills, revoke_all
from runner.web import documents
from runner.web.api import Comment
from runner.web.documents import answers
from runner.web.requests import JobName, Operator, Reader, Reference, StrictRoute, answer, state_of

router = APIRouter(prefix="/api/v1", route_class=StrictRoute, dependencies=[Reader])


class NewBackfill(BaseModel):
    """The slots to run. Times without an offset are in the zone of the job's schedule."""

    model_config = ConfigDict(extra="forbid")

    begin: str = Field(alias="from", max_length=64, description="The first day or time, such as 2026-01-01.")
    end: str = Field(alias="to", max_length=64, description="The last day or time, included.")
    at_once: int | None = Field(default=None, ge=1, le=MOST_AT_ONCE, description="How many runs may run at once.")
    again: bool = Field(default=False, description="Also submit runs for slots that have had one.")
    dry_run: bool = Field(default=False, description="Return the slots, and submit nothing.")


class BackfillRevocation(BaseModel):
    """The options of the revocation of a backfill."""

    model_config = ConfigDict(extra="forbid")

    terminate: bool = Field(default=False, description="Also terminate the runs that are running.")
    comment: Comment = Field(default=None, description="The reason; stored with the runs.")


@router.post("/jobs/{job}/backfills", **answers(documents.Backfilled))
def backfill_job(job: JobName, request: Request, person: Operator, body: NewBackfill) -> Response:
    """Submit a run for each slot of a range that has not had one."""
    project = state_of(request).project
    found = backfill(
        project,
        job,
        body.begin,
        body.end,
        at_once=body.at_once,
        again=body.again,
        dry_run=body.dry_run,
        by=person.name,
    )
    return answer(found.document())


@router.get("/backfills", **answers(documents.Backfills))
def list_backfills(request: Request, limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> Response:
    """Return the backfills, newest first, with the number of their runs in each state."""
    return answer({"backfills": [found.document() for found in backfills(state_of(request).project, limit)]})


@router.post("/backfills/{reference}/revoke", **answers(documents.Backfill))
def revoke_backfill(
    reference: Reference, request: Request, person: Operator, body: BackfillRevocation | None = None
) -> Response:
    """Revoke the unfinished runs of a backfill, and submit no more of them."""
    given = body or BackfillRevocation()
    project = state_of(request).project
    found, *_ = revoke_all(project, reference, terminate=given.terminate, comment=given.comment, by=person.name)
    return answer(found.document())
