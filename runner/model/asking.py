"""Reads what somebody asks for into a dataclass of declared options, by the way in that they use.

A way in has its own values and its own spelling. The command line, a form, and a query string give texts; a body gives
JSON; a program gives Python's numbers and times. What is sound, and what is said of the rest, is the same for all of
them: the value_type of the option decides.
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


class Door(NamedTuple):
    """A way in. ``values`` says what it gives; ``prefix`` is what it writes before the name of an option."""

    values: Literal["texts", "json", "python"]
    prefix: str = ""
    renamed: tuple[tuple[str, str], ...] = ()
    """Pairs of a field and the name that this door has for it, where it has names of its own."""

    def spell(self, declared: Option) -> str:
        """Return an option's name as this door writes it."""
        own = dict(self.renamed).get(declared.field)
        return own or f"{self.prefix}{declared.field if self.values == 'python' else declared.key}"

    def names(self, declared: Option) -> Iterator[str]:
        """Yield the names under which this door takes an option: its own first, then former ones."""
        if self.values == "python":
            yield declared.field
        else:
            yield declared.key
            yield from declared.former


COMMAND_LINE: Final = Door("texts", "--")
QUERY: Final = Door("texts")
"""A query string, and a form: an empty text asks for nothing."""
BODY: Final = Door("json")
PYTHON: Final = Door("python")


def ask(cls: type[T], given: Mapping[str, object], door: Door, *, zone: str) -> T:
    """Return an instance of ``cls`` with the options that were given, by name; None asks for nothing.

    Args:
        cls: a dataclass of options.
        given: values by the names that the door has for options.
        door: the way in.
        zone: the time zone of texts without an offset.

    Raises:
        UsageError: a name or a value is wrong, or two options exclude each other.
    """
    values: dict[str, Any] = {}
    used: dict[str, str] = {}
    known = {name: declared for declared in options_of(cls) for name in door.names(declared)}
    for name, value in given.items():
        declared = known.get(name)
        if declared is None:
            shown = [door.spell(each) for each in options_of(cls)]
            raise UsageError(
                f"{door.prefix}{name}: unknown option{did_you_mean(f'{door.prefix}{name}', shown)}",
                hint=f"use one of {', '.join(shown)}",
            )
        if value is None:
            continue
        if declared.field in used:
            raise UsageError(f"{used[declared.field]} and {name} are one option", hint=f"use {door.spell(declared)}")
        used[declared.field] = name
        values[declared.field] = read_value(declared, value, door, zone=zone)
    fields = {declared.field: declared for declared in options_of(cls)}
    for first, second, told in cls.ALTERNATIVES:  # type: ignore[attr-defined]
        if first in values and second in values:
            both = f"{door.spell(fields[first])} and {door.spell(fields[second])}"
            raise UsageError(f"{both} both {told}", hint="use one of them")
    return cls(**values)


def read_value(declared: Option, value: object, door: Door, *, zone: str) -> Any:
    """Return the value of one option as the model holds it.

    Raises:
        UsageError: it is wrong.
    """

    def refuse(path: Path, message: str, *, on_key: bool = False) -> None:  # noqa: ARG001
        raise UsageError(f"{door.spell(declared)}: {message}")

    value_type: Any = declared.type
    if needs_zone(value_type):
        value_type = replace(value_type, zone=zone)
    plain = _plain(value_type, value, door)
    path = (declared.key,)
    if any(
        isinstance(text, str) and storable(text) != text for text in (plain if isinstance(plain, list) else [plain])
    ):
        refuse(path, "holds half of a surrogate pair, write whole characters")
    read = value_type.take if door.values == "python" and hasattr(value_type, "take") else value_type.read
    return read(plain, path, refuse)


def needs_zone(value_type: ValueType) -> bool:
    """Whether what a text means depends on the project's time zone."""
    return hasattr(value_type, "zone")


def _plain(value_type: ValueType, value: object, door: Door) -> object:
    """Return a value as YAML would have it, where that is clear; the value_type refuses the rest."""
    if isinstance(value_type, ListOf) and door.values != "json":
        return [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple | set) else value
    if door.values == "texts" and isinstance(value, str):
        if isinstance(value_type, Integer) and _WHOLE.fullmatch(value):
            return int(value)
        if isinstance(value_type, Flag):
            return {"on": True, "true": True, "off": False, "false": False}.get(value, value)
    return value


def given_texts(cls: type, given: Mapping[str, list[str]]) -> dict[str, object]:
    """Return the options that a query string or a form gives; empty texts and other names are left out.

    Args:
        cls: a dataclass of options.
        given: all texts under each name; of an option that is no list, the last one counts.
    """
    found: dict[str, object] = {}
    for declared in options_of(cls):
        for name in QUERY.names(declared):
            texts = [text for text in given.get(name, ()) if text]
            if texts:
                found[name] = texts if isinstance(declared.type, ListOf) else texts[-1]
    return found
