"""Read plain (unquoted) YAML scalars: YAML 1.2's core schema, without values that YAML 1.1 reads differently.

Where the two versions of YAML disagree, or JSON has no such value, the text is refused with a remedy: a
person who wrote ``no``, ``010`` or ``1:30`` meant something, and each tool would guess differently.
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
    """A plain scalar that has no one meaning; the message says what to write.

    ``meanings`` are what it may have been meant to be, each with its source text and its value.
    """

    def __init__(self, message: Message, *meanings: tuple[str, Any]) -> None:
        super().__init__(message)
        self.message = message
        self.meanings = meanings


def resolve(text: str) -> Any:
    """Return the value of a plain scalar: None, a bool, an int, a float or the text itself.

    Raises:
        Doubtful: with the remedy.
    """
    if text and text[0] not in _FIRST:
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text in _TRUTHY:
        meant = _TRUTHY[text]
        raise Doubtful(
            advise(
                f"{text} is {meant} to some YAML readers and text to others", f'write {meant}, or "{text}" for text'
            ),
            (meant, meant == "true"),
            _as_text(text),
        )
    if text[0] not in "-+.0123456789":
        return text
    if _INTEGER.match(text):
        return _integer(text, 10)
    if _LEADING_ZERO.match(text):
        return _refuse_leading_zero(text)
    if _FLOAT.match(text):
        value = float(text)
        if math.isinf(value):
            raise Doubtful(advise(f"{text} is too large for a number", f'quote it: "{text}"'), _as_text(text))
        return value
    if _HEX.match(text):
        return _integer(text, 16)
    return _refuse_other_spellings(text)


def _integer(text: str, base: int) -> int:
    if len(text) > 20 or abs(value := int(text, base)) > LARGEST:
        raise Doubtful(
            advise("the number does not fit into 64 bits", "quote it if it is a text such as an account number"),
            _as_text(text),
        )
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


def _refuse_leading_zero(text: str) -> Any:
    decimal = re.sub(r"^([-+]?)0+(?=[0-9])", r"\1", text)
    octal = ""
    if re.fullmatch(r"[-+]?[0-7]+", text) and len(text) < 24:
        octal = f" (some YAML readers take it as octal {int(text, 8)})"
    message = advise(f"{text} has a leading zero{octal}", f'write {decimal}, or "{text}" for text')
    raise Doubtful(message, *_as_number(decimal), _as_text(text))


def _refuse_other_spellings(text: str) -> Any:
    if _OCTAL.match(text):
        number = str(int(text.replace("0o", ""), 8)) if len(text) < 24 else ""
        meant = f"{number}, or " if number else ""
        raise Doubtful(
            advise(f"{text} is octal to some YAML readers and text to others", f'write {meant}"{text}" for text'),
            *_as_number(number),
            _as_text(text),
        )
    if _BINARY.match(text):
        raise Doubtful(
            advise(f"{text} is a binary number to some YAML readers", f'write it in decimal, or "{text}" for text'),
            *(_as_number(str(int(text.replace("_", ""), 2))) if len(text) < 64 else ()),
            _as_text(text),
        )
    if _SEXAGESIMAL.match(text):
        seconds = ""
        parts = re.sub(r"[-+_]", "", text).split(".")[0].split(":")
        if len(text) < 24:
            total = 0
            for part in parts:
                total = total * 60 + int(part)
            seconds = f" as the number {total}"
        raise Doubtful(
            advise(
                f"{text} is read{seconds} by some YAML readers",
                f'quote it for text: "{text}"; a duration has units, such as 90s or 1h30m',
            ),
            _as_text(text),
        )
    if _UNDERSCORED.match(text):
        plain = text.replace("_", "")
        raise Doubtful(
            advise(
                f"{text} is a number to some YAML readers and text to others", f'write {plain}, or "{text}" for text'
            ),
            *_as_number(plain),
            _as_text(text),
        )
    if _NO_NUMBER.match(text):
        message = advise(f"{text} is not a number that JSON can hold", f'quote it if text is meant: "{text}"')
        raise Doubtful(message, _as_text(text))
    return text
