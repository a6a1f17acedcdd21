"""Read params from arguments such as ``day=2026-11-23``, by their declared types."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from runner.model.job import JobSpec
from runner.model.param import Param
from runner.model.strict_json import LARGEST
from runner.params.faults import invalid, undeclared
from runner.params.values import ARTICLES, is_type
from runner.yaml_reader.problem import one_line
from runner.yaml_reader.reader import read_text


def read_params(job: JobSpec, arguments: Iterable[str]) -> dict[str, Any]:
    """Return the params of arguments such as ``day=2026-11-23`` and ``limit=5``, read by their declared types.

    Raises:
        InvalidParams: an argument has no ``=``, a name is undeclared or given twice, or a value does not have its
            declared type. The message lists all of them.
    """
    found: dict[str, Any] = {}
    faults: list[str] = []
    for argument in arguments:
        name, equals, text = argument.partition("=")
        if not equals or not name:
            faults.append(f"{one_line(argument)!r} has no {'name' if equals else 'value'}, write NAME=VALUE")
            continue
        param = job.params.get(name)
        if param is None:
            faults.append(undeclared(job, name))
        elif name in found:
            faults.append(f"{name}: is given twice")
        else:
            try:
                found[name] = read_value(param, text)
            except ValueError as error:
                faults.append(f"{name}: {error}")
    if faults:
        raise invalid(job, faults)
    return found


def read_value(param: Param, text: str) -> Any:
    """Return the value of ``text`` for a param; its types are tried in order.

    If the type is text, the text is returned unchanged. Otherwise it is read as YAML, which includes JSON. For a param
    without a type, it is read as YAML, or returned unchanged if it is not YAML.

    Raises:
        ValueError: the text has none of the types; the message names them.
    """
    types = param.types or _types_of_choices(param)
    value: Any
    if not types:
        value, fault = _as_yaml(text)
        return text if fault else value
    # The order of the types matters: for [string, integer], "5" is text.
    value, fault = _as_yaml(text) if set(types) != {"string"} else (None, None)
    for name in types:
        if name == "string":
            return text
        if fault is None and is_type(value, name):
            return int(value) if name == "integer" and abs(value) <= LARGEST else value
    expected = " or ".join(f"{name} ({ARTICLES[name]})" for name in types)
    raise ValueError(f"{one_line(text)!r} is not of type {expected}" + (f": {fault}" if fault and text else ""))


def _types_of_choices(param: Param) -> tuple[str, ...]:
    """Return ``("string",)`` if all values of ``enum`` or ``const`` are text; otherwise no types."""
    choices = param.schema.get("enum", [param.schema["const"]] if "const" in param.schema else [])
    return ("string",) if choices and all(isinstance(choice, str) for choice in choices) else ()


def _as_yaml(text: str) -> tuple[Any, str | None]:
    document = read_text(text, "")
    if document.problems:
        return None, document.problems[0].message
    return document.value, None
