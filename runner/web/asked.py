"""Declared options in the web: as properties in OpenAPI, as fields of a form, and as parameters of a query."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from fastapi import Request

from runner.model.container import ListOf
from runner.model.interface import QUERY, given_texts, parse_options
from runner.model.option import Option, options_of
from runner.model.value_type import Flag, Integer, ValueType
from runner.web.jobs import Field

T = TypeVar("T")

LABELS = {
    "in": "Start in",
    "at": "Start at",
    "force": "Although it is paused",
    "grep": "Error contains",
    "worker": "Worker or host",
    "sort": "Order",
    "steps": "Include step runs",
    "archived": "Only the archive",
}
"""Labels of options whose names say too little to people."""


def properties_of(cls: type) -> dict[str, Any]:
    """Return the properties of a JSON body: each option, and its former names as deprecated ones."""
    found = {}
    for declared in options_of(cls):
        schema = declared.schema()
        found[declared.key] = schema
        found |= {name: {**schema, **_deprecated(declared)} for name in declared.former}
    return found


def parameters_of(cls: type) -> dict[str, Any]:
    """Return the OpenAPI description of a route whose query takes the options of ``cls``."""
    return {"parameters": [parameter for declared in options_of(cls) for parameter in _parameters(declared)]}


def _parameters(declared: Option) -> Iterator[dict[str, Any]]:
    schema = declared.type.schema()
    if declared.default:
        schema["default"] = declared.default
    plain = {"in": "query", "required": False, "schema": schema}
    yield {"name": declared.key, "description": declared.help, **plain}
    for name in declared.former:
        yield {"name": name, **plain, **_deprecated(declared)}


def _deprecated(declared: Option) -> dict[str, Any]:
    return {"description": f"The former name of `{declared.key}`.", "deprecated": True}


def texts_of(request: Request) -> dict[str, list[str]]:
    """Return the values of a query string, by name."""
    return {name: request.query_params.getlist(name) for name in request.query_params}


def ask_query(cls: type[T], texts: Mapping[str, list[str]], zone: str) -> T:
    """Return the options that a query string or a form sets.

    Raises:
        UsageError: a value is not valid, or two options exclude each other.
    """
    return parse_options(cls, given_texts(cls, texts), QUERY, zone=zone)


def fields_of(cls: type, texts: Mapping[str, list[str]]) -> list[Field]:
    """Return the fields of a form for the options of ``cls``, in their order, with the values that were typed."""
    return [_field(declared, texts) for declared in options_of(cls)]


def _field(declared: Option, texts: Mapping[str, list[str]]) -> Field:
    kind, rules, choices = _input(declared.type)
    typed = [text for name in QUERY.names(declared) for text in texts.get(name, ()) if text]
    return Field(
        name=declared.key,
        kind=kind,
        required=False,
        description=declared.help,
        value=typed[-1] if typed else str(declared.default) if choices and declared.default else "",
        choices=choices,
        rules=rules,
        label=LABELS.get(declared.key, declared.key.capitalize()),
        values=tuple(text.upper() if text.upper() in choices else text for text in typed),
        preset=bool(declared.default),
    )


def _input(value_type: ValueType) -> tuple[str, tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Return the form input of a type: its tag, attributes, and choices."""
    if isinstance(value_type, Flag):
        return "flag", (), ()
    if isinstance(value_type, Integer):
        return "number", (("min", str(value_type.minimum)), ("max", str(value_type.maximum))), ()
    if isinstance(value_type, ListOf):
        return "choices", (), tuple(value_type.item.schema().get("enum", ()))
    schema = value_type.schema()
    if "enum" in schema:
        return "choice", (), tuple(schema["enum"])
    rules = (("maxlength", str(schema["maxLength"])),) if "maxLength" in schema else ()
    return "text", rules, ()
