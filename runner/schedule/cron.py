"""Cron expressions in wall-clock time without a zone. Fields and days follow Debian's cron (cronsim)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from cronsim import CronSim, CronSimError

from runner.model.message import advise

_NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = {
    "second": "0 to 59",
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day-of-month": "1 to 31, or L for the last",
    "month": "1 to 12, or jan to dec",
    "day-of-week": "0 to 7, or sun to sat",
}
_NAMES = tuple(_FIELDS)
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_WORDS = {
    "month": {name: str(number) for number, name in enumerate(MONTHS, 1)},
    "day-of-week": {name: str(number) for number, name in enumerate(DAYS)},
}
_STEPPED_RANGE = re.compile(r"([0-9a-z]+)-([0-9a-z]+)/0*[1-9][0-9]*", re.IGNORECASE)
_SOME_DAY = datetime(2024, 1, 1)


class BadExpression(ValueError):
    """The expression has an invalid field or never fires; the message says what to write."""


class Cron:
    """A cron expression.

    ``wild`` is True for a wildcard job in the sense of Debian's cron: its minute, hour, or second begins with a star.
    Such a job follows the wall clock when the offset changes, and any other job runs once; see
    docs/explanation/schedules.md.

    Raises:
        BadExpression: the text is not a valid expression.
    """

    def __init__(self, text: str) -> None:
        self.text = _NAMED.get(text, text)
        fields = self.text.split()
        if len(fields) == 5:
            fields = ["0", *fields]
        self.wild = any(field.startswith("*") for field in fields[:3])
        self._fields = " ".join(map(_for_cronsim, _NAMES, fields)) if len(fields) == len(_NAMES) else self.text
        try:
            self._parse(_SOME_DAY)
        except (CronSimError, ValueError, AssertionError, RecursionError) as error:
            raise BadExpression(_explain(str(error), fields, text)) from None

    def check_fires(self) -> None:
        """Raise BadExpression if no day ever matches."""
        if next(self.after(_SOME_DAY), None) is None:
            raise BadExpression(advise(f"{self.text!r} never fires: no month has such a day", "write another day"))

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Yield all later matching wall-clock times; stop after 50 years without one."""
        try:
            yield from self._parse(moment)
        except (OverflowError, ValueError):
            return  # the end of the calendar, in the year 9999

    def _parse(self, moment: datetime) -> CronSim:
        # For a time without a zone, cronsim uses only the calendar. Its handling of zones is
        # not used: it loses slots where the offset changes by half an hour, and where midnight does not exist.
        return CronSim(self._fields, moment)


def _for_cronsim(name: str, field: str) -> str:
    """Return a field in which ranges of one value with a step are replaced by the value.

    ``7-7/2`` is 7 in Debian's cron (``get_range`` of its entry.c), and every second value from 7 on in cronsim.
    """
    return ",".join(_first_of_one(name, part) for part in field.split(","))


def _first_of_one(name: str, part: str) -> str:
    match = _STEPPED_RANGE.fullmatch(part)
    if match is None:
        return part
    numbers = _WORDS.get(name, {})
    first, last = (numbers.get(word.lower(), word.lstrip("0") or "0") for word in match.groups())
    return match[1] if first == last else part


def _explain(message: str, fields: list[str], text: str) -> str:
    name = message.removeprefix("Bad ")
    if name not in _FIELDS:
        return f"{text!r} is not a cron expression: {message.lower() or 'it cannot be read'}"
    given = fields[_NAMES.index(name)]
    if name == "day-of-month" and given.isdigit() and 29 < int(given) <= 31:
        return advise(f"{text!r} never fires: month {fields[4]} has no day {given}", "write another day")
    return advise(
        f"{name} {given!r} is not valid", f"write {_FIELDS[name]}, a range (low first), a list, or * with a step"
    )
