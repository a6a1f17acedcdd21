"""Regular expressions of params, matched in linear time by RE2, so that no value can block a process.

The syntax is that of RE2 (https://github.com/google/re2/wiki/Syntax), with ``\\uXXXX`` of ECMA-262 and ``\\Z`` of
Python. ``\\d``, ``\\w``, and ``\\s`` match ASCII only; ``$`` is the very end of the text.
"""

from __future__ import annotations

import re
import warnings
from functools import lru_cache
from typing import Any

from runner.model.message import advise as with_remedy
from runner.model.message import message_of

MOST_PATTERN = 1000
"""The longest pattern, in characters."""

MOST_TEXT = 65_536
"""The longest text that is matched, in characters."""

MOST_STEPS = 1000 * MOST_TEXT
"""The largest product of the size of a compiled pattern and the bytes of a text. RE2 takes time in proportion to both,
and about 1 s for this many."""

MOST_REPEATED = 1000
"""The largest count of a repetition; the counts of nested ones are multiplied."""

_TOKEN = re.compile(
    r"""
    (?P<backreference>\\[1-9][0-9]*|\\k<\w*>|\(\?P=\w*\))
    |(?P<lookahead>\(\?[=!])
    |(?P<lookbehind>\(\?<[=!])
    |(?P<atomic>\(\?>)
    |(?P<conditional>\(\?\()
    |(?P<comment>\(\?\#)
    |(?P<flag>\(\?[a-zA-Z]*-?[a-zA-Z]*[:)])
    |(?P<escape>\\[a-zA-Z])
    |(?P<count>\{[0-9]+(?:,[0-9]*)?\})
    |(?P<possessive>(?<=[*+?}])\+)
    |(?P<one>\\.|\[\^?\]?|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_NAMES = {
    "backreference": "the backreference {}",
    "lookahead": "the lookahead {}",
    "lookbehind": "the lookbehind {}",
    "atomic": "the atomic group {}",
    "conditional": "the conditional group {}",
    "comment": "the comment {}",
    "possessive": "the possessive quantifier {}",
    "flag": "the flag in {}",
    "escape": "the escape {}",
    "count": "the count {}, of more than 1000 in all,",
}
_ESCAPES = frozenset("aAbBdDfnrsStvwWxzpPQECWk")
"""The letters that RE2 supports after a backslash."""


def matches(pattern: str, text: str) -> bool:
    """Return whether ``pattern`` matches part of ``text``; a text with half a surrogate pair matches nothing.

    Raises:
        ValueError: the pattern is not supported.
    """
    try:
        return _compiled(pattern).search(text) is not None
    except UnicodeEncodeError:
        return False


def most_bytes(pattern: str) -> int:
    """Return the longest text that is matched against ``pattern``, in bytes of UTF-8; large patterns allow fewer.

    Raises:
        ValueError: the pattern is not supported.
    """
    return int(MOST_STEPS // _compiled(pattern).programsize)


def is_too_long(pattern: str, text: str) -> bool:
    """Return whether matching ``text`` against ``pattern`` could take much longer than a second."""
    return len(text) > MOST_TEXT or len(text.encode(errors="replace")) > most_bytes(pattern)


def fault_of(pattern: str) -> str | None:
    """Return the reason for refusing a pattern, or None."""
    if len(pattern) > MOST_PATTERN:
        return with_remedy(f"is {len(pattern):,} characters long, at most {MOST_PATTERN:,} are allowed", "shorten it")
    try:
        _compiled(pattern)
    except ValueError as error:
        return message_of(error)
    return None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> Any:
    import re2  # start-up time: few jobs have patterns

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(_translated(pattern), options)
    except UnicodeEncodeError:
        raise ValueError(f"{pattern!r} is not a regular expression: it has half a surrogate pair") from None
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
        raise ValueError(_explained(pattern, reason)) from None


def _translated(pattern: str) -> str:
    """Return a pattern in the syntax of RE2."""
    pattern = re.sub(r"(\\\\)|\\u(?:\{([0-9a-fA-F]+)\}|([0-9a-fA-F]{4}))", _code_point, pattern)
    return re.sub(r"(\\\\)|\\Z", lambda found: found[1] or r"\z", pattern)


def _code_point(found: re.Match[str]) -> str:
    return found[1] or f"\\x{{{found[2] or found[3]}}}"


def _explained(pattern: str, reason: str) -> str:
    """Return the message about a pattern that RE2 refuses for ``reason``."""
    for name, text, at in _constructs(pattern):
        if name in _NAMES and not _is_known(name, text):
            what = f"{_NAMES[name].format(text)} at character {at + 1} is not supported"
            return with_remedy(f"{what}, because patterns are matched in linear time", "remove it", "; ")
    if "too large" in reason:
        return with_remedy(f"{pattern!r} is too large when its repetitions are written out", "use smaller counts")
    try:
        with warnings.catch_warnings(action="ignore"):
            re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        # Its messages are better, but it does not know all escapes of RE2.
        if not any(str(error).startswith(f"bad escape \\{letter} ") for letter in _ESCAPES):
            reason = str(error)
    else:
        if reason.startswith("invalid repetition size"):
            return with_remedy(f"{pattern!r} repeats something more than 1000 times in all", "use smaller counts")
    what = f"{pattern!r} is not a regular expression: {reason}"
    return with_remedy(what, "use single quotes in YAML, or correct it" if "\\" in pattern else "correct it")


def _constructs(pattern: str) -> list[tuple[str, str, int]]:
    """Return the constructs of a pattern outside character classes: name, text, and position."""
    found = []
    at = 0
    while at < len(pattern):
        match = _TOKEN.match(pattern, at)
        assert match is not None
        name, text = str(match.lastgroup), match[0]
        if text.startswith("["):
            at = _end_of_class(pattern, match.end())
            continue
        found.append((name, text, at))
        at = match.end()
    return found


def _end_of_class(pattern: str, at: int) -> int:
    while at < len(pattern) and pattern[at] != "]":
        at += 2 if pattern[at] == "\\" else 1
    return at + 1


def _is_known(name: str, text: str) -> bool:
    if name == "flag":
        return not set(text) - set("(?imsU-:)")
    if name == "escape":
        return text[1] in _ESCAPES
    if name == "count":
        return max(map(int, re.findall("[0-9]+", text))) <= MOST_REPEATED
    return False
