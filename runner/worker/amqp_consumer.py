"""The worker's Celery consumer on RabbitMQ: the inbox of plain clients, remote control, and events.

While RabbitMQ is away, Celery's main loop waits for it. What takers do needs Redis alone, and goes on meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from celery.utils.log import get_logger

from runner.app.adopt import adopt
from runner.app.celery_types import Words
from runner.delivery.amqp.inbox import read_plain, write_letter
from runner.delivery.envelope import UnreadableError
from runner.errors import Unavailable
from runner.ledger.message import MARK
from runner.worker.consumer import Handler, JobConsumer
from runner.worker.state import state_of
from runner.worker.takers import SoloTaker

log = get_logger(__name__)

LATER_SECONDS = 2.0
"""How long a message is kept back that cannot be recorded now."""


class AmqpConsumer(JobConsumer):
    """Takes in what plain clients publish to RabbitMQ."""

    timer: Any
    hub: Any

    def __init__(self, *args: object, worker_options: Words | None = None, **kwargs: object) -> None:
        super().__init__(*args, worker_options=worker_options, **kwargs)
        self.strategies = _AnyName(self._take_in)

    def ensure_connected(self, conn: Any) -> Any:
        """Wait for RabbitMQ. Meanwhile a taker in this thread performs what waits in the ledger."""
        state, ensure = state_of(self), conn.ensure_connection

        def waiting(*args: object, callback: Callable[[], None], **options: object) -> Any:
            def meanwhile() -> None:
                state.watchdog.pet()
                if isinstance(state.takers, SoloTaker) and self.hub is not None:
                    state.takers.turn_without_loop(self.hub)
                callback()

            return ensure(*args, callback=meanwhile, **options)

        conn.ensure_connection = waiting
        return super().ensure_connected(conn)

    def _take_in(self, message: Any, *_: object, **__: object) -> None:
        """Adopt a message, or refuse it. Nothing in it decides what is imported."""
        try:
            plain = read_plain(message)
        except UnreadableError as error:
            self.bury(message, str(error))
            return
        name = plain.headers["task"]
        task = self.app.job_task(name)
        if task is None:
            self.bury(message, f"no job {name[:100]!r} is declared here")
            return
        if MARK in plain.headers:
            self.bury(message, "it claims to be the message of a run but was published to the inbox of plain clients")
            return
        try:
            adopt(self.app, task.job, plain)
            message.ack_log_error(log, self.connection_errors)
        except Unavailable as error:
            log.warning("a message for %s is left for later, Redis is away: %s", task.name, error)
            self._give_back_later(message)

    def _give_back_later(self, message: Any) -> None:
        # At once it would come again at once.
        self.timer.call_after(LATER_SECONDS, message.reject_log_error, (log, self.connection_errors, True))

    def bury(self, message: Any, why: str) -> None:
        """Keep a message that nobody can act on among the dead letters, and let the inbox go on."""
        log.critical("a message is put to the dead letters: %s", why)
        try:
            state_of(self).ledger.bury(dead_letter(message, why))
        except Unavailable as error:
            log.warning("could not bury a message for now: %s", error)
            self._give_back_later(message)
            return
        message.ack_log_error(log, self.connection_errors)


class _AnyName(dict[str, Handler]):
    """One handler for whatever a message names."""

    def __init__(self, handler: Handler) -> None:
        super().__init__()
        self._handler = handler

    def __missing__(self, name: object) -> Handler:
        return self._handler


def dead_letter(message: Any, why: str) -> str:
    """Return a message as it is kept among the dead letters."""
    return json.dumps({"why": why, "message": write_letter(message).decode("utf-8", "backslashreplace")})
