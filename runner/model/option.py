"""Declare an option once: its type, default, bounds, and help.

An option is a dataclass field made by :func:`option`. Its type checks a plain value, as YAML gave it, and expresses the
same rule as JSON Schema. Validation, defaults, editor help, and the reference pages derive from the two.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from runner._dataclass import dataclass
from runner.model.container import AnyJson, ListOf, MapOf, on_keys
from runner.model.message import Message, ShellOption, advise, suggest
from runner.model.nested_option import nested_remedy, one_line_yaml, shell_remedy
from runner.model.value_type import (
    INVALID,
    Choice,
    Duration,
    Flag,
    Integer,
    Number,
    Path,
    Report,
    Size,
    Text,
    ValueType,
    closest,
    describe,
    did_you_mean,
    ignore,
    nullable,
)

__all__ = [
    "INVALID",
    "AnyJson",
    "Choice",
    "Defaults",
    "Duration",
    "Flag",
    "Integer",
    "ListOf",
    "MapOf",
    "Number",
    "Option",
    "Path",
    "Report",
    "Section",
    "Size",
    "Text",
    "ValueType",
    "closest",
    "describe",
    "did_you_mean",
    "ignore",
    "known_options",
    "nullable",
    "on_keys",
    "option",
    "options_of",
]


MOST_OPTIONS = 12
"""The longest list of options in a message."""


@dataclass(frozen=True, slots=True)
class Option:
    """One declared option: its key in YAML or on the command line, type, default, and help."""

    key: str
    field: str
    type: ValueType
    help: str
    required: bool
    default: Any
    examples: tuple[Any, ...] = ()
    former: tuple[str, ...] = ()

    def takes(self, value: Any) -> bool:
        """Return whether ``value``, as YAML gave it, is valid for this option; null resets it."""
        return (value is None and not self.required) or self.type.read(value, (), ignore) is not INVALID

    def schema(self) -> dict[str, Any]:
        """Return the option's JSON Schema, with help, default, and examples for editors."""
        schema = nullable(self.type.schema()) if not self.required else self.type.schema()
        schema["description"] = self.help
        if not self.required and self.default is not None:
            schema["default"] = self.type.write(self.default)
        if self.examples:
            schema["examples"] = list(self.examples)
        return schema


_REQUIRED: Final[Any] = object()


def option(
    type: ValueType,
    *,
    help: str,
    default: Any = _REQUIRED,
    key: str | None = None,
    examples: tuple[Any, ...] = (),
    former: tuple[str, ...] = (),
) -> Any:
    """Declare an option as a dataclass field.

    Args:
        type: how its value is checked and described.
        help: one sentence for editors and the reference page.
        default: the built-in default as the model stores it; an option without a default is required.
        key: its name in YAML or on the command line, if that differs from the field's: ``for`` is a keyword of Python.
        examples: values as they are written in YAML.
        former: earlier names that the REST API and the dashboard still accept. YAML accepts none.
    """
    metadata = {"option": {"type": type, "help": help, "key": key, "examples": examples, "former": former}}
    if default is _REQUIRED:
        return dataclasses.field(metadata=metadata)
    if isinstance(default, dict | MappingProxyType):
        return dataclasses.field(default_factory=lambda: MappingProxyType(dict(default)), metadata=metadata)
    if dataclasses.is_dataclass(default):
        return dataclasses.field(default_factory=lambda: default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def option_like(section: type, name: str, type: ValueType) -> Any:
    """Declare an option as ``section`` declares it, but with another type."""
    field = next(field for field in dataclasses.fields(section) if field.name == name)
    metadata = {"option": {**field.metadata["option"], "type": type}}
    return dataclasses.field(default=field.default, default_factory=field.default_factory, metadata=metadata)


_options_of: dict[type, tuple[Option, ...]] = {}
_known_options: dict[type, dict[str, Option]] = {}


def known_options(section: type) -> Mapping[str, Option]:
    """Return the options that a dataclass declares, by their key in YAML."""
    known = _known_options.get(section)
    if known is None:
        known = _known_options[section] = {declared.key: declared for declared in options_of(section)}
    return known


def options_of(section: type) -> tuple[Option, ...]:
    """Return the options that a dataclass declares, in order."""
    cached = _options_of.get(section)
    if cached is None:
        cached = _options_of[section] = tuple(_collect(section))
    return cached


def _collect(section: type) -> Iterable[Option]:
    # Otherwise the options of a base class would come first.
    first = {name: number for number, name in enumerate(getattr(section, "FIRST", ()))}
    for field in sorted(dataclasses.fields(section), key=lambda field: first.get(field.name, len(first))):
        declared = field.metadata.get("option")
        if declared is None:
            continue
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        required = default is dataclasses.MISSING
        yield Option(
            key=declared["key"] or field.name,
            field=field.name,
            type=declared["type"],
            help=declared["help"],
            required=required,
            default=None if required else default,
            examples=declared["examples"],
            former=declared["former"],
        )


def missing(declared: Option) -> Message:
    """Return the message for a required option that is not there, with an example to add."""
    what = f"{declared.key} is missing"
    if not declared.examples:
        return advise(what, "add it")
    example = declared.examples[0]
    return advise(what, f"add {declared.key}: {example if _is_plain(example) else one_line_yaml(example)}")


def _is_plain(example: Any) -> bool:
    return not isinstance(example, dict | list)


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping whose keys are the options of a dataclass.

    ``aliases`` maps names that other tools use to the name of an option here, or to a message;
    ``check`` checks the section as a whole once every option is valid.
    """

    cls: type
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)
    check: Callable[[Any, Path, Report], bool] | None = None

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, Mapping):
            report(path, self._expected(value))
            return INVALID
        values, sound = self.read_fields(value, path, report)
        if not sound:
            return INVALID
        made = self.cls(**values)
        if self.check is not None and not self.check(made, path, report):
            return INVALID
        return made

    def read_fields(self, value: Mapping[str, Any], path: Path, report: Report) -> tuple[dict[str, Any], bool]:
        """Return the fields that ``value`` sets, and whether all of them are valid."""
        known = known_options(self.cls)
        values: dict[str, Any] = {}
        sound = True
        for key, item in value.items():
            declared = known.get(key)
            if declared is None:
                report((*path, key), self.unknown(str(key), value), on_key=True)
                sound = False
            elif item is not None:
                read = declared.type.read(item, (*path, key), report)
                if read is INVALID:
                    sound = False
                else:
                    values[declared.field] = read
        for declared in known.values():
            if declared.required and value.get(declared.key) is None:
                report(path, missing(declared), on_key=True)
                sound = False
        return values, sound

    def unknown(self, key: str, given: Mapping[str, Any]) -> Message:
        """Return the message for an unknown key of ``given``, with the option that was probably meant."""
        known = known_options(self.cls)
        alias = self.aliases.get(key)
        if isinstance(alias, ShellOption):
            return advise("unknown option", shell_remedy(alias.kwarg, given, given.get(key), self.aliases))
        if isinstance(alias, Message):
            return alias.after("unknown option ")
        meant = alias or closest(key, known)
        if meant is None:
            what = "unknown option"
            return advise(what, f"use one of {', '.join(known)}") if len(known) <= MOST_OPTIONS else Message(what)
        if "." in meant:
            return advise("unknown option", nested_remedy(known_options, self.cls, meant, given, given.get(key)))
        declared = known.get(meant)
        fits = declared is not None and meant not in given and declared.takes(given.get(key))
        return suggest("unknown option", meant, replacement=meant if fits else "")

    def _expected(self, value: Any) -> Message:
        what = f"expected a mapping, got {describe(value)}"
        options = options_of(self.cls)
        required = [declared for declared in options if declared.required]
        taking = next((declared for declared in options if value is not None and declared.takes(value)), None)
        if taking is not None and required in ([], [taking]):
            written = f"{{{taking.key}: {json.dumps(value) if isinstance(value, str) else value}}}"
            return advise(what, f"write {written}", replacement=written)
        shown = [option for option in required or options if option.examples and _is_plain(option.examples[0])]
        example = [f"{option.key}: {option.examples[0]}" for option in shown[: len(required) or 1]]
        return advise(what, f"write {{{', '.join(example)}}}") if example else Message(what)

    def schema(self) -> dict[str, Any]:
        declared = options_of(self.cls)
        schema: dict[str, Any] = {
            "type": "object",
            "additionalProperties": False,
            "properties": {option.key: option.schema() for option in declared},
        }
        required = [option.key for option in declared if option.required]
        if required:
            schema["required"] = required
        return schema

    def write(self, value: Any) -> Any:
        return self.write_fields({declared.field: getattr(value, declared.field) for declared in options_of(self.cls)})

    def write_fields(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return fields as they would be written in YAML, without those that have their default."""
        written = {}
        for declared in options_of(self.cls):
            held = values.get(declared.field)
            if held is not None and held != declared.default:
                written[declared.key] = declared.type.write(held)
        return written


@dataclass(frozen=True, slots=True)
class Defaults:
    """Defaults for some options of ``section``, stored as they are written in YAML.

    Each option is checked by itself; :meth:`sound_part` reports and omits the invalid ones.
    """

    section: Section

    def read(self, value: Any, path: Path, report: Report) -> Any:
        sound, complete = self.sound_part(value, path, report)
        return MappingProxyType(sound) if complete else INVALID

    def sound_part(self, value: Any, path: Path, report: Report) -> tuple[dict[str, Any], bool]:
        """Return the valid options, and whether all of them are valid."""
        if not isinstance(value, Mapping):
            report(path, advise(f"expected a mapping of options, got {describe(value)}", "write {queue: reports}"))
            return {}, False
        known = known_options(self.section.cls)
        sound: dict[str, Any] = {}
        for key, item in value.items():
            declared = known.get(key)
            if declared is None:
                report((*path, key), self.section.unknown(key, value), on_key=True)
            elif item is None or declared.type.read(item, (*path, key), report) is not INVALID:
                sound[key] = item
        return sound, len(sound) == len(value)

    def schema(self) -> dict[str, Any]:
        schema = self.section.schema()
        schema.pop("required", None)
        return schema

    def write(self, value: Any) -> Any:
        return dict(value)
