"""Format the traceback of a job's exception, with bounds for deep, wide, and hostile exceptions."""

from __future__ import annotations

import traceback as tracebacks
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

import celery

from runner.model.storable import LONGEST_UNCUT, names_of, short_text, storable

_RUNNER = Path(__file__).parent.parent
_MACHINERY = (str(Path(celery.__file__).parent), str(_RUNNER / "app"), str(_RUNNER / "attempt"))

MOST_EXCEPTIONS = 32
"""The maximum number of causes, contexts, and group members that are shown, nearest first."""

MOST_FRAMES = 300
"""The maximum number of frames of each exception; the last ones are shown."""

MOST_NOTES = 16
"""The maximum number of notes of each exception, and of members of a large group; the first ones are shown."""

LONGEST_NOTE = 500
"""The maximum length of a note (characters)."""

LONGEST_WORDS = 2000
"""The maximum length of each message (characters), so that a long one leaves room for the frames."""


def traceback_text(error: BaseException, limit: int, mask: Callable[[str], str] = str) -> str | None:
    """Return the traceback of ``error`` without the frames of Celery and the runner.

    None if it was never raised, or if an audit hook of the job refuses to show the frames. The chain behind ``error``
    is shortened in place.

    Args:
        error: an exception that is not used afterwards.
        limit: the maximum size, of which the end is kept (bytes).
        mask: removes secrets from a text; called before it is cut.
    """
    try:
        start = _first_of_the_job(_TRACEBACK.__get__(error))
        if start is None:
            return None
        try:
            text = _whole(error, start, mask)
        except BaseException:  # noqa: BLE001 - somebody's class, which may raise anything
            text = _frames_alone(error, start, mask)
    except Exception:  # noqa: BLE001 - nothing of the exception was asked: it is the process that forbids this
        return None
    return _tail(mask(storable(text[-max(LONGEST_UNCUT, 2 * limit) :])), limit)


def _whole(error: BaseException, start: TracebackType, mask: Callable[[str], str]) -> str:
    left_out = _shorten(error)
    root = tracebacks.TracebackException(type(error), error, start, limit=-MOST_FRAMES, compact=True)
    waiting: list[tracebacks.TracebackException | None] = [root]
    while waiting:
        exception = waiting.pop()
        if exception is not None:
            _shorten_message(exception, mask)
            waiting += [exception.__cause__, exception.__context__, *(getattr(exception, "exceptions", None) or ())]
    more = "… more exceptions behind these are left out\n\n" if left_out else ""
    return more + "".join(root.format())


def _shorten_message(exception: Any, mask: Callable[[str], str]) -> None:
    exception._str = short_text(exception._str, LONGEST_WORDS, say=str, mask=mask)
    notes = getattr(exception, "__notes__", None)
    if notes is not None:
        exception.__notes__ = [short_text(note, LONGEST_NOTE, say=str, mask=mask) for note in islice(notes, MOST_NOTES)]


def _frames_alone(error: BaseException, start: TracebackType, mask: Callable[[str], str]) -> str:
    """Return a traceback that uses only the message of the exception."""

    def line(exception: BaseException) -> str:
        module, name = names_of(type(exception))
        message = short_text(exception, LONGEST_WORDS, say=str, mask=mask)
        return f"{name if module == 'builtins' else f'{module}.{name}'}: {message}\n"

    frames = "".join(tracebacks.format_tb(start, limit=-MOST_FRAMES))
    members = "".join(f"  | {line(member)}" for member in _members(error)[:MOST_NOTES])
    return f"Traceback (most recent call last):\n{frames}{line(error)}{members}"


def _first_of_the_job(traceback: TracebackType | None) -> TracebackType | None:
    """Return the traceback without the frames of Celery and the runner that called the job."""
    while traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(_MACHINERY):
        traceback = traceback.tb_next
    return traceback


def _shorten(error: BaseException) -> bool:
    """Cut the chain of ``error`` after :data:`MOST_EXCEPTIONS`; return whether exceptions were left out.

    Raises:
        ValueError: a group has too many members, which cannot be cut.
    """
    kept: dict[int, BaseException] = {id(error): error}
    waiting = _behind(error)
    while waiting and len(kept) < MOST_EXCEPTIONS:
        exception = waiting.popleft()
        if id(exception) not in kept:
            kept[id(exception)] = exception
            waiting += _behind(exception)
    left_out = {id(exception) for exception in waiting} - kept.keys()
    for exception in kept.values():
        if any(id(member) in left_out for member in _members(exception)):
            raise ValueError(f"a group with more than {MOST_EXCEPTIONS} exceptions")
        for link in (_CAUSE, _CONTEXT):
            behind = link.__get__(exception)
            if behind is not None and id(behind) not in kept:
                link.__set__(exception, None)
    return bool(left_out)


# The attributes of the base classes, because a derived class may have properties of the same names.
_TRACEBACK = BaseException.__dict__["__traceback__"]
_CAUSE = BaseException.__dict__["__cause__"]
_CONTEXT = BaseException.__dict__["__context__"]
_MEMBERS = BaseExceptionGroup.__dict__["exceptions"]


def _members(error: BaseException) -> Sequence[BaseException]:
    return _MEMBERS.__get__(error) if issubclass(type(error), BaseExceptionGroup) else ()


def _behind(error: BaseException) -> deque[BaseException]:
    linked = (link.__get__(error) for link in (_CAUSE, _CONTEXT))
    return deque(member for member in (*linked, *_members(error)) if member is not None)


def _tail(text: str, limit: int) -> str:
    data = text.encode()
    return text if len(data) <= limit else "… (cut)\n" + data[-limit:].decode("utf-8", "ignore")
