"""``AsyncResult`` of the generated app: says that a result is gone instead of returning None."""

from __future__ import annotations

from typing import Any

from celery.result import AsyncResult

from runner.errors import UsageError
from runner.ledger.backend import refuse_expired
from runner.model.run_id import require_run_id


class JobResult(AsyncResult):
    """The result of a run.

    Raises:
        UsageError: no run can have the id.
    """

    def __init__(self, id: object, *args: object, **kwargs: object) -> None:
        super().__init__(require_run_id(id), *args, **kwargs)

    def get(self, *args: object, **kwargs: object) -> Any:
        """Wait for the result and return it; raise what the job raised.

        Raises:
            UnknownRun: there is no such run.
            ResultExpired: it ended, and its result is gone.
        """
        if self._cache:
            # Celery answers from here alone once the state is known to be final.
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
        """Revoke the run in the ledger, which holds whether or not a worker is there to hear of it.

        Args:
            connection: not used.
            terminate: also end the run if a worker performs it.
            signal: what ``terminate`` sends first; TERM by default.
            wait: no worker need confirm it: once this returns, the revocation is recorded.
            timeout: not used.

        Raises:
            UnknownRun: there is no such run.
        """
        self.app.control.revoke(self.id, terminate=terminate, signal=signal)

    def revoke_by_stamped_headers(self, *args: object, **kwargs: object) -> None:
        """Refuse: runs have no stamped headers.

        Raises:
            UsageError: always.
        """
        raise UsageError("runs have no stamped headers", hint="revoke them by id: result.revoke()")
