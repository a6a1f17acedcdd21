"""Convert Python values and exceptions to bounded, plain JSON for records."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from itertools import islice
from pathlib import PurePath
from typing import Any
from uuid import UUID

from kombu.exceptions import EncodeError

from runner.ledger.failure import Failure
from runner.ledger.traceback_text import traceback_text
from runner.model.storable import LONGEST_UNCUT, names_of, short_text, storable
from runner.model.strict_json import MOST_NESTED

MESSAGE_LENGTH = 8192
"""The maximum length of an error message, and of its arguments in total (characters)."""

MOST_ARGUMENTS = 16
"""The maximum number of arguments of an exception."""

_LARGEST_INTEGER = 2**63
"""Larger integers are stored as text, because not every JSON parser reads them."""

_DIGITS = len(str(-_LARGEST_INTEGER))


class ResultNotKept(EncodeError):
    """The result of a job cannot be converted to JSON, or is larger than ``limits.result``."""


_OPTION = "set the job's option result to drop or repr"


def write_result(value: Any, limit: int) -> str:
    """Return a result as JSON text.

    Dates and times become ISO 8601 text; decimals, UUIDs, and paths become text; enum members become their values;
    tuples and sets become lists. The same holds for keys of mappings. Lone surrogates, as in file names that are not
    UTF-8, become ``\\udXXX``.

    Raises:
        ResultNotKept: it has values of other types, or more than ``limit`` bytes.
    """
    if value is None:
        return "null"
    if type(value) is int and -_LARGEST_INTEGER < value < _LARGEST_INTEGER and limit >= _DIGITS:
        # The results of most jobs are plain JSON already.
        return str(value)
    try:
        fault = _fault_of(value, limit)
        text = "" if fault else _encode(_with_text_keys(value))
        if "\\ud" in text:
            text = _without_halves(text)
    except BaseException as error:
        # Any exception, because this calls code of the job's classes.
        message = short_text(error, 500, say=str) if isinstance(error, Exception) else names_of(type(error))[1]
        raise ResultNotKept(
            f"the job ran, but its result cannot be kept as JSON: {message}; return plain data, or {_OPTION}"
        ) from error
    if fault:
        raise ResultNotKept(f"the job ran, but its result {fault}, or {_OPTION}")
    if len(text) > limit:
        raise ResultNotKept(
            f"the job ran, but its result has {len(text)} bytes and limits.result is {limit}; "
            f"write it to a file and return where that is, or {_OPTION}"
        )
    return text


_TOO_LARGE = "has more bytes than limits.result allows; write it to a file and return its path"


def _fault_of(value: Any, limit: int) -> str | None:
    """Return a message if a result is too large or too deep, or None.

    Lists that occur in others several times, or in themselves, can represent more text than fits into memory.
    """
    level, parts = [value], 1
    for _ in range(MOST_NESTED + 1):
        level = [container for container in level if isinstance(container, _WALKED)]
        if not level:
            return None
        below: list[Any] = []
        for container in level:
            # One more than fits, since each value takes at least a byte.
            most = limit - parts + 1
            found = [*islice(container, most), *islice(container.values() if isinstance(container, dict) else (), most)]
            parts += len(found) + sum(str.__len__(part) for part in found if isinstance(part, str))
            if parts > limit:
                return _TOO_LARGE
            below += found
        level = below
    return f"is nested more than {MOST_NESTED} deep; make it flatter"


def _without_halves(text: str) -> str:
    value = json.loads(text)
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(_storable(value))
    return text


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        found: dict[str, Any] = {}
        for key, item in value.items():
            text = storable(key)
            if text in found:
                raise ValueError(f"two keys of a mapping become {text!r}")
            found[text] = _storable(item)
        return found
    return value


def shape_result(value: Any, option: str, limit: int, mask: Callable[[str], str] = str) -> Any:
    """Return the value to store for a result.

    Args:
        value: the result.
        option: ``keep``, ``drop``, or ``repr``: the job's option ``result``.
        limit: the maximum size as JSON (bytes).
        mask: removes secrets from a text; called before anything is cut.
    """
    if option == "drop":
        return None
    if option == "keep":
        return value
    try:
        write_result(value, limit)
    except ResultNotKept:
        return _fit(short_text(value, limit, say=_say, mask=mask), limit)
    return value


def _say(value: Any) -> str:
    if _fault_of(value, LONGEST_UNCUT // 8) == _TOO_LARGE:
        return f"<{names_of(type(value))[1]} that is too large to be shown>"
    return repr(value)


def _fit(text: str, limit: int) -> str:
    """Return ``text``, cut to at most ``limit`` bytes as JSON."""
    written = len(json.dumps(text))
    while written > limit and text:
        # A character takes 1 to 12 bytes, so the first cut can be too short.
        text = text[: min(len(text) - 2, len(text) * (limit - len(json.dumps("…"))) // written)] + "…"
        written = len(json.dumps(text))
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal | UUID | PurePath):
        return str(value)
    if isinstance(value, Enum):
        return _with_text_keys(value.value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    raise TypeError(f"{type(value).__name__} is not a JSON type")


_HOLDERS = (dict, list, tuple)
_WALKED = (*_HOLDERS, set, frozenset)


def _with_text_keys(value: Any) -> Any:
    """Return ``value`` with text keys only; the same object if it has no other keys.

    Raises:
        TypeError: a key cannot be converted to text.
        ValueError: two keys of a mapping become the same text.
    """
    if isinstance(value, dict):
        items = {key: _with_text_keys(item) if isinstance(item, _HOLDERS) else item for key, item in value.items()}
        if all(type(key) is str for key in value):
            return value if all(items[key] is item for key, item in value.items()) else items
        found: dict[str, Any] = {}
        for key, item in items.items():
            text = _key_text(key)
            if text in found:
                raise ValueError(f"two keys of a mapping become {text!r}")
            found[text] = item
        return found
    if isinstance(value, list | tuple):
        parts = [_with_text_keys(part) if isinstance(part, _HOLDERS) else part for part in value]
        return value if all(part is item for part, item in zip(parts, value, strict=True)) else parts
    return value


_encode = json.JSONEncoder(default=_plain, allow_nan=False).encode


def _key_text(key: Any) -> str:
    if isinstance(key, Enum):
        return _key_text(key.value)
    if isinstance(key, str):
        return str.__str__(key)
    if key is None or isinstance(key, bool | int | float):
        return json.dumps(key, allow_nan=False)
    if isinstance(key, datetime | date | time | Decimal | UUID | PurePath):
        return str(_plain(key))
    raise TypeError(f"a key is a {type(key).__name__}, which does not become text")


def describe_exception(
    error: BaseException, limit: int, *, message: str | None = None, mask: Callable[[str], str] = str
) -> Failure:
    """Return the record of an exception, even if code of its class fails.

    Args:
        error: the exception. Its chain may be shortened, so do not use it afterwards.
        limit: the maximum size of the traceback, of which the end is kept (bytes).
        message: replaces the message of the exception.
        mask: removes secrets from a text; called before anything is cut.
    """
    module, name = names_of(type(error))
    # The message is also the end of the traceback and usually the first argument, and may have megabytes.
    mask = lru_cache(maxsize=2)(mask)
    # Celery's own errors come from billiard, but people know them under Celery's name.
    module = module.replace("billiard.exceptions", "celery.exceptions")
    return Failure(
        type=name if module in ("builtins", "__main__") else f"{module}.{name}",
        message=message or short_text(error, MESSAGE_LENGTH, say=str, mask=mask),
        traceback=traceback_text(error, limit, mask),
        celery={"exc_type": name, "exc_message": _arguments(error, mask), "exc_module": module},
    )


def _arguments(error: BaseException, mask: Callable[[str], str]) -> list[Any]:
    arguments = BaseException.__dict__["args"].__get__(error)
    found: list[Any] = []
    left = MESSAGE_LENGTH
    for argument in arguments[:MOST_ARGUMENTS]:
        if _is_plain_number(argument) or argument is None:
            found.append(argument)
        else:
            text = short_text(argument, left, say=str if isinstance(argument, str) else repr, mask=mask)
            left = max(0, left - len(text))
            found.append(text)
    return found


def _is_plain_number(value: object) -> bool:
    if type(value) is float:
        return math.isfinite(value)
    return type(value) is bool or (type(value) is int and abs(value) < _LARGEST_INTEGER)
