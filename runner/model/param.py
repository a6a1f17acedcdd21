"""Params: the values that a submitter may give, each with a name and a JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from runner._dataclass import dataclass
from runner.model.keyword import PARAM_KEYWORDS, TYPES, VALUE_KEYWORDS, described, keywords_sound
from runner.model.message import advise
from runner.model.option import INVALID, Path, Report, Text, ValueType, describe, nullable, on_keys

_NEVER_MISSING = advise("a param with a default is never missing", "remove required or default")
PARAM_NAME = Text(
    pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
    advice="a param becomes a keyword argument, so use letters, digits, and underscores, no digit first",
    is_name=True,
)


@dataclass(frozen=True, slots=True)
class Param:
    """A declared param. ``schema`` is a JSON Schema (2020-12), without ``required``."""

    name: str
    schema: Mapping[str, Any]
    required: bool = False

    @property
    def description(self) -> str | None:
        """The description for people who give the param, or None."""
        return self.schema.get("description")

    @property
    def types(self) -> tuple[str, ...]:
        """The declared types in order; empty if any JSON value is valid."""
        declared = self.schema.get("type")
        if declared is None:
            return ()
        return (declared,) if isinstance(declared, str) else tuple(declared)

    @property
    def has_default(self) -> bool:
        """Whether there is a value to use if none is given."""
        return "default" in self.schema

    @property
    def default(self) -> Any:
        """The value to use if none is given; None if there is no default."""
        return self.schema.get("default")


@dataclass(frozen=True, slots=True)
class Params:
    """The ``params:`` section: names and declarations, stored as :class:`Param`."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, Mapping):
            shown = "write names and schemas, such as {day: {type: string}}"
            report(path, advise(f"expected a mapping, got {describe(value)}", shown))
            return INVALID
        found: dict[str, Param] = {}
        sound = True
        for name, declared in value.items():
            at = (*path, name)
            if PARAM_NAME.read(name, at, on_keys(report)) is INVALID:
                sound = False
            if declared is None:
                continue  # removes an inherited param
            param = self._read_param(name, declared, at, report)
            if param is None:
                sound = False
            else:
                found[name] = param
        return MappingProxyType(found) if sound else INVALID

    def _read_param(self, name: str, declared: Any, path: Path, report: Report) -> Param | None:
        if not isinstance(declared, Mapping):
            if isinstance(declared, str) and declared in TYPES:
                written = f"{{type: {declared}}}"
                report(path, advise("expected a schema, got text", f"write {written}", replacement=written))
            else:
                report(path, advise(f"expected a schema, got {describe(declared)}", "write one such as {type: string}"))
            return None
        # A null that removed an inherited keyword is gone by now. Any other null would switch off a check.
        schema = dict(declared)
        if not keywords_sound(schema, PARAM_KEYWORDS, path, report):
            return None
        required = schema.pop("required", False)
        if required and "default" in schema:
            report((*path, "required"), _NEVER_MISSING)
            return None
        return Param(name, MappingProxyType(schema), required)

    def schema(self) -> dict[str, Any]:
        keywords = {name: _nullable_keyword(name, value_type) for name, value_type in PARAM_KEYWORDS.items()}
        param = {
            "type": ["object", "null"],
            "additionalProperties": False,
            "properties": keywords,
            "dependentSchemas": {
                "default": {"properties": {"required": {"enum": [False, None], "errorMessage": _NEVER_MISSING}}}
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


def _nullable_keyword(name: str, value_type: ValueType) -> dict[str, Any]:
    schema = value_type.schema() if name in VALUE_KEYWORDS else nullable(value_type.schema())
    help = {"description": "true: a submission without it is refused."} if name == "required" else {}
    return {**described(name, schema), **help}
