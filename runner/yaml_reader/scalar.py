"""Read plain (unquoted) YAML scalars by the core schema of YAML 1.2, without those that YAML 1.1 reads differently.

A text that the two versions read differently, or that JSON has no value for, is refused with a remedy: people who
write ``no``, ``010``, or ``1:30`` mean something, and tools would guess differently.
"""

from __future__ import annotations

import math
import re
from typing import Any

from runner.model.message import Message, advise
from runner.model.strict_json import LARGEST

_FIRST = frozenset("~-+.0123456789tTfFnNyYoO")
"""Only a text that begins with one of these can be anything but text."""

_CONSTANTS: dict[str, Any] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_TRUTHY = {
    spelled: meaning
    for word, meaning in {"yes": "true", "no": "false", "on": "true", "off": "false"}.items()
    for spelled in (word, word.capitalize(), word.upper())
}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_HEX = re.compile(r"0x[0-9a-fA-F]+\Z")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+\Z")
_OCTAL = re.compile(r"[-+]?0o[0-7]+\Z")
_BINARY = re.compile(r"[-+]?0b[01_]+\Z")
_UNDERSCORED = re.compile(r"[-+]?(0x)?[0-9a-fA-F]*[0-9][0-9_]*_[0-9_]*(\.[0-9_]*)?\Z")
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?\Z")
_NO_NUMBER = re.compile(r"[-+]?\.(inf|Inf|INF|nan|NaN|NAN)\Z")


class Doubtful(ValueError):
    """A plain scalar that YAML readers do not agree on; the message says what to write.

    ``meanings``: the values that it may have been meant to be, each with its source text.
    """

    def __init__(self, message: Message, *meanings: tuple[str, Any]) -> None:
        super().__init__(message)
        self.message = message
        self.meanings = meanings


def resolve(text: str) -> Any:
    """Return the value of a plain scalar: None, a bool, an int, a float or the text itself.

    Raises:
        Doubtful: readers do not agree on it, or JSON has no such value.
    """
    if text and text[0] not in _FIRST:
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text in _TRUTHY:
        meant = _TRUTHY[text]
        raise _doubt(text, meant, [(meant, meant == "true")])
    if text[0] not in "-+.0123456789":
        return text
    if _INTEGER.match(text):
        return _integer(text, 10)
    if _LEADING_ZERO.match(text):
        return _refuse_leading_zero(text)
    if _FLOAT.match(text):
        value = float(text)
        if math.isinf(value):
            raise Doubtful(advise(f"{text} is too large a number", f'quote it: "{text}"'), _as_text(text))
        return value
    if _HEX.match(text):
        return _integer(text, 16)
    return _refuse_other_spellings(text)


def _integer(text: str, base: int) -> int:
    if len(text) > 20 or abs(value := int(text, base)) > LARGEST:
        raise Doubtful(advise("the number does not fit into 64 bits", f'quote it: "{text}"'), _as_text(text))
    return value


def _as_text(text: str) -> tuple[str, Any]:
    """Return a plain scalar in quotes: its source text and its value."""
    return f'"{text}"', text


def _as_number(text: str) -> list[tuple[str, Any]]:
    """Return the source text and value of a number, if it is one that JSON can hold."""
    try:
        value = resolve(text)
    except Doubtful:
        return []
    return [(text, value)] if isinstance(value, int | float) else []


def _doubt(text: str, readings: str, values: list[tuple[str, Any]]) -> Doubtful:
    """Return the doubt about a text that is also read as something else.

    Args:
        text: the scalar.
        readings: the other readings, for the message.
        values: the values of those that may have been meant, each with its source text.
    """
    meanings = [*values, _as_text(text)]
    choice = ", or ".join(source for source, _ in meanings)
    return Doubtful(advise(f"{text} may be read as {readings} or as text", f"write {choice} for text"), *meanings)


def _refuse_leading_zero(text: str) -> Any:
    decimal = re.sub(r"^([-+]?)0+(?=[0-9])", r"\1", text)
    octal = ""
    if re.fullmatch(r"[-+]?[0-7]+", text) and len(text) < 24 and str(int(text, 8)) != decimal:
        octal = f", as the octal number {int(text, 8)},"
    raise _doubt(text, f"{decimal}{octal}", _as_number(decimal))


def _refuse_other_spellings(text: str) -> Any:
    if _OCTAL.match(text):
        number = str(int(text.replace("0o", ""), 8)) if len(text) < 24 else ""
        raise _doubt(text, f"the number {number}" if number else "a number", _as_number(number))
    if _BINARY.match(text):
        number = str(int(text.replace("_", ""), 2)) if len(text) < 64 else ""
        raise _doubt(text, f"the number {number}" if number else "a number", _as_number(number))
    if _SEXAGESIMAL.match(text):
        seconds = "a number"
        if len(text) < 24:
            total = 0
            for part in re.sub(r"[-+_]", "", text).split(".")[0].split(":"):
                total = total * 60 + int(part)
            seconds = f"the number {total}"
        raise _doubt(text, seconds, [])
    if _UNDERSCORED.match(text):
        plain = text.replace("_", "")
        raise _doubt(text, f"the number {plain}", _as_number(plain))
    if _NO_NUMBER.match(text):
        raise Doubtful(advise(f"{text} is not a number that JSON can hold", f'quote it: "{text}"'), _as_text(text))
    return text
