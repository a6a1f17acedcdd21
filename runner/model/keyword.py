"""The JSON Schema keywords that a param may use, each with the type of its value.

They are those of JSON Schema 2020-12 except references, which would need a resolver. A wrong value is reported at its
own line when the file is read, and the schema for editors derives from the same table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner._dataclass import dataclass
from runner.model.message import Message, advise, suggest
from runner.model.option import (
    INVALID,
    AnyJson,
    Choice,
    Flag,
    Integer,
    ListOf,
    MapOf,
    Number,
    Path,
    Report,
    Text,
    ValueType,
    closest,
    describe,
    ignore,
    on_keys,
)
from runner.model.regex import MOST_PATTERN, fault_of

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
"""The reference to the rule for a schema inside a schema, in the JSON Schema of a jobs file."""

_COUNT = Integer(0, 2**31 - 1)


@dataclass(frozen=True, slots=True)
class _Regex:
    """A regular expression that can be matched in linear time."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if Text().read(value, path, report) is INVALID:
            return INVALID
        if (fault := fault_of(value)) is not None:
            report(path, fault)
            return INVALID
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "format": "regex", "maxLength": MOST_PATTERN}

    def write(self, value: Any) -> Any:
        return value


_NULL_TYPE = advise("expected a type, got nothing", 'write "null", with quotes', replacement='"null"')


@dataclass(frozen=True, slots=True)
class _Type:
    """One type name or a list of them."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if value is None:
            report(path, _NULL_TYPE)
            return INVALID
        if not isinstance(value, list):
            return Choice(TYPES).read(value, path, report)
        if not value:
            report(path, advise("is empty", f"list at least one of {', '.join(TYPES)}"))
            return INVALID
        if None in value:
            report((*path, value.index(None)), _NULL_TYPE)
            return INVALID
        return INVALID if ListOf(Choice(TYPES), unique=True).read(value, path, report) is INVALID else value

    def schema(self) -> dict[str, Any]:
        # Not anyOf: if nothing matches, editors show no more than that.
        return {
            "type": ["string", "array"],
            "if": {"type": "string"},
            "then": {"enum": list(TYPES)},
            "items": {"enum": list(TYPES)},
            "minItems": 1,
            "uniqueItems": True,
            "examples": list(TYPES),
        }

    def write(self, value: Any) -> Any:
        return value


@dataclass(frozen=True, slots=True)
class _NonEmpty:
    """A list with at least one item."""

    item: ValueType

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if isinstance(value, list) and not value:
            report(path, advise("is empty, so no value is valid", "list at least one", "; "))
            return INVALID
        return ListOf(self.item).read(value, path, report)

    def schema(self) -> dict[str, Any]:
        return {**ListOf(self.item).schema(), "minItems": 1}

    def write(self, value: Any) -> Any:
        return value


@dataclass(frozen=True, slots=True)
class _Schema:
    """A schema inside a schema: true, false, or a mapping of keywords."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if isinstance(value, bool):
            return value
        if not isinstance(value, Mapping):
            report(path, advise(f"expected a schema, got {describe(value)}", "write one such as {type: string}"))
            return INVALID
        return value if keywords_sound(value, NESTED_KEYWORDS, path, report) else INVALID

    def schema(self) -> dict[str, Any]:
        return {"type": ["object", "boolean"], "$ref": SUBSCHEMA_REF}

    def write(self, value: Any) -> Any:
        return value


_ANY = AnyJson()
_SUB = _Schema()

KEYWORDS: dict[str, ValueType] = {
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
"""The JSON Schema keywords that a param may use, with the types of their values."""

KEYWORD_HELP = {
    "type": "The type of the value, or a list of types.",
    "description": "What people should know who give the value.",
    "title": "A short name for people.",
    "default": "The value if none is given.",
    "examples": "Valid values, for people.",
    "enum": "The valid values.",
    "const": "The only valid value.",
    "format": "The format of the text, such as date.",
    "minLength": "The smallest number of characters.",
    "maxLength": "The largest number of characters.",
    "pattern": "A regular expression that matches part of the text, or all of it with ^ and $. It is matched in "
    "linear time, so lookaround and backreferences are not supported.",
    "minimum": "The smallest number.",
    "maximum": "The largest number.",
    "exclusiveMinimum": "The number is greater than this.",
    "exclusiveMaximum": "The number is less than this.",
    "multipleOf": "The number is a multiple of this.",
    "items": "The schema of the items, or of those after prefixItems.",
    "prefixItems": "The schemas of the first items, in order.",
    "contains": "A schema for which at least one item is valid.",
    "minContains": "The smallest number of items that are valid for contains.",
    "maxContains": "The largest number of items that are valid for contains.",
    "minItems": "The smallest number of items.",
    "maxItems": "The largest number of items.",
    "uniqueItems": "true: no item appears twice.",
    "properties": "The schemas of the values, by key.",
    "patternProperties": "The schemas of the values, by regular expressions that match the keys.",
    "additionalProperties": "The schema of the values of other keys; false refuses such keys.",
    "propertyNames": "The schema of the keys themselves.",
    "minProperties": "The smallest number of keys.",
    "maxProperties": "The largest number of keys.",
    "dependentRequired": "The keys that are required if another key is given.",
    "anyOf": "Schemas, for at least one of which the value is valid.",
    "oneOf": "Schemas, for exactly one of which the value is valid.",
    "allOf": "Schemas, for all of which the value is valid.",
    "not": "A schema for which the value is not valid.",
    "if": "A schema that chooses between then and else.",
    "then": "The schema for values that are valid for if.",
    "else": "The schema for values that are not valid for if.",
    "deprecated": "true: the value should not be given any more.",
    "$comment": "A note for readers of this file.",
}
"""A sentence on each keyword, for editors."""

NESTED_KEYWORDS: dict[str, ValueType] = {**KEYWORDS, "required": ListOf(Text(), unique=True)}
PARAM_KEYWORDS: dict[str, ValueType] = {**KEYWORDS, "required": Flag()}

VALUE_KEYWORDS = frozenset({"default", "const"})
"""Keywords whose value may be null. For others, null removes an inherited value, and is wrong if there is none."""

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


def subschema() -> dict[str, Any]:
    """Return the JSON Schema of a schema inside a schema, for :data:`SUBSCHEMA_REF`."""
    return {
        # null for the keywords of a param, where it removes an inherited value
        "type": ["object", "boolean", "null"],
        "additionalProperties": False,
        "properties": {name: described(name, value_type.schema()) for name, value_type in NESTED_KEYWORDS.items()},
    }


def described(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a keyword with its help."""
    return {**schema, "description": KEYWORD_HELP.get(name, "The required keys.")}


def keywords_sound(declared: Mapping[str, Any], known: dict[str, ValueType], path: Path, report: Report) -> bool:
    """Report the invalid keywords of one schema; return whether there are none."""
    sound = True
    for key, value in declared.items():
        value_type = known.get(key)
        if value_type is None:
            report((*path, key), _unknown_keyword(key, known, declared), on_key=True)
            sound = False
        elif key == "required" and known is PARAM_KEYWORDS and isinstance(value, list):
            keys = ", ".join(map(str, value))
            remedy = f"write allOf: [{{required: [{keys}]}}] for keys that an object must have"
            report((*path, key), advise("expected true or false, got a list", remedy))
            sound = False
        elif value_type is not _ANY and value_type.read(value, (*path, key), report) is INVALID:
            sound = False
        elif key == "patternProperties":
            for pattern in value:
                sound &= _Regex().read(pattern, (*path, key, pattern), on_keys(report)) is not INVALID
    if sound:
        for low, high in _BOUNDS:
            if low in declared and high in declared and declared[low] > declared[high]:
                report(
                    (*path, low),
                    advise(f"is more than {high}, so no value is valid", "swap or correct them", "; "),
                )
                sound = False
    return sound


def _unknown_keyword(key: str, known: dict[str, ValueType], declared: Mapping[str, Any]) -> Message:
    if key in _REFERENCES:
        return advise("references are not supported", "write the schema here, or repeat it with a YAML anchor")
    what = "unknown keyword of JSON Schema"
    meant = _ALIASES.get(key) or closest(key, known)
    if meant is None:
        return Message(what)  # not the dozens that there are
    value_type = known.get(meant)
    fits = (
        value_type is not None and meant not in declared and value_type.read(declared[key], (), ignore) is not INVALID
    )
    return suggest(what, meant, replacement=meant if fits else "")
