"""The params of one submission: words read by their declared types, values checked by JSON Schema.

jsonschema takes longer to import than a submission takes, so it is imported only for schemas that the
plain check below does not know.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from runner.errors import InvalidParams
from runner.model.duration import format_size
from runner.model.job import JobSpec
from runner.model.option import did_you_mean
from runner.model.param import Param
from runner.model.strict_json import MOST_NESTED, is_too_deep
from runner.spec.formats import FORMATS, fits_format
from runner.spec.problem import one_line
from runner.spec.reader import read_text

_ANNOTATIONS = frozenset({"description", "title", "default", "examples", "deprecated", "$comment"})
_PLAIN = _ANNOTATIONS | {
    "type",
    "enum",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "format",
}
_ARTICLES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}


def read_params(job: JobSpec, words: Iterable[str]) -> dict[str, Any]:
    """Return the params that words such as ``day=2026-11-23`` and ``limit=5`` give, read by declared type.

    Raises:
        InvalidParams: a word without ``=``, an undeclared name, a name given twice or a value that can not
            be read as its declared type; all of them in one message.
    """
    found: dict[str, Any] = {}
    faults: list[str] = []
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            faults.append(f"{one_line(word)!r} has no {'name' if equals else 'value'}, write NAME=VALUE")
            continue
        param = job.params.get(name)
        if param is None:
            faults.append(_undeclared(job, name))
        elif name in found:
            faults.append(f"{name}: is given twice")
        else:
            try:
                found[name] = read_value(param, text)
            except ValueError as error:
                faults.append(f"{name}: {error}")
    if faults:
        raise _invalid(job, faults)
    return found


def read_value(param: Param, text: str) -> Any:
    """Return the value that ``text`` has as one of the param's types, tried in their order.

    Text stays as it is where the type allows text; else it is read as YAML, and JSON is YAML. A param
    without a type takes YAML where that gives a value, else the text.

    Raises:
        ValueError: naming the type.
    """
    types = param.types or _types_of_choices(param)
    value: Any
    if not types:
        value, fault = _as_yaml(text)
        return text if fault else value
    # A union with text gives the other types the first word: "5" of [string, integer] stays text only
    # because string comes first there.
    value, fault = _as_yaml(text) if set(types) != {"string"} else (None, None)
    for name in types:
        if name == "string":
            return text
        if fault is None and _is_type(value, name):
            return int(value) if name == "integer" else value
    expected = " or ".join(f"{name} ({_ARTICLES[name]})" for name in types)
    raise ValueError(f"{one_line(text)!r} is not of type {expected}" + (f": {fault}" if fault and text else ""))


def _types_of_choices(param: Param) -> tuple[str, ...]:
    """Return the types of ``enum`` and ``const`` where they tell that text is meant."""
    choices = param.schema.get("enum", [param.schema["const"]] if "const" in param.schema else [])
    return ("string",) if choices and all(isinstance(choice, str) for choice in choices) else ()


def _as_yaml(text: str) -> tuple[Any, str | None]:
    document = read_text(text, "")
    if document.problems:
        return None, document.problems[0].message
    return document.value, None


def check_params(job: JobSpec, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``params`` with defaults filled in.

    Raises:
        InvalidParams: with all faults in one message: undeclared names, missing ones, values that do not fit.
    """
    faults = [_undeclared(job, name) for name in params if name not in job.params]
    filled: dict[str, Any] = {}
    for name, param in job.params.items():
        if name in params:
            value = params[name]
            filled[name] = value
            if is_too_deep(value):
                faults.append(f"{name}: is nested more than {MOST_NESTED} deep, make it flatter")
            else:
                faults += [f"{name}{fault}" for fault in _faults(param, value)]
        elif param.has_default:
            filled[name] = param.default
        elif param.required:
            faults.append(f"{name}: is required{_meaning(param)}")
    if faults:
        raise _invalid(job, faults)
    return filled


def check_size(params: Mapping[str, Any], limit: int) -> None:
    """Check that ``params`` take at most ``limit`` bytes as JSON.

    Raises:
        InvalidParams: they take more, or are no JSON.
    """
    try:
        size = len(json.dumps(params, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidParams(
            f"params can not be written as JSON: {error}",
            hint="Give text, numbers, true, false, null, lists, mappings.",
        ) from None
    if size > limit:
        raise InvalidParams(
            f"params take {size:,} bytes as JSON, at most {format_size(limit)} are allowed",
            hint="Put the data into a file or a store and give its name, or raise limits.params in runner.yaml.",
        )


def fits(param: Param, value: Any) -> str | None:
    """Return what keeps ``value`` from being a value of ``param``, or None."""
    faults = _faults(param, value)
    return "; ".join(fault.removeprefix(": ") for fault in faults) if faults else None


def _meaning(param: Param) -> str:
    words = param.description or ""
    return f" ({one_line(words)})" if words else ""


def _undeclared(job: JobSpec, name: str) -> str:
    guess = did_you_mean(name, job.params)
    if not guess:
        known = ", ".join(job.params)
        guess = f", {job.name} takes {known}" if known else f", {job.name} takes no params"
    return f"{one_line(name)}: is not declared{guess}"


def _invalid(job: JobSpec, faults: list[str]) -> InvalidParams:
    return InvalidParams(
        f"params of {job.name}: " + "; ".join(faults),
        hint=f"runner jobs {job.name} shows what it takes.",
    )


def _faults(param: Param, value: Any) -> list[str]:
    schema = param.schema
    if _PLAIN.issuperset(schema):
        fault = _plain_fault(schema, value)
        return [f": {fault}"] if fault else []
    from runner.spec.json_schema import faults_of  # imports jsonschema

    return faults_of(param.schema, value)


def _plain_fault(schema: Mapping[str, Any], value: Any) -> str | None:
    """Check the keywords that nearly all params do with, exactly as JSON Schema does."""
    types = schema.get("type")
    if types is not None:
        allowed = (types,) if isinstance(types, str) else types
        if not any(_is_type(value, name) for name in allowed):
            return f"expected {' or '.join(_ARTICLES[name] for name in allowed)}, got {show(value)}"
    choices = schema.get("enum")
    if choices is not None and not any(_same(value, choice) for choice in choices):
        guess = did_you_mean(value, [c for c in choices if isinstance(c, str)]) if isinstance(value, str) else ""
        return f"{show(value)} is not one of {', '.join(map(show, choices))}{guess}"
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


def _is_type(value: Any, name: str) -> bool:
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


def _same(one: Any, other: Any) -> bool:
    # JSON Schema keeps true apart from 1, Python does not.
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return bool(one == other)


def show(value: Any) -> str:
    """Return a value as JSON for a message, cut where it is long."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = repr(value)
    text = one_line(text)
    return text if len(text) <= 60 else text[:59] + "…"
