"""A taker's part in flows: it begins them instead of performing them, and advances them when a step has ended.

If this fails, a process that drains the outbox does it later: the scripts that end steps add an entry there.
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
    """The job of a run has had steps added since the submission."""


class Flows:
    """Begins and advances flows for one taker.

    Args:
        shared: the shared state.
        ledger: the ledger of the taker.
        attempts: the worker's side of the same ledger.
    """

    def __init__(self, shared: SharedState, ledger: Ledger, attempts: Attempts) -> None:
        self._shared = shared
        self._ledger = ledger
        self._attempts = attempts

    def begin(self, taken: Taken) -> None:
        """Release the claim of a flow, which stays STARTED, and admit its first steps."""
        try:
            begun = self._attempts.persist(lambda: begin(self._ledger, taken.run_id, taken.token))
        except RunnerError as error:
            # Its lease expires, and another taker begins it.
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
        """Admit the steps of a flow that can start now, or end the flow."""
        try:
            advance(self._ledger, self, flow_id, by=self._shared.worker)
        except RunnerError as error:
            log.warning("flow %s goes on later: %s", flow_id, error)
        except Exception:
            # A flow must not end this taker and every taker after it.
            log.exception("flow %s goes on later", flow_id)

    def get(self, name: str) -> JobSpec:
        """Return a job of this process: reloaded jobs are not in the catalog from before the fork.

        Raises:
            UnknownJob: the job does not exist.
        """
        task = self._shared.app.job_task(name)
        if task is None:
            raise UnknownJob(f"worker {self._shared.worker} knows no job {name}")
        return task.job
