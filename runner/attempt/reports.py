"""The reports of a taker: counts and urgent events for its parent, the rest for Celery's monitors."""

from __future__ import annotations

import time
from collections import Counter

from celery import signals
from celery.utils.log import get_logger

from runner._dataclass import dataclass
from runner.attempt.attempt_report import AttemptReport, End
from runner.attempt.channel import Channel
from runner.attempt.slot import LOOK_SECONDS, Head, Shown
from runner.ledger.take import Taken
from runner.model.job import JobSpec

log = get_logger("runner.attempt.taker")

COUNT_SECONDS = 1.0
"""Seconds between two reports of a busy taker with the numbers of its runs by job."""

SOON_SECONDS = 0.5
"""Seconds between two requests to the parent to watch the memory; the parent watches for twice as long."""


@dataclass(frozen=True, slots=True)
class Received:
    """The request of Celery's signal ``task_received``."""

    id: str
    name: str


class Reports:
    """The reports of one taker to its parent.

    Args:
        worker: the name of its worker.
        head: the head of the board, which tells whether Celery's events are enabled.
        channel: the channel to its parent.
    """

    def __init__(self, worker: str, head: Head, channel: Channel) -> None:
        self._worker, self._head, self._channel = worker, head, channel
        self._counts: Counter[str] = Counter()
        self._sent_at = 0.0
        self._soon_at = 0.0

    def begun(self, taken: Taken, job: JobSpec, shown: Shown) -> None:
        """Report that a run begins. In Celery's terms, it was received at the time of the request."""
        if self._is_urgent(job, shown):
            self._soon_at = shown.started
            self._channel.send(soon=True)
        run_id = taken.run_id
        log.info("Task %s[%s] received", taken.job, run_id, extra={"data": {"id": run_id, "name": taken.job}})
        if signals.task_received.receivers:
            signals.task_received.send(sender=self._worker, request=Received(run_id, taken.job))
        if self._head.sends_events:
            fields = {"args": "()", "kwargs": "{}", "retries": 0, "eta": None, "expires": None}
            self._event("task-received", taken, name=taken.job, root_id=run_id, parent_id=None, **fields)
            self._event("task-started", taken)

    def _is_urgent(self, job: JobSpec, shown: Shown) -> bool:
        """Return whether the parent shall read the board earlier than usual."""
        if job.memory is not None and shown.started - self._soon_at > SOON_SECONDS:
            return True
        limits = [limit for limit in (shown.soft, shown.hard) if limit]
        return bool(limits) and min(limits) - shown.started < LOOK_SECONDS

    def ended(self, taken: Taken, report: AttemptReport) -> None:
        """Report the end of an attempt."""
        self._counts[taken.job] += 1
        if report.end is End.RETRIED:
            # The parent must not sleep longer than a short delay.
            self._channel.send(beat=True)
        if self._head.sends_events:
            if report.end is End.SUCCEEDED:
                self._event("task-succeeded", taken, result=report.text, runtime=report.seconds)
            elif report.end in (End.RETRIED, End.FAILED):
                name = "task-retried" if report.end is End.RETRIED else "task-failed"
                self._event(name, taken, exception=report.text, traceback=report.traceback)
        if time.monotonic() - self._sent_at > COUNT_SECONDS:
            self.counts()

    def counts(self) -> None:
        """Send the number of runs performed since the last report."""
        if self._counts:
            self._channel.send(counts=dict(self._counts))
            self._counts.clear()
        self._sent_at = time.monotonic()

    def _event(self, kind: str, taken: Taken, **fields: object) -> None:
        self._channel.send(event=kind, uuid=taken.run_id, job=taken.job, fields=fields)
