"""Types of values that contain others: lists, mappings, and any JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from runner._dataclass import dataclass
from runner.model.message import Message, advise
from runner.model.value_type import INVALID, Path, Report, Text, ValueType, describe, ignore, nullable


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of at most ``most`` items, stored as a tuple; ``unique`` requires items that can be hashed."""

    item: ValueType
    unique: bool = False
    most: int | None = None

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, list):
            report(path, self._expected(value))
            return INVALID
        if self.most is not None and len(value) > self.most:
            report(path, advise(f"has {len(value)} items, at most {self.most} are allowed", "remove some"))
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

    def _expected(self, value: Any) -> Message:
        what = f"expected a list, got {describe(value)}"
        if isinstance(value, dict) and self._is_item(value) and not self._is_item({}):
            return advise(what, "put it in brackets: [{…}]")
        if isinstance(value, bool) or not isinstance(value, str | int):
            return advise(what, "write [one, two]")
        text = str(value)
        if text.startswith("(") and not text.endswith(")"):
            # Within braces, the first part of a tuple of Python: YAML ends it at the comma.
            return advise(f"{what}, and YAML has no tuples", f"write [{text[1:].strip()}, …]", ": ")
        if text[:1] + text[-1:] in ("()", "[]"):
            items = text[1:-1].rstrip(", ")
            return advise(what, f"write [{items}]", replacement=f"[{items}]")
        if not self._is_item(value):
            return advise(what, f"write [{text}]")
        item = text if re.fullmatch(r"[\w./@ -]*[\w./@-]", text) or not isinstance(value, str) else json.dumps(text)
        return advise(what, f"write [{item}]", replacement=f"[{item}]")

    def _is_item(self, value: Any) -> bool:
        return self.item.read(value, (), ignore) is not INVALID

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
    """A mapping whose keys are valid for ``key``, stored read-only.

    With ``null_resets`` an entry of null removes an inherited entry; otherwise null is a value. ``dangling``: a null
    that removes nothing is accepted.
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
    """Return a report that points at the key instead of the value, for rules about keys."""

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
