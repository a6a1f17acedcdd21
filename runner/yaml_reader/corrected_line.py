"""Find the line that was probably meant where a YAML file has a syntax error.

A correction is a guess. It is offered only if the parser gets past the line with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import yaml

from runner.yaml_reader import lookalike
from runner.yaml_reader.parser import OPEN_PARSER
from runner.yaml_reader.problem import LONGEST_SOURCE

_LONGEST_TEXT = 200_000
"""Characters of the longest file that is parsed again to try a correction; it takes some 0.1 s."""

_LOOK_AHEAD = 50
"""Lines after the corrected one within which the parser must fail if the correction is wrong."""

KEY_AND_VALUE = re.compile(
    r"(?P<indent> *)(?P<dash>(?:- +)*)"
    r"(?P<key>[^\s\"'\[\]{}#&*!|>%@`,?:-][^:#\[\]{}]*?|\"[^\"]*\"|'[^']*'):(?: +(?P<value>[^\s#].*))?(?: *(?:#.*)?)$"
)
"""A line with a key, and perhaps its value on the same line."""

_CRON_FIELD = r"[*0-9A-Za-z/#-]+(?:,[*0-9A-Za-z/#-]+)*"
_CRON = re.compile(rf"{_CRON_FIELD}(?: +{_CRON_FIELD}){{4,5}}")


def correct(lines: list[str], row: int, candidates: Iterable[str]) -> str:
    """Return the first candidate with which the parser gets past line ``row`` (from 0); empty if there is none."""
    if len(lines[row]) > LONGEST_SOURCE or sum(map(len, lines)) > _LONGEST_TEXT:
        return ""
    tried = (candidate for candidate in candidates if candidate.strip() and candidate != lines[row])
    return next((candidate for candidate in tried if _passes(lines, row, candidate)), "")


def _passes(lines: list[str], row: int, candidate: str) -> bool:
    parser = OPEN_PARSER("\n".join([*lines[:row], candidate, *lines[row + 1 :], ""]))
    try:
        while parser.check_event():
            if parser.get_event().start_mark.line > row + _LOOK_AHEAD:
                return True
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        began = getattr(error, "context_mark", None)
        # A quote or a bracket that the line leaves open is reported further down.
        in_line = began is not None and began.line == row and "block" not in (getattr(error, "context", None) or "")
        return mark is not None and mark.line > row and not in_line
    finally:
        parser.dispose()
    return True


def quote(text: str) -> str:
    """Return a text in quotes: in single ones where double ones would need an escape."""
    if '"' not in text and "\\" not in text:
        return f'"{text}"'
    return "'" + text.replace("'", "''") + "'"


def without_comment(text: str) -> str:
    """Return a text without the comment after it."""
    return re.sub(r"\s+#.*$", "", text).rstrip()


def indent_of(line: str) -> int:
    """Return how many spaces a line begins with."""
    return len(line) - len(line.lstrip(" "))


def open_levels(lines: list[str], row: int) -> dict[int, int]:
    """Return the indentations at which a line at ``row`` may continue, the deepest first, each with a line above."""
    found: dict[int, int] = {}
    for above in range(row - 1, -1, -1):
        line = lines[above]
        body = line.lstrip(" ")
        if not body or body.startswith("#"):
            continue
        levels = [len(line) - len(body)]
        while (dash := re.match(r"- +(?=\S)", body)) is not None:
            body = body[dash.end() :]
            levels.insert(0, levels[0] + dash.end())
        if re.search(r"[|>][-+0-9]*\s*(?:#.*)?$", body):
            # What was collected below is text.
            found = {level: at for level, at in found.items() if level <= levels[0]}
        for level in levels:
            if not found or level < min(found):
                found[level] = above
        if not levels[-1]:
            break
    return found


def reindented(lines: list[str], row: int) -> Iterator[str]:
    """Yield the line at each indentation at which it may stand, the nearest first."""
    own = indent_of(lines[row])
    for level in sorted(open_levels(lines, row), key=lambda level: (abs(level - own), -level)):
        yield " " * level + lines[row].lstrip()


def with_spaces(lines: list[str], row: int, index: int) -> Iterator[str]:
    """Yield the line with spaces in place of its tabs."""
    line = lines[row]
    body = line.lstrip()
    lead = line[: len(line) - len(body)]
    if index >= len(lead):
        yield re.sub(r"\t+", " ", line)
        return
    for level in (len(lead.expandtabs(2)), len(lead.expandtabs(4)), *open_levels(lines, row)):
        yield " " * level + body


def with_ascii(line: str, index: int) -> Iterator[str]:
    """Yield the line with the ASCII character that the one at ``index`` looks like, then with all of them."""
    yield (
        line[:index]
        + _ascii_of(line[index], index == 0 or not line[:index].strip(), line[index + 1 :])
        + line[index + 1 :]
    )
    yield "".join(
        _ascii_of(char, not line[:at].strip(), line[at + 1 :]) if lookalike.find(char) else char
        for at, char in enumerate(line)
    )


def _ascii_of(char: str, leading: bool, rest: str) -> str:
    twin = lookalike.twin(char)
    if leading and char == "\u3000":
        return "  "  # it is as wide as two
    return twin + " " if twin in (":", ",") and rest[:1].strip() else twin


def quoted_value(line: str, index: int) -> Iterator[str]:
    """Yield the line with the value that begins at ``index`` in quotes."""
    rest = line[index:]
    cron = _CRON.match(rest)
    ends = [cron.end()] if cron else []
    in_braces = line[:index].count("{") + line[:index].count("[") > line[:index].count("}") + line[:index].count("]")
    if in_braces:
        ends += [found.start() for found in re.finditer(r"\s*[,}\]]", rest)]
    ends.append(len(without_comment(rest)))
    for end in ends:
        yield line[:index] + quote(rest[:end].rstrip()) + rest[end:]


def closed(line: str, closing: str) -> Iterator[str]:
    """Yield the line with a closing quote or bracket at its end."""
    body = without_comment(line)
    yield body + closing + line[len(body) :]
