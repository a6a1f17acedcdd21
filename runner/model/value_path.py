"""Names of values in a flow: ``item.name``, ``steps.X.result.files[0]``, ``steps.X.results``, ``steps.X.state``.

They are used in placeholders: ``${steps.X.result}``. After the value, ``.key`` selects a key of a mapping, and ``[n]``
an item of a list, counted from 0.
"""

from __future__ import annotations

import functools
import re
from typing import Any, Final, Literal

from runner._dataclass import dataclass
from runner.model.template import BELOW, STEP_WORD
from runner.model.value_type import closest, describe

_PATH: Final = re.compile(
    rf"(?P<item>item)(?P<in_item>{BELOW})"
    rf"|steps\.(?P<step>{STEP_WORD})\.(?:(?P<state>state)|(?P<value>results?)(?P<in_value>{BELOW}))"
)
_KEYS: Final = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
_MOST_KEYS: Final = 10
"""The largest number of keys of a mapping in a message."""

Of = Literal["item", "result", "results", "state"]


class NoValue(ValueError):
    """The value of a run has nothing at the path; the argument is the message."""


@dataclass(frozen=True, slots=True)
class ValuePath:
    """The parts of a name. ``step`` is None for an item; ``keys`` are those after the value."""

    of: Of
    step: str | None = None
    keys: tuple[str | int, ...] = ()

    @property
    def root(self) -> str:
        """The name without its keys: ``steps.load.results``."""
        return "item" if self.step is None else f"steps.{self.step}.{self.of}"

    def lead(self, value: Any) -> Any:
        """Return the value at the keys, starting with the value of the root.

        Raises:
            NoValue: a key or an index does not exist.
        """
        at = self.root
        for key in self.keys:
            following = f"{at}[{key}]" if isinstance(key, int) else f"{at}.{key}"
            if isinstance(key, int):
                if not isinstance(value, list):
                    raise NoValue(f"${{{following}}}: {at} is {_describe(value)}, not a list")
                if key >= len(value):
                    raise NoValue(f"${{{following}}}: {at} has {_items(len(value))}, counted from 0")
            elif not isinstance(value, dict):
                raise NoValue(f"${{{following}}}: {at} is {_describe(value)}, not a mapping")
            elif key not in value:
                raise NoValue(f"${{{following}}}: {at} has no key {key}{_hint(key, value)}")
            value, at = value[key], following
        return value


@functools.lru_cache(maxsize=4096)
def read_value_path(name: str) -> ValuePath | None:
    """Return the parts of the name between ``${`` and ``}``; None if it is not a value of a flow."""
    found = _PATH.fullmatch(name)
    if found is None:
        return None
    if found["item"]:
        return ValuePath("item", keys=_keys(found["in_item"]))
    if found["state"]:
        return ValuePath("state", found["step"])
    of: Of = "results" if found["value"] == "results" else "result"
    return ValuePath(of, found["step"], _keys(found["in_value"]))


def _keys(text: str) -> tuple[str | int, ...]:
    return tuple(found[1] if found[2] is None else int(found[2]) for found in _KEYS.finditer(text))


def _describe(value: Any) -> str:
    return "null" if value is None else describe(value)


def _items(number: int) -> str:
    return "1 item" if number == 1 else f"{number or 'no'} items"


def _hint(key: str, value: dict[str, Any]) -> str:
    if close := closest(key, value):
        return f", did you mean {close}?"
    if not value:
        return ", it is empty"
    shown = ", ".join(list(value)[:_MOST_KEYS])
    return f", it has {shown}{', …' if len(value) > _MOST_KEYS else ''}"
