"""Celery's result backend in a taker. It writes the outcome to the ledger with the attempt's token."""

from __future__ import annotations

import math
from typing import TypeVar

from celery import states

from runner.app.celery_types import JsonObject
from runner.attempt.attempt_report import LONGEST_TEXT, AttemptReport, End
from runner.attempt.state import Attempt, current_attempt
from runner.errors import WriteRefused
from runner.ledger.attempt import Settled, success_meta
from runner.ledger.backend import LedgerBackend
from runner.ledger.outcome import ResultNotKept
from runner.ledger.take import Success
from runner.model.storable import cut, short_text

T = TypeVar("T")


class AttemptBackend(LedgerBackend):
    """The backend of the generated app. Outside of an attempt it writes nothing."""

    def store_result(
        self, task_id: str, result: T, state: str, traceback: object = None, request: object = None, **_: object
    ) -> T:
        """STARTED -> SUCCESS, called by the tracer; other states come from ``update_state`` of a job and are progress.

        Raises:
            ResultNotKept: Redis refuses to store the result.
            UsageError: see the base class.
        """
        attempt = current_attempt()
        if attempt is None or attempt.taken.run_id != task_id or state == states.STARTED:
            # The guard has written STARTED. A run cannot be changed without a token.
            return super().store_result(task_id, result, state)
        settlement = attempt.settlement
        if state != states.SUCCESS or settlement.result is None:
            _report(attempt, state, result)
            return result
        token = attempt.taken.token
        if settlement.may_wait:
            success = Success(task_id, token, success_meta(task_id, settlement.result))
            if success.can_wait:
                settlement.success = success
                settlement.report = _succeeded(settlement.result)
                return result
        try:
            done = attempt.shared.attempts.succeed(task_id, token, settlement.result)
        except WriteRefused as refused:
            raise ResultNotKept(f"the job ran, but Redis refuses to store its result: {refused.message}") from refused
        settlement.report = _succeeded(settlement.result)._replace(advances=done is Settled.ADVANCES)
        return result


def _succeeded(result: str) -> AttemptReport:
    """Return the outcome to record even if a later step fails, such as the ``repr`` of the result for Celery's log."""
    return AttemptReport(End.SUCCEEDED, cut(result, LONGEST_TEXT))


def _report(attempt: Attempt, state: str, meta: object) -> None:
    # `update_state` with a state of one's own is how Celery's tasks tell progress. One of Celery's own is not an
    # outcome either: the job has not ended yet.
    found: JsonObject = meta if isinstance(meta, dict) else {}
    message = found.get("message") or found.get("status") or state
    text = short_text(message, 1000, say=str, mask=attempt.masker.text)
    attempt.shared.attempts.progress(attempt.taken.run_id, attempt.taken.token, _fraction(found), text)


def _fraction(meta: JsonObject) -> float | None:
    """Return the fraction in ``meta``; None if it has none: Celery allows any value."""
    fraction, current, total = meta.get("fraction"), meta.get("current", 0), meta.get("total")
    try:
        found = float(fraction) if fraction is not None else float(current) / float(total)  # type: ignore[arg-type]
    except (TypeError, ValueError, ArithmeticError):
        return None
    return min(1.0, max(0.0, found)) if math.isfinite(found) else None
