"""A run in the worker's parent process: what it does when the child cannot speak for itself.

A timeout, a terminated run and a lost child are settled here, with the child's token, once the child's
process group is dead.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from pathlib import Path
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError
from celery.utils.log import get_logger
from celery.worker import state
from celery.worker.request import Request

from runner.app.worker_log import about
from runner.ledger.outcome import describe_exception
from runner.model.retry import RetryAt
from runner.model.run import to_datetime
from runner.process_group import kill_group

log = get_logger(__name__)

TERMINATE_GRACE = 1.5
"""Seconds between the signal that was asked for and SIGKILL."""


_HIGH_WATER = re.compile(rb"^VmHWM:\s+(\d+) kB", re.MULTILINE)


class JobRequest(Request):
    """One message of a run, and what became of it."""

    acknowledged = False

    def __init__(self, message: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(message, *args, **kwargs)
        self.token: str = message.delivery_tag
        # The tracer in the child makes its context of this mapping.
        self.request_dict["claim"] = self.token
        # Always, so that they can come from nowhere else.
        self.request_dict["carried"] = self.task.carried
        # A child may have been forked before the job that names them was there.
        self.request_dict["secret_variables"] = sorted(self.app.secret_variables)
        self.ending = False
        self.max_rss: int | None = None
        self.handed_back = False

    @property
    def _attempts(self) -> Any:
        return self.app.backend.attempts

    @property
    def in_child(self) -> bool:
        """Whether the run is in a pool child, which has a process group of its own (prefork only)."""
        return bool(self.worker_pid) and self.worker_pid != os.getpid()

    # -- what Celery calls

    def revoked(self) -> bool:
        """Never by Celery's own memory: the guard asks the ledger."""
        return False

    def acknowledge(self) -> None:
        """Forget the message: the script that settled the attempt has released its claim."""
        if not self.acknowledged:
            self.acknowledged = True
            self.message.channel.qos.settled(self.token)
            self.message._state = "ACK"

    def on_retry(self, exc_info: Any) -> None:
        """Let the beat know, so that a short delay is not overslept."""
        super().on_retry(exc_info)
        self.app.beat_soon()

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Say so; a hard timeout is settled in :meth:`on_failure`, which billiard calls before this."""
        if soft:
            log.warning(
                "run %s of %s: soft timeout (%ss)", self.id, self.name, timeout, extra=about(self.id, self.name)
            )

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> None:
        """Act on an attempt that did not end in SUCCESS."""
        error = exc_info.exception
        error = getattr(error, "exc", error) if type(error).__name__ == "ExceptionWithTraceback" else error
        if self.handed_back:
            state.task_ready(self)
            self.acknowledge()
            return
        if return_ok:
            # The child itself has settled it.
            super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=True)
            return
        state.task_ready(self)
        self._let_go()
        self.app.settler.do(self.token, lambda: self._settle(error))
        self.send_event("task-failed", exception=repr(error), traceback=None)

    def _let_go(self) -> None:
        """Free the place of the message; its claim stays, and is renewed, until the attempt is settled."""
        if not self.acknowledged:
            self.acknowledged = True
            self.message.channel.qos.let_go(self.token)

    def _settle(self, error: BaseException) -> None:
        try:
            if self.in_child:
                kill_group(self.worker_pid, signal.SIGKILL, grace=0.0)
                if self.app.collector is not None:
                    self.app.collector.flush(self.worker_pid)
            if isinstance(error, TimeLimitExceeded) and not self.ending:
                self._settle_timeout(error)
            else:
                self._settle_loss(error)
        finally:
            # Also if that failed: renewed for ever, its lease would keep the run STARTED for ever.
            self.app.claims.forget(self.token)
        self.app.beat_soon()

    def _settle_timeout(self, error: BaseException) -> None:
        job, limit = self.task.job, self.app.runner_settings.limits.traceback
        log.error(
            "run %s of %s: timeout (%ss), killed", self.id, self.name, job.timeout, extra=about(self.id, self.name)
        )
        # Where the job was is not known here: the traceback would be that of this process.
        error.__traceback__ = None
        failure = describe_exception(error, limit, message=f"the job ran longer than its timeout of {job.timeout:g}s")
        run = self._attempts.persist(lambda: self.app.backend.ledger.get(self.id))
        decision = job.retry.decide(
            retries=run.retries,
            retryable=self.task.retryable(error),
            now=self._attempts.now() if run.expires_at else 0.0,
            expires_at=to_datetime(run.expires_at).timestamp() if run.expires_at else None,
        )
        if isinstance(decision, RetryAt):
            self._attempts.retry(self.id, self.token, decision.delay, failure)
        else:
            self._attempts.fail(self.id, self.token, "timeout", failure)

    def _settle_loss(self, error: BaseException) -> None:
        signum, exit_code = _how_it_died(error)
        follows = self._attempts.lose(
            self.id,
            self.token,
            {"worker": self.hostname, "signal": signum, "exit_code": exit_code, "max_rss": self.max_rss},
        )
        log.error(
            "run %s of %s: its process %s died (%s), the run is %s",
            self.id,
            self.name,
            self.worker_pid,
            error,
            follows or "settled already",
            extra=about(self.id, self.name),
        )

    # -- what the worker asks for

    def note_memory(self) -> None:
        """Note the child's high-water mark of memory in bytes: once it is dead, nobody can tell (Linux only)."""
        if not self.in_child:
            return
        with contextlib.suppress(OSError):
            found = _HIGH_WATER.search(Path(f"/proc/{self.worker_pid}/status").read_bytes())
            if found:
                self.max_rss = int(found[1]) * 1024

    def end(self, signum: int) -> None:
        """End the process group of the run; what follows comes through :meth:`on_failure`.

        Blocks until the group is dead, at most a little longer than the grace: call it from a thread.
        """
        if self.ending or not self.in_child:
            return
        self.ending = True
        kill_group(self.worker_pid, signum, grace=TERMINATE_GRACE)


def _how_it_died(error: BaseException) -> tuple[str | None, int | None]:
    """Return the signal's name and the exit code that billiard's words for a lost child contain."""
    words = str(error)
    for part in words.replace(".", " ").split():
        if part.lstrip("-").isdigit():
            number = int(part)
            if "signal" in words:
                try:
                    return signal.Signals(number).name, None
                except ValueError:
                    return str(number), None
            return None, number
    return None, None


__all__ = ["JobRequest", "SoftTimeLimitExceeded", "WorkerLostError"]
