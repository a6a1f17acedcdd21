"""The page of a run, and its log as text."""

from __future__ import annotations

import time
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from runner.actions.find import find_run
from runner.actions.logs import log_of, read_log
from runner.actions.why import why
from runner.ledger.run_log import RunLog
from runner.model.run import to_datetime, to_timestamp
from runner.model.run_error import is_of_stock_task, traceback_of
from runner.web.attempts import seconds_until, timeline
from runner.web.flows import approvals_of, flow_page, shown_document
from runner.web.log_view import log_view, read_line_name
from runner.web.render import page
from runner.web.requests import Reader, ReadReference, state_of
from runner.web.steps import items_href
from runner.web.values import table_of

router = APIRouter(include_in_schema=False, dependencies=[Reader])

SHORT = 8
"""Characters of an id in a file name."""
MOST_TRACEBACK = 12_000
"""Characters of a traceback on the page; the API returns all of it."""


@router.get("/runs/{reference}")
def show_run(
    reference: ReadReference,
    request: Request,
    steps: Annotated[str, Query(max_length=8)] = "",
    line: Annotated[str, Query(max_length=24)] = "",
    search: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """Show a run: its state, its attempts or steps, its log, its params, and its result.

    ``line`` shows the part of the log around a line, such as ``2.17`` for line 17 of attempt 2, and ``search`` only the
    lines that contain a text.
    """
    project = state_of(request).project
    zone = ZoneInfo(project.settings.timezone)
    facts, explanation = why(project, reference, lambda at: f"{to_datetime(at).astimezone(zone):%Y-%m-%d %H:%M:%S}")
    run = facts.run
    now = round(time.time() * 1000)
    flow = flow_page(project, run, zone, whole=steps == "all")
    log = log_of(project, run)
    # A flow's page asks for the log of its steps by itself.
    shown = log_view(log.lines() if flow is None else (), around=read_line_name(line), search=search)
    return page(
        request,
        "run",
        run=run,
        explanation=explanation,
        document=shown_document(run),
        flow=flow,
        attempts=None if flow is not None else timeline(run, now, zone),
        total=seconds_until(run, now),
        approvals=[] if run.archived else approvals_of(project.ledger, run, flow),
        items=items_href(run.flow, run.job) if run.flow is not None and run.item is not None else None,
        log=shown,
        search=search,
        target=line,
        last=log.last if isinstance(log, RunLog) else None,
        traceback=_end_of(traceback_of(run.error)) if run.error else "",
        stock=run.error is not None and is_of_stock_task(run.error),
        known=run.job in project.catalog.jobs,
        params=table_of(run.params),
        result=table_of(run.result),
    )


@router.get("/runs/{reference}/log")
def show_log(
    reference: ReadReference, request: Request, download: Annotated[str, Query(max_length=8)] = ""
) -> Response:
    """Show the whole log of a run, or of the steps of a flow, as text; with ``download`` browsers save it as a file."""
    project = state_of(request).project
    run = find_run(project, reference, reading=False)
    text = (
        f"{to_timestamp(line.at)} {f'{line.step} ' if line.step else ''}#{line.attempt} {line.text}\n"
        for line in read_log(project, run.id)
    )
    name = f"{run.job.replace('/', '-')}-{run.id[:SHORT]}.log"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'} if download else {}
    return StreamingResponse(text, media_type="text/plain; charset=utf-8", headers=headers)


def _end_of(traceback: str) -> str:
    """Return the last lines of a traceback, which name the cause, with a note about the others."""
    if len(traceback) <= MOST_TRACEBACK:
        return traceback
    return (
        "… the JSON document of the run has the lines before these\n" + traceback[-MOST_TRACEBACK:].partition("\n")[2]
    )
