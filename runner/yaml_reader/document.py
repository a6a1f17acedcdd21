"""One YAML file: its value, its problems, and where each key and value stands in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from runner.model.message import Message, as_message
from runner.model.option import INVALID, Path, ignore
from runner.model.secret import is_secret
from runner.yaml_reader import lookalike
from runner.yaml_reader.problem import Problem, Severity, display_column, one_line, show_path

if TYPE_CHECKING:
    from runner.yaml_reader.place import Place

MAX_FAULTS = 200
"""Faults told of one file; more are one fault many times over."""

LONGEST_SOURCE = 4096
"""A longer line is not shown with a problem."""


class Document:
    """One file: its value, its problems, and where things stand in it."""

    def __init__(self, file: str, text: str = "") -> None:
        self.file = file
        self.value: Any = None
        self.problems: list[Problem] = []
        self.faulty: list[Path] = []
        """The paths under which the value is not what the file says; ``()`` if nothing could be read."""
        self.shallow_lines: dict[Path, int] = {}
        """Lines, counted from 1, of the keys two deep: known without parsing again."""
        self._text = text
        self._lines: list[str] | None = None
        self._root: Place | None = None
        self._seen: set[tuple[int, int, str]] = set()
        self._told: set[Path] = set()

    @property
    def readable(self) -> bool:
        """Whether the file had a value at all."""
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
        """Add a problem at ``path``; the model's :class:`~runner.model.option.Report`.

        A value whose text was refused already is not reported again. ``fits``: the value is of its kind, and what is
        wrong stands elsewhere, so that it does not help to tell the kind.
        """
        if not on_key and path in self._told:
            return
        from runner.yaml_reader.place import locate  # start-up time: most files have no problem

        key, value, exists = locate(self._places(), path)
        at = key if on_key or not exists else value
        told = as_message(message)
        text = (path[-1] if path else "") if on_key else (value.text if exists else None)
        if not on_key and exists and value.plain:
            told = _quoted(told, value.plain)
        plain = text if on_key else (value.plain if exists else None)
        if isinstance(plain, str) and (match := lookalike.find(plain)):
            explained = lookalike.explain(match[0])
            told = Message(f"{explained}; {told}", explained.remedy)
        replaced = self._width(at, text) if isinstance(text, str) and told.replacement else 0
        self.report_at(at.line, at.column, path, told, severity, from_code=from_code, fits=fits, replaced=replaced)

    def refuse_value(
        self,
        line: int,
        index: int,
        path: Path,
        message: str,
        meanings: Sequence[tuple[str, Any]] = (),
        width: int = 0,
    ) -> None:
        """Add a problem of the text of a scalar; what stands for it is not what the file says.

        Args:
            line: where it stands, from 0, as ``index``.
            index: of its first character in the line.
            path: of the value.
            message: what is wrong.
            meanings: what it may have been meant to be: source text and value. It is corrected where the option at
                ``path`` takes one of them only.
            width: how many characters of the line it takes.
        """
        self.faulty.append(path or ("",))
        self._told.add(path)
        told = as_message(message)
        from runner.model.expected import kind_at  # start-up time: most files have no problem

        kind = kind_at(path) if meanings else None
        taken = [source for source, value in meanings if kind and kind.read(value, path, ignore) is not INVALID]
        if len(taken) == 1:
            told = Message(told, told.remedy, replacement=taken[0])
        self.report_at(line, index, path, told, replaced=width)

    def _width(self, at: Place, text: str) -> int:
        """Return the width of a scalar in its line; 0 if its source differs from its value."""
        rest = self._line(at.line)[at.column :]
        return next((len(each) for each in (text, f'"{text}"', f"'{text}'") if rest.startswith(each)), 0)

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
    ) -> None:
        """Add a problem at a line and character index, both from 0.

        ``replaced``: how many characters from there on a replacement that the message knows takes the place of.
        """
        from runner.model.expected import expected_at  # start-up time: most files have no problem

        source = self._line(line)
        column = display_column(source, index)
        # Two jobs that share a value through an anchor share its fault.
        if (line, column, message) not in self._seen and len(self.problems) < MAX_FAULTS:
            self._seen.add((line, column, message))
            shown = len(source) <= LONGEST_SOURCE and not is_secret(path) and "secrets:" not in source
            kept = source if shown else ""
            told = as_message(message)
            self.problems.append(
                Problem(
                    self.file,
                    line + 1,
                    column,
                    show_path(path),
                    one_line(message),
                    severity,
                    source=kept,
                    expected="" if from_code or fits else one_line(expected_at(path)),
                    from_code=from_code,
                    remedy=one_line(told.remedy),
                    replacement=told.replacement if replaced else "",
                    replaced=replaced,
                )
            )

    def refuse(self, message: str, line: int = 0, index: int = 0) -> Document:
        """Add a problem that leaves nothing to read."""
        self.value = None
        self.faulty.append(())
        self.report_at(line, index, (), message)
        return self

    def line_of(self, path: Path) -> int:
        """Return the line, counted from 1, of the key at ``path``."""
        line = self.shallow_lines.get(path)
        if line is not None:
            return line
        from runner.yaml_reader.place import locate  # start-up time: the lines of jobs are in a cache

        return locate(self._places(), path)[0].line + 1

    def _places(self) -> Place:
        if self._root is None:
            from runner.yaml_reader.parser import OPEN_PARSER  # start-up time: most files have no problem
            from runner.yaml_reader.place import places

            self._root = places(self._text, OPEN_PARSER)
        return self._root

    def _line(self, line: int) -> str:
        if self._lines is None:
            self._lines = self._text.splitlines()
        return self._lines[line] if line < len(self._lines) else ""


def _quoted(told: Message, plain: str) -> Message:
    """Return a message that asks for quotes with the text in them, and as replacement where that is accepted."""
    if told.quotable is None:
        return told
    quoted = f'"{plain}"'
    replacement = quoted if told.quotable(plain) else ""
    return Message(f"{told}: {quoted}", f"{told.remedy}: {quoted}", replacement=replacement)


def source_of(documents: Sequence[Document], path: Path) -> Document:
    """Return the document that gave the value at ``path``; each document is merged over those before it."""
    return max(reversed(documents), key=lambda document: _depth(document.value, path))


def _depth(value: Any, path: Path) -> int:
    for depth, step in enumerate(path):
        held = value if isinstance(value, dict) else dict(enumerate(value)) if isinstance(value, list) else {}
        if step not in held:
            return depth
        value = held[step]
    return len(path)
