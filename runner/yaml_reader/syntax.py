"""Explain the errors of the YAML parser: what is wrong, what to do, and the line as it was probably meant."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import yaml

from runner._dataclass import dataclass
from runner.model.message import Message, advise
from runner.model.plural import things
from runner.yaml_reader import lookalike
from runner.yaml_reader.corrected_line import (
    KEY_AND_VALUE,
    closed,
    correct,
    indent_of,
    open_levels,
    quote,
    quoted_value,
    reindented,
    with_ascii,
    with_spaces,
    without_comment,
)
from runner.yaml_reader.parser import OPEN_PARSER
from runner.yaml_reader.tabs import tab_message

_KEY_WITH_LOOKALIKE = re.compile("[ ]*(?:- +)?(?:[\\w.-]+[：]|[\\w.-]+:?[\u3000\u00a0]|[\u3000\u00a0])")
_KEY_WITHOUT_SPACE = re.compile(r" *(?:- +)?[A-Za-z_][\w-]*:(?=[^\s:/])")
_KEY_WITHOUT_COLON = re.compile(r"(?P<start> *(?:- +)*)(?P<key>[A-Za-z_][\w.-]*)(?: +(?P<value>[^\s#].*))?\s*(?:#.*)?$")
_PLACEHOLDER = re.compile(r"[^\s,\[\]{}\"']*\$\{[^{}]*\}[^\s,\[\]{}\"']*")


@dataclass(frozen=True, slots=True)
class SyntaxFault:
    """A syntax error at a line and a character index, both from 0."""

    line: int
    index: int
    message: str
    corrected: str = ""
    """The line as it was probably meant; empty if that is not known."""


@dataclass(frozen=True, slots=True)
class _Error:
    """What the parser reported: where it stopped, and where the value began that it was reading."""

    lines: list[str]
    row: int
    index: int
    first_row: int
    first_index: int
    problem: str

    @property
    def line(self) -> str:
        return self.lines[self.row]

    def here(self, message: str, candidates: Iterable[str] = ()) -> SyntaxFault:
        """Return the fault where the parser stopped."""
        return self.at(self.row, self.index, message, candidates)

    def at_start(self, message: str, candidates: Iterable[str] = ()) -> SyntaxFault:
        """Return the fault where the value begins that the parser was reading."""
        return self.at(self.first_row, self.first_index, message, candidates)

    def at(self, row: int, index: int, message: str, candidates: Iterable[str] = ()) -> SyntaxFault:
        return SyntaxFault(row, index, message, correct(self.lines, row, candidates))


def explain(error: yaml.YAMLError, text: str) -> SyntaxFault:
    """Return the fault that ``error`` reports in ``text``."""
    lines = text.splitlines() or [""]
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return SyntaxFault(0, 0, f"not YAML: {_short(error)}")
    began = getattr(error, "context_mark", None) or mark
    row, index = _inside(lines, mark.line, mark.column)
    problem = f"{getattr(error, 'context', '') or ''} {getattr(error, 'problem', '') or ''}"
    found = _Error(lines, row, index, *_inside(lines, began.line, began.column), problem)
    fault = _tab(found) or _placeholder(found) or _lookalike(found)
    if fault is None:
        rules = (rule for part, rule in _RULES if part in problem)
        fault = next((fault for rule in rules if (fault := rule(found)) is not None), None)
    return fault or found.here(advise(f"not YAML ({_short(error)})", "check quotes, brackets, and indentation here"))


def _inside(lines: list[str], line: int, column: int) -> tuple[int, int]:
    # A parser at the end of the stream points past the last line.
    if line >= len(lines):
        line = len(lines) - 1
        column = len(lines[line])
    return line, min(column, len(lines[line]))


def _tab(error: _Error) -> SyntaxFault | None:
    line = error.line
    lead = line[: len(line) - len(line.lstrip())]
    if line[error.index : error.index + 1] != "\t" and "\t" not in lead:
        return None
    at = error.index if line[error.index : error.index + 1] == "\t" else lead.index("\t")
    return error.at(error.row, at, tab_message(line, at), with_spaces(error.lines, error.row, at))


def _placeholder(error: _Error) -> SyntaxFault | None:
    start = error.line.rfind("${", 0, error.index + 2)
    if start < 0:
        return None
    whole = next((found for found in _PLACEHOLDER.finditer(error.line) if start in range(*found.span())), None)
    shown = whole[0] if whole is not None else error.line[start:].strip()
    message = advise("a { begins a mapping here", f'quote the placeholder: "{shown}"')
    candidates = [error.line[: whole.start()] + quote(shown) + error.line[whole.end() :]] if whole is not None else []
    return error.at(error.row, start, message, candidates)


def _lookalike(error: _Error) -> SyntaxFault | None:
    first = min(error.first_row, error.row)
    for row in range(error.row, max(first - 1, -1, error.row - 3), -1):
        match = lookalike.find(error.lines[row].split(" #")[0])
        if match:
            return _as_ascii(error, row, match.start())
    # A line without its colon is text that goes on in the next line, where the parser then complains.
    for row in range(first - 1, max(first - 4, -1), -1):
        match = _KEY_WITH_LOOKALIKE.match(error.lines[row])
        if match:
            return _as_ascii(error, row, match.end() - 1)
    return None


def _as_ascii(error: _Error, row: int, index: int) -> SyntaxFault:
    line = error.lines[row]
    return error.at(row, index, lookalike.explain(line[index]), with_ascii(line, index))


def _colon(error: _Error) -> SyntaxFault:
    """Explain a colon where no key may stand: a second one in the line, or the line continues a text above it."""
    key = KEY_AND_VALUE.match(error.line)
    if key is not None and key["value"] and key.start("value") <= error.index:
        value = without_comment(key["value"])
        rest = error.line[key.start("value") + len(value) :]
        message = advise('a text with ": " in it needs quotes', f"write {quote(value)}")
        return error.here(message, [error.line[: key.start("value")] + quote(value) + rest])
    if error.row and key is not None:
        above = next((row for row in range(error.row - 1, -1, -1) if error.lines[row].strip()), 0)
        missing = _missing_colon(error, above)
        if missing is not None:
            return missing
        if (deeper := _too_deep(error)) is not None:
            return deeper
    return error.here(advise("no key is expected here", "start a new line, or quote the text"))


def _missing_colon(error: _Error, row: int) -> SyntaxFault | None:
    """Explain a line without ``key: value``, if the one at ``row`` is one."""
    line = error.lines[row]
    if (key := _KEY_WITHOUT_SPACE.match(line)) is not None:
        fixed = f"{line[: key.end()]} {line[key.end() :]}"
        return error.at(row, key.end(), advise("a space is missing after the colon", f"write {fixed.strip()}"), [fixed])
    key = _KEY_WITHOUT_COLON.match(line)
    if key is None or _continues(error.lines, row):
        return None
    fixed = f"{key['start']}{key['key']}:" + (f" {key['value']}" if key["value"] else "")
    message = advise(f"the colon after {key['key']} is missing", f"write {fixed.strip()}")
    return error.at(row, key.end("key"), message, [fixed])


def _continues(lines: list[str], row: int) -> bool:
    """Return whether a line seems to continue the text of a key above it."""
    above = next((line for line in reversed(lines[:row]) if line.strip()), "")
    key = KEY_AND_VALUE.match(above)
    return key is not None and bool(key["value"]) and indent_of(lines[row]) > indent_of(above)


def _too_deep(error: _Error) -> SyntaxFault | None:
    own = indent_of(error.line)
    for row in range(error.row - 1, max(error.row - 20, -1), -1):
        key = KEY_AND_VALUE.match(error.lines[row])
        if key is None or key.start("key") >= own:
            continue
        level = key.start("key")
        # A line below at the same depth shows that the whole block is meant to be below this key.
        below = next((line for line in error.lines[error.row + 1 :] if line.strip()), "")
        alone = indent_of(below) != own
        message = advise(f"indented deeper than line {row + 1}", f"indent both by {things(level, 'space')}")
        if not alone:
            what = f"indented below line {row + 1}, which has a value"
            message = advise(what, f"remove that value, or indent by {things(level, 'space')}")
        return error.at(error.row, own, message, [" " * level + error.line.lstrip()] if alone else [])
    return None


def _no_key(error: _Error) -> SyntaxFault:
    """Explain something that continues neither the mapping nor the value before it."""
    char = error.line[error.index : error.index + 1]
    if char and char in "]}":
        opening = "[" if char == "]" else "{"
        fixed = error.line[: error.index] + error.line[error.index + 1 :]
        return error.here(advise(f'there is no "{opening}" for this "{char}"', "remove it"), [fixed])
    if (after := _after_quote(error)) is not None:
        return after
    return _misaligned(error)


def _after_quote(error: _Error) -> SyntaxFault | None:
    """Explain text after a closing quote, which may be the opening one of another text."""
    scalar = _last_scalar(error)
    if scalar is None or not scalar.style or scalar.style not in "'\"" or scalar.end_mark.line != error.row:
        return None
    row, start = scalar.start_mark.line, scalar.start_mark.column
    line = error.lines[row]
    if row != error.row:
        message = advise(f"the quote that opens here is closed in line {error.row + 1} only", "close it in this line")
        return error.at(row, start, message, closed(line, scalar.style))
    body = without_comment(line[start:])
    inner = body[1:-1] if len(body) > 1 and body[-1] == body[0] else body
    fixed = quote(inner)
    message = advise("there is text after the closing quote", f"write {fixed}")
    return error.here(message, [line[:start] + fixed + line[start + len(body) :]])


def _last_scalar(error: _Error) -> Any:
    parser = OPEN_PARSER("\n".join(error.lines))
    last = None
    try:
        while parser.check_event():
            event = parser.get_event()
            if isinstance(event, yaml.ScalarEvent):
                last = event
    except yaml.YAMLError:
        pass
    finally:
        parser.dispose()
    return last


def _misaligned(error: _Error) -> SyntaxFault:
    own = indent_of(error.line)
    levels = open_levels(error.lines, error.row)
    if error.index != own or not levels or own in levels:
        return error.here(advise("this does not fit what stands above", "check the quotes and the indentation"))
    near = sorted(levels, key=lambda level: (abs(level - own), -level))[:2]
    remedy = ", or ".join(f"{level} like line {levels[level] + 1}" for level in near)
    message = advise(f"the indentation of {things(own, 'space')} matches no line above", f"use {remedy}")
    return error.here(message, reindented(error.lines, error.row))


def _no_item(error: _Error) -> SyntaxFault:
    """Explain a line among the items of a list that is not an item."""
    what = f"this is not an item of the list that begins in line {error.first_row + 1}"
    if KEY_AND_VALUE.match(error.line) is None:
        body = error.line.lstrip()
        return error.here(advise(what, 'begin it with "- "'), [" " * error.first_index + f"- {body}"])
    shallower = [level for level in open_levels(error.lines, error.row) if level < error.first_index]
    if not shallower:
        return error.here(advise(what, 'begin it with "- "'))
    message = advise(what, f"indent it by {things(max(shallower), 'space')}")
    return error.here(message, [" " * max(shallower) + error.line.lstrip()])


def _unclosed(name: str, closing: str) -> Callable[[_Error], SyntaxFault]:
    def explain_unclosed(error: _Error) -> SyntaxFault:
        line = error.lines[error.first_row]
        if error.first_row == error.row and (text := error.line[error.index :]) and text[0] not in "]}":
            # The parser stopped within the brackets.
            before = error.line[: error.index]
            separated = f"{before.rstrip()}, {text}"
            message = advise(f'"," or "{closing}" is missing before {_word(text)}', "add it")
            return error.here(message, [*closed(line, closing), separated])
        return error.at_start(
            advise(f"the {name} that begins here is not closed", f"add {closing}"), closed(line, closing)
        )

    return explain_unclosed


def _word(text: str) -> str:
    found = re.match(r"[\w.-]+", text)
    return found[0] if found else text[:1]


def _open_quote(error: _Error) -> SyntaxFault:
    line = error.lines[error.first_row]
    mark = line[error.first_index : error.first_index + 1]
    return error.at_start(advise("the quote that opens here is never closed", f"add {mark}"), closed(line, mark))


def _escape(error: _Error) -> SyntaxFault:
    """Explain a backslash in double quotes that begins no escape."""
    at = error.line.rfind("\\", 0, error.index + 1)
    what = f"{error.line[at : at + 2]} is not an escape in double quotes"
    doubled = error.line[:at] + "\\" + error.line[at:]
    line, start = error.line, error.first_index
    text = re.compile(r'"(?:[^"\\]|\\.)*"').match(line, start) if error.first_row == error.row else None
    if text is None or "\\\\" in text[0]:
        return error.here(advise(what, r"write \\ for a backslash"), [doubled])
    single = "'" + text[0][1:-1].replace("'", "''") + "'"
    return error.here(advise(what, f"use single quotes: {single}"), [line[:start] + single + line[text.end() :]])


def _list_on_key_line(error: _Error) -> SyntaxFault:
    item = without_comment(error.line[error.index :]).removeprefix("-").strip()
    message = advise("a list cannot begin on the line of its key", f'write [{item}], or start a new line before "- "')
    rest = error.line[error.index + len(without_comment(error.line[error.index :])) :]
    return error.here(message, [f"{error.line[: error.index]}[{item}]{rest}"] if item else [])


def _tag(error: _Error) -> SyntaxFault:
    line = error.lines[error.first_row]
    fixed = line[: error.first_index] + re.sub(r"^!\S*\s*", "", line[error.first_index :])
    return error.at_start(advise("tags such as !x are not supported", "remove it, or quote the text"), [fixed])


def _first_character(error: _Error) -> SyntaxFault:
    """Explain a value that begins with a character that has a meaning of its own."""
    char = error.lines[error.first_row][error.first_index : error.first_index + 1]
    return _to_quote(error, error.first_row, error.first_index, char)


def _no_token(error: _Error) -> SyntaxFault:
    return _to_quote(error, error.row, error.index, error.line[error.index : error.index + 1])


def _to_quote(error: _Error, row: int, index: int, char: str) -> SyntaxFault:
    corrected = correct(error.lines, row, quoted_value(error.lines[row], index))
    value = corrected[index : _common_end(error.lines[row], corrected)] if corrected else ""
    message = advise(f"a text that begins with {char} needs quotes", f"write {value}" if value else "quote it")
    return SyntaxFault(row, index, message, corrected)


def _common_end(line: str, corrected: str) -> int:
    """Return the index in ``corrected`` after which both are the same."""
    same = 0
    while same < min(len(line), len(corrected)) and line[-1 - same] == corrected[-1 - same]:
        same += 1
    return len(corrected) - same


def _block_text(error: _Error) -> SyntaxFault:
    line, start = error.lines[error.first_row], error.first_index
    text = without_comment(line[start:]).lstrip("|>+-0123456789 ")
    rest = line[start + len(without_comment(line[start:])) :]
    message = advise(f'after "{line[start]}" the text begins on a new line', f"for a single line, write {quote(text)}")
    return error.at_start(message, [line[:start] + quote(text) + rest])


def _directive(error: _Error) -> SyntaxFault:
    return error.here(advise("lines that begin with % have a meaning of their own", "remove it, or quote the text"))


def _no_content(error: _Error) -> SyntaxFault:
    char = error.line[error.index : error.index + 1]
    if char and char in ",]}%":
        return _no_token(error)
    return error.here(advise("a value is missing here", "write one, or quote the text"))


def _no_colon(error: _Error) -> SyntaxFault:
    found = _missing_colon(error, error.first_row)
    if found is not None:
        return found
    return error.at_start(Message('this line has no "key: value", is a colon or the space after it missing?'))


def _always(what: str, remedy: str) -> Callable[[_Error], SyntaxFault]:
    return lambda error: error.here(advise(what, remedy))


_RULES: tuple[tuple[str, Callable[[_Error], SyntaxFault | None]], ...] = (
    # (a part of what the parser says, libyaml or the one in Python; how to explain it)
    ("mapping values are not allowed", _colon),
    ("could not find expected ':'", _no_colon),
    ("did not find expected key", _no_key),
    ("did not find expected '-' indicator", _no_item),
    ("expected ',' or ']'", _unclosed("list", "]")),
    ("expected ',' or '}'", _unclosed("mapping", "}")),
    ("found unexpected end of stream", _open_quote),
    ("found unexpected document separator", _open_quote),
    ("found unexpected document indicator", _open_quote),
    ("unknown escape character", _escape),
    ("hexdecimal number", _escape),  # codespell:ignore
    ("hexadecimal numbers", _escape),
    ("invalid Unicode character escape", _always("there is no such character", "correct the escape, or use '…'")),
    ("sequence entries are not allowed", _list_on_key_line),
    ("mapping keys are not allowed", _always("no key is expected here", "start a new line")),
    ("undefined tag handle", _tag),
    ("a tag", _tag),
    ("expected node content", _no_content),
    ("expected the node content", _no_content),
    ("alphabetic or numeric character", _first_character),
    ("chomping or indentation", _block_text),
    ("comment or line break", _block_text),
    ("comment or a line break", _block_text),
    ("<block end>, but found", _no_key),
    ("document start>", _misaligned),
    ("cannot start any token", _no_token),
    ("YAML document", _directive),
    ("directive", _directive),
    ("block mapping", _misaligned),
)


def _short(error: yaml.YAMLError) -> str:
    return str(getattr(error, "problem", None) or error).split("\n")[0]
