"""The thread that keeps a worker's leases outlives whatever goes wrong in it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from runner.app.steps import LeaseThread


class Clumsy(LeaseThread):
    """Stumbles in its first beat, and ends with the second."""

    beats = 0

    def _beat(self) -> float:
        self.beats += 1
        self.beat_soon()
        if self.beats == 1:
            raise ValueError("nobody thought of this")
        self._ended = True
        return 0.0


def test_a_beat_that_fails_is_not_the_last_one() -> None:
    claims = SimpleNamespace(lease=3.0, renew=list)
    app = SimpleNamespace(open_ledger=lambda: None, claims=claims, run_queues=("default",), pool_name="prefork")
    consumer: Any = SimpleNamespace(app=app, hub=None, pool=SimpleNamespace(num_processes=1))
    drain: Any = None
    thread = Clumsy(consumer, drain)
    thread.run()
    assert thread.beats == 2
