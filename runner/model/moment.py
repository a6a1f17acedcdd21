"""Read times that people write."""

from __future__ import annotations

import re
import time
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from runner.errors import UsageError
from runner.model.duration import parse_duration

FIRST_YEAR, LAST_YEAR = 1900, 2999
"""The range of years. At the ends of the calendar, times have no equivalent in other time zones."""

_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?")
_ADVICE = "write 2026-11-24T02:00:00+01:00, or in the project's time zone '2026-11-24 02:00' or 02:00"


def read_moment(text: str, zone: str, now: float | None = None) -> float:
    """Return the Unix time in seconds for a text.

    A time without an offset is in ``zone``. A time of day alone means its next occurrence, as for the command ``at``.

    Raises:
        UsageError: it is not a time, its year is out of range, or the clock skips it because of DST.
    """
    here = ZoneInfo(zone)
    today = datetime.fromtimestamp(time.time() if now is None else now, here)
    clock = _CLOCK.fullmatch(text.strip())
    try:
        if clock:
            hour, minute, second = (int(part or 0) for part in clock.groups())
            moment = today.replace(hour=hour, minute=minute, second=second, microsecond=0, fold=0)
            if moment <= today:
                moment += timedelta(days=1)
        else:
            moment = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise UsageError(f"{text!r} is not a time", hint=_ADVICE) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=here)
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise UsageError(f"{text} is not within the years {FIRST_YEAR} to {LAST_YEAR}", hint="choose another time")
    if moment.astimezone(UTC).astimezone(moment.tzinfo).replace(tzinfo=None) != moment.replace(tzinfo=None):
        raise UsageError(f"the clock of {zone} skips {text}", hint="write the time with its offset")
    return moment.timestamp()


def read_day(text: str) -> date:
    """Return the day for a text such as 2026-11-24.

    Raises:
        UsageError: it is not a day, or its year is out of range.
    """
    try:
        day = date.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"{text!r} is not a day", hint="write 2026-11-24") from None
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise UsageError(f"{text} is not within the years {FIRST_YEAR} to {LAST_YEAR}", hint="choose another day")
    return day


def read_future(text: str, zone: str) -> float:
    """Return the Unix time in seconds for a text that means a future time.

    Raises:
        UsageError: it is not a time, or is in the past.
    """
    moment = read_moment(text, zone)
    if moment <= time.time():
        raise UsageError(f"{text} is in the past", hint="leave it out to run now")
    return moment


def read_since(text: str, zone: str) -> float:
    """Return the Unix time in seconds for a text that is a duration before now, or a time.

    Raises:
        UsageError: it is neither.
    """
    now = time.time()
    try:
        return now - parse_duration(text)
    except ValueError:
        if text.strip().isdigit():
            raise UsageError(f"{text} has no unit", hint=f"write {text}h or {text}d, or a time") from None
    moment = read_moment(text, zone)
    # Nothing can have happened since the next occurrence of a time of day, so the last one is meant.
    return moment - 86400 if moment > now and _CLOCK.fullmatch(text.strip()) else moment
