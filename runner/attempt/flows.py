"""A taker's part in flows: it begins them instead of performing them, and lets them go on when a step has ended.

Whatever fails here is done later by whoever drains the outbox: the scripts that end steps have left an entry there.
"""

from __future__ import annotations

from celery.utils.log import get_logger

from runner.app.worker_log import about
from runner.attempt.state import SharedState
from runner.errors import RunnerError, UnknownJob
from runner.flows.advance import advance
from runner.flows.begin import begin
from runner.ledger.attempt import Attempts
from runner.ledger.ledger import Ledger
from runner.ledger.outcome import describe_exception
from runner.ledger.take import Taken
from runner.model.job import JobSpec
from runner.model.run import FailureReason

log = get_logger("runner.attempt.taker")


class JobHasSteps(Exception):
    """The job of a run has got steps since the run was submitted."""


class Flows:
    """The flows that one taker meets.

    Args:
        shared: what the taker knows.
        ledger: that of the taker.
        attempts: the same, as a worker writes it.
    """

    def __init__(self, shared: SharedState, ledger: Ledger, attempts: Attempts) -> None:
        self._shared = shared
        self._ledger = ledger
        self._attempts = attempts

    def begin(self, taken: Taken) -> None:
        """Let go of a flow, which stays STARTED, and admit its first steps."""
        try:
            begun = self._attempts.persist(lambda: begin(self._ledger, taken.run_id, taken.token))
        except RunnerError as error:
            # Its lease runs out, and another taker begins it.
            log.error("flow %s of %s begins later: %s", taken.run_id, taken.job, error)
            return
        if begun:
            log.info("flow %s[%s] begins", taken.job, taken.run_id, extra=about(taken.run_id, taken.job))
            self.advance(taken.run_id)

    def refuse(self, taken: Taken) -> None:
        """End a run that was submitted before its job had steps: STARTED -> FAILURE."""
        error = JobHasSteps(f"job {taken.job} has got steps since this run was submitted: submit it again")
        failure = describe_exception(error, self._shared.settings.limits.traceback)
        self._attempts.fail(taken.run_id, taken.token, FailureReason.INVALID_PARAMS, failure)

    def advance(self, flow_id: str) -> None:
        """Admit what can start now in a flow, or end it."""
        try:
            advance(self._ledger, self, flow_id, by=self._shared.worker)
        except RunnerError as error:
            log.warning("flow %s goes on later: %s", flow_id, error)
        except Exception:
            # No flow may end a taker, and then the next one.
            log.exception("flow %s goes on later", flow_id)

    def get(self, name: str) -> JobSpec:
        """Return a job as this process has it: what was reloaded is not in the catalog that it was forked with.

        Raises:
            UnknownJob: there is no such job.
        """
        task = self._shared.app.job_task(name)
        if task is None:
            raise UnknownJob(f"worker {self._shared.worker} knows no job {name}")
        return task.job
