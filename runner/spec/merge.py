"""How a job's options merge over the defaults it inherits.

Mappings merge by key, lists and scalars replace, null resets to the built-in default. Null is a value
only where JSON values stand: in ``args``, inside ``kwargs``, and as ``default`` or ``const`` of a param.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NULL_IS_A_VALUE = frozenset({"default", "const"})


def merge_options(inherited: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of ``own`` merged over ``inherited``. Neither is changed."""
    merged = dict(inherited)
    for key, value in own.items():
        base = merged.get(key)
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(base, Mapping):
            if key == "kwargs":
                merged[key] = _merge_values(base, value)
            elif key == "params":
                merged[key] = _merge_params(base, value)
            else:
                merged[key] = _merge_resetting(base, value)
        else:
            merged[key] = value
    return merged


def _merge_values(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in own.items():
        under = merged.get(key)
        if isinstance(value, Mapping) and isinstance(under, Mapping):
            merged[key] = _merge_values(under, value)
        else:
            merged[key] = value
    return merged


def _merge_resetting(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in own.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    return merged


def _merge_params(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, schema in own.items():
        under = merged.get(name)
        if schema is None:
            merged.pop(name, None)
        elif isinstance(schema, Mapping) and isinstance(under, Mapping):
            keywords = dict(under)
            for keyword, value in schema.items():
                if value is None and keyword not in _NULL_IS_A_VALUE:
                    keywords.pop(keyword, None)
                else:
                    keywords[keyword] = value
            merged[name] = keywords
        else:
            merged[name] = schema
    return merged
