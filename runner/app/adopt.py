"""Messages of plain Celery clients: adopted as runs, under the id that the client gave."""

from __future__ import annotations

import socket
from typing import Any

from celery.utils.log import get_logger
from kombu.exceptions import KombuError

from runner.app.worker_log import about
from runner.errors import InvalidParams, JobDisabled
from runner.ledger.attempt import Failure
from runner.ledger.outcome import describe_exception
from runner.ledger.submission import Submission
from runner.model.job import JobSpec
from runner.spec.params import check_params

log = get_logger(__name__)

LINKS = ("callbacks", "errbacks", "chain", "chord")


class Refused(Exception):
    """The message asks for more than a declared job with valid params."""


def adopt(app: Any, job: JobSpec, message: Any) -> None:
    """Submit a run for a message without our mark, or record why that is refused.

    The run gets the client's id, so that the client's ``AsyncResult`` follows it.
    """
    run_id = message.headers.get("id")
    if not isinstance(run_id, str) or not run_id or len(run_id) > 128:
        log.error("a message for %s has no usable id, it is dropped", job.name)
        return
    refusal: Failure | None = None
    params: dict[str, Any] = {}
    try:
        params = check_params(job, _params_of(message))
        if not job.enabled:
            raise JobDisabled(f"job {job.name} is disabled")
    except (InvalidParams, JobDisabled, Refused) as error:
        refusal = describe_exception(Refused(str(error)), app.runner_settings.limits.traceback)
        told = "run %s of %s from a plain Celery client is refused: %s"
        log.warning(told, run_id, job.name, error, extra=about(run_id, job.name))
    app.backend.ledger.submit(
        Submission(
            id=run_id,
            job=job,
            params=params,
            queue=job.queue,
            priority=job.priority,
            trigger="celery",
            submitted_by=_origin(message),
            expires=job.expires,
            adopted=True,
            refusal=refusal,
        )
    )


def _params_of(message: Any) -> dict[str, Any]:
    try:
        body = message.decode()
    except (KombuError, ValueError, TypeError) as error:
        raise Refused(f"its body cannot be read: {error}") from error
    if not isinstance(body, list | tuple) or len(body) != 3:
        raise Refused("it does not follow Celery's message protocol 2")
    args, kwargs, embed = body
    linked = [name for name in LINKS if isinstance(embed, dict) and embed.get(name)]
    if linked or message.headers.get("group"):
        raise Refused(f"links are not followed: {', '.join(linked) or 'group'}")
    if args:
        raise Refused("positional arguments are not accepted, send keyword arguments")
    if not isinstance(kwargs, dict):
        raise Refused("its keyword arguments are no mapping")
    return kwargs


def _origin(message: Any) -> str:
    origin = message.headers.get("origin")
    return origin[:128] if isinstance(origin, str) else f"celery@{socket.gethostname()}"
