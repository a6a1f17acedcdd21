"""One attempt: Celery's tracer runs it, and what comes back is how it ended."""

from __future__ import annotations

import os
import sys

from billiard.common import terminate_handler_fired
from celery.utils.log import get_logger

from runner.app.celery_types import DeclaredTask, Words
from runner.app.worker_log import about
from runner.attempt.apart import perform_apart
from runner.attempt.state import Attempt, SharedState, performing
from runner.attempt.told import LONGEST_WORDS, End, Told
from runner.ledger.traceback_text import traceback_text
from runner.model.storable import words_of

log = get_logger(__name__)

LONGEST_TRACEBACK = 32 * 1024
"""Bytes that are logged of an attempt that has no outcome."""

EX_SOFTWARE = 70
"""What a taker's process exits with that could not settle its attempt; the parent counts a loss."""


def perform(task: DeclaredTask, attempt: Attempt) -> Told:
    """Make one attempt, and settle it, unless its success may wait for the next question; return how it ended.

    Args:
        task: the job of the run.
        attempt: of a run that is STARTED.
    """
    shared = attempt.shared
    process = shared.process
    if task.job.isolation is not None and process is not None and not process.state.apart:
        attempt.settlement.may_wait = False
        # Made here once, and not in each fork.
        _ = task.tracer, shared.ledger
        return perform_apart(process, shared.worker, lambda: _perform_connected(task, attempt))
    return _perform(task, attempt)


def _perform_connected(task: DeclaredTask, attempt: Attempt) -> Told:
    # A connection cannot be shared with the parent, and the job may forbid this process new ones by an audit hook.
    attempt.shared.ledger.connect()
    return _perform(task, attempt)


def _perform(task: DeclaredTask, attempt: Attempt) -> Told:
    taken, settlement = attempt.taken, attempt.settlement
    run_id = taken.run_id
    request: Words = {
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
        # Else Celery looks for some among all that stands here.
        "headers": {},
    }
    try:
        with performing(attempt):
            _, info, seconds, words = task.tracer(run_id, (), {}, request)
    except BaseException as fault:
        if terminate_handler_fired():
            raise
        if settlement.told is None:
            text = traceback_text(fault, LONGEST_TRACEBACK) or words_of(fault, LONGEST_WORDS)
            log.error("run %s of %s has no outcome: %s", run_id, taken.job, text, extra=about(run_id, taken.job))
            return give_up(attempt.shared)
        return settlement.told
    if info is None:
        return Told(End.SUCCEEDED, words, None, seconds, settlement.told is not None and settlement.told.advances)
    told: Told = getattr(info, "told", None) or Told(End.NOT_STARTED)
    return give_up(attempt.shared) if told.end is End.UNSETTLED else told


def give_up(shared: SharedState) -> Told:
    """End this process, if it is a taker's own: its parent then settles the attempt as a lost one."""
    if shared.process is not None:
        _leave()
    return Told(End.UNSETTLED)


def _leave() -> None:
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(EX_SOFTWARE)
