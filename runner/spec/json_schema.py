"""Checks with the jsonschema library, with messages for people. Imported only where a schema needs it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError

from runner.spec.formats import FORMATS, fits_format
from runner.spec.params import show
from runner.spec.problem import show_path


def _format_checker() -> FormatChecker:
    checker = FormatChecker(())
    for name in FORMATS:
        checker.checks(name)(_check_of(name))
    return checker


def _check_of(name: str) -> Callable[[object], bool]:
    return lambda value: fits_format(value, name)


_CHECKER = _format_checker()


@lru_cache(maxsize=4096)
def _validator(schema: str) -> Any:
    return Draft202012Validator(json.loads(schema), format_checker=_CHECKER)


def faults_of(schema: Mapping[str, Any], value: Any) -> list[str]:
    """Return what keeps ``value`` from fitting: ``": message"`` or ``".path: message"`` each."""
    validator = _validator(json.dumps(dict(schema), sort_keys=True))
    try:
        errors = sorted(validator.iter_errors(value), key=lambda error: [str(step) for step in error.absolute_path])
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
        return f"{value} is not one of {', '.join(map(show, rule))}"
    if keyword == "const":
        return f"{value} is not {show(rule)}"
    if keyword == "format":
        return f"{value} is not {FORMATS[rule][1]}"
    if keyword == "pattern":
        return f"{value} does not match {rule}"
    if keyword in ("anyOf", "oneOf"):
        return f"{value} fits {'none' if not _fits_some(error) else 'more than one'} of the alternatives"
    if keyword == "additionalProperties":
        return error.message.replace("Additional properties are not allowed", "unknown keys")
    return error.message if len(error.message) < 300 else f"{value} does not fit {keyword}"


def _fits_some(error: ValidationError) -> bool:
    return not error.context
