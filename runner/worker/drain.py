"""Stop a worker: take no new work, give running attempts their grace, and hand back the rest uncharged.

SIGTERM or SIGINT drains; the worker ends as soon as it is idle. A second one, or SIGQUIT, hands back at once.
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
"""How long the writing of outcomes may take once the grace is over; their leases run out if they cannot be written."""

LEAVING_SECONDS = 5.0
"""How long takers that have nothing to do any more may take to leave."""


class Drain:
    """The stopping of one worker. :meth:`step` runs in the main loop, several times a second.

    Args:
        consumer: Celery's, of this worker.
        state: what the worker knows.
        endings: ends attempts of its takers.
        grace: seconds that runs get to come to their end.
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
        # Only notes it: a handler may interrupt anything, a lock included.
        self._asked += 1

    def _on_quit(self, _signum: int = 0, _frame: FrameType | None = None) -> None:
        self._asked += 1
        self._at_once = True

    @property
    def draining(self) -> bool:
        """Whether the worker takes no new work any more."""
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
        # Whatever takers send off at their end, such as what Sentry has gathered, has a moment.
        leaving = takers.pids and not late and time.monotonic() - (self._free_since or 0.0) < LEAVING_SECONDS
        over = self._late_since is not None and time.monotonic() - self._late_since > SETTLING_SECONDS
        if (over or not (busy or leaving)) and celery_state.should_stop is None and self._has_settled():
            celery_state.should_stop = 0

    def _is_busy(self, shown: Shown) -> bool:
        # Also one that holds nothing, until it has left: it may be about to ask.
        if shown.state is TakerState.FREE:
            return False
        tokens = [token for token in (shown.held, shown.asked) if token]
        # In this process, what was handed back goes on until it ends.
        return self._takers.enforced or not tokens or any(token not in self._given for token in tokens)

    def _has_settled(self) -> bool:
        """Whether what became of attempts is written, or is given up."""
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
        """Take no more messages of plain clients; once for each consumer: a lost connection leads to a new one."""
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
        """End what runs, and give it back: dead before it is given away, so that it never runs twice at once."""
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
        # Nobody can end them but this process, which is about to end.
        tokens = [attempt.token for attempt in running]
        try:
            self._state.shared.claims.hand_back(tokens, detail=HANDED_BACK)
        except RunnerError as error:
            log.warning("could not hand back runs in progress, their leases will run out: %s", error)
