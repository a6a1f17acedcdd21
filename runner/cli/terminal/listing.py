"""Lists of commands in all forms: a table, documents, names, or what a template says."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import field
from functools import wraps
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import click

from runner._dataclass import dataclass
from runner.cli.terminal.columns import Column, fit
from runner.cli.terminal.moments import Clock
from runner.cli.terminal.options import ParamType, utc_option
from runner.cli.terminal.output import Collected, Output
from runner.errors import UsageError

if TYPE_CHECKING:
    from runner.actions.projects import Projects
    from runner.cli.terminal.template import Fields, Template

__all__ = ["Column", "ListOptions", "Listed", "Listing", "Pace", "fit", "list_options"]

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

FORMS = ("table", "wide", "json", "jsonl", "yaml", "csv", "name")
TEMPLATE = "template"
_FORMER = {
    # Options that are older than -o: the form that they select, and their help.
    "json": ("json", "Print JSON."),
    "jsonl": ("jsonl", "Print one JSON object per line."),
    "ids": ("name", "Print only the ids."),
    "csv": ("csv", "Print comma-separated values, for spreadsheets."),
}


@dataclass(frozen=True, slots=True)
class ListOptions:
    """The options of a command that lists things. ``form`` is None if none was requested."""

    form: str | None = None
    template: Template | None = None
    follow: bool = False
    times: bool = False
    utc: bool = False

    @property
    def is_table(self) -> bool:
        """Whether rows and columns are shown."""
        return self.form in (None, "table", "wide")

    def output(self) -> Output:
        """Return the output of the command. A list that is followed shows remarks by itself."""
        cls = Collected if self.follow else Output
        return cls(as_json=self.form in ("json", "jsonl"), utc=self.utc)

    def redraws(self, out: Output) -> bool:
        """Whether the table is redrawn on a terminal. Otherwise new and changed rows are printed."""
        return self.follow and self.is_table and out.for_people

    def clock(self, out: Output) -> Clock:
        """Return the clock that shows times on ``out``: as ages on a terminal, unless told otherwise."""
        full = self.times or (out.for_people and self.utc)
        return Clock(out.for_people and not full, self.utc, full)


class OutputForm(ParamType):
    """A form of output, or a template; the shell completes the names."""

    name = "form"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002
        if value in FORMS or "{" in value:
            return value
        from runner.model.value_type import did_you_mean  # start-up time: mistakes are rare

        raise UsageError(
            f"-o {value}: unknown form{did_you_mean(value, FORMS)}",
            hint=f"use {', '.join(FORMS)}, or a template such as '{{id}} {{state}}'",
        )

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:  # noqa: ARG002
        from click.shell_completion import CompletionItem  # start-up time: only the shell asks for this

        return [CompletionItem(form) for form in FORMS if form.startswith(incomplete)]


def list_options(*former: str) -> Callable[[F], Callable[..., Any]]:
    """Add the options of a list; the function gets them as ``options``, a :class:`ListOptions`.

    Args:
        former: options that select a form by themselves, besides ``--json`` and ``--jsonl``.
    """
    flags = ("json", "jsonl", *former)

    def decorate(function: F) -> Callable[..., Any]:
        @wraps(function)
        def collecting(*, output: str | None, follow: bool, times: bool, utc: bool, **given: Any) -> Any:
            chosen = [flag for flag in flags if given.pop(f"as_{flag}")]
            return function(options=_read(output, chosen, follow, times, utc), **given)

        added: Callable[..., Any] = collecting
        for add in reversed(
            [
                click.option(
                    "--output",
                    "-o",
                    type=OutputForm(),
                    metavar="FORM",
                    help=f"Print as {', '.join(FORMS)}, or with a template such as '{{id}} {{state}}'.",
                ),
                *(click.option(f"--{flag}", f"as_{flag}", is_flag=True, help=_FORMER[flag][1]) for flag in flags),
                click.option("--watch", "-w", "follow", is_flag=True, help="Keep running, and show changes."),
                click.option("--times", is_flag=True, help="Show times in full instead of ages."),
                utc_option,
            ]
        ):
            added = add(added)
        return added

    return decorate


def _read(output: str | None, flags: Sequence[str], follow: bool, times: bool, utc: bool) -> ListOptions:
    named = [*(f"--{flag}" for flag in flags), *(["-o"] if output is not None else [])]
    if len(named) > 1:
        raise UsageError(f"{', '.join(named[:-1])} and {named[-1]} cannot be combined", hint="use one of them")
    form, template = _FORMER[flags[0]][0] if flags else output, None
    if output is not None and output not in FORMS:
        from runner.cli.terminal.template import read_template  # start-up time: most lists are tables

        form, template = TEMPLATE, read_template(output)
    if follow and form == "json":
        raise UsageError("-w cannot follow a list that is one JSON array", hint="use -o jsonl")
    return ListOptions(form, template, follow, times, utc)


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """How a list is shown.

    Args:
        columns: of the table.
        document: returns the JSON document of a row.
        fields: of that document, in order.
        key: returns the identity of a row.
        name: returns the text for ``-o name``; rows without one are left out.
        record: returns the values of ``-o csv`` by column; the document by default.
        record_fields: the columns of that.
        unsteady: fields that change although nothing happens; ``-w`` ignores them.
    """

    columns: Sequence[Column[T]]
    document: Callable[[T], dict[str, Any]]
    fields: Fields
    key: Callable[[T], Hashable]
    name: Callable[[T], str | None]
    record: Callable[[T], Mapping[str, Any]] | None = None
    record_fields: Sequence[str] = ()
    unsteady: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Listed(Generic[T]):
    """The rows of a list, and remarks that follow it."""

    rows: Sequence[T]
    notes: Sequence[str] = field(default=())


@dataclass(frozen=True, slots=True)
class Pace:
    """How ``-w`` reads a list again.

    Args:
        longest: seconds after which it is read again in any case.
        projects: whose events of runs tell that it may have changed; None if it is not about runs.
        newest_first: whether new rows come first in it.
    """

    longest: float
    projects: Projects | None = None
    newest_first: bool = False
