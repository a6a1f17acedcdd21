"""Evaluate ``each`` and ``if`` of a step. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

from runner.model.step import MOST_ITEMS
from runner.model.template import expand
from runner.model.value_type import describe


class BadValue(ValueError):
    """``each`` or ``if`` has an invalid value; the message names the option."""


def items_of(each: Any, look_up: Callable[[str], Any]) -> list[Any]:
    """Return the items of a step.

    A mapping of names to lists yields every combination as a mapping; the last name changes fastest.

    Args:
        each: the option: a list, a placeholder for a list, or a mapping of names to either.
        look_up: returns the value of a placeholder.

    Raises:
        BadValue: the value is not a list, or has too many items.
        ValueError: ``look_up`` has no value for a placeholder.
    """
    if not isinstance(each, Mapping):
        items = _list(expand(each, look_up), "each", each)
        _check_number(len(items), "each")
        return items
    lists = {name: _list(expand(written, look_up), f"each.{name}", written) for name, written in each.items()}
    if not lists:
        return []
    _check_number(math.prod(map(len, lists.values())), "the combinations of each")
    return [dict(zip(lists, chosen, strict=True)) for chosen in itertools.product(*lists.values())]


def holds(condition: Any, look_up: Callable[[str], Any]) -> bool:
    """Return the value of ``if``.

    Raises:
        BadValue: the value is neither true nor false.
        ValueError: ``look_up`` has no value for a placeholder.
    """
    value = expand(condition, look_up)
    if not isinstance(value, bool):
        raise BadValue(f"if: {_shown(condition)}must give true or false, not {_kind(value)}")
    return value


def _list(value: Any, option: str, written: Any) -> list[Any]:
    if not isinstance(value, list):
        raise BadValue(f"{option}: {_shown(written)}must give a list, not {_kind(value)}")
    return value


def _check_number(number: int, what: str) -> None:
    if number > MOST_ITEMS:
        raise BadValue(f"{what}: {number:,} items are too many, at most {MOST_ITEMS:,} are allowed")


def _kind(value: Any) -> str:
    return "null" if value is None else describe(value)


def _shown(written: Any) -> str:
    return f"{written} " if isinstance(written, str) else ""
