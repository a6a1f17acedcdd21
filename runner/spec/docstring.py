"""Reads what a docstring says of a function and its parameters: Google's, Sphinx' and NumPy's styles."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field

_SECTION = re.compile(
    r"^(?P<indent>\s*)(?P<name>Args|Arguments|Parameters|Params|Keyword Args|Keyword Arguments):?\s*$"
)
_GOOGLE = re.compile(r"^\*{0,2}(?P<name>\w+)\s*(?:\([^)]*\))?\s*:\s*(?P<text>.*)$")
_NUMPY = re.compile(r"^\*{0,2}(?P<name>\w+)\s*(?::.*)?$")
_SPHINX = re.compile(r"^\s*:param\s+(?:[^:]*?\s)?\*{0,2}(?P<name>\w+)\s*:\s*(?P<text>.*)$")
_MARKUP = re.compile(r":\w+:`~?([^`]*)`|``([^`]*)``")


@dataclass
class Docstring:
    """The first sentence or line, and the text of each parameter; plain text without markup, one line each."""

    summary: str = ""
    params: dict[str, str] = field(default_factory=dict)


def read_docstring(text: str) -> Docstring:
    """Read a docstring; what is not understood is left out."""
    lines = inspect.cleandoc(text).splitlines()
    found = Docstring(summary=_plain(" ".join(_paragraph(lines))))
    at = 0
    while at < len(lines):
        if match := _SPHINX.match(lines[at]):
            end = _end_of_block(lines, at + 1, _indent(lines[at]))
            found.params[match["name"]] = _plain(" ".join([match["text"], *lines[at + 1 : end]]))
            at = end
        elif _SECTION.match(lines[at]):
            at = _read_section(lines, at + 1, _indent(lines[at]), found.params)
        else:
            at += 1
    return found


def _paragraph(lines: list[str]) -> list[str]:
    taken: list[str] = []
    for line in lines:
        if not line.strip() or _SECTION.match(line) or _SPHINX.match(line):
            break
        taken.append(line.strip())
    return taken


def _read_section(lines: list[str], at: int, outer: int, params: dict[str, str]) -> int:
    """Read the parameters of a section that begins at ``at``; return where it ends."""
    numpy = at < len(lines) and set(lines[at].strip()) == {"-"}
    if numpy:
        at += 1
    while at < len(lines) and not lines[at].strip():
        at += 1
    own = _indent(lines[at]) if at < len(lines) else 0
    if not numpy and own <= outer:
        return at
    while at < len(lines) and lines[at].strip():
        if _indent(lines[at]) != own:
            return at
        match = (_NUMPY if numpy else _GOOGLE).match(lines[at].strip())
        if match is None:
            return at
        end = _end_of_block(lines, at + 1, own)
        first = [] if numpy else [match["text"]]
        params[match["name"]] = _plain(" ".join([*first, *lines[at + 1 : end]]))
        at = end
    return at


def _end_of_block(lines: list[str], at: int, indent: int) -> int:
    while at < len(lines) and lines[at].strip() and _indent(lines[at]) > indent:
        at += 1
    return at


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _plain(text: str) -> str:
    text = _MARKUP.sub(lambda match: match[1] or match[2] or "", text)
    return " ".join(text.split())
