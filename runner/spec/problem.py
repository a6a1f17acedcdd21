"""What is wrong in a file, where, and what to do: one line each."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from runner.model.option import Path

_LONGEST_MESSAGE = 500
_TAB_STOP = 8


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One fault of a file. ``line`` and ``column`` count from 1.

    A column is a display column, as the GNU Coding Standards have it: a wide character takes two, a
    combining one none, so that a caret printed under the line stands where it should.
    """

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: "
        return where + (f"{self.path}: {self.message}" if self.path else self.message)

    def as_dict(self) -> dict[str, object]:
        """Return the problem as a JSON object."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "path": self.path,
            "message": self.message,
        }


def summary(problems: Iterable[Problem]) -> str:
    """Return the last line of a report: ``2 problems in 1 file``."""
    found = list(problems)
    files = len({problem.file for problem in found})
    return (
        f"{len(found)} problem{'' if len(found) == 1 else 's'} in {files} file{'' if files == 1 else 's'}"
        if found
        else "no problems"
    )


def show_path(path: Path) -> str:
    """Return ``jobs.x.tags[1]`` for ``("jobs", "x", "tags", 1)``."""
    shown = ""
    for step in path:
        if isinstance(step, int):
            shown += f"[{step}]"
        else:
            shown += ("." if shown else "") + one_line(step)
    return shown


def one_line(text: str) -> str:
    """Return ``text`` fit for one line of a terminal: control characters escaped, cut where it is very long."""
    if not text.isprintable():
        text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return text if len(text) <= _LONGEST_MESSAGE else text[: _LONGEST_MESSAGE - 1] + "…"


def display_column(line: str, index: int) -> int:
    """Return the display column, counted from 1, of the character at ``index`` of ``line``."""
    before = line[:index]
    if before.isascii() and "\t" not in before:
        return len(before) + 1
    width = 0
    for char in before:
        if char == "\t":
            width += _TAB_STOP - width % _TAB_STOP
        elif unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
            continue
        else:
            width += 2 if unicodedata.east_asian_width(char) in "WF" else 1
    return width + 1


def caret(line: str, column: int) -> str:
    """Return ``line`` and, under it, a caret at display column ``column``; tabs become spaces."""
    return f"{line.expandtabs(_TAB_STOP)}\n{' ' * (column - 1)}^"
