"""Texts from elsewhere, made harmless for whoever looks at them."""

from __future__ import annotations

import re
import unicodedata


def printable(text: str) -> str:
    r"""Return ``text`` with escapes such as ``\x1b`` in place of what would act on a terminal or reorder a line.

    That is C0 and C1, marks that change the direction of text, and other characters without a shape of their own.
    Lines, tabs, and spaces of any script stay. What was made printable stays as it is.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\n\t" or _is_space(char) else _escaped(char) for char in text)


def printable_json(text: str) -> str:
    """Return JSON text that means the same, with such characters in its strings escaped."""
    return _UNSEEN.sub(_json_escape, text) if not text.isascii() or "\x7f" in text else text


# What may be unprintable and needs no escape in JSON; what is printable is told apart below.
_UNSEEN = re.compile("[^\x00-\x7e]")  # the other way round it takes 3 ms to compile


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
