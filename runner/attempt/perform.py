"""Perform one attempt with Celery's tracer, and return its end."""

from __future__ import annotations

import os
import sys

from billiard.common import terminate_handler_fired
from celery.utils.log import get_logger

from runner.app.celery_types import DeclaredTask, JsonObject
from runner.app.worker_log import about
from runner.attempt.apart import perform_apart
from runner.attempt.attempt_report import LONGEST_TEXT, AttemptReport, End
from runner.attempt.state import Attempt, SharedState, performing
from runner.ledger.traceback_text import traceback_text
from runner.model.storable import short_text

log = get_logger(__name__)

LONGEST_TRACEBACK = 32 * 1024
"""The maximum size of the log message for an attempt without an outcome (bytes)."""

EX_SOFTWARE = 70
"""The exit code of a taker process that could not settle its attempt; the parent counts a loss."""


def perform(task: DeclaredTask, attempt: Attempt) -> AttemptReport:
    """Perform one attempt and settle it, unless its success can be settled with the next request; return its end.

    Args:
        task: the job of the run.
        attempt: an attempt of a STARTED run.
    """
    shared = attempt.shared
    process = shared.process
    if task.job.isolation is not None and process is not None and not process.state.apart:
        attempt.settlement.may_wait = False
        # Created here once, and not in each fork.
        _ = task.tracer, shared.ledger
        return perform_apart(process, shared.worker, lambda: _perform_connected(task, attempt))
    return _perform(task, attempt)


def _perform_connected(task: DeclaredTask, attempt: Attempt) -> AttemptReport:
    # This process must not share the parent's connection, and an audit hook of the job may forbid new ones.
    attempt.shared.ledger.connect()
    return _perform(task, attempt)


def _perform(task: DeclaredTask, attempt: Attempt) -> AttemptReport:
    taken, settlement = attempt.taken, attempt.settlement
    run_id = taken.run_id
    request: JsonObject = {
        "id": run_id,
        "task": taken.job,
        "root_id": run_id,
        "correlation_id": run_id,
        "lang": "py",
        "args": (),
        "kwargs": {},
        "delivery_info": {
            "exchange": "",
            "routing_key": taken.queue,
            "priority": taken.priority,
            "redelivered": False,
        },
        "hostname": attempt.shared.worker,
        "is_eager": False,
        # Otherwise Celery searches all local variables for it.
        "headers": {},
    }
    try:
        with performing(attempt):
            _, info, seconds, text = task.tracer(run_id, (), {}, request)
    except BaseException as fault:
        if terminate_handler_fired():
            raise
        if settlement.report is None:
            text = traceback_text(fault, LONGEST_TRACEBACK) or short_text(fault, LONGEST_TEXT)
            log.error("run %s of %s has no outcome: %s", run_id, taken.job, text, extra=about(run_id, taken.job))
            return give_up(attempt.shared)
        return settlement.report
    if info is None:
        return AttemptReport(
            End.SUCCEEDED, text, None, seconds, settlement.report is not None and settlement.report.advances
        )
    report: AttemptReport = getattr(info, "report", None) or AttemptReport(End.NOT_STARTED)
    return give_up(attempt.shared) if report.end is End.UNSETTLED else report


def give_up(shared: SharedState) -> AttemptReport:
    """End this process if it is a taker process: its parent then settles the attempt as lost."""
    if shared.process is not None:
        _leave()
    return AttemptReport(End.UNSETTLED)


def _leave() -> None:
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(EX_SOFTWARE)
