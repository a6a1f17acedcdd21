"""Format problems for people (with the line and a caret), as annotations of GitHub Actions, and as SARIF."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import click

from runner.authoring.sarif import sarif
from runner.cli.terminal.output import Output, is_terminal, printable
from runner.errors import UsageError
from runner.model.option import MOST_OPTIONS
from runner.yaml_reader.problem import Problem, caret, display_column

FORMATS = ("text", "github", "sarif")
_WIDEST = 160
"""Characters of a source line that are shown; of a longer one, those around the caret."""


def show_problems(out: Output, problems: Sequence[Problem], form: str, base: Path) -> None:
    """Print problems to stdout, as every linter does.

    Args:
        out: the output of the command.
        problems: the problems, in the order of their files and lines.
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
    """Return a problem as several lines: the message, the source line with a caret, what was expected, and the fix."""

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
    # Dozens of options are no help to somebody who mistyped one.
    unknown = problem.message.startswith(("unknown option", "unknown keyword"))
    many = unknown and (not problem.expected or problem.expected.count(",") > MOST_OPTIONS)
    for name, text in (
        ("expected", "" if many else problem.expected),
        ("fix", problem.fix),
        ("help", _where_to_look(problem.path) if many and not problem.fix else ""),
    ):
        if text:
            lines.append(style(f"{'':5} = {name}: ", fg="blue") + printable(text))
    return "\n".join(lines)


def _where_to_look(path: str) -> str:
    """Return the command that lists the options beside an unknown one, or an empty string."""
    from runner.authoring.option_search import look_up  # start-up time: most projects have no problem

    root, *names = path.split(".")[:-1] or [""]
    if root == "jobs":
        names = names[1:]  # without the name of the job
    elif root == "defaults":
        root = "jobs"
    else:
        root, names = "runner", [*filter(None, [root]), *names]
    # The last names may be those that a user chose, such as that of a param.
    for length in range(len(names), -1, -1):
        with suppress(UsageError):
            return f"runner explain {look_up('.'.join([root, *names[:length]])).path} lists the options"
    return ""


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
    text = f"{problem.path}: {problem.message}" if problem.path else problem.message
    if problem.expected:
        text += f"\nexpected: {problem.expected}"
    where = f"file={_property(path)},line={problem.line},col={problem.index + 1},title={_property('runner validate')}"
    return f"::{problem.severity} {where}::{_escaped(text)}"


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
