"""Translate the options of Celery submissions: each is supported, or refused by name.

Both ways to submit through Celery use :func:`read_options`: the generated app (``send_task``, ``apply_async``,
``delay``, signatures) and the messages of plain clients. ``docs/how-to/celery-clients.md`` has the table.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from runner.errors import UsageError
from runner.model.interface import Interface, parse_options
from runner.model.job import JobSpec
from runner.model.run_id import require_run_id
from runner.model.submit_options import SubmitOptions

_LINKS = "a job's hooks follow its outcome: declare them under hooks in jobs.d"
_LIMITS = "declare timeout and soft_timeout in jobs.d"
_ROUTING = "name the queue: queue="
_RECORD = "the ledger takes the run in one step; leave the option out"
_WIRE = "params travel as JSON; leave the option out"

REFUSED: Mapping[str, str] = {
    "link": _LINKS,
    "link_error": _LINKS,
    "chain": _LINKS,
    "chord": _LINKS,
    "group_id": _LINKS,
    "group_index": _LINKS,
    "time_limit": _LIMITS,
    "soft_time_limit": _LIMITS,
    "exchange": _ROUTING,
    "exchange_type": _ROUTING,
    "routing_key": _ROUTING,
    "router": _ROUTING,
    "route_name": _ROUTING,
    "connection": _RECORD,
    "producer": _RECORD,
    "publisher": _RECORD,
    "retry": _RECORD,
    "retry_policy": _RECORD,
    "delivery_mode": _RECORD,
    "mandatory": _RECORD,
    "immediate": _RECORD,
    "declare": _RECORD,
    "reply_to": "the result is read from the ledger, nothing is sent",
    "serializer": _WIRE,
    "compression": _WIRE,
    "headers": "a job sees its params only; those of tracing tools (traceparent, baggage, sentry-*, …) may be there",
    "shadow": "a run is shown under its job's name",
    "retries": "a run begins with its first attempt",
    "replaced_task_nesting": "a run begins with its first attempt",
    "stamped_headers": "a job sees its params only",
}
"""Options that are refused unless they have a neutral value, with the alternatives."""

OBEYED = frozenset(
    {
        "countdown",
        "eta",
        "expires",
        "queue",
        "priority",
        "task_id",
        "ignore_result",
        "add_to_parent",
        "result_cls",
        "root_id",
        "parent_id",
    }
)
"""Options that work as Celery documents them."""

_NOTHING_ASKED: Mapping[str, tuple[Any, ...]] = {
    "serializer": ("json", "application/json"),
    "delivery_mode": (2, "persistent"),
    "retry": (True,),
    "retries": (0,),
    "replaced_task_nesting": (0,),
    "group_index": (0,),
}
_TRACING = (
    "traceparent",
    "tracestate",
    "baggage",
    "b3",
    "x-b3-",
    "sentry-",
    "x-datadog-",
    "dd-",
    "elastic-apm-",
    "elasticapm",
    "newrelic",
    "uber-trace-id",
    "x-amzn-trace-id",
    "x-cloud-trace-context",
    "x-ot-span-context",
)
"""The prefixes of headers that tracing tools add to every submission."""


def read_options(job: JobSpec, asked: Mapping[str, Any]) -> SubmitOptions:
    """Translate the options of a Celery call.

    Args:
        job: the job to submit.
        asked: options by Celery's names.

    Raises:
        UsageError: an option is not supported or has an invalid value; the message has the alternative.
    """
    unsupported = [name for name, value in asked.items() if name not in OBEYED and _asks(job, name, value)]
    if unsupported:
        hint = REFUSED.get(unsupported[0], "leave it out; jobs.d declares what a job does")
        subject = f"option {unsupported[0]} is" if len(unsupported) == 1 else f"options {', '.join(unsupported)} are"
        raise UsageError(
            f"job {job.name}: {subject} not supported",
            hint=f"{unsupported[0]}: {hint}",
        )
    for name in ("root_id", "parent_id"):
        if asked.get(name) is not None:
            require_run_id(asked[name])
    return _obey(asked)


def _asks(job: JobSpec, name: str, value: Any) -> bool:
    """Return whether an option has another value than the neutral one."""
    if (
        value is None
        or (value is False and name != "retry")
        or (isinstance(value, list | tuple | dict | str) and not value)
    ):
        return False
    if name == "time_limit":
        return bool(value != job.timeout)
    if name == "soft_time_limit":
        return bool(value != job.soft_timeout)
    if name == "headers":
        return not _is_tracing(value)
    neutral = _NOTHING_ASKED.get(name, ())
    return not any(value == default and isinstance(value, bool) == isinstance(default, bool) for default in neutral)


def is_tracing_header(name: object, value: object = None) -> bool:
    """Return whether a message header is one that tracing tools add. Sentry nests its headers under ``headers``."""
    if name == "headers":
        return _is_tracing(value)
    return isinstance(name, str) and name.lower().startswith(_TRACING)


def _is_tracing(headers: object) -> bool:
    return isinstance(headers, Mapping) and all(is_tracing_header(name, value) for name, value in headers.items())


_CELERY = Interface("python", renamed=(("delay", "countdown"), ("at", "eta")))


def _obey(asked: Mapping[str, Any]) -> SubmitOptions:
    countdown, eta, expires = (asked.get(name) for name in ("countdown", "eta", "expires"))
    if isinstance(countdown, int | float) and countdown < 0:
        countdown = 0  # as in Celery, a time in the past means now
    queue = asked.get("queue")
    given = {
        "delay": countdown,
        "at": None if eta is None else read_time("eta", eta),
        "queue": getattr(queue, "name", None) or queue,  # a kombu.Queue, too
        "priority": asked.get("priority"),
    }
    options = replace(
        parse_options(SubmitOptions, given, _CELERY, zone="UTC"), drop_result=bool(asked.get("ignore_result"))
    )
    if expires is None:
        return options
    # An invalid number or a past time is a mistake of the submitter.
    left = _read_expires(expires) if isinstance(expires, int | float) else _until(expires)
    if options.delay is not None:
        left -= options.delay
    elif options.at is not None:
        left -= max(0.0, options.at - time.time())
    # A run that expires before it can start ends in REVOKED, expired, at the next check.
    return replace(options, expires=_read_expires(left)) if left >= _SHORTEST else replace(options, expired=True)


_SHORTEST = 0.001
"""The resolution of the ledger (seconds). Within less, an idle taker could start the run."""


def _read_expires(seconds: float) -> float:
    return parse_options(SubmitOptions, {"expires": seconds}, _CELERY, zone="UTC").expires or 0.0


def _until(expires: Any) -> float:
    """Return the seconds until a time; ``expires`` counts from now in Celery, and from the start in the runner."""
    if not isinstance(expires, str | datetime):
        raise UsageError(f"expires is {expires!r}, which is neither a time nor a number of seconds")
    return (read_time("expires", expires) - datetime.now(UTC)).total_seconds()


def read_time(name: str, value: Any) -> datetime:
    """Return the time of a ``datetime`` or an ISO 8601 text; without an offset, it is UTC, as in Celery.

    Raises:
        UsageError: the value is neither.
    """
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        if isinstance(moment, datetime):
            aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
            aware.timestamp()  # at the ends of the calendar, the time may not exist
            return aware
    except (ValueError, OverflowError):
        pass
    raise UsageError(f"{name} is {str(value)[:60]!r}, which is not a time", hint="give a datetime or an ISO 8601 text")
