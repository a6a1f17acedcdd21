"""Publish the hints for runs that no client hands over: retries, due runs, returned runs, hooks, and steps of flows.

Each worker with RabbitMQ has such a thread. It waits for ``NS:ring:@hints`` in Redis, which wakes one worker, and takes
the due hints from ``NS:hints``, including those that a client did not get confirmed within 10 s.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import redis
from celery.utils.log import get_logger

from runner.delivery.amqp.publisher import HintPublisher
from runner.errors import RunnerError
from runner.ledger.hint import Hint
from runner.ledger.hints import MOST_AT_ONCE, note_done, take_due
from runner.ledger.keys import Keys
from runner.ledger.ledger import Ledger
from runner.settings import Settings
from runner.worker.waiter import Bell

log = get_logger(__name__)

AWAY_PAUSE = 1.0
"""Seconds until the next try while Redis or RabbitMQ is unreachable."""


class HintPublishing(threading.Thread):
    """The publisher of one worker.

    Args:
        connect: returns a client.
        ledger: returns a ledger for this thread.
        settings: the settings of the project.
    """

    def __init__(self, connect: Callable[[], redis.Redis], ledger: Callable[[], Ledger], settings: Settings) -> None:
        super().__init__(name="runner-hint-publishing", daemon=True)
        self._open_ledger, self._settings = ledger, settings
        self._bell = Bell(connect, lambda: [Keys(settings.namespace).hints_ring])
        self._publisher = HintPublisher(settings)
        self._ended = threading.Event()
        self._away = False

    def run(self) -> None:
        """Publish until the worker ends."""
        ledger = self._open_ledger()
        while not self._ended.is_set():
            try:
                if self._publish(ledger):
                    self._bell.wait()
                    continue
            except (redis.RedisError, RunnerError, OSError) as error:
                if not self._ended.is_set():
                    log.debug("cannot publish hints: %s", error)
            except Exception:
                log.exception("the publication of hints failed, will try again")
            self._ended.wait(AWAY_PAUSE)
        self._bell.close()
        self._publisher.close()
        ledger.close()

    def _publish(self, ledger: Ledger) -> bool:
        """Publish the due hints; return whether RabbitMQ has confirmed all of them."""
        done: list[Hint] = []
        while True:
            due = take_due(ledger, MOST_AT_ONCE, done)
            if not due:
                return True
            unconfirmed = set(self._publisher.publish(due))
            done = [hint for hint in due if hint not in unconfirmed]
            if unconfirmed:
                (log.debug if self._away else log.warning)(
                    "%d hints are not handed over, will try again: %s", len(unconfirmed), self._publisher.trouble
                )
                self._away = True
                note_done(ledger, done)
                return False
            self._away = False

    def end(self) -> None:
        """End the thread."""
        self._ended.set()
        self._bell.interrupt()
