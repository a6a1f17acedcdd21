"""The keywords of JSON Schema that a param may use, each with the kind of value it takes.

They are a subset of JSON Schema 2020-12 that needs no resolver: everything but references. A wrong value is
found when the file is read, at its own line, and an editor's schema derives from the same table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner._dataclass import dataclass
from runner.model.message import Message, advise
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
"""Where the JSON Schema of a jobs file keeps the rule for a schema inside a schema."""

_COUNT = Integer(0, 2**31 - 1)


@dataclass(frozen=True, slots=True)
class _Regex:
    """A regular expression that is matched in linear time."""

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


@dataclass(frozen=True, slots=True)
class _Type:
    """One type name or a list of them."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if value is None:
            report(path, advise("expected a type, got nothing", 'write "null", with quotes, for the type null', "; "))
            return INVALID
        if not isinstance(value, list):
            return Choice(TYPES).read(value, path, report)
        if not value:
            report(path, advise("is empty", f"name at least one of {', '.join(TYPES)}"))
            return INVALID
        if None in value:
            report(
                (*path, value.index(None)),
                advise("expected a type, got nothing", 'write "null", with quotes, for the type null', "; "),
            )
            return INVALID
        return INVALID if ListOf(Choice(TYPES), unique=True).read(value, path, report) is INVALID else value

    def schema(self) -> dict[str, Any]:
        # No anyOf: of one, editors say no more than that nothing fits.
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
            report(path, advise("is empty, so no value can ever match", "list at least one item", "; "))
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
"""The JSON Schema keywords that a param may use, and what each takes."""

KEYWORD_HELP = {
    "type": "The type of the value, or a list of types.",
    "description": "What a person should know before giving it.",
    "title": "A short name for people.",
    "default": "The value when none is given.",
    "examples": "Values that fit, to show.",
    "enum": "The values that fit.",
    "const": "The only value that fits.",
    "format": "What the text is, such as a date.",
    "minLength": "The fewest characters.",
    "maxLength": "The most characters.",
    "pattern": "A regular expression that the text matches somewhere; ^ and $ make that all of it. Matched in "
    "linear time: no lookaround, no backreferences.",
    "minimum": "The smallest number.",
    "maximum": "The largest number.",
    "exclusiveMinimum": "The number is above this.",
    "exclusiveMaximum": "The number is below this.",
    "multipleOf": "The number is a multiple of this.",
    "items": "The schema of each item, of those after prefixItems if there are any.",
    "prefixItems": "The schemas of the first items, one each.",
    "contains": "The schema that at least one item fits.",
    "minContains": "The fewest items that fit contains.",
    "maxContains": "The most items that fit contains.",
    "minItems": "The fewest items.",
    "maxItems": "The most items.",
    "uniqueItems": "true: no item appears twice.",
    "properties": "The schema of each key, by name.",
    "patternProperties": "Schemas of keys, by regular expressions that their names match.",
    "additionalProperties": "The schema of the other keys; false refuses them.",
    "propertyNames": "The schema of the names of keys.",
    "minProperties": "The fewest keys.",
    "maxProperties": "The most keys.",
    "dependentRequired": "Keys that are required where another key is there.",
    "anyOf": "Schemas of which at least one fits.",
    "oneOf": "Schemas of which exactly one fits.",
    "allOf": "Schemas that all fit.",
    "not": "A schema that does not fit.",
    "if": "A schema that decides between then and else.",
    "then": "The schema where if fits.",
    "else": "The schema where if does not fit.",
    "deprecated": "true: better not given any more.",
    "$comment": "A note for readers of this file.",
}
"""One sentence for each keyword, for editors."""

NESTED_KEYWORDS: dict[str, ValueType] = {**KEYWORDS, "required": ListOf(Text(), unique=True)}
PARAM_KEYWORDS: dict[str, ValueType] = {**KEYWORDS, "required": Flag()}

VALUE_KEYWORDS = frozenset({"default", "const"})
"""Keywords whose value may be null; elsewhere null resets what was inherited, and is wrong where there is nothing."""

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
    """Return the rule for a schema inside a schema, to stand at :data:`SUBSCHEMA_REF`."""
    return {
        # null only where a keyword of a param takes it, to reset what was inherited
        "type": ["object", "boolean", "null"],
        "additionalProperties": False,
        "properties": {name: described(name, value_type.schema()) for name, value_type in NESTED_KEYWORDS.items()},
    }


def described(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a keyword with its help."""
    return {**schema, "description": KEYWORD_HELP.get(name, "The keys that must be there.")}


def keywords_sound(declared: Mapping[str, Any], known: dict[str, ValueType], path: Path, report: Report) -> bool:
    """Report what is wrong with the keywords of one schema; return whether nothing is."""
    sound = True
    for key, value in declared.items():
        value_type = known.get(key)
        if value_type is None:
            report((*path, key), _unknown_keyword(key, known, declared), on_key=True)
            sound = False
        elif key == "required" and known is PARAM_KEYWORDS and isinstance(value, list):
            for_keys = "for the keys of an object write allOf: [{required: […]}]"
            report((*path, key), advise("expected true or false", for_keys, "; "))
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
                    advise(f"is more than {high}, so no value can ever match", "swap or correct them", "; "),
                )
                sound = False
    return sound


def _unknown_keyword(key: str, known: dict[str, ValueType], declared: Mapping[str, Any]) -> Message:
    if key in _REFERENCES:
        return advise("references are not supported", "write the schema out or repeat it with a YAML anchor")
    what = "unknown keyword of JSON Schema"
    meant = _ALIASES.get(key) or closest(key, known)
    if meant is None:
        return Message(f"{what}, use one of {', '.join(sorted(known))}")
    value_type = known.get(meant)
    fits = (
        value_type is not None and meant not in declared and value_type.read(declared[key], (), ignore) is not INVALID
    )
    return Message(f"{what}, did you mean {meant}?", replacement=meant if fits else "")
