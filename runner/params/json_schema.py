"""Check values with the library jsonschema, which is imported only if a schema needs it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import lru_cache
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker, validators
from jsonschema.exceptions import ValidationError

from runner.model.regex import is_too_long, matches
from runner.params.formats import FORMATS, fits_format
from runner.params.values import pattern_fault, show, show_choices
from runner.yaml_reader.problem import show_path


def _format_checker() -> FormatChecker:
    checker = FormatChecker(())
    for name in FORMATS:
        checker.checks(name)(_check_of(name))
    return checker


def _check_of(name: str) -> Callable[[object], bool]:
    return lambda value: fits_format(value, name)


_CHECKER = _format_checker()

MOST_ERRORS = 100
"""The largest number of problems of one value."""

Errors = Iterator[ValidationError]


def _check_pattern(_: Any, pattern: str, instance: Any, schema: Mapping[str, Any]) -> Errors:  # noqa: ARG001
    if isinstance(instance, str) and (fault := pattern_fault(pattern, instance)) is not None:
        yield ValidationError(fault)


def _check_pattern_properties(validator: Any, patterns: Mapping[str, Any], instance: Any, _: Any) -> Errors:
    if not isinstance(instance, dict):
        return
    for name, value in instance.items():
        if any(is_too_long(pattern, name) for pattern in patterns):
            yield ValidationError(f"the key {show(name)} is too long for a pattern")
            continue
        for pattern, subschema in patterns.items():
            if matches(pattern, name):
                yield from validator.descend(value, subschema, path=name, schema_path=pattern)


def _check_additional_properties(validator: Any, allowed: Any, instance: Any, schema: Mapping[str, Any]) -> Errors:
    if not isinstance(instance, dict):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    extra = [
        name
        for name in instance
        if name not in known and not any(is_too_long(pattern, name) or matches(pattern, name) for pattern in patterns)
    ]
    if allowed is False and extra:
        named = ", ".join(map(show, extra[:5])) + (", …" if len(extra) > 5 else "")
        yield ValidationError(f"unknown {'key' if len(extra) == 1 else 'keys'} {named}")
    elif isinstance(allowed, dict):
        for name in extra:
            yield from validator.descend(instance[name], allowed, path=name)


def _check_unique_items(_: Any, unique: bool, instance: Any, schema: Mapping[str, Any]) -> Errors:  # noqa: ARG001
    if not unique or not isinstance(instance, list):
        return
    seen: dict[str, int] = {}
    for index, item in enumerate(instance):
        # As text: nobody can predict the hashes of strings, but those of numbers.
        first = seen.setdefault(_canonical(item), index)
        if first != index:
            yield ValidationError(f"item {index} is the same as item {first}: {show(item)}")
            return


def _canonical(value: Any) -> str:
    """Return a text that is equal for values that are equal in JSON Schema: 1 and 1.0, but not 1 and true."""
    return json.dumps(_with_whole_numbers(value), sort_keys=True)


def _with_whole_numbers(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_with_whole_numbers(item) for item in value]
    if isinstance(value, dict):
        return {name: _with_whole_numbers(item) for name, item in value.items()}
    return value


def _check_multiple_of(_: Any, factor: float, instance: Any, schema: Mapping[str, Any]) -> Errors:  # noqa: ARG001
    # Computed from the decimal digits, without rounding: 0.3 is a multiple of 0.1.
    if isinstance(instance, bool) or not isinstance(instance, int | float):
        return
    if Fraction(repr(instance)) % Fraction(repr(factor)):
        yield ValidationError(f"{show(instance)} is not a multiple of {show(factor)}")


_extend: Any = validators.extend  # not typed
_Validator: Any = _extend(
    Draft202012Validator,
    {
        "pattern": _check_pattern,
        "patternProperties": _check_pattern_properties,
        "additionalProperties": _check_additional_properties,
        "uniqueItems": _check_unique_items,
        "multipleOf": _check_multiple_of,
    },
)
"""JSON Schema with linear-time regular expressions (RE2) and ``uniqueItems``, and an exact ``multipleOf``."""


@lru_cache(maxsize=4096)
def _validator(schema: str) -> Any:
    return _Validator(json.loads(schema), format_checker=_CHECKER)


def faults_of(schema: Mapping[str, Any], value: Any) -> list[str]:
    """Return the problems of ``value``, each as ``": message"`` or ``".path: message"``."""
    validator = _validator(json.dumps(dict(schema), sort_keys=True))
    try:
        found = islice(validator.iter_errors(value), MOST_ERRORS)
        errors = sorted(found, key=lambda error: [str(step) for step in error.absolute_path])
        return list(dict.fromkeys(_describe(error) for error in errors))
    except RecursionError:
        return [": is nested too deep"]


def _describe(error: ValidationError) -> str:
    path = show_path(tuple(error.absolute_path))
    if path and not path.startswith("["):
        path = "." + path
    return f"{path}: {_message(error)}"


def _message(error: ValidationError) -> str:
    rule: Any = error.validator_value
    value = show(error.instance)
    keyword = error.validator
    if keyword == "type":
        names = rule if isinstance(rule, list) else [rule]
        return f"expected type {' or '.join(names)}, got {value}"
    if keyword == "enum":
        return f"{value} is not one of {show_choices(rule)}"
    if keyword == "const":
        return f"{value} is not {show(rule)}"
    if keyword == "format":
        return f"{value} is not {FORMATS[rule][1]}"
    if keyword in ("pattern", "patternProperties", "additionalProperties", "uniqueItems"):
        return error.message
    if keyword in ("anyOf", "oneOf"):
        return f"{value} matches {'none' if not _fits_some(error) else 'more than one'} of the alternatives"
    return error.message if len(error.message) < 300 else f"{value} is not valid for {keyword}"


def _fits_some(error: ValidationError) -> bool:
    return not error.context
