"""Problems of files: what is wrong, where, and what to do."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import field
from typing import Literal

from runner._dataclass import dataclass
from runner.model.option import Path
from runner.model.plural import things

_LONGEST_MESSAGE = 500
_LONGEST_LINE = 160
_TAB_STOP = 8

LONGEST_SOURCE = 4096
"""A longer line is not shown with a problem."""


Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """A problem of a file. ``line`` and ``column`` count from 1.

    ``column`` is a display column as in the GNU Coding Standards: a wide character counts as two, and a combining one
    as none, so that a caret under the line is at the right position.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    severity: Severity = "error"
    """A warning is probably a mistake, but no error."""
    source: str = field(default="", compare=False)
    """The line of the file, without its line break; empty if the problem is about the whole file."""
    expected: str = field(default="", compare=False)
    """A description of the valid values, from the declaration of the option; empty if it is not known."""
    from_code: bool = field(default=False, compare=False)
    """Whether the problem was found in the code that a job runs."""
    remedy: str = field(default="", compare=False)
    """What to do, as a phrase; empty if the message does not say."""
    replacement: str = field(default="", compare=False)
    """The text to write in place of ``replaced`` characters of ``source``; empty if that is not known."""
    alternatives: tuple[str, ...] = field(default=(), compare=False)
    """Several such texts, where nobody can know which one was meant."""
    replaced: int = field(default=0, compare=False)
    start: int = field(default=0, compare=False)
    """The position in ``source`` of the first character to replace: a character index from 0."""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: "
        text = f"{self.path}: {self.message}" if self.path else self.message
        return where + (text if self.severity == "error" else f"{self.severity}: {text}")

    @property
    def index(self) -> int:
        """The position of the problem in ``source``: a character index from 0."""
        for index in range(len(self.source) + 1):
            if display_column(self.source, index) >= self.column:
                return index
        return 0

    @property
    def corrected(self) -> str:
        """The line as it was probably meant; empty if that is not known, or the line is long."""
        changed = (self.replacement or self.replaced) and not self.alternatives
        return self._with(self.replacement) if changed else ""

    @property
    def alternative_lines(self) -> tuple[str, ...]:
        """The line with each of the alternatives."""
        return tuple(line for text in self.alternatives if (line := self._with(text)))

    def _with(self, text: str) -> str:
        if not self.source or len(self.source) > _LONGEST_LINE:
            return ""
        return self.source[: self.start] + text + self.source[self.start + self.replaced :]

    @property
    def fix(self) -> str:
        """The advice in one line: the corrected line if it is known, otherwise the remedy."""
        corrected = self.corrected.strip()
        # A line whose indentation alone is wrong would look like the one above it.
        return corrected if corrected and corrected != self.source.strip() else self.remedy

    def as_dict(self) -> dict[str, object]:
        """Return the problem as JSON."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "path": self.path,
            "message": self.message,
            "severity": self.severity,
            "source": self.source or None,
            "expected": self.expected or None,
            "fix": self.fix or None,
        }


def summary(problems: Iterable[Problem]) -> str:
    """Return the last line of a report, such as ``2 problems in 1 file``; warnings are not counted."""
    found = [problem for problem in problems if problem.severity == "error"]
    files = len({problem.file for problem in found})
    return f"{things(len(found), 'problem')} in {things(files, 'file')}" if found else "no problems"


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
    """Return ``text`` for one line of a terminal: control characters are escaped, and a very long text is truncated."""
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
    """Return ``line`` and, below it, a caret at display column ``column``; tabs become spaces."""
    return f"{line.expandtabs(_TAB_STOP)}\n{' ' * (column - 1)}^"
