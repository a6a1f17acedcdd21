"""Problems as people and machines read them: with the line and a caret, as annotations of GitHub, as SARIF."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from runner.authoring.sarif import sarif
from runner.cli.terminal.output import Output, is_terminal, printable
from runner.yaml_reader.problem import Problem, caret, display_column

FORMATS = ("text", "github", "sarif")
_WIDEST = 160
"""Characters of a source line that are shown; of a longer one, those around the caret."""


def show_problems(out: Output, problems: Sequence[Problem], form: str, base: Path) -> None:
    """Print problems to stdout: they are what was asked for, as with every linter.

    Args:
        out: where to.
        problems: in their order.
        form: one of :data:`FORMATS`.
        base: the folder that their files are relative to.
    """
    if form == "sarif":
        out.document(sarif(problems, _from_repository(base)))
        return
    colored = is_terminal(sys.stdout) and not os.environ.get("NO_COLOR")
    for problem in problems:
        if form == "github":
            out.data(annotation(problem, _from_repository(base)(problem.file)))
        else:
            out.data(block(problem, colored=colored), styled=colored)


def block(problem: Problem, *, colored: bool) -> str:
    """Return a problem as several lines: what and where, the line with a caret, what was expected, how to mend it."""

    def style(text: str, **how: object) -> str:
        text = printable(text)
        return click.style(text, **how) if colored else text  # type: ignore[arg-type]

    signal = "red" if problem.severity == "error" else "yellow"
    lines = [style(str(problem), bold=True)]
    if problem.source.strip():
        source, mark = _window(problem)
        number = f"{problem.line:>5}"
        lines.append(style(f"{number} | ", fg="blue") + printable(source))
        lines.append(style(f"{'':5} | ", fg="blue") + style(mark, fg=signal))
    for name, text in (("expected", problem.expected), ("fix", problem.fix)):
        if text:
            lines.append(style(f"{'':5} = {name}: ", fg="blue") + printable(text))
    return "\n".join(lines)


def _window(problem: Problem) -> tuple[str, str]:
    """Return the source line and the line with the caret; of a long line, the part around the fault."""
    if len(problem.source) <= _WIDEST:
        source, _, mark = caret(problem.source, problem.column).partition("\n")
        return source, mark
    start = max(0, problem.index - _WIDEST // 2)
    part = problem.source[start : start + _WIDEST].expandtabs(1)
    column = display_column(part, problem.index - start)
    source, _, mark = caret("…" + part + "…", column + 1).partition("\n")
    return source, mark


def annotation(problem: Problem, path: str) -> str:
    """Return a problem as a workflow command of GitHub Actions."""
    told = f"{problem.path}: {problem.message}" if problem.path else problem.message
    if problem.expected:
        told += f"\nexpected: {problem.expected}"
    where = f"file={_property(path)},line={problem.line},col={problem.index + 1},title={_property('runner validate')}"
    return f"::{problem.severity} {where}::{_escaped(told)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")


def _from_repository(base: Path) -> Callable[[str], str]:
    """Return a function that names a file relative to the root of the repository, where CI runs."""
    root = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd()).absolute()

    def path_of(file: str) -> str:
        path = Path(os.path.normpath(base / file))
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()

    return path_of
