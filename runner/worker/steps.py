"""The steps of a worker beside Celery's own: its supervision starts when it consumes, and ends when it does."""

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
"""Between two looks of the main loop for what it is to do."""

MOST_SECONDS_TO_LIST = 5.0
"""How long a worker that starts may wait for its first beat before it says that it is ready."""


class Supervise(bootsteps.StartStopStep):
    """Supervises the takers, and stops the worker in order."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Consumer, **kwargs: object) -> None:
        super().__init__(consumer, **kwargs)
        self._parts: _Parts | None = None

    def start(self, consumer: Consumer) -> None:
        """Start the threads once; after a lost connection, give back what messages this process holds."""
        state = state_of(consumer)
        if not state.shared.settings.on_amqp:
            # The old channel has done so, unless its connection broke while it closed.
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
        # Heartbeats and the autoscaler ask these lists.
        refresh(state_of(consumer).takers.board, consumer.hostname, waiting)
        autoscaler = autoscaler_of(consumer)
        if autoscaler is not None and waiting:
            # Celery has it look whenever a message comes, and none does; else every half minute.
            autoscaler.maybe_scale()
        parts.drain.step()

    def stop(self, consumer: Consumer) -> None:
        """Go on: what runs stays leased through a lost connection and while the worker drains."""
        state_of(consumer).connected = False

    def shutdown(self, consumer: Consumer) -> None:
        """End the threads: the worker has drained."""
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
    """The parts that a worker has once it consumes."""

    waiter: Waiter | HintWaiter
    publishing: HintPublishing | None
    """Of hints to RabbitMQ, if that is the broker."""
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
    """Says in the log that the worker consumes; what starts a worker waits for this line."""

    requires = (Supervise, "celery.worker.consumer.control:Control", PlainControl)

    def start(self, consumer: Consumer) -> None:
        """Log it, and tell systemd."""
        state = state_of(consumer)
        # Whoever waits for this line looks for the worker next; if Redis is slow, the main loop must not wait for long.
        state.listed.wait(MOST_SECONDS_TO_LIST)
        log.info("runner worker ready: %s takes from %s", state.shared.worker, ", ".join(state.queues))
        notify("READY=1")
