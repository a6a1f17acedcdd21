"""Inbound webhooks: ``POST /hooks/JOB`` submits a run of a job that declares ``webhook``."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from runner.actions.submit import recorded, submit
from runner.app.secret_sources import MissingSecret, look_up
from runner.errors import UnknownJob, UsageError
from runner.model.strict_json import read_json
from runner.model.submit_options import SubmitOptions
from runner.model.webhook import params_of
from runner.web import documents
from runner.web.access import NotAllowed
from runner.web.documents import answers
from runner.web.guard import address_of
from runner.web.requests import JobName, answer, is_json, state_of
from runner.web.signatures import BadRequest, delivery_of, verify
from runner.web.state import states_of

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.model.job import JobSpec

router = APIRouter(prefix="/hooks")

_log = logging.getLogger("runner.web")


MADE_BEFORE = {"model": documents.Received, "description": "An earlier delivery of the same id made the run."}
BODY = {
    "required": True,
    "description": "The sender's JSON; `webhook.params` of the job declares which fields become params.",
    "content": {"application/json": {"schema": {}}},
}
PROOFS: tuple[tuple[str, str], ...] = (
    ("X-Hub-Signature-256", "With `signature: github`: `sha256=` and the HMAC-SHA256 of the body, in hexadecimal."),
    ("X-GitHub-Delivery", "With `signature: github`: the id of the delivery."),
    ("Stripe-Signature", "With `signature: stripe`: the time, and the HMAC-SHA256 of time and body."),
    ("Idempotency-Key", "With `signature: token`: the id of the delivery. Such requests send `Authorization: Bearer`."),
)
DESCRIBED: dict[str, Any] = {
    "requestBody": BODY,
    "parameters": [
        {"name": name, "in": "header", "required": False, "description": description, "schema": {"type": "string"}}
        for name, description in PROOFS
    ],
    "security": [],
}
"""The parts of the OpenAPI description that FastAPI cannot derive. Tokens of people do not count here."""


@router.post("/{job}", **answers(documents.Received, 201, **{"200": MADE_BEFORE}), openapi_extra=DESCRIBED)
async def receive(job: JobName, request: Request) -> Response:
    """Submit a run of a job that declares `webhook`, once for each delivery."""
    body = await request.body()
    return await run_in_threadpool(_receive, job, request, body)


def _receive(name: str, request: Request, body: bytes) -> Response:
    project = _project(request)
    job = _job(name, project)
    webhook, headers = job.webhook, request.headers
    assert webhook is not None
    try:
        secret = look_up(webhook.secret, project.settings.project, os.environ, "runner web")
    except MissingSecret as missing:
        _log.error("the secret of the webhook of job %s is missing: %s", job.name, missing)
        raise HTTPException(503, "the secret of this webhook is missing, see the log of runner web") from None
    try:
        verify(webhook, secret.encode("utf-8", "surrogateescape"), headers, body, time.time())
    except BadRequest as bad:
        _log.warning("a request to the webhook of job %s was refused: %s", job.name, bad)
        states_of(request).access.refuse(address_of(request))
        raise NotAllowed(str(bad), hint="check that both sides have the same secret", status=401) from None
    if not is_json(headers.get("Content-Type")):
        raise HTTPException(415, "the content type is not JSON: send Content-Type: application/json")
    content = _read(body)
    try:
        delivery = delivery_of(webhook, headers, content)
    except BadRequest as bad:
        raise HTTPException(400, str(bad)) from None
    params = params_of(webhook, content, headers)
    options = SubmitOptions(key=None if delivery is None else f"webhook:{delivery}")
    submitted = recorded(
        lambda: submit(project, job.name, params, options=options, trigger="webhook", by=f"webhook:{webhook.signature}")
    )
    return answer({"id": submitted.id, "duplicate": submitted.duplicate}, 200 if submitted.duplicate else 201)


def _project(request: Request) -> Project:
    """Return the project that a request names. The error does not reveal the names of projects."""
    try:
        state = state_of(request)
    except UsageError:
        raise HTTPException(404) from None
    return state.project


def _job(name: str, project: Project) -> JobSpec:
    """Return a job with a webhook. The error does not reveal whether there is a job without one."""
    try:
        job = project.catalog.get(name)
    except UnknownJob:
        job = None
    if job is None or job.webhook is None:
        raise HTTPException(404)
    return job


def _read(body: bytes) -> Any:
    try:
        return read_json(body)
    except ValueError as error:
        raise HTTPException(422, f"the body is not JSON: {error}") from None
