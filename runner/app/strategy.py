"""What a worker does with each message: run it, adopt it, or refuse it.

Nothing from a message decides what is imported, and headers such as timelimit, expires, eta, ignore_result
and reply_to are not obeyed: only the id and the job's name are passed on, and nothing of the body.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.utils.log import get_logger
from celery.worker.strategy import default as stock_strategy

from runner.app.adopt import adopt
from runner.errors import Unavailable
from runner.ledger.message import MARK

log = get_logger(__name__)

NO_BODY = "[[], {}, {}]"
"""What Celery finds in the place of arguments and links."""

PASSED_ON = frozenset({"id", "task", "root_id", "lang", "argsrepr", "kwargsrepr"})
"""The headers that a worker looks at."""


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
        try:
            if MARK not in headers:
                adopt(app, task.job, message)
                message.ack()
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


def refuse_broken(app: Any, task: Any, message: Any) -> None:
    """End the run of a job whose target cannot be imported here: FAILURE, import_error."""
    from runner.app.job_task import JobImportError
    from runner.ledger.outcome import describe_exception

    failure = describe_exception(JobImportError(task.broken), app.runner_settings.limits.traceback)
    app.backend.attempts.fail_waiting(message.headers["id"], message.delivery_tag, "import_error", failure)
    message.channel.qos.settled(message.delivery_tag)
    log.error("run %s of %s: import_error: %s", message.headers["id"], task.name, task.broken)
