"""The worker's consumer: Celery's own, for messages of plain clients. Runs are taken by takers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from celery.utils.log import get_logger
from celery.worker.consumer import Consumer
from kombu.utils.json import dumps

from runner.app.adopt import adopt
from runner.app.celery_types import DeclaredTask, Message, Words
from runner.app.factory import RunnerApp
from runner.errors import Unavailable
from runner.ledger.message import MARK
from runner.worker.state import state_of

log = get_logger(__name__)

LONGEST_RECONNECT_PAUSE = 5
"""Seconds between two tries to reach Redis."""

Handler = Callable[..., None]
"""What Celery calls a strategy: it is called with a message, and more that is not needed here."""


class _Handlers(dict[str, Handler]):
    """Handlers by task name, as the jobs are when a message comes; a name nobody declared gets one that refuses."""

    def __init__(self, app: RunnerApp) -> None:
        super().__init__()
        self._app = app

    def __missing__(self, name: object) -> Handler:
        task = self._app.job_task(name) if isinstance(name, str) else None
        if task is None:
            return lambda message, *_, **__: bury(message, f"no job {str(name)[:100]!r} is declared here")
        return lambda message, *_, **__: take_in(self._app, task, message)


class JobConsumer(Consumer):
    """Takes in what plain clients send. Only jobs have a handler: any other task, ``celery.*`` included, is refused."""

    app: RunnerApp

    def __init__(self, *args: object, worker_options: Words | None = None, **kwargs: object) -> None:
        # Workers share a ledger; they need not talk to each other.
        options = {**(worker_options or {}), "without_gossip": True, "without_mingle": True}
        super().__init__(*args, worker_options=options, **kwargs)
        self.strategies: dict[str, Handler] = _Handlers(self.app)

    def ensure_connected(self, conn: Any) -> Any:
        """Wait for Redis, at most a few seconds between tries: Celery's own pauses grow to half a minute."""
        conn.ensure_connection = partial(
            conn.ensure_connection, interval_start=1, interval_step=1, interval_max=LONGEST_RECONNECT_PAUSE
        )
        return super().ensure_connected(conn)

    def add_task_queue(self, queue: str, *_: object, **__: object) -> None:
        """Take runs from one more queue."""
        state = state_of(self)
        state.queues = sorted({*state.queues, queue})
        state.tell_takers()
        log.info("takes runs from %s too", queue)

    def cancel_task_queue(self, queue: str) -> None:
        """Take no more runs from a queue; what was taken from it goes on."""
        state = state_of(self)
        state.queues = [name for name in state.queues if name != queue]
        state.tell_takers()
        log.info("takes no more runs from %s", queue)

    def update_strategies(self) -> None:
        """Do nothing: a handler is found when a message comes. Celery would make one, and a tracer, for each task."""

    def on_decode_error(self, message: Message, exc: BaseException) -> None:
        """Put what cannot be decoded to the dead letters."""
        self.bury(message, f"its body cannot be decoded: {exc}")

    def on_invalid_task(self, body: object, message: Message, exc: BaseException) -> None:
        """Move a message that is not a valid task message to the dead letters."""
        self.bury(message, f"it is not a valid task message: {exc}")

    def on_unknown_message(self, body: object, message: Message) -> None:
        """Put a message without a task's name to the dead letters."""
        self.bury(message, "it names no task")

    def bury(self, message: Message, why: str) -> None:
        """Keep a message that nobody can act on among the dead letters, and let the inbox go on."""
        bury(message, why)


def take_in(app: RunnerApp, task: DeclaredTask, message: Message) -> None:
    """Adopt a message of a plain Celery client, or refuse it. Nothing in it decides what is imported."""
    if MARK in message.headers:
        # The message of a run is in a queue of runs; this one was put here by somebody else.
        bury(message, "it claims to be the message of a run but was published to the inbox of plain Celery clients")
        return
    try:
        adopt(app, task.job, message)
        message.ack()
    except Unavailable as error:
        log.warning("a message for %s is left for later, Redis is away: %s", task.name, error)
        # Kept, its lease would be renewed and nobody would look at it again.
        message.requeue()


def bury(message: Message, why: str) -> None:
    """Keep a message that nobody can act on among the dead letters, and let the inbox go on."""
    raw = dumps({"headers": message.headers, "body": str(message.body)}).encode()
    message.channel.bury(message.delivery_tag, raw, why)
    message.channel.qos.let_go(message.delivery_tag)
