"""How a Python value or exception becomes what is recorded. Bounded, and plain JSON."""

from __future__ import annotations

import json
import traceback as tracebacks
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any
from uuid import UUID

import celery
from celery.exceptions import SoftTimeLimitExceeded
from kombu.exceptions import EncodeError

from runner.ledger.attempt import Failure
from runner.model.strict_json import MOST_NESTED, is_too_deep

_MACHINERY = (str(Path(celery.__file__).parent), str(Path(__file__).parent.parent / "app"))

MESSAGE_LENGTH = 8192
"""Characters of an error's message that are kept."""


class ResultNotKept(EncodeError):
    """The result of a job is no JSON, or too large for ``limits.result``."""


def write_result(value: Any, limit: int) -> str:
    """Return a result as JSON text.

    Dates and times become ISO 8601, decimals, UUIDs and paths text, enum members their value, tuples and sets
    lists.

    Raises:
        ResultNotKept: it is something else, or has more than ``limit`` bytes.
    """
    try:
        text = json.dumps(value, default=_plain, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ResultNotKept(
            f"the job ran, but its result cannot be kept as JSON: {error}; return plain data instead"
        ) from error
    if is_too_deep(value):
        raise ResultNotKept(f"the job ran, but its result is nested more than {MOST_NESTED} deep; make it flatter")
    if len(text) > limit:
        raise ResultNotKept(
            f"the job ran, but its result has {len(text)} bytes and limits.result is {limit}; "
            "write it to a file and return where that is"
        )
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal | UUID | PurePath):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    raise TypeError(f"{type(value).__name__} is no JSON")


def describe_exception(
    error: BaseException, limit: int, *, message: str | None = None, mask: Callable[[str], str] = str
) -> Failure:
    """Return what is recorded of an exception.

    Args:
        error: the exception.
        limit: bytes of the traceback that are kept, the last ones.
        message: what to say instead of the exception's own words.
        mask: takes secrets out of a text; called before anything is cut.
    """
    cls = type(error)
    # Celery's own errors come from billiard; people know them by Celery's name.
    module = cls.__module__.replace("billiard.exceptions", "celery.exceptions")
    name = cls.__qualname__ if module in ("builtins", "__main__") else f"{module}.{cls.__qualname__}"
    start = _first_of_the_job(error.__traceback__)
    traceback = "".join(tracebacks.format_exception(cls, error, start)) if start is not None else None
    return Failure(
        type=name,
        message=message or _cut(mask(_words(error))),
        traceback=_tail(mask(traceback), limit) if traceback else None,
        celery={
            "exc_type": cls.__qualname__,
            "exc_message": [
                mask(each if isinstance(each, str) else _repr(each))
                if not isinstance(each, int | float | bool | None)
                else each
                for each in error.args
            ],
            "exc_module": module,
        },
    )


def _first_of_the_job(traceback: TracebackType | None) -> TracebackType | None:
    """Return the traceback without the frames of Celery and the runner that called the job."""
    while traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(_MACHINERY):
        traceback = traceback.tb_next
    return traceback


def _words(error: BaseException) -> str:
    if isinstance(error, SoftTimeLimitExceeded):
        return "the job ran longer than its soft_timeout"
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - __str__ of somebody's exception may raise anything
        return f"<{type(error).__name__} that cannot be shown>"


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - as above
        return f"<{type(value).__name__} that cannot be shown>"


def _cut(text: str) -> str:
    return text if len(text) <= MESSAGE_LENGTH else text[:MESSAGE_LENGTH] + "…"


def _tail(text: str, limit: int) -> str:
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return data.decode()
    return "… (cut)\n" + data[-limit:].decode("utf-8", "ignore")
