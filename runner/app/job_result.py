"""``AsyncResult`` of the generated app, which raises an error for an expired result instead of returning None."""

from __future__ import annotations

from typing import Any

from celery.result import AsyncResult

from runner.errors import UsageError
from runner.ledger.backend import refuse_expired
from runner.model.run_id import require_run_id


class JobResult(AsyncResult):
    """The result of a run.

    Raises:
        UsageError: the id is invalid.
    """

    def __init__(self, id: object, *args: object, **kwargs: object) -> None:
        super().__init__(require_run_id(id), *args, **kwargs)

    def get(self, *args: object, **kwargs: object) -> Any:
        """Wait for the result and return it; raise the exception of the job.

        Raises:
            UnknownRun: the run does not exist.
            ResultExpired: the run has ended, and its result is gone.
        """
        if self._cache:
            # Celery uses only this once the state is known to be final.
            refuse_expired(self._cache)
        return super().get(*args, **kwargs)

    def revoke(
        self,
        connection: object = None,
        terminate: bool = False,
        signal: object = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Revoke the run in the ledger, which works without a worker.

        Args:
            connection: not used.
            terminate: also end the run if it is active.
            signal: the first signal of ``terminate``; TERM by default.
            wait: not needed: the revocation is recorded when this returns.
            timeout: not used.

        Raises:
            UnknownRun: the run does not exist.
        """
        self.app.control.revoke(self.id, terminate=terminate, signal=signal)

    def revoke_by_stamped_headers(self, *args: object, **kwargs: object) -> None:
        """Refuse: runs have no stamped headers.

        Raises:
            UsageError: always.
        """
        raise UsageError("runs have no stamped headers", hint="revoke them by id: result.revoke()")
