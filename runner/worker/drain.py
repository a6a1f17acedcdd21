"""Stop a worker: take no new runs, wait for active ones up to the grace period, and hand back the rest without counting
a loss.

SIGTERM or SIGINT starts the drain; the worker ends as soon as it is idle. A second signal, or SIGQUIT, hands back at
once.
"""

from __future__ import annotations

import signal
import time
from types import FrameType

from celery.utils.log import get_logger
from celery.worker import state as celery_state

from runner.attempt.slot import Shown, TakerState
from runner.errors import RunnerError
from runner.process.systemd import notify
from runner.worker.celery_types import Consumer, MessageConsumer
from runner.worker.endings import Endings
from runner.worker.outcomes import HANDED_BACK, Cause, ShownAttempt
from runner.worker.state import WorkerState

log = get_logger(__name__)

SETTLING_SECONDS = 5.0
"""Seconds to write outcomes after the grace period; if that fails, the leases expire."""

LEAVING_SECONDS = 5.0
"""Seconds that idle takers have to exit."""


class Drain:
    """The shutdown of one worker. The main loop calls :meth:`step` several times a second.

    Args:
        consumer: Celery's consumer of this worker.
        state: the state of the worker.
        endings: ends attempts of its takers.
        grace: the grace period of active runs (seconds).
    """

    def __init__(self, consumer: Consumer, state: WorkerState, endings: Endings, grace: float) -> None:
        self._consumer = consumer
        self._state, self._takers = state, state.takers
        self._endings = endings
        self._grace = grace
        self._asked = 0
        self._at_once = False
        self._since: float | None = None
        self._late_since: float | None = None
        self._cancelled: MessageConsumer | None = None
        self._given: set[str] = set()
        self._free_since: float | None = None

    def install(self) -> None:
        """Take over the signals from Celery, which would wait forever and not return runs to their queues."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGQUIT, self._on_quit)

    def _on_signal(self, _signum: int = 0, _frame: FrameType | None = None) -> None:
        # Only records the signal: a handler may interrupt anything, including a locked section.
        self._asked += 1

    def _on_quit(self, _signum: int = 0, _frame: FrameType | None = None) -> None:
        self._asked += 1
        self._at_once = True

    @property
    def draining(self) -> bool:
        """Return whether the worker takes no more runs."""
        return self._since is not None

    def step(self) -> None:
        """Take the next step of the drain."""
        if self._asked == 0:
            return
        takers = self._takers
        if self._since is None:
            self._since = time.monotonic()
            self._say_so()
            takers.drain()
        self._stop_taking()
        busy = [shown for _, shown in takers.board.shown() if self._is_busy(shown)]
        late = self._at_once or self._asked > 1 or time.monotonic() - self._since > self._grace
        if late and self._late_since is None:
            self._late_since = time.monotonic()
        if late:
            self._hand_back()
        if busy:
            self._free_since = None
        elif self._free_since is None:
            self._free_since = time.monotonic()
        # Takers have some time to send data at their end, such as the events of Sentry.
        leaving = takers.pids and not late and time.monotonic() - (self._free_since or 0.0) < LEAVING_SECONDS
        over = self._late_since is not None and time.monotonic() - self._late_since > SETTLING_SECONDS
        if (over or not (busy or leaving)) and celery_state.should_stop is None and self._has_settled():
            celery_state.should_stop = 0

    def _is_busy(self, shown: Shown) -> bool:
        # Also a taker without a run, until it has exited: it may be about to ask for one.
        if shown.state is TakerState.FREE:
            return False
        tokens = [token for token in (shown.held, shown.asked) if token]
        # Runs in this process go on until they end, even after they were handed back.
        return self._takers.enforced or not tokens or any(token not in self._given for token in tokens)

    def _has_settled(self) -> bool:
        """Return whether all outcomes are written or given up."""
        if not self._state.settler.busy:
            return True
        if self._late_since is None or time.monotonic() - self._late_since < SETTLING_SECONDS:
            return False
        log.warning("outcomes of attempts cannot be written, their leases will run out")
        self._state.shared.ends = True
        return True

    def _say_so(self) -> None:
        notify("STOPPING=1")
        grace = 0.0 if self._at_once else self._grace
        running = len(self._takers.board.running())
        log.info("stopping: no new work; %d running, which get %gs", running, grace)

    def _stop_taking(self) -> None:
        """Stop consuming messages of plain clients, once per consumer: a lost connection creates a new one."""
        consumer = self._consumer.task_consumer
        if consumer is self._cancelled:
            return
        self._cancelled = consumer
        lost: tuple[type[Exception], ...] = (*self._consumer.connection_errors, RunnerError, AttributeError)
        try:
            consumer.cancel()
            if not self._state.shared.settings.on_amqp:
                consumer.channel.hand_back_waiting(self._state.waiting_here)
        except lost as error:
            log.warning("could not hand back waiting messages, their leases will run out: %s", error)

    def _hand_back(self) -> None:
        """End the active runs, and hand them back once they are dead, so that no run is active twice."""
        running = [ShownAttempt.of(index, shown) for index, shown in self._takers.board.running()]
        running = [attempt for attempt in running if attempt.token not in self._given]
        if not running:
            return
        self._given |= {attempt.token for attempt in running}
        log.warning("handing back %d running", len(running))
        if self._takers.enforced:
            for attempt in running:
                self._endings.end(attempt, Cause.HANDED_BACK, signal.SIGKILL)
            return
        # Only this process can end them, and it is about to end.
        tokens = [attempt.token for attempt in running]
        try:
            self._state.shared.claims.hand_back(tokens, detail=HANDED_BACK)
        except RunnerError as error:
            log.warning("could not hand back runs in progress, their leases will run out: %s", error)
