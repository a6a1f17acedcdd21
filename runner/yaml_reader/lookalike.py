"""Characters of input methods and word processors that look like YAML's own, and are none.

A full-width colon is text to YAML, so that the message of its parser is about something else.
"""

from __future__ import annotations

import re
import unicodedata

from runner.model.message import Message, advise

_TWINS = {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)} | {
    "\u3000": " ",
    "\u00a0": " ",
    "\u2002": " ",
    "\u2003": " ",
    "\u2009": " ",
    "\u202f": " ",
    "\u200b": "",
    "\u200c": "",
    "\u200d": "",
    "\u2060": "",
    "“": '"',
    "”": '"',
    "„": '"',
    "‟": '"',
    "「": '"',
    "」": '"',
    "『": '"',
    "』": '"',
    "‘": "'",
    "’": "'",
    "‚": "'",
    "、": ",",
    "。": ".",
    "【": "[",
    "】": "]",
    "–": "-",
    "—": "-",
    "−": "-",
    "ー": "-",
}
"""Lookalike to ASCII twin; an empty twin is a character that nobody sees."""

_ANY = re.compile("[" + re.escape("".join(_TWINS)) + "]")
_STARTS = re.compile("[" + re.escape("［｛＂＇“‘「『－：＃，＆＊！｜＞％＠【—–−、\u3000\u00a0\u200b\u2060") + "]")
_STRUCTURE = re.compile("[，：［］｛｝、【】“”＂]")


def find(text: str) -> re.Match[str] | None:
    """Return the first lookalike in ``text``."""
    return None if text.isascii() else _ANY.search(text)


def in_plain(text: str, *, flow: bool) -> re.Match[str] | None:
    """Return the lookalike that makes a plain (unquoted) text doubtful, if any.

    Elsewhere they are what they are: punctuation of a text in Chinese, Japanese or Korean.
    """
    return _STARTS.match(text) or (_STRUCTURE.search(text) if flow else None)


def explain(char: str) -> Message:
    """Return ``：(U+FF1A FULLWIDTH COLON) is not ':'``, in words that say what to type."""
    twin = _TWINS[char]
    shown = char if char.isprintable() and not char.isspace() else ""
    name = f"{shown} (U+{ord(char):04X} {unicodedata.name(char, 'unnamed')})".strip()
    if not twin:
        return advise(f"there is an invisible character {name}", "remove it")
    typed = "an ASCII space" if twin == " " else f'the ASCII "{twin}"' if twin != '"' else "the ASCII '\"'"
    return advise(f"{name} is not {typed}", "type that")
