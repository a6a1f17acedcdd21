"""Hand hints over to RabbitMQ on behalf of whoever submits, and open ledgers that do so."""

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
    """Publishes at once, and notes what RabbitMQ has confirmed: for clients."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._publisher: HintPublisher | None = None

    def hand_over(self, hints: Sequence[Hint]) -> Sequence[Hint]:
        """Return those that RabbitMQ has not confirmed within 5 s; any worker publishes them later."""
        if self._publisher is None:
            from runner.delivery.amqp.publisher import HintPublisher  # start-up time: it imports py-amqp

            self._publisher = HintPublisher(self._store.settings)
        unconfirmed = self._publisher.publish(hints)
        left = set(unconfirmed)
        try:
            note_done(self._store, [each for each in hints if each not in left])
        except RunnerError as error:
            log.debug("hints that RabbitMQ has confirmed will be published again: %s", error)
        return unconfirmed

    @property
    def trouble(self) -> str:
        """Why the last hints were not confirmed."""
        return self._publisher.trouble if self._publisher is not None else ""

    def close(self) -> None:
        """Close the connection to RabbitMQ."""
        if self._publisher is not None:
            self._publisher.close()


class LeavingCourier:
    """Leaves hints to the publishers of workers: for workers themselves, which must not wait for RabbitMQ."""

    trouble = ""

    def __init__(self, store: Store) -> None:
        self._store = store

    def hand_over(self, hints: Sequence[Hint]) -> Sequence[Hint]:
        """Have them published at once, by whichever worker comes first."""
        try:
            leave_to_workers(self._store, hints)
        except RunnerError as error:
            log.debug("hints will be published later: %s", error)
        return ()

    def close(self) -> None:
        """Do nothing: it has no connection of its own."""


def open_ledger(settings: Settings, *, start: bool = True, lightly: bool = False, in_worker: bool = False) -> Ledger:
    """Return the ledger of a project, which tells RabbitMQ of what is submitted if that is the broker.

    Args:
        settings: of the project.
        start: whether an embedded server is started if it does not run.
        lightly: whether redis-py is imported only once it is needed.
        in_worker: whether workers' publishers tell RabbitMQ, instead of whoever submits.

    Raises:
        Unavailable: the embedded server cannot be started.
    """
    ledger = Ledger.open_lightly(settings) if lightly else Ledger.open(settings, start=start)
    return with_courier(ledger, LeavingCourier if in_worker else PublishingCourier)


def with_courier(
    ledger: Ledger, courier: Callable[[Store], PublishingCourier | LeavingCourier] = PublishingCourier
) -> Ledger:
    """Return a ledger that tells RabbitMQ of what is submitted, if that is the broker."""
    if ledger.hints:
        ledger.courier = courier(ledger)
    return ledger
