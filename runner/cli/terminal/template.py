"""The template of ``-o``: text with fields of a JSON document, such as ``{id} {error.type}``.

A field is looked up by its name in objects, and by its number in arrays. Nothing else is evaluated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from runner._dataclass import dataclass
from runner.errors import UsageError
from runner.model.value_type import did_you_mean

Fields = Mapping[str, Sequence[str] | None]
"""The fields of a document. Those of a field that is an object; None if it is none, or if its fields are not known."""

_ESCAPES = {r"\t": "\t", r"\n": "\n", r"\\": "\\", "{{": "{", "}}": "}"}
_PART = re.compile(r"\\[tn\\]|\{\{|\}\}|\{([^{}]*)\}|[{}]|[^\\{}]+|\\")
_FIELD = re.compile(r"[\w-]+(\.[\w-]+)*")


@dataclass(frozen=True, slots=True)
class Template:
    """A template that was read: texts, and fields as tuples of names."""

    parts: tuple[str | tuple[str, ...], ...]

    def check(self, fields: Fields) -> None:
        """Check that the documents of a list can have the fields.

        Raises:
            UsageError: one of them is unknown.
        """
        for path in (part for part in self.parts if isinstance(part, tuple)):
            first, *rest = path
            if first not in fields:
                raise _unknown(first, list(fields))
            known = fields[first]
            if rest and known is not None and rest[0] not in known:
                raise _unknown(f"{first}.{rest[0]}", [f"{first}.{name}" for name in known])

    def fill(self, document: Mapping[str, Any]) -> str:
        """Return the text for a document.

        A field without a value is empty. Tabs and line breaks in values become spaces.
        """
        return "".join(part if isinstance(part, str) else _text(_look_up(document, part)) for part in self.parts)


def read_template(text: str) -> Template:
    r"""Return the template that ``text`` spells: ``{field.field}``, ``{{`` and ``}}`` for braces, ``\t``, and ``\n``.

    Raises:
        UsageError: a brace is alone, or a field is not a name.
    """
    parts: list[str | tuple[str, ...]] = []
    for match in _PART.finditer(text):
        part, name = match[0], match[1]
        if name is not None:
            if not _FIELD.fullmatch(name):
                raise UsageError(f"{part} is not a field", hint="write a field as {id} or {error.type}")
            parts.append(tuple(name.split(".")))
        elif part in ("{", "}"):
            raise UsageError(f"the template {text!r} has a single {part}", hint=f"write {part * 2} for the character")
        else:
            parts.append(_ESCAPES.get(part, part))
    return Template(tuple(parts))


def _look_up(value: Any, path: Sequence[str]) -> Any:
    for name in path:
        if isinstance(value, Mapping):
            value = value.get(name)
        elif isinstance(value, list) and name.isascii() and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return " ".join(value.splitlines()).replace("\t", " ")


def _unknown(name: str, known: Sequence[str]) -> UsageError:
    return UsageError(f"unknown field {name}{did_you_mean(name, known)}", hint=f"the fields are: {', '.join(known)}")
