"""The worker's consumer: Celery's own, that asks us about tasks it does not know."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from celery.utils.log import get_logger
from celery.worker.consumer import Consumer
from kombu.utils.json import dumps

from runner.app.worker_log import about
from runner.ledger.message import MARK
from runner.ledger.outcome import describe_exception

log = get_logger(__name__)

UNKNOWN_JOB_PATIENCE = 300.0
"""Seconds that a run of a job this worker does not know is handed back: a worker may be behind on YAML."""

UNKNOWN_JOB_PAUSE = 5.0
"""Seconds before such a run is looked at again."""

LONGEST_RECONNECT_PAUSE = 5
"""Seconds between two tries to reach Redis."""


class UnknownJobError(Exception):
    """No worker that looked at the run knows its job."""


class _Strategies(dict[str, Callable[..., None]]):
    """Handlers by task name; a name nobody declared gets one that refuses."""

    consumer: Any = None

    def __missing__(self, name: Any) -> Callable[..., None]:
        def refuse(message: Any, *rest: Any, **options: Any) -> None:
            files = self.consumer.app.files
            ours = MARK in message.headers and files is not None
            if ours and files.look_for(self.consumer, name, message.headers.get("digest")) and name in self:
                self[name](message, *rest, **options)
                return
            refuse_unknown(self.consumer.app, name, message)

        return refuse


class JobConsumer(Consumer):
    """Consumes runs. Only jobs have a handler: any other task, ``celery.*`` included, is refused."""

    Strategies = _Strategies

    def __init__(self, *args: Any, worker_options: Any = None, **kwargs: Any) -> None:
        # Workers share a ledger; they need not talk to each other.
        options = {**(worker_options or {}), "without_gossip": True, "without_mingle": True}
        super().__init__(*args, worker_options=options, **kwargs)
        self.strategies.consumer = self

    def ensure_connected(self, conn: Any) -> Any:
        """Wait for Redis, at most a few seconds between tries: Celery's own pauses grow to half a minute."""
        conn.ensure_connection = partial(
            conn.ensure_connection, interval_start=1, interval_step=1, interval_max=LONGEST_RECONNECT_PAUSE
        )
        return super().ensure_connected(conn)

    def update_strategies(self) -> None:
        """Make the handlers of all declared jobs, and of nothing else."""
        super().update_strategies()
        for name in list(self.strategies):
            if name not in self.app.job_names:
                del self.strategies[name]

    def on_decode_error(self, message: Any, exc: BaseException) -> None:
        """Put what cannot be decoded to the dead letters, and end its run."""
        bury(message, f"its body cannot be decoded: {exc}")

    def on_invalid_task(self, body: Any, message: Any, exc: BaseException) -> None:
        """Put what is no valid task message to the dead letters, and end its run."""
        bury(message, f"it is no valid task message: {exc}")

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """Put a message without a task's name to the dead letters."""
        bury(message, "it names no task")


def refuse_unknown(app: Any, name: Any, message: Any) -> None:
    """Deal with a message whose task is no declared job.

    One of ours goes back for a while, uncharged, then its run ends in FAILURE, unknown_job. Any other is dropped.
    """
    run_id = message.headers.get("id")
    if MARK not in message.headers or not isinstance(run_id, str):
        bury(message, f"no job {str(name)[:100]!r} is declared here")
        return
    run = next(iter(app.backend.ledger.read([run_id])), None)
    if run is None or run.final:
        message.ack()
        return
    refused = app.backend.ledger.refused_for(run_id)
    if refused is None or refused < UNKNOWN_JOB_PATIENCE:
        log.warning("run %s: job %s is not declared here, handed back", run_id, name, extra=about(run_id, name))
        hand_back_later(message, UNKNOWN_JOB_PAUSE, f"job {name} is not declared by {app.worker_name}")
        return
    failure = describe_exception(
        UnknownJobError(f"no worker knows job {name}, it may have been removed from jobs.d"),
        app.runner_settings.limits.traceback,
    )
    app.backend.attempts.fail_waiting(run_id, message.delivery_tag, "unknown_job", failure)
    message.channel.qos.settled(message.delivery_tag)


def hand_back_later(message: Any, pause: float, detail: str) -> None:
    """Give a message back uncharged, to be looked at again after ``pause`` seconds."""
    channel = message.channel
    channel.claims.hand_back([message.delivery_tag], pause=pause, detail=detail)
    channel.qos.settled(message.delivery_tag)


def bury(message: Any, why: str) -> None:
    """Keep a message nobody can act on among the dead letters, and let the queue go on."""
    headers = message.headers
    ours = headers["id"] if MARK in headers else None
    raw = dumps({"headers": headers, "body": str(message.body)}).encode()
    message.channel.bury(message.delivery_tag, raw, why, ours)
    message.channel.qos.let_go(message.delivery_tag)
