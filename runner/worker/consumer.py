"""The worker's Celery consumer, which receives messages of plain clients. Takers take the runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from celery.utils.log import get_logger
from celery.worker.consumer import Consumer
from kombu.utils.json import dumps

from runner.app.adopt import adopt
from runner.app.celery_types import DeclaredTask, JsonObject, Message
from runner.app.factory import RunnerApp
from runner.errors import Unavailable
from runner.ledger.message import MARK
from runner.worker.state import state_of

log = get_logger(__name__)

LONGEST_RECONNECT_PAUSE = 5
"""Seconds between two attempts to reach Redis."""

Handler = Callable[..., None]
"""A strategy in Celery's terms: called with a message and other arguments that are not used here."""


class _Handlers(dict[str, Handler]):
    """Handlers by task name, looked up when a message arrives; an undeclared name gets a handler that refuses."""

    def __init__(self, app: RunnerApp) -> None:
        super().__init__()
        self._app = app

    def __missing__(self, name: object) -> Handler:
        task = self._app.job_task(name) if isinstance(name, str) else None
        if task is None:
            return lambda message, *_, **__: bury(message, f"no job {str(name)[:100]!r} is declared here")
        return lambda message, *_, **__: take_in(self._app, task, message)


class JobConsumer(Consumer):
    """Receives messages of plain clients. Only jobs have handlers; other tasks, including ``celery.*``, are refused."""

    app: RunnerApp

    def __init__(self, *args: object, worker_options: JsonObject | None = None, **kwargs: object) -> None:
        # Workers share a ledger and need not talk to each other.
        options = {**(worker_options or {}), "without_gossip": True, "without_mingle": True}
        super().__init__(*args, worker_options=options, **kwargs)
        self.strategies: dict[str, Handler] = _Handlers(self.app)

    def ensure_connected(self, conn: Any) -> Any:
        """Wait for Redis with a few seconds between tries; Celery's own pauses grow to half a minute."""
        conn.ensure_connection = partial(
            conn.ensure_connection, interval_start=1, interval_step=1, interval_max=LONGEST_RECONNECT_PAUSE
        )
        return super().ensure_connected(conn)

    def add_task_queue(self, queue: str, *_: object, **__: object) -> None:
        """Consume another queue."""
        state = state_of(self)
        state.queues = sorted({*state.queues, queue})
        state.tell_takers()
        log.info("takes runs from %s too", queue)

    def cancel_task_queue(self, queue: str) -> None:
        """Stop consuming a queue; active runs go on."""
        state = state_of(self)
        state.queues = [name for name in state.queues if name != queue]
        state.tell_takers()
        log.info("takes no more runs from %s", queue)

    def update_strategies(self) -> None:
        """Do nothing: handlers are looked up when a message arrives. Celery would create one for each task."""

    def on_decode_error(self, message: Message, exc: BaseException) -> None:
        """Move a message that cannot be decoded to the dead letters."""
        self.bury(message, f"its body cannot be decoded: {exc}")

    def on_invalid_task(self, body: object, message: Message, exc: BaseException) -> None:
        """Move a message that is not a valid task message to the dead letters."""
        self.bury(message, f"it is not a valid task message: {exc}")

    def on_unknown_message(self, body: object, message: Message) -> None:
        """Move a message without a task name to the dead letters."""
        self.bury(message, "it names no task")

    def bury(self, message: Message, why: str) -> None:
        """Move a message that cannot be processed to the dead letters, and go on with the inbox."""
        bury(message, why)


def take_in(app: RunnerApp, task: DeclaredTask, message: Message) -> None:
    """Adopt or refuse a message of a plain Celery client. Its content does not decide what is imported."""
    if MARK in message.headers:
        # Messages of runs are in queues of runs, so the runner did not put this one here.
        bury(message, "it claims to be the message of a run but was published to the inbox of plain Celery clients")
        return
    try:
        adopt(app, task.job, message)
        message.ack()
    except Unavailable as error:
        log.warning("a message for %s is left for later, Redis is away: %s", task.name, error)
        # If it were kept, its lease would be renewed and nobody would read it again.
        message.requeue()


def bury(message: Message, why: str) -> None:
    """Move a message that cannot be processed to the dead letters, and go on with the inbox."""
    raw = dumps({"headers": message.headers, "body": str(message.body)}).encode()
    message.channel.bury(message.delivery_tag, raw, why)
    message.channel.qos.let_go(message.delivery_tag)
