"""Calendars in text files, and the public holidays of countries."""

from __future__ import annotations

import re
from datetime import date

from runner.model.message import advise
from runner.model.value_type import did_you_mean
from runner.schedule.coverage import Calendar, CalendarFault, Coverage, Days, Year

INSTALL = 'pip install "celery-runner[calendars]"'

_LINE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[\s,;]+(.*))?")
_COUNTRY = "write a code such as DE, DE-BY, or US-CA"


def read_dates(data: bytes, shown: str) -> Coverage:
    """Return the calendar of a text file: a date in each line, a name after it if there is one, comments after ``#``.

    Raises:
        CalendarFault: a line is not a date, or there is none.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CalendarFault(advise(f"{shown} is not UTF-8", "save it in that encoding")) from None
    names: dict[date, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(stripped)
        try:
            if match is None:
                raise ValueError
            day = date.fromisoformat(match[1])
        except ValueError:
            what = f"{shown} line {number}: {stripped[:40]!r} is not a date"
            raise CalendarFault(advise(what, "write one in each line, such as 2026-12-25 Christmas Day")) from None
        names[day] = (match[2] or "").lstrip("# ").strip()
    if not names:
        raise CalendarFault(
            advise(f"{shown} holds no date", "write one in each line, such as 2026-12-25 Christmas Day")
        )
    return Days(names)


def library_version() -> str | None:
    """Return the version of the library that knows holidays; None without it."""
    from importlib import metadata  # start-up time: few projects have such a calendar

    try:
        return metadata.version("holidays")
    except metadata.PackageNotFoundError:
        return None


def country(code: str) -> Coverage:
    """Return the public holidays of a country, or of a part of it, such as ``DE-BY``.

    Raises:
        CalendarFault: the library is missing, or does not know it.
    """
    try:
        import holidays  # an extra: only calendars of countries need it
    except ImportError:
        raise CalendarFault(advise("it needs one more package (holidays is missing)", INSTALL)) from None
    name, _, part = code.partition("-")
    known = holidays.list_supported_countries()
    if name not in known and name not in holidays.list_supported_financial():
        raise CalendarFault(advise(f"the library holidays does not know {name}{did_you_mean(name, known)}", _COUNTRY))
    try:
        found = holidays.country_holidays(name, subdiv=part or None)
    except NotImplementedError:
        parts = ", ".join(known.get(name, ())) or "none"
        raise CalendarFault(
            advise(
                f"the library holidays knows no part {part} of {name}", f"write {name}, or one of its parts: {parts}"
            )
        ) from None

    def read(year: int) -> Year:
        found.get(date(year, 1, 1))  # which makes it compute the year
        return Year({day: text for day, text in found.items() if day.year == year})

    return Calendar(read)
