"""What a worker does with each message: run it, adopt it, or refuse it.

Nothing from a message decides what is imported, and headers such as timelimit, expires, eta, ignore_result
and reply_to are not obeyed: only the id and the job's name are passed on, and nothing of the body.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from celery.utils.log import get_logger
from celery.worker.strategy import default as stock_strategy

from runner.app.adopt import adopt
from runner.app.consumer import hand_back_later
from runner.app.worker_log import about
from runner.errors import InvalidParams, Unavailable
from runner.ledger.message import MARK
from runner.model.job import JobSpec
from runner.spec.params import check_params

log = get_logger(__name__)

NO_BODY = "[[], {}, {}]"
"""What Celery finds in the place of arguments and links."""

PASSED_ON = frozenset({"id", "task", "root_id", "lang", "argsrepr", "kwargsrepr"})
"""The headers that a worker looks at."""


FRESH_SECONDS = 5.0
"""A spec that came so lately, while the worker ran, may have been read from a file that was not whole: what does not
fit it is handed back and not failed."""

FRESH_PAUSE = 1.0
"""Seconds before such a run is looked at again."""


def strategy(task: Any, app: Any, consumer: Any, **kwargs: Any) -> Callable[..., None]:
    """Return the handler of the messages of one job (Celery's ``Task.Strategy``)."""
    run_it = stock_strategy(task, app, consumer, **kwargs)

    def handle(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any, **options: Any) -> None:
        headers = message.headers
        other = MARK in headers and headers.get("digest") != task.job.digest and app.files is not None
        # Submitted under another spec: perhaps this worker is behind, and a look at the files changes that.
        if other and app.files.look_for(consumer, task.name, headers.get("digest")):
            consumer.strategies[task.name](message, body, ack, reject, callbacks, **options)
            return
        fresh = task.loaded_at is not None and time.monotonic() - task.loaded_at < FRESH_SECONDS
        try:
            if MARK not in headers:
                adopt(app, task.job, message)
                message.ack()
                return
            if other and fresh and not fits(app, task.job, headers.get("id")):
                log.warning(
                    "run %s: its params do not fit %s, which just changed: handed back",
                    headers["id"],
                    task.name,
                    extra=about(headers["id"], task.name),
                )
                hand_back_later(message, FRESH_PAUSE, f"its params do not fit job {task.name}, which just changed")
                return
            if task.broken is not None:
                refuse_broken(app, task, message)
                return
        except Unavailable as error:
            log.warning("a message for %s is left for later, Redis is away: %s", task.name, error)
            # Kept, its lease would be renewed and nobody would look at it again.
            message.requeue()
            return
        # Params come from the ledger; links (callbacks, errbacks, chain, chord) would be obeyed.
        message.body, message._decoded_cache = NO_BODY, None
        message.headers = {name: headers[name] for name in PASSED_ON if name in headers}
        run_it(message, body, ack, reject, callbacks, **options)

    return handle


def fits(app: Any, job: JobSpec, run_id: Any) -> bool:
    """Whether a run's params fit a job; True also where that is not for this to say."""
    run = next(iter(app.backend.ledger.read([run_id])), None) if isinstance(run_id, str) else None
    if run is None:
        return True
    try:
        check_params(job, run.params)
    except InvalidParams:
        return False
    return True


def refuse_broken(app: Any, task: Any, message: Any) -> None:
    """End the run of a job whose target cannot be imported here: FAILURE, import_error."""
    from runner.app.job_task import JobImportError
    from runner.ledger.outcome import describe_exception

    failure = describe_exception(JobImportError(task.broken), app.runner_settings.limits.traceback)
    app.backend.attempts.fail_waiting(message.headers["id"], message.delivery_tag, "import_error", failure)
    message.channel.qos.settled(message.delivery_tag)
    run_id = message.headers["id"]
    log.error("run %s of %s: import_error: %s", run_id, task.name, task.broken, extra=about(run_id, task.name))
