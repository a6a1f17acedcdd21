"""The param that a parameter of a function becomes: JSON Schema out of its annotation and default."""

from __future__ import annotations

import collections.abc
import datetime
import enum
import inspect
import math
import pathlib
import types
import typing
import uuid
from typing import Any

from runner.authoring.annotation import hints_of, plain, show

_SCALARS: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
}
_TEXTS: dict[Any, dict[str, Any]] = {
    datetime.date: {"type": "string", "format": "date"},
    datetime.datetime: {"type": "string", "format": "date-time"},
    datetime.time: {"type": "string", "format": "time"},
    uuid.UUID: {"type": "string", "format": "uuid"},
    pathlib.Path: {"type": "string"},
    bytes: {"type": "string"},
}
_ARRAYS = (list, tuple, set, frozenset, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
_OBJECTS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


def param_of(parameter: inspect.Parameter, function: Any, description: str | None) -> dict[str, Any]:
    """Return the declaration that ``runner new`` writes for a parameter.

    Returns:
        ``name``; ``kind``: ``named``, ``by_position`` or ``open`` (``*args``, ``**kwargs``); ``schema``: keywords of
        JSON Schema and ``required``; ``note``: what the author should know, or None.
    """
    kind_names: dict[Any, str] = {
        inspect.Parameter.POSITIONAL_ONLY: "by_position",
        inspect.Parameter.VAR_POSITIONAL: "open",
        inspect.Parameter.VAR_KEYWORD: "open",
    }
    annotation = hints_of(function).get(parameter.name, inspect.Parameter.empty)
    default = parameter.default
    needed = default is inspect.Parameter.empty
    if annotation is inspect.Parameter.empty:
        schema = _of_default(default)
    else:
        schema = schema_of(annotation)
    if needed:
        schema["required"] = True
    elif is_json(default):
        schema["default"] = list(default) if isinstance(default, tuple) else default
        if default is None:
            schema = _or_null(schema)
    if description:
        schema["description"] = description
    return {
        "name": parameter.name,
        "kind": kind_names.get(parameter.kind, "named"),
        "needed": needed,
        "schema": schema,
        "note": _note(annotation),
    }


def schema_of(annotation: Any) -> dict[str, Any]:
    """Return the JSON Schema of an annotation; an empty one where that is not known."""
    annotation = plain(annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    known = _SCALARS.get(annotation) if isinstance(annotation, collections.abc.Hashable) else None
    if known is not None:
        return dict(known)
    if origin in (typing.Union, types.UnionType):
        return _of_union([schema_of(argument) for argument in arguments])
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if inspect.isclass(annotation) and issubclass(annotation, enum.Enum):
        values = [member.value for member in annotation]
        return {"enum": values} if all(is_json(value) for value in values) else {}
    if annotation in _TEXTS:
        return dict(_TEXTS[annotation])
    if (origin or annotation) in _ARRAYS:
        items = schema_of(arguments[0]) if arguments and arguments[0] is not Any else {}
        return {"type": "array", "items": items} if items else {"type": "array"}
    if (origin or annotation) in _OBJECTS:
        below = schema_of(arguments[1]) if len(arguments) == 2 and arguments[1] is not Any else {}
        return {"type": "object", "additionalProperties": below} if below else {"type": "object"}
    return {}


def _of_union(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    if not all(schemas):
        return {}
    others = [schema for schema in schemas if schema != {"type": "null"}]
    if len(others) == 1:
        return _or_null(others[0])
    if all(set(schema) == {"type"} for schema in schemas):
        return {"type": [schema["type"] for schema in schemas]}
    return {"anyOf": schemas}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    kind = schema.get("type")
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], *([] if None in schema["enum"] else [None])]}
    if isinstance(kind, str) and kind != "null":
        return {**schema, "type": [kind, "null"]}
    if isinstance(kind, list) and "null" not in kind:
        return {**schema, "type": [*kind, "null"]}
    return schema


def _of_default(default: Any) -> dict[str, Any]:
    for cls, schema in _SCALARS.items():
        if type(default) is cls and default is not None:
            return dict(schema)
    if isinstance(default, list | tuple):
        return {"type": "array"}
    return {"type": "object"} if isinstance(default, dict) else {}


def is_json(value: Any) -> bool:
    """Return whether a file of jobs can hold the value."""
    if isinstance(value, enum.Enum):
        return False
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    if isinstance(value, list | tuple):
        return all(map(is_json, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_json(item) for key, item in value.items())
    return value is None or isinstance(value, str) or (isinstance(value, float) and math.isfinite(value))


def _note(annotation: Any) -> str | None:
    """Return a note about an annotation whose values JSON cannot express."""
    whole = plain(annotation)
    members = [plain(arg) for arg in typing.get_args(whole)] or [whole]
    for member in members:
        if inspect.isclass(member) and (member in _TEXTS or issubclass(member, enum.Enum)):
            return f"arrives as text, not as {show(member)}: convert it in the function"
    return None
