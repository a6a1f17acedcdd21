"""Schedules in the words of systemd.time(7)."""

from __future__ import annotations

from runner.crontab.fields import Fields, Inexpressible
from runner.model.schedule import Schedule

_DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_MINUTE, _HOUR, _DAY, _WEEK = 60, 3600, 86400, 7 * 86400


def on_calendar(schedule: Schedule, timezone: str) -> list[str]:
    """Return the values of ``OnCalendar=`` that have the slots of a schedule; several mean any of them.

    Args:
        schedule: of a job.
        timezone: of the project.

    Raises:
        Inexpressible: none have.
    """
    if schedule.start is not None or schedule.end is not None:
        raise Inexpressible("start and end: a timer has neither beginning nor end")
    if schedule.excepted or schedule.only:
        raise Inexpressible("except and only: a timer knows no calendar")
    if schedule.jitter:
        raise Inexpressible("jitter: that of a timer differs from host to host")
    if schedule.every is not None:
        return [_every(schedule.every)]
    assert schedule.cron is not None
    fields = Fields.of(schedule.cron)
    last_day = fields.texts[3] == "L"
    if last_day:
        fields = Fields((*fields.texts[:3], "1", *fields.texts[4:]))
    odd = fields.odd()
    if odd is not None:
        raise Inexpressible(f"{odd}: a timer does not know it")
    second, minute, hour, day, month = (_list(fields.values(index)) for index in range(5))
    weekdays = fields.values(5)
    names = "" if weekdays is None else ",".join(_DAYS[weekday] for weekday in weekdays) + " "
    date = f"*-{month}~01" if last_day else f"*-{month}-{day}"
    rest = f"{hour}:{minute}:{second} {schedule.timezone or timezone}"
    if names and fields.either_day:
        return [f"{date} {rest}", f"{names}*-{month}-* {rest}"]
    return [f"{names}{date} {rest}"]


def _list(values: list[int] | None) -> str:
    return "*" if values is None else ",".join(f"{value:02}" for value in values)


def _every(seconds: float) -> str:
    whole = int(seconds)
    if whole == seconds:
        if _MINUTE % whole == 0:
            return f"*-*-* *:*:00/{whole} UTC" if whole < _MINUTE else "*-*-* *:*:00 UTC"
        if _HOUR % whole == 0 and whole % _MINUTE == 0:
            return f"*-*-* *:00/{whole // _MINUTE}:00 UTC" if whole < _HOUR else "*-*-* *:00:00 UTC"
        if _DAY % whole == 0 and whole % _HOUR == 0:
            return f"*-*-* 00/{whole // _HOUR}:00:00 UTC" if whole < _DAY else "*-*-* 00:00:00 UTC"
        if whole == _WEEK:
            return "Thu *-*-* 00:00:00 UTC"  # as 1970-01-01 was
    raise Inexpressible("every: it does not divide the minute, the hour or the day, so that no timer has its slots")
