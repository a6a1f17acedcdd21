"""Decide whether all values of a param are harmless as an argument: no options, and no shell syntax."""

from __future__ import annotations

from typing import Any

from runner.model.param import Param

_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_DIGITS = frozenset("0123456789")
_WORD = _LETTERS | _DIGITS | {"_"}
SAFE = _WORD | frozenset("@%+=:,./-")
"""Characters that have no meaning in any shell; ``shlex.quote`` does not quote them."""
SAFE_FIRST = _WORD | frozenset("./")
"""Characters with which an argument may begin: ``-`` begins an option, and so do ``@`` and ``+`` in some programs."""

_TYPES = frozenset({"string", "integer", "number", "boolean", "null"})
_FORMATS = frozenset({"date", "uuid"})


def is_harmless(param: Param) -> bool:
    """Return whether the schema of ``param`` allows only harmless values."""
    schema = param.schema
    if "const" in schema:
        return _is_harmless_value(schema["const"])
    if "enum" in schema:
        return all(map(_is_harmless_value, schema["enum"]))
    types = param.types
    if not types or not _TYPES.issuperset(types):
        return False
    if "string" not in types:
        return True
    return schema.get("format") in _FORMATS or is_harmless_pattern(schema.get("pattern", ""))


def is_number(param: Param) -> bool:
    """Return whether the schema of ``param`` allows only numbers, booleans, and null."""
    schema = param.schema
    choices = [schema["const"]] if "const" in schema else schema.get("enum")
    if choices is not None:
        return all(choice is None or isinstance(choice, bool | int | float) for choice in choices)
    return bool(param.types) and {"string", "array", "object"}.isdisjoint(param.types)


def _is_harmless_value(value: Any) -> bool:
    if isinstance(value, str):
        return not value.startswith("-") and "\0" not in value
    return value is None or isinstance(value, bool | int | float)


def is_harmless_pattern(pattern: str) -> bool:
    """Return whether a regular expression matches only harmless texts, and these as a whole: ``^[a-z][a-z0-9-]*$``.

    Constructs that this small parser does not know (flags, negated classes, ``.``) count as harmful.
    """
    try:
        return _Reader(pattern).read()
    except (_Unknown, RecursionError):
        return False


class _Unknown(Exception):
    """A construct that may match anything."""


class _Reader:
    """Parses a pattern whose matches must consist of :data:`SAFE`, and begin with one of :data:`SAFE_FIRST`."""

    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0

    def read(self) -> bool:
        while True:
            if not self._skip("^", r"\A"):
                return False
            self._branch(first=True)
            if not self._skip("$", r"\z"):
                return False
            if self._at == len(self._text):
                return True
            if not self._skip("|"):
                return False

    def _skip(self, *tokens: str) -> bool:
        for token in tokens:
            if self._text.startswith(token, self._at):
                self._at += len(token)
                return True
        return False

    def _branch(self, *, first: bool) -> bool:
        """Read the items of a branch; return whether they may match nothing. ``first``: they may come first."""
        empty = True
        while not self._at_end():
            optional = self._item(first=first and empty)
            empty = empty and optional
        return empty

    def _at_end(self) -> bool:
        rest = self._text[self._at : self._at + 2]
        return rest in ("", r"\z") or rest[0] in "|)$"

    def _item(self, *, first: bool) -> bool:
        if self._skip("(?:"):
            optional = self._group(first=first)
        elif self._skip("("):
            if self._text.startswith("?", self._at):
                raise _Unknown
            optional = self._group(first=first)
        else:
            self._check(self._characters(), first=first)
            optional = False
        least = self._quantifier()
        return optional or least == 0

    def _group(self, *, first: bool) -> bool:
        optional = False
        while True:
            optional |= self._branch(first=first)
            if self._skip(")"):
                return optional
            if not self._skip("|"):
                raise _Unknown

    def _quantifier(self) -> int:
        """Skip a quantifier; return the smallest number of repetitions, at most 1."""
        least = 1
        if self._skip("*", "?"):
            least = 0
        elif self._skip("+"):
            pass
        elif self._skip("{"):
            end = self._text.find("}", self._at)
            low, comma, high = self._text[self._at : max(end, 0)].partition(",")
            if end < 0 or not _is_count(low) or not (high == "" or _is_count(high)):
                raise _Unknown
            if comma and high and int(high) < int(low):
                raise _Unknown
            self._at = end + 1
            least = min(1, int(low))
        else:
            return 1
        self._skip("?")  # lazy
        return least

    def _check(self, characters: frozenset[str], *, first: bool) -> None:
        if not (characters <= (SAFE_FIRST if first else SAFE)):
            raise _Unknown

    def _characters(self) -> frozenset[str]:
        char = self._next()
        if char == "[":
            return self._class()
        if char == "\\":
            return self._escape()
        if char in "^.*+?{":
            raise _Unknown
        return frozenset(char)

    def _next(self) -> str:
        if self._at >= len(self._text):
            raise _Unknown
        self._at += 1
        return self._text[self._at - 1]

    def _escape(self) -> frozenset[str]:
        char = self._next()
        if char == "d":
            return _DIGITS
        if char == "w":
            return _WORD
        if char.isascii() and char.isalnum():
            raise _Unknown
        return frozenset(char)

    def _class(self) -> frozenset[str]:
        found: frozenset[str] = frozenset()
        start = self._at
        while True:
            char = self._next()
            if char == "]" and self._at > start + 1:
                return found
            if char in "[^" and (char == "[" or self._at == start + 1):
                raise _Unknown
            low = self._escape() if char == "\\" else frozenset(char)
            if self._text.startswith("-", self._at) and not self._text.startswith("-]", self._at):
                self._at += 1
                char = self._next()
                high = self._escape() if char == "\\" else frozenset(char)
                found |= _range(low, high)
            else:
                found |= low


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _range(low: frozenset[str], high: frozenset[str]) -> frozenset[str]:
    if len(low) != 1 or len(high) != 1:
        raise _Unknown
    (first,), (last,) = low, high
    if ord(last) > 127 or ord(first) > ord(last):
        raise _Unknown
    return frozenset(map(chr, range(ord(first), ord(last) + 1)))
