"""How values are checked and described: text, numbers, durations, lists, mappings.

A kind reports what is wrong through a ``Report`` and goes on, so that one reading finds all problems;
it never raises for bad input.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Protocol

from runner.model.duration import (
    DURATION_PATTERN,
    SIZE_PATTERN,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)

Path = tuple[str | int, ...]
"""Where a value stands: keys and list indexes from the top of the file."""


class Report(Protocol):
    """Takes one problem. ``on_key`` points at the key of ``path`` instead of its value."""

    def __call__(self, path: Path, message: str, *, on_key: bool = False) -> None: ...


class _Invalid:
    def __repr__(self) -> str:
        return "INVALID"


INVALID: Final[Any] = _Invalid()
"""What :meth:`Kind.read` returns after it reported a problem."""


class Kind(Protocol):
    """How a value is checked and described."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        """Return the value as the model holds it, or report and return INVALID."""

    def schema(self) -> dict[str, Any]:
        """Return the same rule as JSON Schema 2020-12."""

    def write(self, value: Any) -> Any:
        """Return a model value as it would stand in YAML (for defaults and digests)."""


def describe(value: Any) -> str:
    """Return how a message names the type of a YAML value."""
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", type(None): "nothing"}
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return names.get(type(value), type(value).__name__)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``", did you mean X?"`` for the closest of ``known``, or an empty string."""
    import difflib  # start-up time: only a message needs it

    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f", did you mean {close[0]}?" if close else ""


@dataclass(frozen=True, slots=True)
class Text:
    """A string; ``pattern`` is an ECMA-262 and Python regular expression, ``advice`` says what fits it."""

    pattern: str | None = None
    advice: str = ""
    max_length: int | None = None
    min_length: int = 0

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, str):
            report(path, f"expected text, got {describe(value)}{self._remedy(value)}")
            return INVALID
        if len(value) < self.min_length:
            report(path, "is empty" + (f", {self.advice}" if self.advice else ""))
            return INVALID
        if self.max_length is not None and len(value) > self.max_length:
            report(path, f"is {len(value)} characters long, at most {self.max_length} are allowed")
            return INVALID
        if self.pattern is not None and not _compiled(self.pattern).search(value):
            report(path, f"{value!r} does not fit, {self.advice or 'it must match ' + self.pattern}")
            return INVALID
        return value

    def _remedy(self, value: Any) -> str:
        if isinstance(value, int | float):
            return QUOTE_IT
        return f", {self.advice or 'write one text, or remove it'}"

    def schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "string"}
        if self.min_length:
            schema["minLength"] = self.min_length
        if self.max_length is not None:
            schema["maxLength"] = self.max_length
        if self.pattern is not None:
            schema["pattern"] = self.pattern
            if self.advice:
                schema["patternErrorMessage"] = self.advice
        return schema

    def write(self, value: Any) -> Any:
        return value


QUOTE_IT: Final = ", quote it"
"""How a message ends that asks for quotes. Who knows the source text adds it: ``, quote it: "1.10"``."""


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    # `re` has a cache too, but a slow one, and this runs for each text of each job. In Python `$` lets a
    # line break follow, in ECMA-262 it does not.
    return re.compile(pattern[:-1] + r"\Z" if pattern.endswith("$") else pattern)


def editor_message(advice: str) -> dict[str, str]:
    """Return what makes editors say ``advice`` of a wrong value; validators ignore it."""
    return {"errorMessage": advice, "patternErrorMessage": advice}


_DURATION_ADVICE = "write a duration with a unit, such as 90s, 15m, 1h30m or 2d"
_SIZE_ADVICE = "write a size with a unit, such as 64KiB or 1MiB"


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, bool):
            report(path, f"expected true or false, got {describe(value)}")
            return INVALID
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}

    def write(self, value: Any) -> Any:
        return value


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number between ``minimum`` and ``maximum``, both included."""

    minimum: int
    maximum: int

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if isinstance(value, bool) or not isinstance(value, int):
            report(path, f"expected a whole number from {self.minimum} to {self.maximum}, got {describe(value)}")
            return INVALID
        if not self.minimum <= value <= self.maximum:
            report(path, f"{value} is out of range, write {self.minimum} to {self.maximum}")
            return INVALID
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.minimum, "maximum": self.maximum}

    def write(self, value: Any) -> Any:
        return value


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number or a float; ``above`` is a bound that is not included."""

    above: float | None = None

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            report(path, f"expected a number, got {describe(value)}")
            return INVALID
        if self.above is not None and value <= self.above:
            report(path, f"{value} is out of range, write a number above {self.above:g}")
            return INVALID
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "number"} if self.above is None else {"type": "number", "exclusiveMinimum": self.above}

    def write(self, value: Any) -> Any:
        return value


@dataclass(frozen=True, slots=True)
class Duration:
    """A time span with a unit, held as seconds (float)."""

    minimum: float = 0.0

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            report(path, f"{value} has no unit, write {value}s, {value}m or {value}h")
            return INVALID
        if not isinstance(value, str):
            report(path, f"expected a duration such as 90s or 1h30m, got {describe(value)}")
            return INVALID
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            report(path, str(error))
            return INVALID
        if seconds < self.minimum:
            report(path, f"{value} is too short, write {format_duration(self.minimum)} or more")
            return INVALID
        return seconds

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": DURATION_PATTERN, **editor_message(_DURATION_ADVICE)}

    def write(self, value: Any) -> Any:
        return format_duration(value)


@dataclass(frozen=True, slots=True)
class Size:
    """An amount of bytes with a unit, held as bytes (int)."""

    minimum: int = 1
    maximum: int = 64 * 1024**2

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            report(path, f"{value} has no unit, write {value}B, {value}KiB or {value}MiB")
            return INVALID
        if not isinstance(value, str):
            report(path, f"expected a size such as 64KiB, got {describe(value)}")
            return INVALID
        try:
            size = parse_size(value)
        except ValueError as error:
            report(path, str(error))
            return INVALID
        if not self.minimum <= size <= self.maximum:
            report(
                path,
                f"{value} is out of range, write {format_size(self.minimum)} to {format_size(self.maximum)}",
            )
            return INVALID
        return size

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": SIZE_PATTERN, **editor_message(_SIZE_ADVICE)}

    def write(self, value: Any) -> Any:
        return format_size(value)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, str) or value not in self.words:
            guess = did_you_mean(str(value), self.words)
            shown = repr(value) if isinstance(value, str) else describe(value)
            report(path, f"{shown} is not one of {', '.join(self.words)}{guess}")
            return INVALID
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.words)}

    def write(self, value: Any) -> Any:
        return value


def nullable(schema: dict[str, Any]) -> dict[str, Any]:
    # `null` resets an option to its built-in default, so every optional one takes it.
    schema = dict(schema)
    kinds = schema.get("type")
    if kinds is not None:
        kinds = [kinds] if isinstance(kinds, str) else list(kinds)
        schema["type"] = kinds if "null" in kinds else [*kinds, "null"]
        if "enum" in schema and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
    return schema
