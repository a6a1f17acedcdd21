"""Explain the errors of the YAML parser to a person, with the remedy."""

from __future__ import annotations

import re

import yaml

from runner._dataclass import dataclass
from runner.model.message import Message, advise
from runner.yaml_reader import lookalike

_KEY_WITH_LOOKALIKE = re.compile("[ ]*(?:- +)?(?:[\\w.-]+[：]|[\\w.-]+:?[\u3000\u00a0]|[\u3000\u00a0])")

_KEY_WITHOUT_SPACE = re.compile(r" *(?:- +)?[A-Za-z_][\w.-]*:(?=[^\s:/])")


@dataclass(frozen=True, slots=True)
class SyntaxFault:
    """A syntax error: line and character index (both from 0) and a message with a remedy."""

    line: int
    index: int
    message: str


_NO_PERCENT = "remove the line that begins with %, or quote the text"

_REMEDIES = (
    # (part of the parser's problem, what to say, whether the fault is where its context began)
    (
        "mapping values are not allowed",
        advise('a second ": " in one line', "quote the text or start a new line"),
        False,
    ),
    (
        "could not find expected ':'",
        Message('this line has no "key: value", is a colon or the space after it missing?'),
        True,
    ),
    (
        "did not find expected key",
        Message("does not line up with the keys above, or a quote above is not closed"),
        False,
    ),
    (
        "did not find expected '-' indicator",
        advise("does not line up with the list above", 'begin the item with "- "'),
        False,
    ),
    (
        "did not find expected ',' or ']'",
        advise("the list that begins here is not closed", 'write "," or "]" after an item'),
        True,
    ),
    (
        "did not find expected ',' or '}'",
        advise("the mapping that begins here is not closed", 'write "," or "}" after a value'),
        True,
    ),
    ("found unexpected end of stream", Message("the quote that opens here is never closed"), True),
    (
        "found unexpected document indicator",
        Message("the quote that opens here is not closed before the next ---"),
        True,
    ),
    (
        "unknown escape character",
        advise("in double quotes a backslash begins an escape", "write \\\\ or use single quotes"),
        False,
    ),
    (
        "did not find expected hexdecimal number",  # codespell:ignore
        advise("an escape lacks hexadecimal digits", "write \\\\ for a backslash"),
        False,
    ),
    ("invalid Unicode character escape", advise("no such character", "correct the escape or use single quotes"), False),
    (
        "block sequence entries are not allowed",
        advise("a list cannot begin here", 'start a new line before "- "'),
        False,
    ),
    ("block mapping", advise("does not line up with the keys above", "correct the indentation"), False),
    ("mapping keys are not allowed", advise("a key cannot begin here", "start a new line"), False),
    ("undefined tag handle", advise("a tag such as !x is not supported", "remove it, or quote the text"), True),
    ("scanning a tag", advise("a tag such as !x is not supported", "remove it, or quote the text"), True),
    ("did not find expected node content", advise("a value is missing here", "write one, or quote the text"), False),
    (
        "expected <document start>",
        Message("text after the end of the document, is it indented like the keys above?"),
        False,
    ),
    ("alphabetic or numeric character", advise('a text cannot begin with "*" or "&"', "quote it"), True),
    (
        "chomping or indentation",
        advise('after "|" or ">" the text begins on a new line', "quote it if it is one line", "; "),
        True,
    ),
    (
        "comment or line break",
        advise('after "|" or ">" the text begins on a new line', "quote it if it is one line", "; "),
        True,
    ),
    ("YAML document", Message("remove the line that begins with %", "remove the line that begins with %"), False),
    ("directive", Message(_NO_PERCENT, _NO_PERCENT), False),
)


def explain(error: yaml.YAMLError, text: str) -> SyntaxFault:
    """Explain ``error`` in ``text``."""
    lines = text.splitlines() or [""]
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return SyntaxFault(0, 0, f"not YAML: {_short(error)}")
    context = getattr(error, "context_mark", None) or mark
    line, index = _inside(lines, mark.line, mark.column)
    found = _tab(lines[line], index) or _placeholder(lines[line], line, index)
    if found is None:
        found = _lookalike(lines, min(context.line, line), line)
    if found is None:
        found = _from_table(error, lines, line, index, context)
    return found if isinstance(found, SyntaxFault) else SyntaxFault(line, index, found)


def _inside(lines: list[str], line: int, column: int) -> tuple[int, int]:
    # A parser at the end of the stream points past the last line.
    if line >= len(lines):
        line = len(lines) - 1
        column = len(lines[line])
    return line, min(column, len(lines[line]))


def _tab(line: str, index: int) -> str | None:
    if line[index : index + 1] == "\t" or "\t" in line[: len(line) - len(line.lstrip())]:
        return advise("a tab, YAML is indented with spaces only", "replace it", ": ")
    return None


def _placeholder(line: str, row: int, index: int) -> SyntaxFault | None:
    start = line.rfind("${", 0, index + 2)
    if start < 0:
        return None
    end = line.find("}", start)
    shown = line[start : end + 1] if end > 0 else line[start:]
    remedy = f'quote it: "{shown}"'
    return SyntaxFault(row, start, Message(f"{remedy}; a brace means a mapping here", remedy))


def _lookalike(lines: list[str], first: int, last: int) -> SyntaxFault | None:
    for row in range(last, max(first - 1, -1, last - 3), -1):
        match = lookalike.find(lines[row].split(" #")[0])
        if match:
            return SyntaxFault(row, match.start(), lookalike.explain(match[0]))
    # A line without its colon is text that goes on in the next line, where the parser then complains.
    for row in range(first - 1, max(first - 4, -1), -1):
        match = _KEY_WITH_LOOKALIKE.match(lines[row])
        if match:
            return SyntaxFault(row, match.end() - 1, lookalike.explain(match[0][-1]))
    return None


def _from_table(
    error: yaml.YAMLError, lines: list[str], line: int, index: int, context: yaml.Mark
) -> SyntaxFault | str:
    problem = str(getattr(error, "problem", "") or "")
    whole = f"{getattr(error, 'context', '') or ''} {problem}"
    if "mapping values are not allowed" in problem and line and ":" not in lines[line][:index]:
        match = _KEY_WITHOUT_SPACE.match(lines[line - 1])
        if match:
            return SyntaxFault(line - 1, match.end(), advise("a space is missing after the colon", "write one"))
    if "cannot start any token" in problem:
        char = lines[line][index : index + 1]
        return advise(f'a text cannot begin with "{char}"', "quote it")
    for part, message, at_context in _REMEDIES:
        if part in whole:
            if at_context:
                return SyntaxFault(*_inside(lines, context.line, context.column), message)
            return message
    return advise(f"not YAML ({_short(error)})", "check quotes, brackets and indentation here")


def _short(error: yaml.YAMLError) -> str:
    return str(getattr(error, "problem", None) or error).split("\n")[0]
