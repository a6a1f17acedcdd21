"""Describe values of params in messages, and check their types and patterns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from runner.model.regex import MOST_TEXT, is_too_long, matches, most_bytes
from runner.yaml_reader.problem import one_line

ARTICLES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}
_MOST_CHOICES = 50
"""The largest number of values of an ``enum`` in a message."""


def is_type(value: Any, name: str) -> bool:
    """Return whether a value has a type of JSON Schema."""
    if name == "string":
        return isinstance(value, str)
    if name == "boolean":
        return isinstance(value, bool)
    if name == "null":
        return value is None
    if name == "array":
        return isinstance(value, list)
    if name == "object":
        return isinstance(value, dict)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return name == "number" or isinstance(value, int) or value.is_integer()


def pattern_fault(pattern: str | None, value: str) -> str | None:
    """Return the message about a text that does not match a pattern, or None."""
    if pattern is None:
        return None
    if len(value) > MOST_TEXT:
        return f"{show(value)} is too long for a pattern, at most {MOST_TEXT:,} characters are allowed"
    if is_too_long(pattern, value):
        most = most_bytes(pattern)
        return f"{show(value)} is too long for the pattern {show(pattern)}, at most {most:,} bytes are allowed"
    return None if matches(pattern, value) else f"{show(value)} does not match {pattern}"


def show_choices(choices: Sequence[Any]) -> str:
    """Return choices for a message, only the first ones if there are many."""
    more = ", …" if len(choices) > _MOST_CHOICES else ""
    return ", ".join(map(show, choices[:_MOST_CHOICES])) + more


def show(value: Any) -> str:
    """Return a value as JSON for a message, truncated if it is long."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = repr(value)
    text = one_line(text)
    return text if len(text) <= 60 else text[:59] + "…"
