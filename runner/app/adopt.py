"""Adopt messages of plain Celery clients as runs, with the ids that the clients gave."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

from celery.utils.log import get_logger

from runner.app.celery_options import read_options
from runner.app.celery_types import JsonObject, PlainMessage
from runner.app.factory import RunnerApp
from runner.app.worker_log import about
from runner.errors import InvalidParams, Refused, UsageError
from runner.ledger.admission import Origin, admit, refused
from runner.model.job import JobSpec

log = get_logger(__name__)


def adopt(app: RunnerApp, job: JobSpec, message: PlainMessage) -> None:
    """Submit a run for a plain client's message, or record the refusal.

    The run gets the client's id, so that the client's ``AsyncResult`` follows it.
    """
    run_id = message.headers["id"]
    origin = Origin(trigger="celery", submitted_by=_sender(message), adopted=True)
    settings = app.runner_settings
    try:
        asked: Mapping[str, Any] = message.headers.get("asked") or {}
        params, links = _read_body(message)
        options = read_options(job, {**asked, **links})
        submission = admit(job, params, settings, run_id=run_id, origin=origin, options=options)
    except (UsageError, Refused) as error:
        submission = refused(job, error, run_id=run_id, origin=origin)
        text = "run %s of %s from a plain Celery client is refused: %s"
        log.warning(text, run_id, job.name, error, extra=about(run_id, job.name))
    app.backend.ledger.submit(submission)


_LINKS = {"callbacks": "link", "errbacks": "link_error", "chain": "chain", "chord": "chord"}
"""The names of links in messages, and as options."""


def _read_body(message: PlainMessage) -> tuple[JsonObject, JsonObject]:
    """Return the keyword arguments and the links, whose types ``read_envelope`` has checked."""
    args, kwargs, embed = message.decode()
    if args:
        raise InvalidParams("positional arguments are not accepted", hint="send keyword arguments")
    return kwargs, {_LINKS[name]: link for name, link in (embed or {}).items() if name in _LINKS}


def _sender(message: PlainMessage) -> str:
    origin = message.headers.get("origin")
    return origin[:128] if isinstance(origin, str) else f"celery@{socket.gethostname()}"
