"""What a submitter may give: a name and a JSON Schema each.

The keywords are a subset of JSON Schema 2020-12 that needs no resolver: everything but references.
Each is declared here with the kind of value it takes, so that a wrong one is found when the file is
read, at its own line, and an editor's schema derives from the same table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from runner.model.option import (
    INVALID,
    AnyJson,
    Choice,
    Flag,
    Integer,
    Kind,
    ListOf,
    MapOf,
    Number,
    Path,
    Report,
    Text,
    describe,
    did_you_mean,
    on_keys,
)

PARAM_NAME = Text(
    pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
    advice="a param becomes a keyword argument, so use letters, digits and underscores, no digit first",
)
TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")
FORMATS = (
    "date",
    "date-time",
    "time",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "uri",
    "uuid",
    "regex",
)
SUBSCHEMA_REF = "#/$defs/schema"
"""Where the JSON Schema of a jobs file keeps the rule for a schema inside a schema."""

_COUNT = Integer(0, 2**31 - 1)


@dataclass(frozen=True, slots=True)
class _Regex:
    """A regular expression that Python can compile."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if Text().read(value, path, report) is INVALID:
            return INVALID
        try:
            re.compile(value)
        except (re.error, RecursionError, OverflowError) as error:
            report(path, f"{value!r} is not a regular expression: {error}; in YAML, quote it with single quotes")
            return INVALID
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "format": "regex"}

    def write(self, value: Any) -> Any:
        return value


@dataclass(frozen=True, slots=True)
class _Type:
    """One type name or a list of them."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if value is None:
            report(path, 'expected a type, got nothing; write "null", with quotes, for the type null')
            return INVALID
        if not isinstance(value, list):
            return Choice(TYPES).read(value, path, report)
        if not value:
            report(path, f"is empty, name at least one of {', '.join(TYPES)}")
            return INVALID
        if None in value:
            report(
                (*path, value.index(None)), 'expected a type, got nothing; write "null", with quotes, for the type null'
            )
            return INVALID
        return INVALID if ListOf(Choice(TYPES), unique=True).read(value, path, report) is INVALID else value

    def schema(self) -> dict[str, Any]:
        one = {"enum": list(TYPES)}
        return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1, "uniqueItems": True}]}

    def write(self, value: Any) -> Any:
        return value


@dataclass(frozen=True, slots=True)
class _NonEmpty:
    """A list with at least one item."""

    item: Kind

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if isinstance(value, list) and not value:
            report(path, "is empty, so that nothing would ever fit; list at least one item")
            return INVALID
        return ListOf(self.item).read(value, path, report)

    def schema(self) -> dict[str, Any]:
        return {**ListOf(self.item).schema(), "minItems": 1}

    def write(self, value: Any) -> Any:
        return value


@dataclass(frozen=True, slots=True)
class _Schema:
    """A schema inside a schema: true, false or a mapping of keywords."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if isinstance(value, bool):
            return value
        if not isinstance(value, Mapping):
            report(path, f"expected a schema such as {{type: string}}, got {describe(value)}")
            return INVALID
        return value if _keywords_sound(value, NESTED_KEYWORDS, path, report) else INVALID

    def schema(self) -> dict[str, Any]:
        return {"$ref": SUBSCHEMA_REF}

    def write(self, value: Any) -> Any:
        return value


_ANY = AnyJson()
_SUB = _Schema()

KEYWORDS: dict[str, Kind] = {
    "type": _Type(),
    "description": Text(max_length=4096),
    "title": Text(max_length=200),
    "default": _ANY,
    "examples": ListOf(_ANY),
    "enum": _NonEmpty(_ANY),
    "const": _ANY,
    "format": Choice(FORMATS),
    "minLength": _COUNT,
    "maxLength": _COUNT,
    "pattern": _Regex(),
    "minimum": Number(),
    "maximum": Number(),
    "exclusiveMinimum": Number(),
    "exclusiveMaximum": Number(),
    "multipleOf": Number(above=0),
    "items": _SUB,
    "prefixItems": _NonEmpty(_SUB),
    "contains": _SUB,
    "minContains": _COUNT,
    "maxContains": _COUNT,
    "minItems": _COUNT,
    "maxItems": _COUNT,
    "uniqueItems": Flag(),
    "properties": MapOf(Text(), _SUB),
    "patternProperties": MapOf(Text(), _SUB),
    "additionalProperties": _SUB,
    "propertyNames": _SUB,
    "minProperties": _COUNT,
    "maxProperties": _COUNT,
    "dependentRequired": MapOf(Text(), ListOf(Text(), unique=True)),
    "anyOf": _NonEmpty(_SUB),
    "oneOf": _NonEmpty(_SUB),
    "allOf": _NonEmpty(_SUB),
    "not": _SUB,
    "if": _SUB,
    "then": _SUB,
    "else": _SUB,
    "deprecated": Flag(),
    "$comment": Text(),
}
"""The JSON Schema keywords that a param may use, and what each takes."""

NESTED_KEYWORDS: dict[str, Kind] = {**KEYWORDS, "required": ListOf(Text(), unique=True)}
PARAM_KEYWORDS: dict[str, Kind] = {**KEYWORDS, "required": Flag()}

_VALUE_KEYWORDS = frozenset({"default", "const"})
"""Keywords whose value may be null; elsewhere null resets what was inherited."""

_ALIASES = {
    "min": "minimum",
    "max": "maximum",
    "ge": "minimum",
    "le": "maximum",
    "gt": "exclusiveMinimum",
    "lt": "exclusiveMaximum",
    "choices": "enum",
    "options": "enum",
    "values": "enum",
    "one_of": "oneOf",
    "any_of": "anyOf",
    "all_of": "allOf",
    "regex": "pattern",
    "help": "description",
    "desc": "description",
    "doc": "description",
    "example": "examples",
    "value": "default",
    "optional": "required",
    "nullable": 'type: [string, "null"]',
    "min_length": "minLength",
    "max_length": "maxLength",
    "multiple_of": "multipleOf",
}
_REFERENCES = frozenset(
    {"$ref", "$defs", "definitions", "$dynamicRef", "$id", "$anchor", "$dynamicAnchor", "$schema", "$vocabulary"}
)
_BOUNDS = (
    ("minimum", "maximum"),
    ("minLength", "maxLength"),
    ("minItems", "maxItems"),
    ("minProperties", "maxProperties"),
    ("minContains", "maxContains"),
)


@dataclass(frozen=True, slots=True)
class Param:
    """A declared param. ``schema`` is plain JSON Schema 2020-12, without ``required``."""

    name: str
    schema: Mapping[str, Any]
    required: bool = False

    @property
    def description(self) -> str | None:
        """What a person should know before giving it, or None."""
        return self.schema.get("description")

    @property
    def types(self) -> tuple[str, ...]:
        """The declared types in their order; empty if any JSON value will do."""
        declared = self.schema.get("type")
        if declared is None:
            return ()
        return (declared,) if isinstance(declared, str) else tuple(declared)

    @property
    def has_default(self) -> bool:
        """Whether a value is filled in when none is given."""
        return "default" in self.schema

    @property
    def default(self) -> Any:
        """The value filled in when none is given; None also without a default."""
        return self.schema.get("default")


@dataclass(frozen=True, slots=True)
class Params:
    """The ``params:`` section: names to declarations, held as :class:`Param`."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, Mapping):
            shown = ", write names and schemas, such as {day: {type: string}}"
            report(path, f"expected a mapping, got {describe(value)}{shown}")
            return INVALID
        found: dict[str, Param] = {}
        sound = True
        for name, declared in value.items():
            at = (*path, name)
            if declared is None:
                continue  # null takes an inherited param away
            if PARAM_NAME.read(name, at, on_keys(report)) is INVALID:
                sound = False
            param = self._read_param(name, declared, at, report)
            if param is None:
                sound = False
            else:
                found[name] = param
        return MappingProxyType(found) if sound else INVALID

    def _read_param(self, name: str, declared: Any, path: Path, report: Report) -> Param | None:
        if not isinstance(declared, Mapping):
            if isinstance(declared, str) and declared in TYPES:
                report(path, f"expected a schema, write {{type: {declared}}}")
            else:
                report(path, f"expected a schema such as {{type: string}}, got {describe(declared)}")
            return None
        schema = {key: item for key, item in declared.items() if item is not None or key in _VALUE_KEYWORDS}
        if not _keywords_sound(schema, PARAM_KEYWORDS, path, report):
            return None
        required = schema.pop("required", False)
        if required and "default" in schema:
            report((*path, "required"), "a param with a default is never missing, remove required or default")
            return None
        return Param(name, MappingProxyType(schema), required)

    def schema(self) -> dict[str, Any]:
        keywords = {name: _nullable_keyword(name, kind) for name, kind in PARAM_KEYWORDS.items()}
        param = {
            "type": ["object", "null"],
            "additionalProperties": False,
            "properties": keywords,
            "not": {
                "type": "object",
                "required": ["required", "default"],
                "properties": {"required": {"const": True}},
            },
        }
        return {
            "type": "object",
            "propertyNames": {"pattern": PARAM_NAME.pattern},
            "additionalProperties": param,
        }

    def write(self, value: Any) -> Any:
        return {
            name: {**param.schema, "required": True} if param.required else dict(param.schema)
            for name, param in value.items()
        }


PARAMS = Params()


def subschema() -> dict[str, Any]:
    """Return the rule for a schema inside a schema, to stand at :data:`SUBSCHEMA_REF`."""
    return {
        "type": ["object", "boolean"],
        "additionalProperties": False,
        "properties": {name: kind.schema() for name, kind in NESTED_KEYWORDS.items()},
    }


def _nullable_keyword(name: str, kind: Kind) -> dict[str, Any]:
    schema = kind.schema()
    if name not in _VALUE_KEYWORDS and schema:
        return {"anyOf": [schema, {"type": "null"}]}
    return schema


def _keywords_sound(declared: Mapping[str, Any], known: dict[str, Kind], path: Path, report: Report) -> bool:
    sound = True
    for key, value in declared.items():
        kind = known.get(key)
        if kind is None:
            report((*path, key), _unknown_keyword(key, known), on_key=True)
            sound = False
        elif key == "required" and known is PARAM_KEYWORDS and isinstance(value, list):
            report((*path, key), "expected true or false; for the keys of an object write allOf: [{required: […]}]")
            sound = False
        elif kind is not _ANY and kind.read(value, (*path, key), report) is INVALID:
            sound = False
        elif key == "patternProperties":
            for pattern in value:
                sound &= _Regex().read(pattern, (*path, key, pattern), on_keys(report)) is not INVALID
    if sound:
        for low, high in _BOUNDS:
            if low in declared and high in declared and declared[low] > declared[high]:
                report((*path, low), f"is more than {high}, so that nothing would ever fit; swap or correct them")
                sound = False
    return sound


def _unknown_keyword(key: str, known: dict[str, Kind]) -> str:
    if key in _REFERENCES:
        return "references are not supported, write the schema out or repeat it with a YAML anchor"
    alias = _ALIASES.get(key)
    guess = f", did you mean {alias}?" if alias else did_you_mean(key, known)
    return f"unknown keyword of JSON Schema{guess}" + ("" if guess else f", known are {', '.join(sorted(known))}")
