"""Types of values that options take: text, numbers, durations, lists, and mappings.

A type reports what is wrong through a ``Report`` and goes on, so that one reading finds all problems;
it never raises for bad input.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final, Protocol

from runner._dataclass import dataclass
from runner.model.duration import (
    DURATION_PATTERN,
    MAX_DURATION,
    SIZE_PATTERN,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)
from runner.model.message import Message, advise, message_of

Path = tuple[str | int, ...]
"""Where a value stands: keys and list indexes from the top of the file."""


class Report(Protocol):
    """Takes one problem. ``on_key`` points at the key of ``path`` instead of its value."""

    def __call__(self, path: Path, message: str, *, on_key: bool = False) -> None: ...


class _Invalid:
    def __repr__(self) -> str:
        return "INVALID"


INVALID: Final[Any] = _Invalid()
"""What :meth:`ValueType.read` returns after it reported a problem."""


class ValueType(Protocol):
    """A type of value, which checks and describes values."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        """Return the value as the model holds it, or report and return INVALID."""

    def schema(self) -> dict[str, Any]:
        """Return the same rule as JSON Schema 2020-12."""

    def write(self, value: Any) -> Any:
        """Return a model value as it would stand in YAML (for defaults and digests)."""


def describe(value: Any) -> str:
    """Return the name of a YAML value's type, for messages."""
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", type(None): "nothing"}
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return names.get(type(value), type(value).__name__)


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the one of ``known`` that ``word`` was probably meant to be, or None."""
    import difflib  # start-up time: only a message needs it

    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)), None)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``", did you mean X?"`` for the closest of ``known``, or an empty string."""
    close = closest(word, known)
    return f", did you mean {close}?" if close else ""


def ignore(path: Path, message: str, *, on_key: bool = False) -> None:
    """Take no problem: a :class:`Report` for those who ask only whether a value is sound."""


def _shown(number: float) -> str:
    """Return a number as a message shows it; Python writes no whole number of more than 4,300 digits."""
    return str(number) if abs(number) < 1e30 else "the number"


@dataclass(frozen=True, slots=True)
class Text:
    """A string; ``pattern`` is an ECMA-262 and Python regular expression, ``advice`` says what fits it."""

    pattern: str | None = None
    advice: str = ""
    max_length: int | None = None
    min_length: int = 0
    usual: str | None = None
    """A narrower pattern that is tried first, where ``pattern`` takes milliseconds to compile."""
    tells_how: bool = True
    """Whether ``advice`` says what to write; otherwise it names the rule alone."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, str):
            report(path, self._expected(value))
            return INVALID
        if len(value) < self.min_length:
            report(path, self._advised("is empty", self.advice) if self.advice else "is empty")
            return INVALID
        if self.max_length is not None and len(value) > self.max_length:
            report(path, f"is {len(value)} characters long, at most {self.max_length} are allowed")
            return INVALID
        if self.pattern is not None and not self._fits(self.pattern, value):
            report(path, self._advised(f"{value!r} is not valid", self.advice or f"it must match {self.pattern}"))
            return INVALID
        return value

    def _fits(self, pattern: str, value: str) -> bool:
        if self.usual is not None and _compiled(self.usual).search(value):
            return True
        return _compiled(pattern).search(value) is not None

    def _expected(self, value: Any) -> Message:
        what = f"expected text, got {describe(value)}"
        if isinstance(value, int | float):
            return Message(f"{what}, quote it", "quote it", quotable=self._takes)
        return advise(what, self.advice or "write one text, or remove it")

    def _advised(self, what: str, advice: str) -> Message:
        return advise(what, advice) if self.tells_how and self.advice else Message(f"{what}, {advice}")

    def _takes(self, text: str) -> bool:
        return self.read(text, (), ignore) is not INVALID

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


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    # `re` has a cache too, but a slow one, and this runs for each text of each job. In Python `$` lets a
    # line break follow, in ECMA-262 it does not.
    return re.compile(pattern[:-1] + r"\Z" if pattern.endswith("$") else pattern)


def editor_message(advice: str) -> dict[str, str]:
    """Return the schema keywords that make editors show ``advice``; validators ignore them."""
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
            report(path, advise(f"{_shown(value)} is out of range", f"write {self.minimum} to {self.maximum}"))
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
            report(path, advise(f"{_shown(value)} is out of range", f"write a number above {self.above:g}"))
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
            report(path, advise(f"{value} has no unit", f"write {value}s, {value}m or {value}h"))
            return INVALID
        if not isinstance(value, str):
            report(path, f"expected a duration such as 90s or 1h30m, got {describe(value)}")
            return INVALID
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            report(path, message_of(error))
            return INVALID
        if seconds < self.minimum:
            report(path, self._too_short(value))
            return INVALID
        return seconds

    def take(self, value: Any, path: Path, report: Report) -> Any:
        """Read what a program gives: a number of seconds, or a text with a unit."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return self.read(value, path, report)
        if value != value:
            report(path, "nan is not a number of seconds")
            return INVALID
        if value > MAX_DURATION:
            report(path, "is longer than ten years")
            return INVALID
        if value < 0 or value < self.minimum:
            shown = f"{value:g}s" if value > -MAX_DURATION else "a negative number"
            report(path, self._too_short(shown))
            return INVALID
        return float(value)

    def _too_short(self, shown: str) -> Message:
        return advise(f"{shown} is too short", f"write {format_duration(self.minimum)} or more")

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
            report(path, advise(f"{value} has no unit", f"write {value}B, {value}KiB or {value}MiB"))
            return INVALID
        if not isinstance(value, str):
            report(path, f"expected a size such as 64KiB, got {describe(value)}")
            return INVALID
        try:
            size = parse_size(value)
        except ValueError as error:
            report(path, message_of(error))
            return INVALID
        if not self.minimum <= size <= self.maximum:
            report(
                path,
                advise(f"{value} is out of range", f"write {format_size(self.minimum)} to {format_size(self.maximum)}"),
            )
            return INVALID
        return size

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": SIZE_PATTERN, **editor_message(_SIZE_ADVICE)}

    def write(self, value: Any) -> Any:
        return format_size(value)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words; ``other`` are pairs of a value of another tool and what it is here."""

    words: tuple[str, ...]
    other: tuple[tuple[object, str], ...] = ()

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, str) or value not in self.words:
            meant = next((ours for theirs, ours in self.other if theirs is value or theirs == value), None)
            guess = meant or closest(str(value), self.words) or ""
            shown = repr(value) if isinstance(value, str) else describe(value)
            asked = f", did you mean {guess}?" if guess else ""
            report(path, Message(f"{shown} is not one of {', '.join(self.words)}{asked}", replacement=guess))
            return INVALID
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.words)}

    def write(self, value: Any) -> Any:
        return value


def nullable(schema: dict[str, Any]) -> dict[str, Any]:
    # `null` resets an option to its built-in default, so every optional one takes it.
    schema = dict(schema)
    types = schema.get("type")
    if types is not None:
        types = [types] if isinstance(types, str) else list(types)
        schema["type"] = types if "null" in types else [*types, "null"]
        if "enum" in schema and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
    return schema
