"""Make text from outside safe to display."""

from __future__ import annotations

import re
import unicodedata


def printable(text: str) -> str:
    r"""Return ``text`` with escapes such as ``\x1b`` for characters that would control a terminal or reorder a line.

    These are control characters (C0 and C1), marks that change the direction of text, and other invisible characters.
    Line breaks, tabs, and spaces of any script are kept. The result is not changed by a second call.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\n\t" or _is_space(char) else _escaped(char) for char in text)


def printable_json(text: str) -> str:
    """Return equivalent JSON text with such characters in its strings escaped."""
    return _UNSEEN.sub(_json_escape, text) if not text.isascii() or "\x7f" in text else text


# Characters that may be unprintable, and that JSON does not have to escape; printable ones are kept below.
_UNSEEN = re.compile("[^\x00-\x7e]")  # the complement would take 3 ms to compile


def _json_escape(match: re.Match[str]) -> str:
    char = match[0]
    if char.isprintable() or _is_space(char):
        return char
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def _is_space(char: str) -> bool:
    return unicodedata.category(char) == "Zs"


def _escaped(char: str) -> str:
    return ascii(char)[1:-1]
