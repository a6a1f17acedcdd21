"""Read declared options from an interface: the command line, a form, a request, or Python.

The interfaces differ in their values and in the spelling of names: the command line, forms, and query strings have
texts, a request body has JSON, and Python code has numbers and times. Validity and error messages are the same for all
of them, because the types of the options decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, Literal, NamedTuple, TypeVar

from runner.errors import UsageError
from runner.model.container import ListOf
from runner.model.option import Option, options_of
from runner.model.storable import storable
from runner.model.value_type import Flag, Integer, Path, ValueType, did_you_mean

T = TypeVar("T")

_WHOLE = re.compile(r"-?[0-9]{1,18}")


class Interface(NamedTuple):
    """An interface that gives values of options. ``prefix`` is written before the name of an option."""

    values: Literal["texts", "json", "python"]
    prefix: str = ""
    renamed: tuple[tuple[str, str], ...] = ()
    """Pairs of a field and its name in this interface, if that differs."""

    def spell(self, declared: Option) -> str:
        """Return the name of an option in this interface."""
        own = dict(self.renamed).get(declared.field)
        return own or f"{self.prefix}{declared.field if self.values == 'python' else declared.key}"

    def names(self, declared: Option) -> Iterator[str]:
        """Yield the accepted names of an option: the current one first, then former ones."""
        if self.values == "python":
            yield declared.field
        else:
            yield declared.key
            yield from declared.former


COMMAND_LINE: Final = Interface("texts", "--")
QUERY: Final = Interface("texts")
"""A query string or a form, in which an empty text means no value."""
BODY: Final = Interface("json")
PYTHON: Final = Interface("python")


def parse_options(cls: type[T], given: Mapping[str, object], interface: Interface, *, zone: str) -> T:
    """Return an instance of ``cls`` with the given options; None means no value.

    Args:
        cls: a dataclass of options.
        given: the values by the names of options in the interface.
        interface: the interface.
        zone: the time zone of times without an offset.

    Raises:
        UsageError: a name or a value is invalid, or two options exclude each other.
    """
    values: dict[str, Any] = {}
    used: dict[str, str] = {}
    known = {name: declared for declared in options_of(cls) for name in interface.names(declared)}
    for name, value in given.items():
        declared = known.get(name)
        if declared is None:
            shown = [interface.spell(option) for option in options_of(cls)]
            raise UsageError(
                f"{interface.prefix}{name}: unknown option{did_you_mean(f'{interface.prefix}{name}', shown)}",
                hint=f"use one of {', '.join(shown)}",
            )
        if value is None:
            continue
        if declared.field in used:
            raise UsageError(
                f"{used[declared.field]} and {name} are the same option", hint=f"use {interface.spell(declared)}"
            )
        used[declared.field] = name
        values[declared.field] = read_value(declared, value, interface, zone=zone)
    fields = {declared.field: declared for declared in options_of(cls)}
    for first, second, meaning in cls.ALTERNATIVES:  # type: ignore[attr-defined]
        if first in values and second in values:
            both = f"{interface.spell(fields[first])} and {interface.spell(fields[second])}"
            raise UsageError(f"{both} both {meaning}", hint="use one of them")
    return cls(**values)


def read_value(declared: Option, value: object, interface: Interface, *, zone: str) -> Any:
    """Return the value of an option as the model stores it.

    Raises:
        UsageError: the value is invalid.
    """

    def refuse(path: Path, message: str, *, on_key: bool = False) -> None:  # noqa: ARG001
        raise UsageError(f"{interface.spell(declared)}: {message}")

    value_type: Any = declared.type
    if needs_zone(value_type):
        value_type = replace(value_type, zone=zone)
    plain = _plain(value_type, value, interface)
    path = (declared.key,)
    if any(
        isinstance(text, str) and storable(text) != text for text in (plain if isinstance(plain, list) else [plain])
    ):
        refuse(path, "has half of a surrogate pair, write whole characters")
    read = value_type.take if interface.values == "python" and hasattr(value_type, "take") else value_type.read
    return read(plain, path, refuse)


def needs_zone(value_type: ValueType) -> bool:
    """Return whether the value of a text depends on the time zone of the project."""
    return hasattr(value_type, "zone")


def _plain(value_type: ValueType, value: object, interface: Interface) -> object:
    """Return a value as YAML would have it, or unchanged, so that the type of the option can refuse it."""
    if isinstance(value_type, ListOf) and interface.values != "json":
        return [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple | set) else value
    if interface.values == "texts" and isinstance(value, str):
        if isinstance(value_type, Integer) and _WHOLE.fullmatch(value):
            return int(value)
        if isinstance(value_type, Flag):
            return {"on": True, "true": True, "off": False, "false": False}.get(value, value)
    return value


def given_texts(cls: type, given: Mapping[str, list[str]]) -> dict[str, object]:
    """Return the options in a query string or a form, without empty texts and unknown names.

    Args:
        cls: a dataclass of options.
        given: all texts of each name; for an option that is not a list, the last one is used.
    """
    found: dict[str, object] = {}
    for declared in options_of(cls):
        for name in QUERY.names(declared):
            texts = [text for text in given.get(name, ()) if text]
            if texts:
                found[name] = texts if isinstance(declared.type, ListOf) else texts[-1]
    return found
