"""The bootsteps of a worker in addition to Celery's own, among them the supervision."""

from __future__ import annotations

from functools import partial

from celery import bootsteps
from celery.utils.log import get_logger

from runner._dataclass import dataclass
from runner.ledger.connection import connect
from runner.model.private_queue import is_private
from runner.process.systemd import notify
from runner.worker.active_runs import refresh, tell_of_events
from runner.worker.celery_types import Consumer, autoscaler_of
from runner.worker.drain import Drain
from runner.worker.endings import Endings
from runner.worker.hint_publishing import HintPublishing
from runner.worker.hint_waiter import HintWaiter
from runner.worker.plain_control import PlainControl
from runner.worker.state import WorkerState, state_of
from runner.worker.supervision import Supervision
from runner.worker.takers import SoloTaker
from runner.worker.waiter import Waiter

log = get_logger(__name__)

PULSE_SECONDS = 0.2
"""Seconds between two checks of the main loop for work."""

MOST_SECONDS_TO_LIST = 5.0
"""Seconds that a starting worker waits for its first beat before it reports that it is ready."""


class Supervise(bootsteps.StartStopStep):
    """Supervises the takers, and stops the worker."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Consumer, **kwargs: object) -> None:
        super().__init__(consumer, **kwargs)
        self._parts: _Parts | None = None

    def start(self, consumer: Consumer) -> None:
        """Start the threads once; after a lost connection, return the messages that this process holds."""
        state = state_of(consumer)
        if not state.shared.settings.on_amqp:
            # The old channel has done so, unless its connection broke while closing.
            consumer.task_consumer.channel.hand_back_waiting(state.waiting_here)
        tell_of_events(consumer)
        state.connected = True
        if self._parts is None:
            self._parts = _Parts.of(consumer, state)
            state.tell_ledger()
            self._parts.supervision.start()
            self._parts.waiter.start()
            if self._parts.publishing is not None:
                self._parts.publishing.start()
        if isinstance(state.takers, SoloTaker) and consumer.hub is not None:
            state.takers.join(consumer.hub)
        if consumer.hub is not None:
            self._parts.drain.install()
            consumer.timer.call_repeatedly(PULSE_SECONDS, self._pulse, (consumer, self._parts))

    def _pulse(self, consumer: Consumer, parts: _Parts) -> None:
        state_of(consumer).watchdog.pet()
        tell_of_events(consumer)
        waiting = parts.supervision.waiting
        # Heartbeats and the autoscaler read these lists.
        refresh(state_of(consumer).takers.board, consumer.hostname, waiting)
        autoscaler = autoscaler_of(consumer)
        if autoscaler is not None and waiting:
            # Celery would check after each message, of which there are none, or every half minute.
            autoscaler.maybe_scale()
        parts.drain.step()

    def stop(self, consumer: Consumer) -> None:
        """Do nothing: active runs keep their leases while the connection is lost and the worker drains."""
        state_of(consumer).connected = False

    def shutdown(self, consumer: Consumer) -> None:
        """End the threads after the drain."""
        state = state_of(consumer)
        if state.collector is not None:
            state.collector.end()
        if self._parts is not None:
            self._parts.waiter.end()
            if self._parts.publishing is not None:
                self._parts.publishing.end()
            self._parts.supervision.end()


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts of a worker that exist while it consumes."""

    waiter: Waiter | HintWaiter
    publishing: HintPublishing | None
    """The publisher of hints, if RabbitMQ is the broker."""
    drain: Drain
    supervision: Supervision

    @classmethod
    def of(cls, consumer: Consumer, state: WorkerState) -> _Parts:
        settings = state.shared.settings
        connecting = partial(connect, settings)
        publishing = None
        if settings.on_amqp:
            publishing = HintPublishing(connecting, state.shared.app.open_ledger, settings)
        if settings.on_amqp and not all(map(is_private, state.queues)):
            state.waiter = HintWaiter(settings, lambda: state.taken_queues, state.takers)
        else:
            state.waiter = Waiter(connecting, settings.namespace, lambda: state.taken_queues, state.takers)
        endings = Endings(state.shared, state.takers)
        drain = Drain(consumer, state, endings, settings.worker.shutdown_grace)
        return cls(state.waiter, publishing, drain, Supervision(consumer, state, endings, drain))


class Announce(bootsteps.StartStopStep):
    """Logs that the worker is ready; programs that start a worker wait for this line."""

    requires = (Supervise, "celery.worker.consumer.control:Control", PlainControl)

    def start(self, consumer: Consumer) -> None:
        """Log the line and notify systemd."""
        state = state_of(consumer)
        # Programs look for the worker after this line. If Redis is slow, the main loop must not wait for long.
        state.listed.wait(MOST_SECONDS_TO_LIST)
        log.info("runner worker ready: %s takes from %s", state.shared.worker, ", ".join(state.queues))
        notify("READY=1")
