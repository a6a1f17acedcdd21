"""The worker's Celery consumer on RabbitMQ: the inbox of plain clients, remote control, and events.

While RabbitMQ is unreachable, Celery's main loop waits for it. Takers need only Redis and go on.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from amqp.exceptions import AccessRefused, NotAllowed
from celery.utils.log import get_logger

from runner.app.adopt import adopt
from runner.app.celery_types import JsonObject
from runner.delivery.amqp.inbox import raw_body, read_plain, write_letter
from runner.delivery.envelope import LONGEST_WORDS, UnreadableError
from runner.errors import Unavailable, WriteRefused
from runner.ledger.message import MARK
from runner.worker.consumer import Handler, JobConsumer
from runner.worker.state import state_of
from runner.worker.takers import SoloTaker

log = get_logger(__name__)

LATER_SECONDS = 2.0
"""Seconds to hold a message that cannot be recorded now."""


class AmqpConsumer(JobConsumer):
    """Receives the messages that plain clients publish to RabbitMQ."""

    timer: Any
    hub: Any

    def __init__(self, *args: object, worker_options: JsonObject | None = None, **kwargs: object) -> None:
        super().__init__(*args, worker_options=worker_options, **kwargs)
        self.strategies = {}

    def create_task_handler(self, *_: object, **__: object) -> Handler:
        """Return the handler of all messages. Celery's own looks up a handler by the name in the message."""
        return self._take_in

    def ensure_connected(self, conn: Any) -> Any:
        """Wait for RabbitMQ. Meanwhile, a taker in this thread performs waiting runs."""
        state, ensure = state_of(self), conn.ensure_connection

        def waiting(*args: object, callback: Callable[[], None], **options: object) -> Any:
            def meanwhile() -> None:
                state.watchdog.pet()
                if isinstance(state.takers, SoloTaker) and self.hub is not None:
                    state.takers.turn_without_loop(self.hub)
                callback()

            # Whoever changed a password may correct it. Without this, Celery would try again without a pause.
            errors = conn.recoverable_connection_errors
            conn.recoverable_connection_errors = (*errors, AccessRefused, NotAllowed)
            try:
                return ensure(*args, callback=meanwhile, **options)
            finally:
                conn.recoverable_connection_errors = errors

        conn.ensure_connection = waiting
        return super().ensure_connected(conn)

    def _take_in(self, message: Any) -> None:
        """Adopt or refuse a message. Its content neither decides what is imported nor ends the worker."""
        try:
            why = self._adopt(message)
        except WriteRefused as error:
            why = f"Redis does not take it: {error}"
        except Unavailable as error:
            log.warning("a message is left for later, Redis is away: %s", error)
            self._give_back_later(message)
            return
        except Exception as error:
            log.critical("a message broke its handling: %r", error, exc_info=True)
            why = f"it broke its handling: {repr(error)[:LONGEST_WORDS]}"
        if why is None:
            message.ack_log_error(log, self.connection_errors)
        else:
            self.bury(message, why)

    def _adopt(self, message: Any) -> str | None:
        """Adopt a message; return the reason if that is impossible, or None."""
        try:
            plain = read_plain(message)
        except UnreadableError as error:
            return str(error)
        name = plain.headers["task"]
        task = self.app.job_task(name)
        if task is None:
            return f"no job {name[:100]!r} is declared here"
        if MARK in plain.headers:
            return "it claims to be the message of a run but was published to the inbox of plain clients"
        adopt(self.app, task.job, plain)
        return None

    def _give_back_later(self, message: Any) -> None:
        # Requeued at once, it would come back at once.
        self.timer.call_after(LATER_SECONDS, message.reject_log_error, (log, self.connection_errors, True))

    def bury(self, message: Any, why: str) -> None:
        """Move a message that cannot be processed to the dead letters, and go on with the inbox."""
        log.critical("a message is put to the dead letters: %s", why)
        ledger = state_of(self).ledger
        try:
            try:
                ledger.bury(dead_letter(message, why))
            except WriteRefused as error:
                ledger.bury(json.dumps({"why": f"{why}; it is not kept: {error}", "message": ""}))
        except Unavailable as error:
            log.warning("could not bury a message for now: %s", error)
            self._give_back_later(message)
            return
        message.ack_log_error(log, self.connection_errors)


def dead_letter(message: Any, why: str) -> str:
    """Return the dead letter for a message with any content."""
    try:
        kept = write_letter(message).decode()
    except Exception as error:  # noqa: BLE001 - headers may hold anything
        kept = json.dumps(
            {"headers": f"cannot be kept: {type(error).__name__}", "body": b64encode(raw_body(message)).decode()}
        )
    return json.dumps({"why": why, "message": kept})
