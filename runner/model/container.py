"""Kinds of values that hold others: lists, mappings, any JSON."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from runner._dataclass import dataclass
from runner.model.message import advise
from runner.model.value_type import INVALID, Path, Report, Text, ValueType, describe, nullable


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of at most ``most`` items, held as a tuple; ``unique`` is for items that can be hashed."""

    item: ValueType
    unique: bool = False
    most: int | None = None

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, list):
            shown = value if isinstance(value, str | int) and not isinstance(value, bool) else "one, two"
            if isinstance(shown, str) and shown.startswith("(") and shown.endswith(")"):
                shown = shown[1:-1].rstrip(", ")  # a tuple of Python
            elif isinstance(shown, str) and shown.startswith("("):
                # The first part of one within braces, where YAML ends it at the comma.
                report(path, f"expected a list, got text, and YAML has no tuples: write [{shown[1:].strip()}, …]")
                return INVALID
            elif isinstance(shown, str) and shown.startswith("[") and shown.endswith("]"):
                shown = shown[1:-1]  # a list in quotes
            advice = f"write [{shown}]"
            if isinstance(value, dict) and self._is_item(value) and not self._is_item({}):
                advice = "put it into a list, within [ and ]"
            report(path, advise(f"expected a list, got {describe(value)}", advice))
            return INVALID
        if self.most is not None and len(value) > self.most:
            report(path, f"has {len(value)} items, at most {self.most} are allowed")
            return INVALID
        items = [self.item.read(item, (*path, index), report) for index, item in enumerate(value)]
        if any(item is INVALID for item in items):
            return INVALID
        if self.unique:
            seen = set()
            for index, item in enumerate(items):
                if item not in seen:
                    seen.add(item)
                else:
                    report((*path, index), advise(f"{item!r} appears twice", "remove one"))
                    return INVALID
        return tuple(items)

    def _is_item(self, value: Any) -> bool:
        return self.item.read(value, (), lambda *_, **__: None) is not INVALID

    def schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "array", "items": self.item.schema()}
        if self.unique:
            schema["uniqueItems"] = True
        if self.most is not None:
            schema["maxItems"] = self.most
        return schema

    def write(self, value: Any) -> Any:
        return [self.item.write(item) for item in value]


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping with free keys that fit ``key``, held read-only.

    With ``null_resets`` an entry of null takes an inherited entry away; else null is a value. ``dangling``: a null
    that takes nothing away is accepted.
    """

    key: Text
    value: ValueType
    null_resets: bool = False
    dangling: bool = True

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, Mapping):
            report(path, advise(f"expected a mapping, got {describe(value)}", "write {name: value}"))
            return INVALID
        found: dict[str, Any] = {}
        sound = True
        for name, item in value.items():
            at = (*path, name)
            key = self.key.read(name, at, on_keys(report))
            resets = item is None and self.null_resets and self.dangling
            read = None if resets else self.value.read(item, at, report)
            if key is INVALID or read is INVALID:
                sound = False
            elif item is not None or not self.null_resets:
                found[key] = read
        return MappingProxyType(found) if sound else INVALID

    def schema(self) -> dict[str, Any]:
        value = self.value.schema()
        if self.null_resets:
            value = nullable(value)
        schema: dict[str, Any] = {"type": "object", "additionalProperties": value}
        names = {name: rule for name, rule in self.key.schema().items() if name != "type"}
        if names:
            schema["propertyNames"] = names
        return schema

    def write(self, value: Any) -> Any:
        return {name: self.value.write(item) for name, item in value.items()}


def on_keys(report: Report) -> Report:
    """Return a report that points at keys, for rules about the keys of a mapping."""

    def report_key(path: Path, message: str, *, on_key: bool = True) -> None:  # noqa: ARG001
        report(path, message, on_key=True)

    return report_key


@dataclass(frozen=True, slots=True)
class AnyJson:
    """Any value that JSON can hold."""

    def read(self, value: Any, path: Path, report: Report) -> Any:  # noqa: ARG002
        return value

    def schema(self) -> dict[str, Any]:
        return {}

    def write(self, value: Any) -> Any:
        return value
