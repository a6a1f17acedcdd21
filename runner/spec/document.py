"""One YAML file: its value, its problems, and where each key and value stands in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from runner.model.option import QUOTE_IT, Path
from runner.model.secret import is_secret
from runner.model.words import expected_at
from runner.spec import lookalike
from runner.spec.place import Place, locate, places
from runner.spec.problem import Problem, Severity, display_column, one_line, show_path

MAX_FAULTS = 200
"""Faults told of one file; more are one fault many times over."""

LONGEST_SOURCE = 4096
"""A longer line is not shown with a problem."""

OPEN_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's parser where PyYAML was compiled with it, else the one in Python; only events are taken from it."""


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
        key, value, exists = locate(self._places(), path)
        at = key if on_key or not exists else value
        if not on_key and exists and message.endswith(QUOTE_IT) and value.plain:
            message += f': "{value.plain}"'
        source = path[-1] if on_key and path else (value.plain if exists else None)
        if isinstance(source, str) and (match := lookalike.find(source)):
            message = f"{lookalike.explain(match[0])}; {message}"
        self.report_at(at.line, at.column, path, message, severity, from_code=from_code, fits=fits)

    def refuse_value(self, line: int, index: int, path: Path, message: str) -> None:
        """Add a problem of the text of a scalar; what stands for it is not what the file says."""
        self.faulty.append(path or ("",))
        self._told.add(path)
        self.report_at(line, index, path, message)

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
    ) -> None:
        """Add a problem at a line and character index, both from 0."""
        source = self._line(line)
        column = display_column(source, index)
        # Two jobs that share a value through an anchor share its fault.
        if (line, column, message) not in self._seen and len(self.problems) < MAX_FAULTS:
            self._seen.add((line, column, message))
            shown = len(source) <= LONGEST_SOURCE and not is_secret(path) and "secrets:" not in source
            kept = source if shown else ""
            expected = "" if from_code or fits else one_line(expected_at(path))
            problem = Problem(
                self.file, line + 1, column, show_path(path), one_line(message), severity, kept, expected, from_code
            )
            self.problems.append(problem)

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
        return locate(self._places(), path)[0].line + 1

    def _places(self) -> Place:
        if self._root is None:
            self._root = places(self._text, OPEN_PARSER)
        return self._root

    def _line(self, line: int) -> str:
        if self._lines is None:
            self._lines = self._text.splitlines()
        return self._lines[line] if line < len(self._lines) else ""


def source_of(documents: Sequence[Document], path: Path) -> Document:
    """Return which of some documents, each merged over those before it, gave the value at ``path``."""
    return max(reversed(documents), key=lambda document: _depth(document.value, path))


def _depth(value: Any, path: Path) -> int:
    for depth, step in enumerate(path):
        held = value if isinstance(value, dict) else dict(enumerate(value)) if isinstance(value, list) else {}
        if step not in held:
            return depth
        value = held[step]
    return len(path)
