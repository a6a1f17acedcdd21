"""Celery's result backend over the ledger: it settles runs, and tells the truth about them.

A worker's outcome and the run's state are one script. ``AsyncResult(id).state`` is true for every known
run; of an unknown id Celery's contract makes it PENDING, with ``exists()`` false, and ``get()`` raises.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from celery import states
from celery.backends.redis import RedisBackend
from celery.utils.log import get_logger
from redis.connection import parse_url

from runner.errors import ResultExpired
from runner.ledger.attempt import Attempts
from runner.ledger.connection import sentinel_pool
from runner.ledger.ledger import Ledger, unknown_run
from runner.ledger.outcome import describe_exception, write_result
from runner.ledger.packer import PACKER
from runner.model.masking import Masker
from runner.model.run import Run, State
from runner.settings.redis_url import read_sentinel

log = get_logger(__name__)


class LedgerBackend(RedisBackend):
    """Reads and writes the ledger where Celery reads and writes results."""

    def __init__(
        self, app: Any, url: str, open_ledger: Callable[[], Ledger], reason_of: Callable[[BaseException], str]
    ):
        super().__init__(app=app, url=None)
        self.url = url
        behind = url.startswith("sentinel://")
        said = read_sentinel(url).options if behind else parse_url(url)
        self.connparams: dict[str, Any] = {**self.connparams, **said, "command_packer": PACKER}
        if behind:
            # The primary's address is the Sentinels' to say.
            for name in ("host", "port"):
                self.connparams.pop(name, None)
        if "path" in self.connparams:
            for name in ("host", "port", "socket_connect_timeout", "socket_keepalive"):
                self.connparams.pop(name, None)
        self._open_ledger = open_ledger
        self._reason_of = reason_of
        self._ledger: Ledger | None = None

    def _get_pool(self, **params: Any) -> Any:
        # What Celery itself asks of the backend: waiting for results by subscription.
        return sentinel_pool(self.url, params) if self.url.startswith("sentinel://") else super()._get_pool(**params)

    @property
    def ledger(self) -> Ledger:
        """The ledger, connected when first used (redis-py makes new connections after a fork)."""
        if self._ledger is None:
            self._ledger = self._open_ledger()
        return self._ledger

    @property
    def attempts(self) -> Attempts:
        """The worker's side of the ledger."""
        return Attempts(self.ledger, lambda: not self.app.ends)

    # -- writing

    def store_result(
        self, task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None, **_: Any
    ) -> Any:
        """Settle the attempt that ``request`` belongs to; its ``claim`` is the token."""
        token = getattr(request, "claim", None)
        if token is None or state == states.STARTED:
            # STARTED was written by the guard. Without a token nobody may change a run.
            return result
        limits = self.ledger.settings.limits
        masker = getattr(request, "masker", None) or Masker()
        if state == states.SUCCESS:
            done = self.attempts.succeed(task_id, token, write_result(result, limits.result))
        elif state == states.RETRY:
            failure = describe_exception(result, limits.traceback, mask=masker.text)
            done = self.attempts.retry(task_id, token, request.retry_in, failure)
        elif state == states.FAILURE:
            error = getattr(request, "raised", None) or result
            failure = describe_exception(error, limits.traceback, mask=masker.text)
            done = self.attempts.fail(task_id, token, self._reason_of(error), failure)
        elif state in states.ALL_STATES:
            return result
        else:
            return self._report(task_id, token, state, result, masker)
        if not done:
            log.warning("run %s: this attempt had lost its claim, its %s was refused", task_id, state)
        return result

    def _report(self, task_id: str, token: str, state: str, meta: Any, masker: Masker) -> Any:
        # `update_state` with a state of one's own is how Celery's tasks tell progress.
        found = meta if isinstance(meta, dict) else {}
        message = found.get("message") or found.get("status") or state
        self.attempts.progress(task_id, token, _fraction(found), masker.text(str(message)))
        return meta

    def mark_as_started(self, task_id: str, **meta: Any) -> Any:
        """Do nothing: the guard has written STARTED."""
        return None

    # -- reading

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        run = self._find(task_id)
        if run is None:
            return {"status": states.PENDING, "result": None, "task_id": task_id}
        return self._meta_of(run)

    def task_result_exists(self, task_id: str) -> bool:
        """Return whether the ledger knows the run."""
        return self._find(task_id) is not None

    def wait_for_pending(self, result: Any, *args: Any, **kwargs: Any) -> Any:
        """Wait for a run's result.

        Raises:
            UnknownRun: there is no such run, so its result would never come.
            ResultExpired: it ended, and its result is gone.
        """
        run = self._find(result.id)
        if run is None:
            raise unknown_run(result.id)
        refuse_expired(self._meta_of(run))
        return super().wait_for_pending(result, *args, **kwargs)

    def _find(self, task_id: str) -> Run | None:
        return next(iter(self.ledger.read([task_id])), None)

    def _meta_of(self, run: Run) -> dict[str, Any]:
        result: Any = run.result
        if run.state in (State.FAILURE, State.RETRY) and run.error is not None:
            module, _, name = run.error["type"].rpartition(".")
            result = {
                "exc_type": name,
                "exc_message": [run.error["message"]],
                "exc_module": module or "builtins",
            }
            if name in ("WorkerLostError", "TimeLimitExceeded", "SoftTimeLimitExceeded"):
                result["exc_module"] = module or "celery.exceptions"
        elif run.state is State.REVOKED:
            result = {
                "exc_type": "TaskRevokedError",
                "exc_message": [run.reason],
                "exc_module": "celery.exceptions",
            }
        elif run.state is State.RETRY:
            result = None
        elif run.state is State.STARTED:
            result = {"hostname": run.worker}
        return dict(
            self.meta_from_decoded(
                {
                    "status": str(run.state),
                    "result": result,
                    "traceback": (run.error or {}).get("traceback"),
                    "children": [],
                    "date_done": run.finished_at,
                    "task_id": run.id,
                    "result_expired": run.result_expired,
                }
            )
        )

    def on_task_call(self, producer: Any, task_id: str) -> None:
        """Do nothing: who waits for a result subscribes then, so a submission costs no SUBSCRIBE."""

    def forget(self, task_id: str) -> None:
        """Forget a finished run."""
        self._cache.pop(task_id, None)
        self.ledger.forget(task_id)


def _fraction(meta: Mapping[str, Any]) -> float | None:
    """Return the fraction that ``meta`` tells; None if it is none: to Celery it may be anything."""
    fraction, current, total = meta.get("fraction"), meta.get("current", 0), meta.get("total")
    try:
        found = float(fraction) if fraction is not None else float(current) / float(total)  # type: ignore[arg-type]
    except (TypeError, ValueError, ArithmeticError):
        return None
    return min(1.0, max(0.0, found)) if math.isfinite(found) else None


def refuse_expired(meta: Mapping[str, Any]) -> None:
    """Raise ResultExpired if the result that ``meta`` describes is gone."""
    if meta.get("result_expired"):
        raise ResultExpired(
            f"run {meta['task_id']} ended in {meta['status']}, its result was kept for retention.result and is gone",
            hint=f"run it again: runner rerun {meta['task_id']}",
        )
