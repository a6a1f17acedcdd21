"""Read calendars from text files, and the public holidays of countries."""

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
    """Return the calendar of a text file, with a date in each line, optionally followed by a name; ``#`` is a comment.

    Raises:
        CalendarFault: a line is not a date, or the file has none.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CalendarFault(advise(f"{shown} is not UTF-8", "save it as UTF-8")) from None
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
        raise CalendarFault(advise(f"{shown} has no dates", "write one in each line, such as 2026-12-25 Christmas Day"))
    return Days(names)


def library_version() -> str | None:
    """Return the version of the library ``holidays``; None if it is not installed."""
    from importlib import metadata  # start-up time: few projects have such a calendar

    try:
        return metadata.version("holidays")
    except metadata.PackageNotFoundError:
        return None


def country(code: str) -> Coverage:
    """Return the public holidays of a country or subdivision, such as ``DE-BY``.

    Raises:
        CalendarFault: the library is not installed, or does not know the code.
    """
    try:
        import holidays  # an extra: only calendars of countries need it
    except ImportError:
        raise CalendarFault(advise("the package holidays is not installed", INSTALL)) from None
    name, _, part = code.partition("-")
    known = holidays.list_supported_countries()
    if name not in known and name not in holidays.list_supported_financial():
        raise CalendarFault(advise(f"the package holidays does not know {name}{did_you_mean(name, known)}", _COUNTRY))
    try:
        found = holidays.country_holidays(name, subdiv=part or None)
    except NotImplementedError:
        parts = ", ".join(known.get(name, ())) or "none"
        raise CalendarFault(
            advise(
                f"the package holidays does not know {part} in {name}", f"write {name}, or one of its parts: {parts}"
            )
        ) from None

    def read(year: int) -> Year:
        found.get(date(year, 1, 1))  # makes it compute the year
        return Year({day: text for day, text in found.items() if day.year == year})

    return Calendar(read)
