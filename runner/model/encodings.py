"""Decode texts inside other texts (escapes, base64, hex), and keep track of the original positions."""

from __future__ import annotations

import binascii
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from html.entities import html5

Back = Callable[[int, int], tuple[int, int]]
"""Maps a span (start and end) of a decoded text to the span of the original text that it came from."""

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|([0-7]{3})|(.))", re.DOTALL)
_ESCAPED = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "a": "\a",
    "0": "\0",
    "e": "\x1b",
    "E": "\x1b",
}
"""The escapes of JSON, Python, C, and shells."""
_ESCAPED_IN_YAML = {**_ESCAPED, "_": "\xa0", "N": "\x85", "L": "\u2028", "P": "\u2029"}
_PERCENT = re.compile("%([0-9a-fA-F]{2})")
_FORM = re.compile(r"%([0-9a-fA-F]{2})|\+")
_ENTITY = re.compile("&(?:#([0-9]{1,7})|#[xX]([0-9a-fA-F]{1,6})|([A-Za-z][A-Za-z0-9]{1,31}));")
_QUOTES = re.compile(r"""'"'"'|'\\''|''""")
_DOUBLED = re.compile('""')
"""The escaped quotes of CSV."""
_BYTES = re.compile("[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_HALVES = re.compile("[\ud800-\udbff][\udc00-\udfff]")
"""Sequences of UTF-8 bytes, and UTF-16 surrogate pairs, that are one character."""
_BEGUN = re.compile(
    r"\\(?:u[0-9a-fA-F]{0,3}|U[0-9a-fA-F]{0,7}|x[0-9a-fA-F]?|[0-7]{0,2})?\Z|%[0-9a-fA-F]?\Z|&#?[A-Za-z0-9]{0,31}\Z"
    r"""|'["'\\]{0,3}\Z"""
    "|[\xc2-\xf4][\x80-\xbf]{0,2}\\Z|[\ud800-\udbff]\\Z"
)
_TOKEN_AT_END = re.compile("[A-Za-z0-9+/_-]+\\Z")


def _escape(match: re.Match[str], escaped: Mapping[str, str] = _ESCAPED) -> str | None:
    by_number, octal, other = match[1] or match[2] or match[3], match[4], match[5]
    if by_number:
        number = int(by_number, 16)
        return chr(number) if number < 0x110000 else None
    if octal:
        return chr(int(octal, 8))
    return escaped.get(other, other)


def _escape_of_yaml(match: re.Match[str]) -> str | None:
    return _escape(match, _ESCAPED_IN_YAML)


def _byte(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else " "


def _entity(match: re.Match[str]) -> str | None:
    decimal, hexadecimal, name = match.groups()
    if name:
        return html5.get(f"{name};")
    number = int(decimal) if decimal else int(hexadecimal, 16)
    return chr(number) if number < 0x110000 else None


Code = tuple[str, str, re.Pattern[str], Callable[[re.Match[str]], str | None]]

_CODES: tuple[Code, ...] = (
    # (a character that such a text contains; characters of which the secret must contain one, or any if empty; a
    # pattern for an escape; a function that decodes it)
    ("\\", "", _ESCAPE, _escape),
    ("\\", "\xa0\x85\u2028\u2029", _ESCAPE, _escape_of_yaml),
    ("%", "", _PERCENT, _byte),
    ("+", " ", _FORM, _byte),
    ("&", "", _ENTITY, _entity),
    ("'", "'", _QUOTES, lambda _: "'"),
    ('"', '"', _DOUBLED, lambda _: '"'),
)


def codes_for(hidden: str) -> tuple[Code, ...]:
    """Return the encodings that can change a secret with the characters ``hidden``."""
    return tuple(code for code in _CODES if not code[1] or any(char in hidden for char in code[1]))


def decoded(text: str, codes: Sequence[Code]) -> Iterator[tuple[str, Back]]:
    """Yield ``text`` decoded by each encoding that changes it. A byte becomes the character with its number."""
    for sign, _, escape, meaning in codes:
        if sign in text and (found := _undo(text, escape, meaning)) is not None:
            yield found


def joined(text: str) -> Iterator[tuple[str, Back]]:
    """Yield ``text`` with UTF-8 bytes, or UTF-16 surrogate pairs, decoded to characters, if it has any."""
    if text.isascii():
        return
    for units, codec, errors in ((_BYTES, "latin-1", "strict"), (_HALVES, "utf-16-be", "surrogatepass")):
        if (found := _undo(text, units, partial(_character, codec, errors))) is not None:
            yield found


def _character(codec: str, errors: str, match: re.Match[str]) -> str | None:
    try:
        return match[0].encode(codec, errors).decode("utf-8" if codec == "latin-1" else codec)
    except UnicodeDecodeError:
        return None


def _undo(
    text: str, escape: re.Pattern[str], meaning: Callable[[re.Match[str]], str | None]
) -> tuple[str, Back] | None:
    parts: list[str] = []
    # For each escape: where its meaning begins and ends in the decoded text, and its span in the original.
    begins: list[int] = []
    spans: list[tuple[int, int, int]] = []
    at = size = 0
    for match in escape.finditer(text):
        new = meaning(match)
        if new is None:
            continue
        start, end = match.span()
        size += start - at
        begins.append(size)
        size += len(new)
        spans.append((size, start, end))
        parts += (text[at:start], new)
        at = end
    if not spans:
        return None
    parts.append(text[at:])

    def span(index: int) -> tuple[int, int]:
        """Return the span in the original of a character of the decoded text."""
        number = bisect_right(begins, index) - 1
        if number < 0:
            return index, index + 1
        end, start, after = spans[number]
        if index < end:
            return start, after
        at = after + index - end
        return at, at + 1

    def back(first: int, last: int) -> tuple[int, int]:
        return span(first)[0], span(last - 1)[1]

    return "".join(parts), back


def from_base64(text: str, token: re.Pattern[str], worth: Callable[[bytes], bool]) -> Iterator[tuple[str, Back]]:
    """Yield the bytes of each ``token`` in ``text`` as base64, starting at each of its first four characters.

    Bytes for which ``worth`` is false are left out.
    """
    for match in token.finditer(text):
        word = match[0].translate(_STANDARD)
        for shift in range(4):
            part = word[shift:]
            part = part[: len(part) - (len(part) % 4 == 1)]
            data = binascii.a2b_base64(part + "=" * (-len(part) % 4))
            if worth(data):
                yield data.decode("latin-1"), _groups(match.start() + shift, match.end())


def from_hex(text: str, least: int, worth: Callable[[bytes], bool]) -> Iterator[tuple[str, Back]]:
    """Yield the bytes of each hexadecimal number in ``text`` that has at least ``least`` bytes.

    Bytes for which ``worth`` is false are left out.
    """
    for match in _HEX.finditer(text):
        for shift in range(2):
            start, size = match.start() + shift, (len(match[0]) - shift) // 2
            if size >= least and worth(data := bytes.fromhex(text[start : start + 2 * size])):
                yield data.decode("latin-1"), partial(_pairs, start)


def _pairs(start: int, first: int, last: int) -> tuple[int, int]:
    return start + 2 * first, start + 2 * last


_HEX = re.compile("[0-9a-fA-F]{2,}")
_STANDARD = str.maketrans("-_", "+/")


def _groups(start: int, end: int) -> Back:
    # Four characters encode three bytes.
    return lambda first, last: (start + first // 3 * 4, min(start + -(-last // 3) * 4, end))


def begun(text: str) -> int:
    """Return the length of an escape at the end of ``text`` that may be incomplete."""
    match = _BEGUN.search(text[-40:])
    return len(match[0]) if match else 0


def token_at_end(text: str) -> int:
    """Return the number of characters at the end of ``text`` that may be base64."""
    match = _TOKEN_AT_END.search(text)
    return len(match[0]) if match else 0
