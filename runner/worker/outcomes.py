"""Settle the attempts of takers that died or were ended, in the parent.

Timeouts, terminated runs, and lost processes are settled here, with the token of the attempt, once its process group is
dead. That may take a while, and Redis may be unreachable, so a thread does it while the lease is renewed.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from enum import Enum

from celery.exceptions import TimeLimitExceeded, WorkerLostError
from celery.utils.log import get_logger

from runner._dataclass import dataclass
from runner.app.celery_types import JsonObject
from runner.app.worker_log import about
from runner.attempt.slot import Head, Shown, TakerState
from runner.attempt.state import SharedState
from runner.errors import RunnerError
from runner.ledger.outcome import describe_exception
from runner.ledger.reading import get_run
from runner.model.duration import format_size
from runner.model.retry import RetryAt
from runner.model.run import FailureReason, Run, State, to_datetime
from runner.process.group import await_group
from runner.worker.template import Death

log = get_logger(__name__)

HANDED_BACK = "handed back by a worker that was stopped"


class Cause(Enum):
    """The reason why the parent ended a taker's process."""

    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out of memory"
    TERMINATED = "terminated"
    LEASE_LOST = "its lease was lost"
    HANDED_BACK = "handed back"


@dataclass(frozen=True, slots=True)
class ShownAttempt:
    """An attempt as shown on the board."""

    index: int
    """The slot of the taker."""
    pid: int
    token: str
    run_id: str
    job: str
    started: float
    soft: float
    hard: float

    @classmethod
    def of(cls, index: int, shown: Shown) -> ShownAttempt:
        """Return the attempt in a board slot."""
        return cls(index, shown.pid, shown.held, shown.run_id, shown.job, shown.started, shown.soft, shown.hard)


@dataclass(frozen=True, slots=True)
class Ended:
    """Data about an attempt whose process was ended on purpose."""

    cause: Cause
    attempt: ShownAttempt | None
    """The board slot at that time; None if the kernel ended it."""
    peak: int = 0
    """The peak memory (bytes) if it was ended for its memory."""


class Outcomes:
    """Settles attempts in the settler's thread.

    Args:
        shared: the state that the worker shares with its takers.
        head: tells whether Celery's events are enabled.
        send_event: sends an event: its name, the id of the run, and its fields.
        flush: waits until the ledger has the output of a process.
    """

    def __init__(
        self,
        shared: SharedState,
        head: Head,
        send_event: Callable[[str, str, JsonObject], None],
        flush: Callable[[int], None] | None = None,
    ) -> None:
        self._shared = shared
        self._head = head
        self._send_event = send_event
        self._flush = flush

    def settle(self, shown: Shown, death: Death, ended: Ended | None) -> None:
        """Settle the attempt of a dead taker.

        Args:
            shown: the content of its board slot at that time.
            death: its exit status.
            ended: the reason, if it was ended on purpose.
        """
        cause = None if ended is None else ended.cause
        # The template has ended the group before reaping its leader; after that, its id may be reused.
        await_group(death.pid)
        if self._flush is not None:
            self._flush(death.pid)
        if shown.asked:
            # It may have been granted a run without knowing, so no part of it was performed.
            self._shared.claims.hand_back_asked(shown.asked)
        if not shown.held:
            return
        attempt = ShownAttempt.of(death.index, shown)
        if cause is Cause.TIMEOUT and shown.state is TakerState.RUNNING:
            allowed = attempt.hard - attempt.started
            message = f"the job ran longer than its timeout of {allowed:g}s"
            log.error(
                "run %s of %s: timeout (%gs), killed",
                attempt.run_id,
                attempt.job,
                allowed,
                extra=about(attempt.run_id, attempt.job),
            )
            self._fail(attempt, FailureReason.TIMEOUT, TimeLimitExceeded(allowed), message)
        elif cause is Cause.OUT_OF_MEMORY and shown.state is TakerState.RUNNING:
            message = self._memory_message(attempt.job, ended.peak if ended else 0)
            self._fail(attempt, FailureReason.OUT_OF_MEMORY, MemoryError(message), message)
        elif cause is Cause.HANDED_BACK:
            self._shared.claims.hand_back([attempt.token], detail=HANDED_BACK)
        else:
            self._lose(attempt, death)
            self._announce(attempt, WorkerLostError(f"its process died ({death})"))

    def _memory_message(self, job: str, peak: int) -> str:
        task = self._shared.app.job_task(job)
        limit = None if task is None else task.job.memory
        allowed = "" if limit is None else f" of {format_size(limit)}"
        return f"the run needed more than its memory{allowed}: its processes held {peak / 2**20:.0f} MiB"

    def _fail(self, attempt: ShownAttempt, reason: FailureReason, error: Exception, message: str) -> None:
        """Settle an attempt that was killed because of a limit of its job."""
        failure = describe_exception(error, self._shared.settings.limits.traceback, message=message)
        attempts = self._shared.attempts
        decision = self._retry_of(attempt, error)
        if isinstance(decision, RetryAt):
            state, done = "RETRY", attempts.retry(attempt.run_id, attempt.token, decision.delay, failure)
        else:
            # For a step, this adds an outbox entry, which the next beat handles at once.
            state, done = "FAILURE", bool(attempts.fail(attempt.run_id, attempt.token, str(reason), failure))
        if not done:
            attempts.tell_refused(attempt.run_id, state)
        self._announce(attempt, error)

    def _retry_of(self, attempt: ShownAttempt, error: BaseException) -> object:
        """Return the decision of the retry policy; None if the job is gone.

        The job may have been removed during the run.
        """
        task = self._shared.app.job_task(attempt.job)
        if task is None:
            return None
        attempts = self._shared.attempts
        run = attempts.persist(lambda: get_run(attempts.store, attempt.run_id))
        return task.job.retry.decide(
            retries=run.retries,
            retryable=bool(task.job.retry.for_) and task.retryable(error),
            now=attempts.now() if run.expires_at else 0.0,
            expires_at=to_datetime(run.expires_at).timestamp() if run.expires_at else None,
        )

    def _lose(self, attempt: ShownAttempt, death: Death) -> None:
        fields = {
            "worker": self._shared.worker,
            "signal": death.signal_name,
            "exit_code": death.exit_code,
            "max_rss": death.max_rss,
            **({"oom_killed": True} if death.oom_killed else {}),
        }
        follows = self._shared.attempts.lose(attempt.run_id, attempt.token, fields)
        log.error(
            "run %s of %s: its process %s died (%s), the run is %s",
            attempt.run_id,
            attempt.job,
            attempt.pid,
            death,
            follows or "settled already",
            extra=about(attempt.run_id, attempt.job),
        )

    def _announce(self, attempt: ShownAttempt, error: BaseException) -> None:
        """Let the main loop send the event for an attempt's outcome, for monitors such as Flower."""
        if not self._head.sends_events:
            return
        with contextlib.suppress(RunnerError):
            for run in self._shared.ledger.read([attempt.run_id]):
                event = event_of(run, error)
                if event is not None:
                    self._send_event(event[0], attempt.run_id, event[1])


def event_of(run: Run, error: BaseException) -> tuple[str, JsonObject] | None:
    """Return the event (name and fields) for a run whose attempt ended with ``error``."""
    if run.state is State.REVOKED:
        terminated = run.reason == "terminated"
        return "task-revoked", {
            "terminated": terminated,
            "signum": int(signal.SIGTERM) if terminated else None,
            "expired": False,
        }
    fields = {"exception": repr(error), "traceback": None}
    names = {State.RETRY: "task-retried", State.FAILURE: "task-failed"}
    return (names[run.state], fields) if run.state in names else None
