"""Schedules as people say them: ``daily at 02:00``, ``every 10 min, 08:00 to 18:50, Mon to Fri``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from runner.model.schedule import Schedule

MOST_SHOWN = 2
"""Schedules of one job that are spelled out."""
MOST_TIMES = 3
"""Times of a day that are listed."""

_MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_FULL_DAYS = ("Sundays", "Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ORDINALS = {1: "1st", 2: "2nd", 3: "3rd"}
_UNITS = ((86400, "day", "d"), (3600, "hour", "h"), (60, "minute", "min"), (1, "second", "s"))


def schedule_phrase(schedules: Sequence[Schedule], zone: str) -> str:
    """Return the times of a job's schedules in a phrase; a cron expression that has no short one stands as it is.

    Args:
        schedules: those of one job.
        zone: the name of the project's time zone, which goes without saying.
    """
    shown = [_one(schedule, zone) for schedule in schedules[:MOST_SHOWN]]
    more = len(schedules) - len(shown)
    return "; ".join([*shown, *([f"and {more} more"] if more > 0 else [])])


def _one(schedule: Schedule, zone: str) -> str:
    text = _interval(schedule.every) if schedule.every is not None else cron_phrase(schedule.cron or "")
    if schedule.excepted or schedule.only:
        text += ", with exceptions"
    elsewhere = schedule.timezone is not None and schedule.timezone != zone and schedule.cron is not None
    return f"{text} ({schedule.timezone})" if elsewhere else text


def _interval(seconds: float) -> str:
    unit, name, short = next((entry for entry in _UNITS if not seconds % entry[0]), (1, "second", "s"))
    count = seconds / unit
    return f"every {name}" if count == 1 else f"every {count:g} {short}"


@lru_cache(4096)
def cron_phrase(expression: str) -> str:
    """Return a cron expression as a phrase, or unchanged if there is no short one."""
    fields = _MACROS.get(expression, expression).split()
    if len(fields) == 6 and fields[0] == "0":
        fields = fields[1:]
    if len(fields) != 5:
        return expression
    minute, hour, day, month, weekday = fields
    when, days = _times(minute, hour), _days(day, month, weekday)
    if when is None or days is None:
        return expression
    if when.startswith("at "):
        return f"{days} {when}"
    return when if days == "daily" else f"{when}, {days}"


def _times(minute: str, hour: str) -> str | None:
    """Return ``at 02:00``, or what repeats within a day: ``every 10 min, 08:00 to 18:50``."""
    step = _step(minute, 60)
    span = re.fullmatch(r"(\d+)-(\d+)", hour)
    if step is not None:
        every = "every minute" if step == 1 else f"every {step} min"
        if hour == "*":
            return every
        return f"{every}, {int(span[1]):02}:00 to {int(span[2]):02}:{60 - step:02}" if span else None
    if not minute.isdigit():
        return None
    past = int(minute)
    if hour == "*":
        return f"hourly at :{past:02}"
    if (hours := _step(hour, 24)) is not None:
        return f"every {hours} h at :{past:02}"
    if span:
        return f"hourly, {int(span[1]):02}:{past:02} to {int(span[2]):02}:{past:02}"
    listed = hour.split(",")
    if len(listed) > MOST_TIMES or not all(value.isdigit() for value in listed):
        return None
    return "at " + _and([f"{number:02}:{past:02}" for number in sorted(map(int, listed))])


def _step(field: str, size: int) -> int | None:
    """Return the step of ``*`` or ``*/5``, if it divides the hour or the day evenly."""
    if field == "*":
        return 1
    found = re.fullmatch(r"\*/(\d+)", field)
    step = int(found[1]) if found else 0
    return step if 0 < step < size and size % step == 0 else None


def _days(day: str, month: str, weekday: str) -> str | None:
    if month != "*":
        name = _index(month, _MONTHS, 1)
        return f"every {int(day)} {name}" if name and day.isdigit() and weekday == "*" else None
    if day == "*":
        return "daily" if weekday == "*" else _weekdays(weekday)
    if weekday != "*":
        return None
    if day == "L":
        return "on the last day of the month"
    listed = day.split(",")
    if len(listed) > MOST_TIMES or not all(value.isdigit() for value in listed):
        return None
    return f"monthly on the {_and([_ordinal(int(value)) for value in listed])}"


def _weekdays(field: str) -> str | None:
    names = []
    for part in field.split(","):
        ends = [_index(end, (*_DAYS, "Sun"), 0) for end in part.split("-")]
        known = [end for end in ends if end is not None]
        if len(known) < len(ends) or len(known) > 2:
            return None
        names.append(" to ".join(known))
    if len(names) == 1 and names[0] in _DAYS:
        return _FULL_DAYS[_DAYS.index(names[0])]
    return _and(names)


def _index(text: str, names: Sequence[str], first: int) -> str | None:
    """Return the name that a number or a name in any case means."""
    if text.isdigit():
        return names[int(text) - first] if 0 <= int(text) - first < len(names) else None
    return next((name for name in names if name.lower() == text.lower()), None)


def _ordinal(number: int) -> str:
    suffix = "th" if 10 < number % 100 < 14 else _ORDINALS.get(number % 10, "0th")[1:]
    return f"{number}{suffix}"


def _and(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
