"""Read a cron expression field by field, for code that writes it in another form."""

from __future__ import annotations

import re
from collections.abc import Sequence

from runner._dataclass import dataclass
from runner.schedule.cron import DAYS, MONTHS, Cron

_BOUNDS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_FIELD = re.compile(r"(\*|\d+(-\d+)?)(/\d+)?(,(\*|\d+(-\d+)?)(/\d+)?)*")


class Inexpressible(ValueError):
    """The other form cannot express this; the message says why."""


@dataclass(frozen=True, slots=True)
class Fields:
    """The six fields, seconds first, with numbers for names, as text."""

    texts: tuple[str, ...]

    @classmethod
    def of(cls, expression: str) -> Fields:
        """Return the fields of a sound expression; ``@daily`` and the like are spelt out."""
        fields = Cron(expression).text.split()
        if len(fields) == 5:
            fields = ["0", *fields]
        fields[4] = _numbered(fields[4], MONTHS, 1)
        fields[5] = _numbered(fields[5], DAYS, 0)
        return cls(tuple(_closed(text, bounds[1]) for text, bounds in zip(fields, _BOUNDS, strict=True)))

    def odd(self) -> str | None:
        """Return a field that has more in it than numbers, ranges, lists and steps: ``L``, ``5#2``."""
        return next((text for text in self.texts if not _FIELD.fullmatch(text)), None)

    def values(self, index: int) -> list[int] | None:
        """Return the values of a field in order, None if it is every one."""
        low, high = _BOUNDS[index]
        found: set[int] = set()
        for part in self.texts[index].split(","):
            span, _, step = part.partition("/")
            first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
            found.update(range(int(first), int(last or first) + 1, int(step or 1)))
        if index == 5:
            found = {value % 7 for value in found}
        return None if len(found) == (7 if index == 5 else high - low + 1) else sorted(found)

    @property
    def either_day(self) -> bool:
        """Whether one of the two days is enough: neither field begins with a star (Debian's cron, crontab(5))."""
        return not self.texts[3].startswith("*") and not self.texts[5].startswith("*")


def _numbered(text: str, names: Sequence[str], first: int) -> str:
    for number, name in enumerate(names, first):
        text = re.sub(rf"(?i)\b{name}\b", str(number), text)
    return text


def _closed(text: str, high: int) -> str:
    """Write ``5/15`` as ``5-59/15``: cron itself does not know the short form."""
    return re.sub(r"(^|,)(\d+)/(\d+)", rf"\g<1>\g<2>-{high}/\g<3>", text)
