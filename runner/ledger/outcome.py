"""Turn Python values and exceptions into records: bounded, plain JSON."""

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
from runner.model.storable import LONGEST_UNCUT, names_of, storable, words_of
from runner.model.strict_json import MOST_NESTED

MESSAGE_LENGTH = 8192
"""Characters of an error's message that are kept; its arguments get as many in total."""

MOST_ARGUMENTS = 16
"""Arguments of an exception that are kept."""

_LARGEST_INTEGER = 2**63
"""Larger ones are kept as text: not every reader of JSON takes them."""

_DIGITS = len(str(-_LARGEST_INTEGER))


class ResultNotKept(EncodeError):
    """The result of a job is no JSON, or too large for ``limits.result``."""


_OPTION = "set the job's option result to drop or repr"


def write_result(value: Any, limit: int) -> str:
    """Return a result as JSON text.

    Dates and times become ISO 8601, decimals, UUIDs and paths text, enum members their value, tuples and sets
    lists; as keys of a mapping, too. Half of a surrogate pair, as in the name of a file that is not UTF-8, becomes
    ``\\udXXX``.

    Raises:
        ResultNotKept: it is something else, or has more than ``limit`` bytes.
    """
    if value is None:
        return "null"
    if type(value) is int and -_LARGEST_INTEGER < value < _LARGEST_INTEGER and limit >= _DIGITS:
        # What most jobs return that return anything: nothing can be wrong with it.
        return str(value)
    try:
        fault = _fault_of(value, limit)
        text = "" if fault else _encode(_with_text_keys(value))
        if "\\ud" in text:
            text = _without_halves(text)
    except BaseException as error:
        # Not only those of `json`: classes of the job are asked for what they hold.
        said = words_of(error, 500, say=str) if isinstance(error, Exception) else names_of(type(error))[1]
        raise ResultNotKept(
            f"the job ran, but its result cannot be kept as JSON: {said}; return plain data, or {_OPTION}"
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
    """Return the fault in a result's size, or None if it can be written.

    Lists that stand in others several times, or in themselves, can stand for more text than there is memory.
    """
    level, parts = [value], 1
    for _ in range(MOST_NESTED + 1):
        level = [each for each in level if isinstance(each, _WALKED)]
        if not level:
            return None
        below: list[Any] = []
        for each in level:
            # One more than fit; each has a byte at least.
            most = limit - parts + 1
            found = [*islice(each, most), *islice(each.values() if isinstance(each, dict) else (), most)]
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
        return [_storable(each) for each in value]
    if isinstance(value, dict):
        found: dict[str, Any] = {}
        for key, each in value.items():
            text = storable(key)
            if text in found:
                raise ValueError(f"two keys of a mapping become {text!r}")
            found[text] = _storable(each)
        return found
    return value


def shape_result(value: Any, option: str, limit: int, mask: Callable[[str], str] = str) -> Any:
    """Return the part of a result that is to be stored.

    Args:
        value: the result.
        option: ``keep``, ``drop``, or ``repr``: the job's option ``result``.
        limit: bytes that may be stored, as JSON.
        mask: takes secrets out of a text; called before anything is cut.
    """
    if option == "drop":
        return None
    if option == "keep":
        return value
    try:
        write_result(value, limit)
    except ResultNotKept:
        return _fit(words_of(value, limit, say=_say, mask=mask), limit)
    return value


def _say(value: Any) -> str:
    if _fault_of(value, LONGEST_UNCUT // 8) == _TOO_LARGE:
        return f"<{names_of(type(value))[1]} that is too large to be shown>"
    return repr(value)


def _fit(text: str, limit: int) -> str:
    """Return ``text``, cut so that it has at most ``limit`` bytes as JSON."""
    written = len(json.dumps(text))
    while written > limit and text:
        # A character has 1 to 12 bytes; what was cut off may have been the short ones.
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
    """Return ``value`` with every key as text; itself, if it has no others.

    Raises:
        TypeError: a key is nothing that becomes text.
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
    """Return the record of an exception, whatever code its class runs.

    Args:
        error: the exception; nobody needs it any more, as the chain behind it may be shortened.
        limit: bytes of the traceback that are kept, the last ones.
        message: what to say instead of the exception's own words.
        mask: takes secrets out of a text; called before anything is cut.
    """
    module, name = names_of(type(error))
    # The message is the end of the traceback too, and mostly the first argument; it may have megabytes.
    mask = lru_cache(maxsize=2)(mask)
    # Celery's own errors come from billiard; people know them by Celery's name.
    module = module.replace("billiard.exceptions", "celery.exceptions")
    return Failure(
        type=name if module in ("builtins", "__main__") else f"{module}.{name}",
        message=message or words_of(error, MESSAGE_LENGTH, say=str, mask=mask),
        traceback=traceback_text(error, limit, mask),
        celery={"exc_type": name, "exc_message": _arguments(error, mask), "exc_module": module},
    )


def _arguments(error: BaseException, mask: Callable[[str], str]) -> list[Any]:
    arguments = BaseException.__dict__["args"].__get__(error)
    found: list[Any] = []
    left = MESSAGE_LENGTH
    for each in arguments[:MOST_ARGUMENTS]:
        if _is_plain_number(each) or each is None:
            found.append(each)
        else:
            text = words_of(each, left, say=str if isinstance(each, str) else repr, mask=mask)
            left = max(0, left - len(text))
            found.append(text)
    return found


def _is_plain_number(value: object) -> bool:
    if type(value) is float:
        return math.isfinite(value)
    return type(value) is bool or (type(value) is int and abs(value) < _LARGEST_INTEGER)
