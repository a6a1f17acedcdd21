"""``AsyncResult`` of the generated app: says that a result is gone instead of returning None."""

from __future__ import annotations

from typing import Any

from celery.result import AsyncResult

from runner.ledger.backend import refuse_expired


class JobResult(AsyncResult):
    """The result of a run."""

    def get(self, *args: Any, **kwargs: Any) -> Any:
        """Wait for the result and return it; raise what the job raised.

        Raises:
            UnknownRun: there is no such run.
            ResultExpired: it ended, and its result is gone.
        """
        if self._cache:
            # Celery answers from here alone once the state is known to be final.
            refuse_expired(self._cache)
        return super().get(*args, **kwargs)
