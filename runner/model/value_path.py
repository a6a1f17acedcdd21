"""Names of values in a flow: ``item.name``, ``steps.X.result.files[0]``, ``steps.X.results``, ``steps.X.state``.

They stand in placeholders, ``${steps.X.result}``. A part after the value leads into it: ``.key`` into a mapping, and
``[n]``, from 0, into a list.
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
"""Keys of a mapping that a message shows."""

Of = Literal["item", "result", "results", "state"]


class NoValue(ValueError):
    """A path leads to nothing in the value that a run has; the argument is the message."""


@dataclass(frozen=True, slots=True)
class ValuePath:
    """A name in its parts. ``step`` is None for an item; ``keys`` lead into the value."""

    of: Of
    step: str | None = None
    keys: tuple[str | int, ...] = ()

    @property
    def root(self) -> str:
        """The name without its keys: ``steps.load.results``."""
        return "item" if self.step is None else f"steps.{self.step}.{self.of}"

    def lead(self, value: Any) -> Any:
        """Return the value at the end of the keys, from the value of the root.

        Raises:
            NoValue: a key or an index is not there.
        """
        at = self.root
        for key in self.keys:
            following = f"{at}[{key}]" if isinstance(key, int) else f"{at}.{key}"
            if isinstance(key, int):
                if not isinstance(value, list):
                    raise NoValue(f"${{{following}}}: {at} is {_kind(value)}, not a list")
                if key >= len(value):
                    raise NoValue(f"${{{following}}}: {at} has {_items(len(value))}, counted from 0")
            elif not isinstance(value, dict):
                raise NoValue(f"${{{following}}}: {at} is {_kind(value)}, not a mapping")
            elif key not in value:
                raise NoValue(f"${{{following}}}: {at} has no key {key}{_hint(key, value)}")
            value, at = value[key], following
        return value


@functools.lru_cache(maxsize=4096)
def read_value_path(name: str) -> ValuePath | None:
    """Return the parts of the words between ``${`` and ``}``; None if they name no value of a flow."""
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
    return tuple(each[1] if each[2] is None else int(each[2]) for each in _KEYS.finditer(text))


def _kind(value: Any) -> str:
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
