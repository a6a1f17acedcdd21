"""The params that words such as ``day=2026-11-23`` give, read by their declared types."""

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


def read_params(job: JobSpec, words: Iterable[str]) -> dict[str, Any]:
    """Return the params that words such as ``day=2026-11-23`` and ``limit=5`` give, read by declared type.

    Raises:
        InvalidParams: a word without ``=``, an undeclared name, a name given twice or a value that cannot
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
        if fault is None and is_type(value, name):
            return int(value) if name == "integer" and abs(value) <= LARGEST else value
    expected = " or ".join(f"{name} ({ARTICLES[name]})" for name in types)
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
