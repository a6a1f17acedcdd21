"""Find characters that look like those of YAML, as input methods and word processors write them.

To YAML a full-width colon is text, so the message of its parser would be about something else.
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
"""The ASCII character that each one looks like; empty for one that nobody sees."""

_ANY = re.compile("[" + re.escape("".join(_TWINS)) + "]")
_STARTS = re.compile("[" + re.escape("［｛＂＇“‘「『－：＃，＆＊！｜＞％＠【—–−、\u3000\u00a0\u200b\u2060") + "]")
_STRUCTURE = re.compile("[，：［］｛｝、【】“”＂]")


def find(text: str) -> re.Match[str] | None:
    """Return the first lookalike in ``text``."""
    return None if text.isascii() else _ANY.search(text)


def in_plain(text: str, *, flow: bool) -> re.Match[str] | None:
    """Return the lookalike that makes a plain (unquoted) text doubtful, if any.

    Elsewhere they are the punctuation of a text in Chinese, Japanese, or Korean.
    """
    return _STARTS.match(text) or (_STRUCTURE.search(text) if flow else None)


def twin(char: str) -> str:
    """Return the ASCII character that ``char`` looks like; empty for one that nobody sees."""
    return _TWINS[char]


def to_ascii(text: str) -> str:
    """Return ``text`` with ASCII characters in place of all lookalikes."""
    return "".join(
        twin(char) + (" " if twin(char) in (":", ",") and text[at + 1 : at + 2].strip() else "") if find(char) else char
        for at, char in enumerate(text)
    )


def describe(char: str) -> str:
    """Return the message for a lookalike: ``：(U+FF1A FULLWIDTH COLON) is not the ASCII ":"``."""
    ascii_char = twin(char)
    shown = char if char.isprintable() and not char.isspace() else ""
    name = f"{shown} (U+{ord(char):04X} {unicodedata.name(char, 'unnamed')})".strip()
    if not ascii_char:
        return f"there is an invisible character {name}"
    return f"{name} is not {'an ASCII space' if ascii_char == ' ' else f'the ASCII {_in_quotes(ascii_char)}'}"


def _in_quotes(char: str) -> str:
    return "'\"'" if char == '"' else f'"{char}"'


def explain(char: str) -> Message:
    """Return the message about a lookalike, with the character to type."""
    ascii_char = twin(char)
    if not ascii_char:
        return advise(describe(char), "remove it")
    return advise(describe(char), "type a space" if ascii_char == " " else f"type {_in_quotes(ascii_char)}")
