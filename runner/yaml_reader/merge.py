"""Merge a job's options over its defaults.

Mappings are merged by key, lists and scalars are replaced, and null resets an option to its built-in default. Null is a
value only where any JSON value is allowed: in ``args``, in ``kwargs``, and as ``default`` or ``const`` of a param. A
null that removes nothing is kept, so that the check of the options sees its key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NULL_IS_A_VALUE = frozenset({"default", "const"})


def merge_options(inherited: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of ``own`` merged over ``inherited``; neither is modified."""
    merged = dict(inherited)
    for key, value in own.items():
        base = merged.get(key)
        if value is None and key in merged:
            del merged[key]
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
        if value is None and key in merged:
            del merged[key]
        else:
            merged[key] = value
    return merged


def _merge_params(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, schema in own.items():
        under = merged.get(name)
        if schema is None and name in merged:
            del merged[name]
        elif isinstance(schema, Mapping) and isinstance(under, Mapping):
            keywords = dict(under)
            for keyword, value in schema.items():
                if value is None and keyword in keywords and keyword not in _NULL_IS_A_VALUE:
                    del keywords[keyword]
                else:
                    keywords[keyword] = value
            merged[name] = keywords
        else:
            merged[name] = schema
    return merged
