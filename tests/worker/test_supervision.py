"""The thread that keeps a worker's leases outlives whatever goes wrong in it."""

from __future__ import annotations

from types import SimpleNamespace

from runner.worker.supervision import Supervision
from tests.support.supervised import supervision_of


class Clumsy(Supervision):
    """Stumbles in its first beat, and ends with the second."""

    beats = 0

    def _beat(self) -> None:
        self.beats += 1
        if self.beats == 1:
            raise ValueError("nobody thought of this")
        self._ended = True


def test_a_beat_that_fails_is_not_the_last_one() -> None:
    claims = SimpleNamespace(lease=3.0, renew=lambda _tokens: [], hand_back_late=lambda: None)
    thread = supervision_of(claims, cls=Clumsy)
    assert isinstance(thread, Clumsy)
    thread.run()
    assert thread.beats == 2
