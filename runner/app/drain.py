"""How a worker stops: no new work, what runs gets its grace, what is left is handed back uncharged.

SIGTERM or SIGINT drains; the worker ends as soon as it is idle. A second one, or SIGQUIT, hands back at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Any

from celery.utils.log import get_logger
from celery.worker import state

from runner.app.systemd import notify
from runner.errors import RunnerError
from runner.process_group import kill_group

log = get_logger(__name__)

SETTLING_SECONDS = 5.0
"""How long the writing of outcomes may take once the grace is over; their leases run out if they cannot be written."""


class Drain:
    """The stopping of one worker. :meth:`step` runs in the main loop, several times a second."""

    def __init__(self, consumer: Any, grace: float) -> None:
        self._consumer = consumer
        self._grace = grace
        self._asked = 0
        self._at_once = False
        self._since: float | None = None
        self._late_since: float | None = None

    def install(self) -> None:
        """Take over the signals from Celery, whose own way waits for ever and knows no hand-back."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGQUIT, self._on_quit)

    def _on_signal(self, *_: Any) -> None:
        # Only notes it: a handler may interrupt anything, a lock included.
        self._asked += 1

    def _on_quit(self, *_: Any) -> None:
        self._asked += 1
        self._at_once = True

    @property
    def draining(self) -> bool:
        """Whether the worker takes no new work any more."""
        return self._since is not None

    def step(self) -> None:
        """Do what is to be done now."""
        if self._asked == 0:
            return
        if self._since is None:
            self._stop_taking()
        assert self._since is not None
        running = [request for request in tuple(state.active_requests) if not request.acknowledged]
        late = self._at_once or self._asked > 1 or time.monotonic() - self._since > self._grace
        if running and late:
            self._hand_back(running)
            running = []
        if late and self._late_since is None:
            self._late_since = time.monotonic()
        if not running and state.should_stop is None and self._has_settled():
            state.should_stop = 0
            self._end_children()

    def _has_settled(self) -> bool:
        """Whether what became of attempts is written, or is given up."""
        if not self._consumer.app.settler.busy:
            return True
        if self._late_since is None or time.monotonic() - self._late_since < SETTLING_SECONDS:
            return False
        log.warning("what became of attempts cannot be written, their leases will run out")
        self._consumer.app.ends = True
        return True

    def _end_children(self) -> None:
        # They are idle, and would notice by themselves only after a second or two.
        for child in getattr(getattr(self._consumer.pool, "_pool", None), "_pool", ()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGTERM)

    def _stop_taking(self) -> None:
        self._since = time.monotonic()
        running = tuple(state.active_requests)
        notify("STOPPING=1")
        grace = 0.0 if self._at_once else self._grace
        log.info("stopping: no new work; %d running, which get %gs", len(running), grace)
        consumer = self._consumer.task_consumer
        try:
            consumer.cancel()
            app = self._consumer.app
            # What has just ended is neither running nor waiting: its outcome is about to be written.
            waiting = [token for token in app.claims.tokens if not app.settler.holds(token)]
            consumer.channel.hand_back_waiting(waiting)
        except (*self._consumer.connection_errors, RunnerError, AttributeError) as error:
            log.warning("could not hand back what waits here, its leases will run out: %s", error)

    def _hand_back(self, running: list[Any]) -> None:
        log.warning("handing back %d running", len(running))
        for request in running:
            request.handed_back = True
            if getattr(request, "in_child", False):
                # Dead before it is given away, so that it never runs twice at once.
                kill_group(request.worker_pid, signal.SIGKILL, grace=0.0)
        tokens = [request.token for request in running if hasattr(request, "token")]
        try:
            self._consumer.app.claims.hand_back(tokens, detail="handed back by a worker that was stopped")
        except RunnerError as error:
            log.warning("could not hand back what ran, its leases will run out: %s", error)
