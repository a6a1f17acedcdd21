"""A YAML file: its value, its problems, and the positions of its keys and values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from runner.model.message import Message, advise, as_message
from runner.model.option import INVALID, Path, ValueType, ignore
from runner.model.secret import is_secret
from runner.yaml_reader import lookalike
from runner.yaml_reader.problem import LONGEST_SOURCE, Problem, Severity, display_column, one_line, show_path

if TYPE_CHECKING:
    from runner.yaml_reader.position import Position

MAX_PROBLEMS = 200
"""Problems reported of one file; more are the same one many times over."""


class Document:
    """A file: its value, its problems, and the positions of its keys and values."""

    def __init__(self, file: str, text: str = "") -> None:
        self.file = file
        self.value: Any = None
        self.problems: list[Problem] = []
        self.faulty: list[Path] = []
        """The paths whose values are not as in the file; ``()`` if nothing could be read."""
        self.shallow_lines: dict[Path, int] = {}
        """The lines, counted from 1, of the keys at depth two, which are known without parsing the file again."""
        self._text = text
        self._lines: list[str] | None = None
        self._root: Position | None = None
        self._seen: set[tuple[int, int, str]] = set()
        self._refused: set[Path] = set()

    @property
    def readable(self) -> bool:
        """Whether the file has a value."""
        return () not in self.faulty

    def report(
        self,
        path: Path,
        message: str,
        *,
        on_key: bool = False,
        severity: Severity = "error",
        from_code: bool = False,
        fits: bool = False,
    ) -> None:
        """Add a problem at ``path``; this is a :class:`~runner.model.option.Report`.

        A value whose text was refused already is not reported again. ``fits``: the value has the right type, so the
        problem does not name the expected type.
        """
        if not on_key and path in self._refused:
            return
        from runner.yaml_reader.position import locate  # start-up time: most files have no problem

        key, value, exists = locate(self._positions(), path)
        at = key if on_key or not exists else value
        problem = as_message(message)
        text = (path[-1] if path else "") if on_key else (value.text if exists else None)
        if not on_key and exists and value.plain:
            problem = _quoted(problem, value.plain)
        plain = text if on_key else (value.plain if exists else None)
        if isinstance(plain, str) and (match := lookalike.find(plain)):
            problem = self._with_lookalike(problem, at, plain, match)
        width, start = self._width(at, text) if isinstance(text, str) else 0, at.column
        if problem.replaces:
            start = self._line(at.line).find(problem.replaces, at.column)
            width = len(problem.replaces) if start >= 0 and not on_key else 0
        self.report_at(
            at.line, at.column, path, problem, severity, from_code=from_code, fits=fits, replaced=width, start=start
        )

    def _with_lookalike(self, problem: Message, at: Position, plain: str, match: re.Match[str]) -> Message:
        """Return a message that names the first lookalike of a key or value, and the line without any."""
        from runner.yaml_reader.corrected_line import with_ascii  # start-up time: most files have no problem

        explained = lookalike.explain(match[0])
        line = self._line(at.line)
        corrected = [*with_ascii(line, at.column + match.start())][-1] if line.startswith(plain, at.column) else ""
        return Message(f"{explained}; {problem}", explained.remedy, line=corrected)

    def refuse_value(
        self,
        line: int,
        index: int,
        path: Path,
        message: str,
        meanings: Sequence[tuple[str, Any]] = (),
        width: int = 0,
        start: int | None = None,
    ) -> None:
        """Add a problem of the text of a scalar, whose value is then not what the file says.

        Args:
            line: its line, from 0.
            index: the position of the problem in the line, from 0.
            path: of the value.
            message: what is wrong.
            meanings: the values that it may have been meant to be, each with its source text. The message recommends
                those that the option at ``path`` accepts.
            width: how many characters of the line it takes.
            start: the position of its first character, if that is not ``index``.
        """
        self.faulty.append(path or ("",))
        self._refused.add(path)
        problem = as_message(message)
        if meanings:
            first = index if start is None else start
            problem = _recommend(problem, path, meanings, self._line(line)[first : first + width])
        self.report_at(line, index, path, problem, replaced=width, start=start)

    def _width(self, at: Position, text: str) -> int:
        """Return the width of a scalar in its line; 0 if its source differs from its value."""
        rest = self._line(at.line)[at.column :]
        return next((len(source) for source in (text, f'"{text}"', f"'{text}'") if rest.startswith(source)), 0)

    def report_at(
        self,
        line: int,
        index: int,
        path: Path,
        message: str,
        severity: Severity = "error",
        *,
        from_code: bool = False,
        fits: bool = False,
        replaced: int = 0,
        start: int | None = None,
        corrected: str = "",
    ) -> None:
        """Add a problem at a line and character index, both from 0.

        Args:
            line: the line.
            index: the position of the problem in the line.
            path: of the key or value.
            message: what is wrong.
            severity: of the problem.
            from_code: whether it was found by looking at the code that a job runs.
            fits: as in :meth:`report`.
            replaced: the number of characters to replace with the replacement of the message.
            start: the position of the first of them, if that is not ``index``.
            corrected: the line as it was probably meant, instead of a replacement.
        """
        from runner.model.expected import expected_at  # start-up time: most files have no problem

        source = self._line(line)
        column = display_column(source, index)
        # Two jobs that share a value through an anchor share its problem.
        if (line, column, message) in self._seen or len(self.problems) >= MAX_PROBLEMS:
            return
        self._seen.add((line, column, message))
        shown = len(source) <= LONGEST_SOURCE and not is_secret(path) and "secrets:" not in source
        problem = as_message(message)
        replacement, alternatives = problem.replacement, problem.alternatives
        if corrected := corrected or problem.line:
            start, replaced, replacement = _difference(source, corrected)
        elif not replaced or not (replacement or alternatives):
            replaced, replacement, alternatives = 0, "", ()
        self.problems.append(
            Problem(
                self.file,
                line + 1,
                column,
                show_path(path),
                one_line(message),
                severity,
                source=source if shown else "",
                expected="" if from_code or fits else one_line(expected_at(path)),
                from_code=from_code,
                remedy=one_line(problem.remedy),
                replacement=replacement,
                alternatives=alternatives,
                replaced=replaced,
                start=index if start is None else start,
            )
        )

    def refuse(self, message: str, line: int = 0, index: int = 0, corrected: str = "") -> Document:
        """Add a problem after which nothing can be read; ``corrected``: the line as it was probably meant."""
        self.value = None
        self.faulty.append(())
        self.report_at(line, index, (), message, corrected=corrected)
        return self

    def line_without_tag(self, line: int, index: int) -> str:
        """Return a line without the tag at ``index``; empty if there is none."""
        source = self._line(line)
        tag = re.compile(r"!\S*[ ]*").match(source, index)
        return source[:index] + source[tag.end() :] if tag is not None else ""

    def line_of(self, path: Path) -> int:
        """Return the line of the key at ``path``, counted from 1."""
        line = self.shallow_lines.get(path)
        if line is not None:
            return line
        from runner.yaml_reader.position import locate  # start-up time: the lines of jobs are cached

        return locate(self._positions(), path)[0].line + 1

    def _positions(self) -> Position:
        if self._root is None:
            from runner.yaml_reader.parser import OPEN_PARSER  # start-up time: most files have no problem
            from runner.yaml_reader.position import positions

            self._root = positions(self._text, OPEN_PARSER)
        return self._root

    def _line(self, line: int) -> str:
        if self._lines is None:
            self._lines = self._text.splitlines()
        return self._lines[line] if line < len(self._lines) else ""


def _quoted(problem: Message, plain: str) -> Message:
    """Return a message that recommends quotes, with the quoted text, which replaces the value if it is accepted."""
    if problem.quotable is None:
        return problem
    quoted = f'"{plain}"'
    replacement = quoted if problem.quotable(plain) else ""
    return Message(f"{problem}: {quoted}", f"{problem.remedy}: {quoted}", replacement=replacement)


def _recommend(problem: Message, path: Path, meanings: Sequence[tuple[str, Any]], text: str) -> Message:
    """Return the message about a doubtful text with those of its meanings that the option at ``path`` accepts."""
    from runner.model.expected import type_at  # start-up time: most files have no problem

    value_type = type_at(path)
    if value_type is None:
        return problem
    accepted = [source for source, value in meanings if value_type.read(value, path, ignore) is not INVALID]
    if not accepted:
        return _refusal(value_type, path, meanings, text) or problem
    what = problem.removesuffix(f", {problem.remedy}")
    if len(accepted) == 1:
        verb = "quote it:" if accepted[0] == f'"{text}"' else "write"
        return advise(what, f"{verb} {accepted[0]}", replacement=accepted[0])
    return Message(problem, problem.remedy, alternatives=tuple(accepted))


def _refusal(value_type: ValueType, path: Path, meanings: Sequence[tuple[str, Any]], text: str) -> Message | None:
    """Return the message of an option about the likeliest meaning of a text, as it refuses all of them."""
    found: list[Message] = []

    at = path

    def report(path: Path, message: str, *, on_key: bool = False) -> None:
        if path == at and not on_key:
            found.append(as_message(message))

    likeliest = next((value for source, value in meanings if value != text), text)
    value_type.read(likeliest, path, report)
    return found[0] if found else None


def _difference(source: str, corrected: str) -> tuple[int, int, str]:
    """Return where two lines differ: the index of the first change, the characters replaced, and their replacement."""
    start = _common(source, corrected)
    left, right = source[start:], corrected[start:]
    same = _common(left[::-1], right[::-1])
    return start, len(left) - same, right[: len(right) - same]


def _common(one: str, other: str) -> int:
    """Return how many characters two texts have in common at their start."""
    longest = min(len(one), len(other))
    return next((at for at in range(longest) if one[at] != other[at]), longest)


def source_of(documents: Sequence[Document], path: Path) -> Document:
    """Return the document with the value at ``path``; each document is merged over those before it."""
    return max(reversed(documents), key=lambda document: _depth(document.value, path))


def _depth(value: Any, path: Path) -> int:
    for depth, step in enumerate(path):
        held = value if isinstance(value, dict) else dict(enumerate(value)) if isinstance(value, list) else {}
        if step not in held:
            return depth
        value = held[step]
    return len(path)
