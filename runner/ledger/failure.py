"""An error as it is recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from runner._dataclass import dataclass
from runner.ledger.record import celery_meta, now_text
from runner.model.run import State


@dataclass(frozen=True, slots=True)
class Failure:
    """An error in a run's record: for people (``type``, ``message``, ``traceback``) and for Celery's clients."""

    type: str
    message: str
    traceback: str | None
    celery: Mapping[str, Any]
    """``exc_type``, ``exc_message``, ``exc_module``."""

    def error(self) -> str:
        """Return ``error`` of the run document as JSON."""
        return json.dumps({"type": self.type, "message": self.message, "traceback": self.traceback})

    def meta(self, run_id: str, state: State) -> str:
        """Return the result in Celery's format."""
        return celery_meta(
            run_id=run_id,
            state=state,
            result=json.dumps(self.celery),
            traceback=self.traceback,
            date_done=now_text(),
        )
