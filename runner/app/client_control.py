"""``app.control`` of the generated app: revocations go to the ledger, so they work without a worker."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from celery.app.control import Control

from runner.app.commands import ASKED_IN_PASSING, LOOKING, refusal
from runner.errors import Refused, UsageError
from runner.model.end_signal import signal_name
from runner.model.run_id import require_run_id

_TO_THE_LEDGER = ("revoke", "terminate")


class JobControl(Control):
    """Celery's remote control, which revokes in the ledger instead of by a broadcast."""

    def revoke(
        self,
        task_id: str | Iterable[str],
        destination: object = None,
        terminate: bool = False,
        signal: str | int | None = None,
        **_: object,
    ) -> None:
        """Revoke one or several runs.

        Args:
            task_id: one id, or several.
            destination: refused, because a revocation is for all workers.
            terminate: also end an active run.
            signal: the first signal of ``terminate``: a name or a number, TERM by default.

        Raises:
            UnknownRun: a run does not exist; the runs before it are revoked.
            UsageError: the signal is invalid, or a destination is given.
        """
        if destination:
            raise UsageError("a run is revoked for all workers", hint="leave destination out")
        name = signal_name(signal)
        ledger, by = self.app.backend.ledger, f"pid{os.getpid()}@{os.uname().nodename}"
        for run_id in [task_id] if isinstance(task_id, str) else list(task_id):
            ledger.revoke(require_run_id(run_id), by=by, terminate=terminate, signal=name)

    def terminate(
        self, task_id: str | Iterable[str], destination: object = None, signal: str | int | None = None, **_: object
    ) -> None:
        """Revoke runs and end active ones; see :meth:`revoke`."""
        self.revoke(task_id, destination=destination, terminate=True, signal=signal)

    @property
    def _is_safe(self) -> bool:
        return bool(self.app.runner_settings.worker.remote_control != "full")

    def revoke_by_stamped_headers(self, *_: object, **__: object) -> None:
        """Refuse: runs have no stamped headers.

        Raises:
            UsageError: always.
        """
        raise UsageError("runs have no stamped headers", hint="revoke them by id")

    def broadcast(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        destination: object = None,
        *args: object,
        **options: Any,
    ) -> Any:
        """Send a command to the workers; ``revoke`` and ``terminate`` go to the ledger (``celery control revoke``).

        Raises:
            Refused: workers would refuse it, and a caller that wants no answer (Flower) would think that it worked.
        """
        if command not in _TO_THE_LEDGER:
            if command not in LOOKING | ASKED_IN_PASSING and not options.get("reply") and self._is_safe:
                raise Refused(refusal(command), hint="set worker.remote_control: full, or use runner")
            return super().broadcast(command, arguments, destination, *args, **options)
        asked = dict(arguments or {})
        self.revoke(
            asked.get("task_id") or (),
            destination=destination,
            terminate=command == "terminate" or bool(asked.get("terminate")),
            signal=asked.get("signal"),
        )
        answer = {"ledger": {"ok": f"{command}: done"}}
        if options.get("callback"):
            options["callback"](answer)
        return [answer] if options.get("reply") else None
