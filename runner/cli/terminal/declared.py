"""Turn declared options into options of the command line, and read their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from runner.cli.terminal.options import ParamType
from runner.model.container import ListOf
from runner.model.interface import COMMAND_LINE, needs_zone, parse_options, read_value
from runner.model.option import Option, options_of
from runner.model.time_types import PastTime, StartTime
from runner.model.value_type import Duration, Flag, Integer, Text, ValueType

if TYPE_CHECKING:
    from runner.actions.project import Project

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

MOST_VALUES = 6
"""The longest choice that help spells out; a longer one is shown by the name of the option."""


class Declared(ParamType):
    """The value of a declared option. A wrong one is refused at once, except where the project's time zone matters."""

    def __init__(self, declared: Option) -> None:
        self.declared = declared
        self.name = declared.key

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002
        if not needs_zone(self.declared.type):
            read_value(self.declared, value, COMMAND_LINE, zone="UTC")
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:  # noqa: ARG002
        """Complete the values of a choice."""
        from click.shell_completion import CompletionItem  # start-up time: only the shell asks for this

        values = choices(self.declared.type)
        return [CompletionItem(value) for value in values if value.lower().startswith(incomplete.lower())]


def declared_options(
    cls: type, *, short: Mapping[str, str] | None = None, types: Mapping[str, ParamType] | None = None
) -> Callable[[F], Callable[..., Any]]:
    """Add the options that a dataclass declares; the function gets those that were given as ``asked``, by name.

    Args:
        cls: a dataclass of options.
        short: one-letter forms, by name.
        types: types that complete values of their own, by name.
    """

    def decorate(function: F) -> Callable[..., Any]:
        @wraps(function)
        def collecting(**given: Any) -> Any:
            asked = {declared.key: given.pop(_parameter(declared)) for declared in options_of(cls)}
            return function(asked={name: value for name, value in asked.items() if value not in (None, ())}, **given)

        added: Callable[..., Any] = collecting
        for declared in reversed(options_of(cls)):
            names = [f"--{declared.key}", *([short[declared.key]] if short and declared.key in short else [])]
            added = click.option(*names, _parameter(declared), **_attributes(declared, types or {}))(added)
        return added

    return decorate


def asked_for(cls: type[T], project: Project, asked: Mapping[str, object]) -> T:
    """Return the requested values.

    Raises:
        UsageError: a value is wrong, or two options exclude each other.
    """
    return parse_options(cls, asked, COMMAND_LINE, zone=project.settings.timezone)


def _parameter(declared: Option) -> str:
    return f"asked_{declared.field}"


def _attributes(declared: Option, types: Mapping[str, ParamType]) -> dict[str, Any]:
    if isinstance(declared.type, Flag):
        return {"is_flag": True, "default": None, "help": declared.help}
    return {
        "type": types.get(declared.key) or Declared(declared),
        "multiple": isinstance(declared.type, ListOf),
        "metavar": _metavar(declared),
        "help": declared.help,
        **({"default": declared.default, "show_default": True} if declared.default else {}),
    }


def _metavar(declared: Option) -> str:
    match declared.type:
        case Duration():
            return "DURATION"
        case StartTime():
            return "TIME"
        case PastTime():
            return "DURATION|TIME"
        case Integer():
            return "N"
        case Text(pattern=None):
            return "TEXT"
    values = choices(declared.type)
    return "|".join(values).lower() if 0 < len(values) <= MOST_VALUES else declared.key.upper()


def choices(value_type: ValueType) -> tuple[str, ...]:
    """Return the values of a choice; an empty tuple for any other type."""
    rule = (value_type.item if isinstance(value_type, ListOf) else value_type).schema()
    return tuple(rule.get("enum", ()))
