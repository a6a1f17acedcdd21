"""Mask the values of secrets in everything that a run shows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from runner.model.encodings import begun, codes_for, decoded, from_base64, from_hex, joined, token_at_end

MASK = "***"

SHORTEST = 4
"""The length of the shortest masked value, in characters; a shorter one would occur in many words."""

SHORTEST_LINE = 8
"""The length of the shortest line of a multi-line secret that is masked by itself, in characters."""

LEVELS = 6
"""How deep encodings may be nested, such as JSON in JSON in a URL in base64."""

LONGEST_TOKEN = 4096
"""How many characters of base64 at the end of an incomplete text may be the beginning of a secret."""


class Masker:
    """Finds the values of some secrets in texts, in all encodings that programs commonly use.

    Texts are decoded, instead of encoding the secrets, because encodings can be nested, and few lines have any. A line
    without escapes and without a long word costs only a search for each secret.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        forms = {form for value in values for form in _forms(value)}
        # The longest first, because a secret may be part of another one.
        self._forms = sorted(forms, key=lambda form: (-len(form), form))
        self._ascii = all(form.isascii() for form in self._forms)
        self._codes = codes_for("".join(self._forms))
        least = self._least = min(map(len, self._forms), default=1)
        # The length of the shortest secret in base64: no shorter word can contain one.
        token = f"[A-Za-z0-9+/_-]{{{-(-least * 4 // 3)},}}"
        self._token = re.compile(token)
        self._worth = _worth(self._forms)
        signs = re.escape("".join(sorted({code[0] for code in self._codes})))
        self._hides = re.compile(f"[{signs}{'' if self._ascii else chr(0x80) + '-' + chr(0x10FFFF)}]|{token}")

    def __bool__(self) -> bool:
        return bool(self._forms)

    def finds(self, text: str) -> bool:
        """Return whether ``text`` contains a secret."""
        return bool(self._spans(text))

    def text(self, text: str) -> str:
        """Return ``text`` with ``***`` in place of each secret."""
        spans = self._spans(text)
        if not spans:
            return text
        parts: list[str] = []
        at = 0
        for start, end in _merged(sorted(spans)):
            parts += (text[at:start], MASK)
            at = end
        return "".join([*parts, text[at:]])

    def _spans(self, text: str) -> list[tuple[int, int]]:
        """Return the spans of secrets in ``text``."""
        if str.__len__(text) < self._least:  # a subclass of str may override __len__
            return []  # no encoding makes a text shorter
        if self._forms and self._hides.search(text):
            return self._decoded_spans(text, LEVELS, {})
        return self._plain_spans(text)

    def _plain_spans(self, text: str) -> list[tuple[int, int]]:
        found = []
        for form in self._forms:
            at = text.find(form)
            while at >= 0:
                found.append((at, at + len(form)))
                at = text.find(form, at + len(form))
        return found

    def _decoded_spans(self, text: str, levels: int, seen: dict[str, int]) -> list[tuple[int, int]]:
        """Return the spans of secrets in at most ``levels`` encodings; ``seen`` are the texts already searched."""
        found = self._plain_spans(text)
        # Different orders of decoding can lead to the same text.
        if seen.get(text, -1) >= levels:
            return found
        seen[text] = levels
        for plain, back in () if self._ascii else joined(text):
            found += [back(*span) for span in self._decoded_spans(plain, levels, seen)]
        if levels:
            for plain, back in chain(
                decoded(text, self._codes),
                from_base64(text, self._token, self._worth),
                from_hex(text, self._least, self._worth),
            ):
                found += [back(*span) for span in self._decoded_spans(plain, levels - 1, seen)]
        return found

    def value(self, value: Any) -> Any:
        """Return a JSON value with all texts and keys masked; a number that contains a secret becomes text."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(key) if isinstance(key, str) else key: self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        if isinstance(value, int | float) and not isinstance(value, bool) and self.finds(json.dumps(value)):
            return MASK
        return value

    def json(self, text: str) -> str:
        """Return JSON text with all values masked; it is still JSON."""
        if not self.finds(text):
            return text
        masked = json.dumps(self.value(json.loads(text)))
        return json.dumps(MASK) if self.finds(masked) else masked

    def begun(self, data: bytes) -> int:
        """Return the number of bytes at the end of ``data`` that may be the beginning of a secret."""
        if not self._forms:
            return 0
        text = data.decode("utf-8", "surrogateescape")
        # A character whose last bytes are missing.
        whole = text.rstrip("".join(map(chr, range(0xDC80, 0xDD00))))
        missing = text[len(whole) :] if len(text) - len(whole) < 4 else ""
        whole = text[: len(text) - len(missing)]
        held = self._begun(whole, LEVELS)
        return len((whole[len(whole) - held :] + missing).encode("utf-8", "surrogateescape"))

    def _begun(self, text: str, levels: int) -> int:
        longest = max((_overlap(text, form) for form in self._forms), default=0)
        if levels == 0:
            return longest
        part = begun(text)
        stem = text[: len(text) - part]
        longest = max(longest, part)
        if part and (before := self._begun(stem, levels - 1)):
            longest = max(longest, before + part)
        for plain, back in (*(() if self._ascii else joined(stem)), *decoded(stem, self._codes)):
            if held := self._begun(plain, levels - 1):
                longest = max(longest, len(text) - back(len(plain) - held, len(plain))[0])
        token = token_at_end(text[-LONGEST_TOKEN:])
        return max(longest, token) if token >= SHORTEST_LINE else longest


def _overlap(text: str, form: str) -> int:
    """Return the length of the longest proper prefix of ``form`` at the end of ``text``."""
    at = max(0, len(text) - len(form) + 1)
    while (at := text.find(form[0], at)) >= 0:
        if form.startswith(text[at:]):
            return len(text) - at
        at += 1
    return 0


def _merged(spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield sorted spans, with overlapping spans merged."""
    start, end = spans[0]
    for first, last in spans[1:]:
        if first >= end:
            yield start, end
            start, end = first, last
        else:
            end = max(end, last)
    yield start, end


def _worth(forms: Sequence[str]) -> Callable[[bytes], bool]:
    """Return a function that tells whether bytes may contain any of ``forms``, or an encoding of it."""
    least = min(map(len, forms), default=1)
    encoded = b"".join(form.encode("utf-8", "surrogatepass") for form in forms)
    known = {*range(32, 127), *b"\t\r\n", *(byte for byte in encoded if byte < 32 or byte == 127)}
    whole = None
    if any("\udc80" <= character <= "\udcff" for form in forms for character in form):
        known |= set(range(0x80, 0x100))  # the value is not UTF-8
    elif not encoded.isascii():
        ascii = b"".join(b"\\x%02x" % byte for byte in sorted(known))
        whole = re.compile(b"(?:[%b]|[\\xc2-\\xf4][\\x80-\\xbf]{1,3}){%d}" % (ascii, least))
        known |= set(range(0x80, 0xF5))
    # A search for a sequence of bytes that may be text is many times faster than the expression, and mostly fails.
    table, run = bytes(byte in known for byte in range(256)), bytes([True] * least)

    def worth(data: bytes) -> bool:
        return run in data.translate(table) and (whole is None or whole.search(data) is not None)

    return worth


def _forms(value: str) -> Iterator[str]:
    """Yield the forms of a secret after decoding."""
    if len(value) < SHORTEST:
        return
    lines = [line for text in value.splitlines() if len(line := text.strip()) >= SHORTEST_LINE]
    for text in (value, value.strip(), *(lines if len(lines) > 1 else ())):
        if len(text) < SHORTEST:
            continue
        yield text
        if not text.isascii():
            # As a log shows bytes that are not UTF-8.
            encoded = text.encode("utf-8", "surrogateescape")
            yield encoded.decode("utf-8", "replace")
            if text != encoded.decode("utf-8", "replace"):
                yield encoded.decode("latin-1")
