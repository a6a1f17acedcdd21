"""Print the output of commands: data to stdout, everything else to stderr, for people or as JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from runner.cli.terminal.faults import describe, write
from runner.errors import RunnerError
from runner.model.command_line import command_line as line
from runner.model.plural import things
from runner.model.printable import printable, printable_json

if TYPE_CHECKING:
    from runner.actions.project import Project

__all__ = [
    "STYLES",
    "Collected",
    "Output",
    "command_line",
    "is_terminal",
    "is_utf8",
    "printable",
    "table",
    "to_json",
    "warn_of_problems",
]

STYLES = {
    "PENDING": "cyan",
    "STARTED": "blue",
    "RETRY": "yellow",
    "SUCCESS": "green",
    "FAILURE": "red",
    "REVOKED": "magenta",
}


class Output:
    """The output of one command.

    With ``quiet``, nothing goes to stdout, and messages are held back until :meth:`finish` gets an exit code other
    than 0.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False, utc: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.utc = utc
        self._held: list[str] = []

    @property
    def for_people(self) -> bool:
        """Whether stdout is a terminal that tables and colors are for."""
        return not self.as_json and not self.quiet and is_terminal(sys.stdout)

    # -- data

    def data(self, line: str, *, styled: bool = False) -> None:
        """Print a line of data at once, with escapes for what would act on a terminal.

        Args:
            line: the text.
            styled: it was made harmless before, and has colors.
        """
        if not self.quiet:
            write(sys.stdout, (line if styled else printable(line)) + "\n")

    def document(self, value: Any) -> None:
        """Print a JSON value; indented on a terminal, on one line elsewhere."""
        write(sys.stdout, to_json(value, indent=2 if is_terminal(sys.stdout) else None) + "\n")

    def documents(self, values: Sequence[Any], *, single: bool) -> None:
        """Print one object for one run, and an array for several."""
        self.document(values[0] if single and len(values) == 1 else list(values))

    def lines(self, values: Iterable[Any]) -> None:
        """Print JSON values on a line each, at once."""
        for value in values:
            write(sys.stdout, to_json(value) + "\n")

    # -- messages

    def note(self, text: str) -> None:
        """Print a line for people to stderr, harmless for a terminal."""
        text = printable(text)
        if self.quiet:
            self._held.append(text + "\n")
        else:
            write(sys.stderr, text + "\n")

    def warn(self, text: str) -> None:
        """Print a warning to stderr."""
        self.note(f"warning: {text}")

    def error(self, error: RunnerError) -> None:
        """Print the error of one of several runs."""
        self.note(describe(error).rstrip("\n"))

    def finish(self, code: int) -> int:
        """Print what was held back if the command did not succeed; return ``code``."""
        if code != 0 and self._held:
            write(sys.stderr, "".join(self._held))
        self._held.clear()
        return code


class Collected(Output):
    """An output whose remarks are collected instead of printed."""

    def __init__(self, *, as_json: bool = False, utc: bool = False) -> None:
        super().__init__(as_json=as_json, utc=utc)
        self._remarks: list[str] = []

    def note(self, text: str) -> None:
        """Keep a line until it is taken."""
        self._remarks.append(printable(text))

    def take(self) -> list[str]:
        """Return the remarks since the last call."""
        taken, self._remarks = self._remarks, []
        return taken


def is_terminal(stream: Any) -> bool:
    """Whether ``stream`` is a terminal that understands escape sequences."""
    try:
        return bool(stream.isatty()) and os.environ.get("TERM") != "dumb"
    except ValueError:
        return False


def is_utf8(stream: Any) -> bool:
    """Whether the encoding of ``stream`` has every character."""
    return (getattr(stream, "encoding", None) or "ascii").lower().replace("-", "") == "utf8"


def to_json(value: Any, indent: int | None = None) -> str:
    """Return JSON text that stdout's encoding can hold."""
    return printable_json(json.dumps(value, ensure_ascii=not is_utf8(sys.stdout), indent=indent))


def command_line(project: Project, *arguments: str) -> str:
    """Return a command that can be pasted in any folder."""
    return line(project.settings.project, *arguments)


def warn_of_problems(out: Output, project: Project) -> None:
    """Warn of settings to correct, and of jobs that cannot be used because of problems in their files."""
    for text in project.settings.warnings:
        out.warn(text)
    problems = project.catalog.problems
    if problems:
        files = len({problem.file for problem in problems})
        out.warn(
            f"{things(len(problems), 'problem')} in {things(files, 'file')} of jobs, "
            f"{command_line(project, 'validate')} lists them"
        )


def table(out: Output, headings: Sequence[str], rows: Sequence[Sequence[str]], styles: dict[str, str]) -> None:
    """Print rows: a table on a terminal, aligned columns elsewhere. A cell that is a key of ``styles`` is colored."""
    if out.for_people:
        from rich.console import Console  # start-up time: rich is for terminals only
        from rich.table import Table
        from rich.text import Text

        drawn = Table(box=None, pad_edge=False, header_style="bold")
        for heading in headings:
            # Only the text at the end of a row may take several lines.
            drawn.add_column(heading, no_wrap=heading is not headings[-1], overflow="fold")
        for row in rows:
            drawn.add_row(*(Text(printable(cell), style=styles.get(cell.split(" ")[0], "")) for cell in row))
        Console(soft_wrap=False).print(drawn)
        return
    shown = [list(headings), *([printable(cell).replace("\n", " ") for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in shown) for column in range(len(headings))]
    for row in shown:
        out.data("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
