"""Hand hints over to RabbitMQ after a submission, and open ledgers that do so."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from runner.errors import RunnerError
from runner.ledger.hint import Hint
from runner.ledger.hints import leave_to_workers, note_done
from runner.ledger.ledger import Ledger
from runner.ledger.store import Store
from runner.settings import Settings

if TYPE_CHECKING:
    from runner.delivery.amqp.publisher import HintPublisher

log = logging.getLogger(__name__)


class PublishingCourier:
    """The courier of clients: it publishes hints at once and records which of them RabbitMQ confirmed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._publisher: HintPublisher | None = None

    def hand_over(self, hints: Sequence[Hint]) -> Sequence[Hint]:
        """Publish hints; return those that RabbitMQ did not confirm within 5 s. Any worker publishes them later."""
        if self._publisher is None:
            from runner.delivery.amqp.publisher import HintPublisher  # start-up time: it imports py-amqp

            self._publisher = HintPublisher(self._store.settings)
        unconfirmed = self._publisher.publish(hints)
        left = set(unconfirmed)
        try:
            note_done(self._store, [hint for hint in hints if hint not in left])
        except RunnerError as error:
            log.debug("hints that RabbitMQ has confirmed will be published again: %s", error)
        return unconfirmed

    @property
    def trouble(self) -> str:
        """Return the reason why the last hints were not confirmed."""
        return self._publisher.trouble if self._publisher is not None else ""

    def close(self) -> None:
        """Close the connection to RabbitMQ."""
        if self._publisher is not None:
            self._publisher.close()


class LeavingCourier:
    """The courier inside workers: it leaves hints to the publisher thread of a worker, because takers must not wait for
    RabbitMQ."""

    trouble = ""

    def __init__(self, store: Store) -> None:
        self._store = store

    def hand_over(self, hints: Sequence[Hint]) -> Sequence[Hint]:
        """Leave the hints in the ledger for the first worker that publishes."""
        try:
            leave_to_workers(self._store, hints)
        except RunnerError as error:
            log.debug("hints will be published later: %s", error)
        return ()

    def close(self) -> None:
        """Do nothing: this courier has no connection."""


def open_ledger(settings: Settings, *, start: bool = True, lightly: bool = False, in_worker: bool = False) -> Ledger:
    """Return the ledger of a project. If its broker is RabbitMQ, the ledger sends it a hint for each submission.

    Args:
        settings: the settings of the project.
        start: whether to start an embedded server that is not running.
        lightly: whether to import redis-py only when it is needed.
        in_worker: whether to leave the hints to the publishers of workers.

    Raises:
        Unavailable: the embedded server cannot be started.
    """
    ledger = Ledger.open_lightly(settings) if lightly else Ledger.open(settings, start=start)
    return with_courier(ledger, LeavingCourier if in_worker else PublishingCourier)


def with_courier(
    ledger: Ledger, courier: Callable[[Store], PublishingCourier | LeavingCourier] = PublishingCourier
) -> Ledger:
    """Return a ledger that sends RabbitMQ a hint for each submission, if that is the broker."""
    if ledger.hints:
        ledger.courier = courier(ledger)
    return ledger
