"""Write the outcome of an attempt in its process, and create the report for the parent.

Celery's tracer passes the exception of a job to a ``TraceInfo``. Celery's own class pickles the exception, formats it,
and sends it to the parent without a limit; this one describes it once, in bounded text.
"""

from __future__ import annotations

import logging
import sys

from billiard.common import terminate_handler_fired
from billiard.einfo import ExceptionInfo
from celery import signals
from celery.app.trace import TraceInfo
from celery.exceptions import Retry
from celery.utils.log import get_logger

from runner.app.celery_types import DeclaredTask, Request
from runner.app.worker_log import about
from runner.attempt.attempt_report import LONGEST_TEXT, AttemptReport, End
from runner.attempt.state import Attempt, current_attempt
from runner.errors import Unavailable, WriteRefused
from runner.ledger.attempt import Settled
from runner.ledger.failure import Failure
from runner.ledger.outcome import describe_exception
from runner.model.masking import Masker
from runner.model.run import FailureReason
from runner.model.run_error import is_of_stock_task
from runner.model.storable import names_of, short_text

log = get_logger(__name__)

outcomes = get_logger("celery.app.trace")
"""Celery's logger for the ends of tasks. Sentry ignores it, because it reports exceptions of tasks itself."""

UNDESCRIBED = "the exception of the job could not be described: there was no memory, or no time, left for it"


class JobInfo(TraceInfo):
    """Settles an unsuccessful attempt; Celery's tracer creates it."""

    __slots__ = ("report",)

    def handle_failure(self, task: DeclaredTask, req: Request, **_: object) -> AttemptReport:
        """STARTED -> FAILURE."""
        self.report: AttemptReport = settle_failure(task, req, self.retval)
        return self.report

    def handle_retry(self, task: DeclaredTask, req: Request, **_: object) -> AttemptReport:
        """STARTED -> RETRY."""
        self.report = settle_failure(task, req, self.retval)
        return self.report

    def handle_ignore(self, task: DeclaredTask, req: Request, **_: object) -> None:
        """Do nothing: the guard has reported why it did not start the run."""


def settle_failure(task: DeclaredTask, request: Request, error: BaseException) -> AttemptReport:
    """Record the failure or the retry of the attempt; return the report for the parent.

    Args:
        task: the job.
        request: Celery's context of the attempt, for listeners.
        error: the exception that ended it; a ``Retry`` contains the original exception.
    """
    attempt = current_attempt()
    assert attempt is not None
    settlement = attempt.settlement
    if settlement.report is not None:
        # A signal receiver or the `repr` of the result failed after the outcome was written, or while a success waits
        # for the next request. That changes nothing.
        return settlement.report
    retried = isinstance(error, Retry)
    cause: BaseException = error.exc if isinstance(error, Retry) else error
    text = short_text(cause, LONGEST_TEXT, mask=attempt.masker.text)
    limit = attempt.shared.settings.limits.traceback
    failure = _describe(cause, limit, settlement.message, attempt.masker)
    if terminate_handler_fired():
        # The signal came while code of the job formatted a message, and may have been lost there.
        sys.exit(1)
    end, advances = _write(attempt, failure, retried)
    settlement.report = AttemptReport(end, text, failure.traceback, advances=advances)
    # The frames of a stock task belong to the runner, and its message is sufficient.
    _log(attempt, settlement.report, None if is_of_stock_task({"type": failure.type}) else failure.traceback)
    _send_signal(task, request, error, cause, retried)
    return settlement.report


def _describe(error: BaseException, limit: int, message: str | None, masker: Masker) -> Failure:
    try:
        return describe_exception(error, limit, message=message, mask=masker.text)
    except BaseException:  # noqa: BLE001 - no memory, or a soft timeout just now
        module, name = names_of(type(error))
        celery = {"exc_type": name, "exc_message": [UNDESCRIBED], "exc_module": module}
        kind = name if module == "builtins" else f"{module}.{name}"
        return Failure(kind, message or UNDESCRIBED, None, celery)


def _write(attempt: Attempt, failure: Failure, retried: bool) -> tuple[End, bool]:
    """Write the outcome; return the end of the attempt, and whether its flow can be advanced."""
    taken, settlement, attempts = attempt.taken, attempt.settlement, attempt.shared.attempts
    run_id, token = taken.run_id, taken.token
    done: Settled | bool
    try:
        try:
            if retried:
                done = attempts.retry(run_id, token, settlement.retry_in, failure)
            else:
                done = attempts.fail(run_id, token, str(settlement.reason), failure)
        except WriteRefused as refused:
            retried = False
            done = attempts.fail(run_id, token, str(FailureReason.EXCEPTION), _refused(failure, refused))
    except Unavailable as error:
        log.error("run %s: its outcome cannot be written: %s", run_id, error, extra=about(run_id, taken.job))
        return End.UNSETTLED, False
    if not done:
        state = "RETRY" if retried else "FAILURE"
        log.warning("run %s: this attempt had lost its claim, its %s was refused", run_id, state)
    return (End.RETRIED, False) if retried else (End.FAILED, done is Settled.ADVANCES)


def _refused(failure: Failure, refused: WriteRefused) -> Failure:
    """Return a minimal failure that says why the real one could not be stored."""
    message = f"the job raised {failure.type}; Redis refuses to store what it says: {refused.message}"
    return Failure(failure.type, message, None, {**failure.celery, "exc_message": [message]})


def _log(attempt: Attempt, report: AttemptReport, traceback: str | None) -> None:
    """Log an outcome with Celery's message and the bounded traceback."""
    run_id, job = attempt.taken.run_id, attempt.taken.job
    extra = {"data": {"id": run_id, "name": job}}
    if report.end is End.RETRIED:
        text = f"Retry in {attempt.settlement.retry_in:g}s: {report.text}"
        outcomes.info("Task %s[%s] retry: %s", job, run_id, text, extra=extra)
        return
    values = (job, run_id, report.text)
    record = outcomes.makeRecord(
        outcomes.name, logging.ERROR, __file__, 0, "Task %s[%s] raised unexpected: %s", values, None, extra=extra
    )
    record.exc_text = traceback
    if outcomes.isEnabledFor(logging.ERROR):
        outcomes.handle(record)


def _send_signal(
    task: DeclaredTask, request: Request, error: BaseException, cause: BaseException, retried: bool
) -> None:
    """Send Celery's signal in this process, with the exception itself."""
    signal = signals.task_retry if retried else signals.task_failure
    if not signal.receivers:
        return
    try:
        traceback = cause.__traceback__
        einfo = ExceptionInfo((type(cause), cause, traceback))
        if retried:
            signal.send(sender=task, request=request, reason=error, einfo=einfo)
        else:
            arguments = {"task_id": request.id, "exception": cause, "args": (), "kwargs": {}}
            signal.send(sender=task, **arguments, traceback=traceback, einfo=einfo)
    except Exception:
        log.exception("a receiver of Celery's signals failed")
