"""Celery's result backend over the ledger. It only reads; ``runner/attempt/backend.py`` writes.

``AsyncResult(id).state`` is correct for every known run. For an unknown id, Celery's contract requires PENDING;
``exists()`` is False, and ``get()`` raises an exception.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from celery import states
from celery.backends.redis import RedisBackend
from celery.utils.log import get_logger
from redis.connection import parse_url

from runner.errors import ResultExpired, UsageError
from runner.ledger.connection import sentinel_pool
from runner.ledger.ledger import Ledger
from runner.ledger.packer import PACKER
from runner.ledger.reading import unknown_run
from runner.model.run import Run, State
from runner.settings.redis_url import read_sentinel

log = get_logger(__name__)

T = TypeVar("T")

_ABORTED = "ABORTED"
"""A state of ``celery.contrib.abortable``, which is not imported only for its name."""


class LedgerBackend(RedisBackend):
    """The backend through which Celery reads results from the ledger."""

    def __init__(
        self,
        app: Any,
        url: str,
        open_ledger: Callable[[], Ledger],
        find_archived: Callable[[str], Run | None] = lambda _run_id: None,
    ):
        super().__init__(app=app, url=None)
        self.url = url
        behind = url.startswith("sentinel://")
        options = read_sentinel(url).options if behind else parse_url(url)
        self.connparams: dict[str, Any] = {**self.connparams, **options, "command_packer": PACKER}
        if behind:
            # The Sentinels know the address of the primary.
            for name in ("host", "port"):
                self.connparams.pop(name, None)
        if "path" in self.connparams:
            for name in ("host", "port", "socket_connect_timeout", "socket_keepalive"):
                self.connparams.pop(name, None)
        self._open_ledger = open_ledger
        self._find_archived = find_archived
        self._ledger: Ledger | None = None

    def _get_pool(self, **params: Any) -> Any:
        # Celery requires this of a backend that waits for results by subscription.
        return sentinel_pool(self.url, params) if self.url.startswith("sentinel://") else super()._get_pool(**params)

    @property
    def ledger(self) -> Ledger:
        """Return the ledger, connecting at the first use (redis-py makes new connections after a fork)."""
        if self._ledger is None:
            self._ledger = self._open_ledger()
        return self._ledger

    def use(self, ledger: Ledger) -> None:
        """Use this ledger from now on."""
        self._ledger = ledger

    # -- writing

    def store_result(
        self, task_id: str, result: T, state: str, traceback: object = None, request: object = None, **_: object
    ) -> T:
        """Do nothing: only the process that performs a run may write its outcome.

        Raises:
            UsageError: the state is that of ``AbortableAsyncResult.abort``, which no run would notice.
        """
        if state == _ABORTED:
            raise UsageError("abort is not supported: no run hears of it", hint="call revoke(terminate=True)")
        return result

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
        """Return whether the run is known."""
        return self._find(task_id) is not None

    def wait_for_pending(self, result: Any, *args: Any, **kwargs: Any) -> Any:
        """Wait for a run's result.

        Raises:
            UnknownRun: the run does not exist, so its result would never come.
            ResultExpired: the run has ended, and its result is gone.
        """
        run = self._find(result.id)
        if run is None:
            raise unknown_run(result.id)
        refuse_expired(self._meta_of(run))
        return super().wait_for_pending(result, *args, **kwargs)

    def _find(self, task_id: str) -> Run | None:
        run = next(iter(self.ledger.read([task_id])), None)
        if run is not None and not run.result_expired:
            return run
        archived = self._find_archived(task_id)
        return run if archived is None or archived.result_expired else archived

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
        """Do nothing: waiting for a result subscribes, so a submission needs no SUBSCRIBE."""

    def ensure_chords_allowed(self) -> None:
        """Refuse chords before their first task is sent.

        Raises:
            UsageError: always.
        """
        raise UsageError("chord is not supported", hint="a job's hooks follow its outcome: declare them in jobs.d")

    def apply_chord(self, *_: Any, **__: Any) -> None:
        """Refuse chords, as :meth:`ensure_chords_allowed` does."""
        self.ensure_chords_allowed()

    def forget(self, task_id: str) -> None:
        """Forget a finished run."""
        self._cache.pop(task_id, None)
        self.ledger.forget(task_id)


def refuse_expired(meta: Mapping[str, Any]) -> None:
    """Raise ResultExpired if the result that ``meta`` describes is gone."""
    if meta.get("result_expired"):
        raise ResultExpired(
            f"run {meta['task_id']} ended in {meta['status']}, its result was kept for retention.result and is gone",
            hint=f"run it again: runner rerun {meta['task_id']}",
        )
