"""Takes the values of secrets out of what a run shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "***"

SHORTEST = 4
"""Characters; a shorter value would be found in every other word, and is not masked."""

SHORTEST_LINE = 8
"""Characters of a line of a secret of several lines, that is masked where it stands alone."""


class Masker:
    """Knows the values of some secrets, and each form in which they are commonly written."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        forms = {form for value in values for form in _forms(value)}
        # The longest first: one secret may be a part of another.
        self._forms = sorted(forms, key=lambda form: (-len(form), form))
        self._bytes = [form.encode("utf-8", "surrogatepass") for form in self._forms]
        self._pattern = re.compile("|".join(map(re.escape, self._forms)))

    def __bool__(self) -> bool:
        return bool(self._forms)

    def finds(self, text: str) -> bool:
        """Whether any secret stands in ``text``."""
        # Far quicker than the expression, and most text holds none.
        return any(form in text for form in self._forms)

    def text(self, text: str) -> str:
        """Return ``text`` with ``***`` in place of each secret."""
        return self._pattern.sub(MASK, text) if self.finds(text) else text

    def value(self, value: Any) -> Any:
        """Return plain JSON data with all texts masked, keys too; a number that holds a secret becomes text."""
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
        """Return JSON text with all in it masked; it stays JSON."""
        if not self.finds(text):
            return text
        masked = json.dumps(self.value(json.loads(text)))
        return json.dumps(MASK) if self.finds(masked) else masked

    def begun(self, data: bytes) -> int:
        """Return how many bytes at the end of ``data`` may be the beginning of a secret that goes on."""
        longest = 0
        for form in self._bytes:
            start = max(0, len(data) - len(form) + 1)
            while start < len(data) - longest:
                start = data.find(form[:1], start)
                if start < 0:
                    break
                if form.startswith(data[start:]):
                    longest = max(longest, len(data) - start)
                    break
                start += 1
        return longest


def _forms(value: str) -> Iterable[str]:
    if len(value) < SHORTEST:
        return
    lines = [line for each in value.splitlines() if len(line := each.strip()) >= SHORTEST_LINE]
    for text in (value, value.strip(), *(lines if len(lines) > 1 else ())):
        if len(text) < SHORTEST:
            continue
        yield text
        # As a log shows bytes that are no UTF-8.
        yield text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        yield json.dumps(text)[1:-1]
        yield json.dumps(text, ensure_ascii=False)[1:-1]
        yield repr(text)[1:-1]
        encodable = text.encode("utf-8", "surrogateescape")
        yield quote(encodable, safe="")
        yield quote(encodable)
        yield quote_plus(encodable)
