"""Expose the runs on a worker's board to Celery's remote control and monitors."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from celery.worker import state

from runner.app.celery_types import JsonObject
from runner.worker.board import Board
from runner.worker.celery_types import Consumer, Panel
from runner.worker.outcomes import ShownAttempt
from runner.worker.state import state_of


class ActiveRun:
    """A run in the form of ``inspect active``."""

    def __init__(self, attempt: ShownAttempt, hostname: str) -> None:
        self.id = attempt.run_id
        self.name = attempt.job
        self._attempt = attempt
        self._hostname = hostname

    def info(self, safe: bool = False) -> JsonObject:
        """Return the run in Celery's form of a request, without its params, which are in the ledger."""
        return {
            "id": self.id,
            "name": self.name,
            "args": [],
            "kwargs": {},
            "type": self.name,
            "hostname": self._hostname,
            "time_start": time.time() - (time.monotonic() - self._attempt.started),
            "acknowledged": False,
            "delivery_info": {"exchange": "", "routing_key": None, "priority": None, "redelivered": None},
            "worker_pid": self._attempt.pid or os.getpid(),
        }


class Waiting:
    """A placeholder for a run that waits while all takers are busy; Celery's autoscaler counts them."""

    id = name = ""

    def info(self) -> JsonObject:
        """Return nothing: the run is in its queue."""
        return {}


_shown: list[ActiveRun | Waiting] = []
"""Keeps the objects alive, because Celery has only weak references."""


def refresh(board: Board, hostname: str, waits: int = 0) -> None:
    """Make Celery's own lists match the board. Call this only in the main loop.

    Args:
        board: the board of the worker.
        hostname: the name of the worker.
        waits: the number of runs that wait while all takers are busy.
    """
    runs = [ActiveRun(ShownAttempt.of(index, shown), hostname) for index, shown in board.running()]
    for known in (state.active_requests, state.reserved_requests, state.requests):
        known.clear()
    _shown[:] = runs
    waiting = [Waiting() for _ in range(waits)]
    _shown[len(runs) :] = waiting
    for request in waiting:
        state.reserved_requests.add(request)
    for run in runs:
        state.active_requests.add(run)
        state.reserved_requests.add(run)
        state.requests[run.id] = run


Command = Callable[..., object]
"""A remote-control command: called with the panel and the arguments, it returns the answer."""


def refreshing(answer: Command) -> Command:
    """Return a remote-control command that refreshes Celery's lists first."""

    def answer_anew(panel: Panel, *args: object, **kwargs: object) -> object:
        refresh(state_of(panel.consumer).takers.board, panel.hostname)
        return answer(panel, *args, **kwargs)

    return answer_anew


def tell_of_events(consumer: Consumer) -> None:
    """Tell takers whether to send Celery's task events; events of the worker itself are always sent."""
    dispatcher = consumer.event_dispatcher
    asked = bool(dispatcher and dispatcher.enabled and (not dispatcher.groups or "task" in dispatcher.groups))
    state_of(consumer).takers.board.head.write(sends_events=asked)


def telling(switch: Command) -> Command:
    """Return a remote-control command that switches events and then tells the takers."""

    def switch_and_tell(panel: Panel, *args: object, **kwargs: object) -> object:
        answer = switch(panel, *args, **kwargs)
        tell_of_events(panel.consumer)
        return answer

    return switch_and_tell
