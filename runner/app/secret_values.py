"""Mask the secrets of a run in its results and exceptions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any

from runner.ledger.outcome import ResultNotKept, write_result
from runner.model.masking import MASK, Masker
from runner.model.storable import names_of

MOST_NOTES = 10_000
"""The maximum number of notes of an exception that are searched for secrets."""


def mask_result(masker: Masker, value: Any, limit: int) -> Any:
    """Return the result of a job, as plain JSON data with secrets masked if it contains any.

    A result that cannot be stored anyway (not JSON, or more than ``limit`` bytes) is returned unchanged.
    """
    try:
        text = write_result(value, limit)
    except ResultNotKept:
        return value
    return json.loads(masker.json(text)) if masker.finds(text) else value


@lru_cache(maxsize=64)
def masker_of(values: tuple[str, ...]) -> Masker:
    """Return a masker for ``values``."""
    return Masker(values)


def scrub(masker: Masker, error: BaseException) -> BaseException:
    """Mask secrets in an exception and in its causes and contexts, and return it.

    Celery logs it, sends it to the parent process, and includes it in events, so it is changed in place. If its message
    does not come from its attributes, another exception of the same class with the same traceback is returned.
    """
    try:
        for exception in _chain(error):
            _scrub_one(masker, exception)
        if not any(masker.finds(text) for exception in _chain(error) for text in _shown(exception)):
            return error
        return _stand_in(masker, error).with_traceback(error.__traceback__)
    except BaseException:  # noqa: BLE001 - somebody's class, which may raise anything
        return _unsearched(error)


def _unsearched(error: BaseException) -> Exception:
    """Return an exception with the same name but without the message of one that cannot be searched for secrets."""
    module, name = names_of(type(error))
    twin: type[Exception] = type(name, (Exception,), {"__module__": module})
    made = twin("its words cannot be searched for secrets, and are not shown")
    made.__suppress_context__ = True
    return made.with_traceback(BaseException.__dict__["__traceback__"].__get__(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        exception = waiting.pop()
        if exception is None or id(exception) in seen:
            continue
        seen.add(id(exception))
        yield exception
        waiting += [exception.__cause__, exception.__context__]
        if isinstance(exception, BaseExceptionGroup):
            waiting += exception.exceptions


def _scrub_one(masker: Masker, error: BaseException) -> None:
    error.args = tuple(_masked(masker, arg) for arg in error.args)
    for name, value in list(getattr(error, "__dict__", {}).items()):
        masked = _masked(masker, value)
        if masked is not value:
            # A property of the class may refuse; `scrub` checks again.
            with suppress(Exception):
                setattr(error, name, masked)


def _masked(masker: Masker, value: object) -> object:
    """Return ``value`` with secrets masked; values of unknown types are returned unchanged."""
    if isinstance(value, str):
        return masker.text(value)
    if isinstance(value, bytes):
        text = value.decode("utf-8", "surrogateescape")
        return masker.text(text).encode("utf-8", "surrogateescape") if masker.finds(text) else value
    if type(value) in (list, tuple, dict, int, float) and any(masker.finds(text) for text in _texts(value)):
        if isinstance(value, tuple):
            return tuple(_masked(masker, item) for item in value)
        if isinstance(value, list):
            return [_masked(masker, item) for item in value]
        if isinstance(value, dict):
            return {_masked(masker, key): _masked(masker, item) for key, item in value.items()}
        return MASK
    return value


def _texts(value: object) -> Iterator[str]:
    for say in (str, repr):
        # Code of the job, which may raise anything.
        try:
            text = say(value)
        except BaseException:  # noqa: BLE001, S112
            continue
        yield text


def _shown(error: BaseException) -> Iterator[str]:
    yield from _texts(error)
    yield from _texts(error.args)
    for number, note in enumerate(getattr(error, "__notes__", ())):
        if number >= MOST_NOTES:
            raise ValueError("too many notes to be searched")
        yield from _texts(note)


def _stand_in(masker: Masker, error: BaseException) -> BaseException:
    cls = type(error)
    message = next(iter(_texts(error)), cls.__name__)
    masked = masker.text(message)
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    try:
        twin: Any = type(
            cls.__name__, (cls,), {**names, "__str__": lambda _: masked, "__repr__": lambda _: repr(masked)}
        )
        made: BaseException = twin.__new__(twin)
        made.args = (masked,)
    except Exception:  # noqa: BLE001 - a class that cannot be derived from, or not be made so
        made = RuntimeError(f"{cls.__name__}: {masked}")
    if any(masker.finds(text) for text in _shown(made)):
        made = RuntimeError(f"{cls.__name__}: {masked}")
    made.__suppress_context__ = True
    return made
