"""The supervision of a worker without running parts: no takers, no Redis, no main loop."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from runner.attempt.state import SharedState
from runner.worker.drain import Drain
from runner.worker.endings import Endings
from runner.worker.settler import Settler
from runner.worker.supervision import Supervision
from runner.worker.takers import Takers


def shared_of(claims: Any = None) -> SharedState:
    """Return the state that a worker and its takers share."""
    app: Any = SimpleNamespace(
        open_ledger=lambda: None, runner_settings=SimpleNamespace(durability="local", on_amqp=False)
    )
    return SharedState(app, "w", claims)


def state_of(shared: SharedState, takers: Takers, settler: Settler | None = None) -> Any:
    """Return the state of a worker's parent process."""
    return SimpleNamespace(
        shared=shared,
        ledger=None,
        takers=takers,
        settler=settler,
        collector=None,
        pool="prefork",
        connected=True,
        queues=[],
        listed=threading.Event(),
    )


def supervision_of(
    claims: Any,
    takers: type[Takers] = Takers,
    settler: Settler | None = None,
    cls: type[Supervision] = Supervision,
) -> Supervision:
    """Return the supervision of a worker that does not stop."""
    shared = shared_of(claims)
    state = state_of(shared, takers(shared, 0), settler)
    endings = Endings(shared, state.takers)
    consumer: Any = SimpleNamespace(controller=None)
    return cls(consumer, state, endings, Drain(consumer, state, endings, grace=300.0))
