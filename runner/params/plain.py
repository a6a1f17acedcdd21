"""Check schemas that have only the most common keywords, without jsonschema.

This saves time: with jsonschema, ``runner submit`` takes 1.2 times the CPU time (its import alone takes 50 ms), and a
check of a date takes 4 times as long. A test compares the results with those of jsonschema.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from runner.model.option import did_you_mean
from runner.params.formats import FORMATS, fits_format
from runner.params.values import ARTICLES, is_type, pattern_fault, show, show_choices

_ANNOTATIONS = frozenset({"description", "title", "default", "examples", "deprecated", "$comment"})
PLAIN = _ANNOTATIONS | {
    "type",
    "enum",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "format",
    "pattern",
}


def plain_fault(schema: Mapping[str, Any], value: Any) -> str | None:
    """Return the problem of a value, or None, for a schema with only these keywords."""
    types = schema.get("type")
    if types is not None:
        allowed = (types,) if isinstance(types, str) else types
        if not any(is_type(value, name) for name in allowed):
            return f"expected {' or '.join(ARTICLES[name] for name in allowed)}, got {show(value)}"
    choices = schema.get("enum")
    if choices is not None and not any(_same(value, choice) for choice in choices):
        guess = did_you_mean(value, [c for c in choices if isinstance(c, str)]) if isinstance(value, str) else ""
        return f"{show(value)} is not one of {show_choices(choices)}{guess}"
    if isinstance(value, str):
        return _text_fault(schema, value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number_fault(schema, value)
    return None


def _text_fault(schema: Mapping[str, Any], value: str) -> str | None:
    if len(value) < schema.get("minLength", 0):
        return f"{show(value)} is too short, at least {schema['minLength']} characters are needed"
    if len(value) > schema.get("maxLength", math.inf):
        return f"{show(value)} is too long, at most {schema['maxLength']} characters are allowed"
    if (fault := pattern_fault(schema.get("pattern"), value)) is not None:
        return fault
    format_name = schema.get("format")
    if format_name is not None and not fits_format(value, format_name):
        return f"{show(value)} is not {FORMATS[format_name][1]}"
    return None


def _number_fault(schema: Mapping[str, Any], value: float) -> str | None:
    if value < schema.get("minimum", -math.inf):
        return f"{show(value)} is less than the minimum {schema['minimum']}"
    if value > schema.get("maximum", math.inf):
        return f"{show(value)} is more than the maximum {schema['maximum']}"
    if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
        return f"{show(value)} must be more than {schema['exclusiveMinimum']}"
    if "exclusiveMaximum" in schema and value >= schema["exclusiveMaximum"]:
        return f"{show(value)} must be less than {schema['exclusiveMaximum']}"
    return None


def _same(one: Any, other: Any) -> bool:
    # In JSON Schema, unlike in Python, true is not equal to 1.
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return bool(one == other)
