"""Whether a value fits a type annotation, for annotations that are simple enough to tell."""

from __future__ import annotations

import collections.abc
import inspect
import types
import typing
from typing import Any

_SCALARS: dict[Any, str] = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
_ARRAYS = (list, collections.abc.MutableSequence)
_ARRAY_LIKE = (
    tuple,
    collections.abc.Sequence,
    collections.abc.Iterable,
    collections.abc.Collection,
    collections.abc.Container,
)
_OBJECTS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


def fits_value(annotation: Any, value: Any) -> bool:
    """Return whether a JSON value fits an annotation; True if this cannot be decided."""
    annotation = plain(annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(fits_value(argument, value) for argument in arguments)
    if origin is typing.Literal:
        return any(argument == value and type(argument) is type(value) for argument in arguments)
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if annotation in _SCALARS:
        return isinstance(value, annotation)
    if (origin or annotation) in _ARRAYS:
        return isinstance(value, list | tuple) and all(
            fits_value(argument, item) for item in value for argument in arguments[:1]
        )
    if (origin or annotation) in _ARRAY_LIKE:
        # A text is a sequence of texts, and so is a list of any JSON value a tuple to most code.
        return isinstance(value, list | tuple | str | dict)
    if (origin or annotation) in _OBJECTS:
        values = arguments[1:2]
        return isinstance(value, collections.abc.Mapping) and all(
            fits_value(argument, item) for item in value.values() for argument in values
        )
    return True


def fits_type(annotation: Any, kind: str) -> bool:
    """Return whether values of a JSON type may fit an annotation; True if this cannot be decided."""
    annotation = plain(annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(fits_type(argument, kind) for argument in arguments)
    if origin is typing.Literal:
        return any(fits_type(type(argument), kind) for argument in arguments)
    if annotation in _SCALARS:
        return _SCALARS[annotation] == kind or (annotation is float and kind == "integer")
    if (origin or annotation) in _ARRAYS:
        return kind == "array"
    if (origin or annotation) in _ARRAY_LIKE:
        return kind in ("array", "string", "object")
    if (origin or annotation) in _OBJECTS:
        return kind == "object"
    return True


def plain(annotation: Any) -> Any:
    """Return an annotation without what only readers and checkers see in it (``Annotated``, ``NewType``)."""
    while True:
        if typing.get_origin(annotation) is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif annotation is None:
            return type(None)
        else:
            return annotation


def hints_of(function: Any) -> dict[str, Any]:
    """Return the annotations of a callable's parameters, those in quotes evaluated; without those that cannot be."""
    function = inspect.unwrap(function)
    if inspect.isclass(function):
        function = function.__init__
    elif hasattr(function, "func"):
        function = function.func  # functools.partial
    elif not inspect.isroutine(function):
        function = type(function).__call__
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # noqa: BLE001 - an annotation in quotes is code, and may be meant for a type checker alone
        raw = getattr(function, "__annotations__", {})
        return {name: hint for name, hint in raw.items() if not isinstance(hint, str)}


def show(annotation: Any) -> str:
    """Return an annotation as it stands in code."""
    return inspect.formatannotation(annotation).replace("typing.", "")
