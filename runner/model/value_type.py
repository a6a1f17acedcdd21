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
    one_of,
    parse_duration,
    parse_size,
    without_unit,
)
from runner.model.message import Message, advise, message_of, suggest

Path = tuple[str | int, ...]
"""The path of a value: keys and list indexes from the top of the file."""


class Report(Protocol):
    """Records one problem; with ``on_key`` it is about the key at ``path``, not its value."""

    def __call__(self, path: Path, message: str, *, on_key: bool = False) -> None: ...


class _Invalid:
    def __repr__(self) -> str:
        return "INVALID"


INVALID: Final[Any] = _Invalid()
"""The result of :meth:`ValueType.read` for an invalid value, whose problem was reported."""


class ValueType(Protocol):
    """A type of value, which checks and describes values."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        """Return the value as the model stores it, or report a problem and return INVALID."""

    def schema(self) -> dict[str, Any]:
        """Return the same rule as a JSON Schema (2020-12)."""

    def write(self, value: Any) -> Any:
        """Return a stored value as it is written in YAML, for defaults and digests."""


def describe(value: Any) -> str:
    """Return the name of a YAML value's type, for messages."""
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", type(None): "nothing"}
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return names.get(type(value), type(value).__name__)


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the closest match for ``word`` among ``known``, or None."""
    import difflib  # start-up time: only a message needs it

    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)), None)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``", did you mean X?"`` for the closest of ``known``, or an empty string."""
    close = closest(word, known)
    return f", did you mean {close}?" if close else ""


def ignore(path: Path, message: str, *, on_key: bool = False) -> None:
    """Drop the problem: a :class:`Report` for callers that only need to know whether a value is valid."""


def _shown(number: float) -> str:
    """Return a number for a message; Python refuses to write integers of more than 4,300 digits."""
    return str(number) if abs(number) < 1e30 else "the number"


@dataclass(frozen=True, slots=True)
class Text:
    """A string; ``pattern`` is a regular expression for ECMA-262 and Python, ``advice`` says what it matches."""

    pattern: str | None = None
    advice: str = ""
    max_length: int | None = None
    min_length: int = 0
    usual: str | None = None
    """A narrower pattern that is tried first, because ``pattern`` takes milliseconds to compile."""
    tells_how: bool = True
    """Whether ``advice`` says what to write; otherwise it only names the rule."""
    is_name: bool = False
    """Whether a similar name may be suggested: ``my-queue`` for ``my queue``."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, str):
            report(path, self._expected(value))
            return INVALID
        if len(value) < self.min_length:
            report(path, self._advised("is empty", self.advice) if self.advice else "is empty")
            return INVALID
        if self.max_length is not None and len(value) > self.max_length:
            too_long = f"is {len(value)} characters long, at most {self.max_length} are allowed"
            report(path, advise(too_long, "shorten it"))
            return INVALID
        if self.pattern is not None and not self._fits(self.pattern, value):
            message = self._advised(f"{value!r} is not valid", self.advice or f"it must match {self.pattern}")
            report(path, Message(message, message.remedy, replacement=self._similar(value)))
            return INVALID
        return value

    def _fits(self, pattern: str, value: str) -> bool:
        if self.usual is not None and _compiled(self.usual).search(value):
            return True
        return _compiled(pattern).search(value) is not None

    def _similar(self, value: str) -> str:
        """Return a valid name like the given one; empty if there is none."""
        if not self.is_name or not value.isascii():
            return ""
        joined = [re.sub(r"[^A-Za-z0-9._-]+", joint, value).strip("._-") for joint in "-_"]
        joined.append(re.sub(r"[^A-Za-z0-9]+", "_", value).strip("_"))
        similar = [*joined, *(name.lower() for name in joined), *(f"_{name}" for name in joined)]
        usual = (name for name in similar if name[:1].isalpha() or name[:1] == "_")
        return next((name for name in usual if self.pattern and self._fits(self.pattern, name)), "")

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
    # The cache of `re` is slower, and this runs for each text of each job. In Python, unlike in ECMA-262, a line
    # break may follow `$`.
    return re.compile(pattern[:-1] + r"\Z" if pattern.endswith("$") else pattern)


def editor_message(advice: str) -> dict[str, str]:
    """Return the schema keywords for which editors show ``advice``; validators ignore them."""
    return {"errorMessage": advice, "patternErrorMessage": advice}


_DURATION_ADVICE = "write a duration with a unit, such as 90s, 15m, 1h30m, or 2d"
_SIZE_ADVICE = "write a size with a unit, such as 64KiB or 1MiB"


_FLAGS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, bool):
            report(path, self._expected(value))
            return INVALID
        return value

    def _expected(self, value: Any) -> Message:
        what = f"expected true or false, got {describe(value)}"
        meant = _FLAGS.get(str(value).lower())
        if meant is None:
            return advise(what, "write true or false")
        written = str(meant).lower()
        return advise(what, f"write {written}", replacement=written)

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}

    def write(self, value: Any) -> Any:
        return value


_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class Integer:
    """An integer from ``minimum`` to ``maximum``."""

    minimum: int
    maximum: int

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if isinstance(value, bool) or not isinstance(value, int):
            report(path, self._expected(value))
            return INVALID
        if not self.minimum <= value <= self.maximum:
            report(path, advise(f"{_shown(value)} is out of range", f"write {self.minimum} to {self.maximum}"))
            return INVALID
        return value

    def _expected(self, value: Any) -> Message:
        what = f"expected a whole number from {self.minimum} to {self.maximum}, got {describe(value)}"
        meant = str(value).strip().removesuffix(".0") if isinstance(value, str | float) else ""
        if _WHOLE.fullmatch(meant) and self.minimum <= int(meant) <= self.maximum:
            return advise(what, f"write {meant}", replacement=meant)
        return advise(what, "write one, or remove it")

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.minimum, "maximum": self.maximum}

    def write(self, value: Any) -> Any:
        return value


@dataclass(frozen=True, slots=True)
class Number:
    """A number, greater than ``above``."""

    above: float | None = None

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            report(path, advise(f"expected a number, got {describe(value)}", "write one, or remove it"))
            return INVALID
        if self.above is not None and value <= self.above:
            report(path, advise(f"{_shown(value)} is out of range", f"write a number above {self.above:g}"))
            return INVALID
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "number"} if self.above is None else {"type": "number", "exclusiveMinimum": self.above}

    def write(self, value: Any) -> Any:
        return value


_NUMBER = re.compile(r" *[0-9]+(\.[0-9]+)? *")


@dataclass(frozen=True, slots=True)
class Duration:
    """A duration with a unit, stored in seconds (float)."""

    minimum: float = 0.0

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            report(path, without_unit(value, self._takes))
            return INVALID
        if not isinstance(value, str):
            report(path, advise(f"expected a duration, got {describe(value)}", "write one such as 90s or 1h30m"))
            return INVALID
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            report(path, without_unit(value.strip(), self._takes) if _NUMBER.fullmatch(value) else message_of(error))
            return INVALID
        if seconds < self.minimum:
            report(path, self._too_short(value))
            return INVALID
        return seconds

    def _takes(self, text: str) -> bool:
        return self.read(text, (), ignore) is not INVALID

    def take(self, value: Any, path: Path, report: Report) -> Any:
        """Read a value that Python code gives: a number of seconds, or a text with a unit."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return self.read(value, path, report)
        if value != value:
            report(path, advise("nan is not a number of seconds", "give a number"))
            return INVALID
        if value > MAX_DURATION:
            report(path, advise("is longer than ten years", "give fewer seconds"))
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
    """A size with a unit, stored in bytes (int)."""

    minimum: int = 1
    maximum: int = 64 * 1024**2

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            report(path, self._without_unit(value))
            return INVALID
        if not isinstance(value, str):
            report(path, advise(f"expected a size, got {describe(value)}", "write one such as 64KiB"))
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

    def _without_unit(self, value: float) -> Message:
        what = f"{value} has no unit"
        texts = [f"{value}{unit}" for unit in ("B", "KiB", "MiB", "GiB")]
        choice = tuple(text for text in texts if self.read(text, (), ignore) is not INVALID)[:3]
        if not choice:
            return advise(what, f"write {format_size(self.minimum)} to {format_size(self.maximum)}")
        return advise(what, f"write {one_of(choice)}", alternatives=choice)

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": SIZE_PATTERN, **editor_message(_SIZE_ADVICE)}

    def write(self, value: Any) -> Any:
        return format_size(value)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few strings; ``other`` are pairs of another tool's value and the one that means the same here."""

    choices: tuple[str, ...]
    other: tuple[tuple[object, str], ...] = ()

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, str) or value not in self.choices:
            meant = next((ours for theirs, ours in self.other if theirs is value or theirs == value), None)
            guess = meant or closest(str(value), self.choices)
            shown = repr(value) if isinstance(value, str) else describe(value)
            several = len(self.choices) > 1
            what = f"{shown} is not one of {', '.join(self.choices)}" if several else f"{shown} is not valid"
            if guess:
                report(path, suggest(what, guess, replacement=guess))
            elif several:
                report(path, Message(what, "use one of them"))
            else:
                report(path, advise(what, f"write {self.choices[0]}", replacement=self.choices[0]))
            return INVALID
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.choices)}

    def write(self, value: Any) -> Any:
        return value


def nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON Schema that also accepts null."""
    # Null resets an option to its built-in default, so every optional one accepts it.
    schema = dict(schema)
    types = schema.get("type")
    if types is not None:
        types = [types] if isinstance(types, str) else list(types)
        schema["type"] = types if "null" in types else [*types, "null"]
        if "enum" in schema and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
    return schema
