"""Dates, calendars, and time windows: the items of ``except`` and ``only`` of a schedule, and calendars."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from runner._dataclass import dataclass
from runner.model.container import ListOf, MapOf
from runner.model.message import Message, advise, as_message, suggest
from runner.model.option import Section, option
from runner.model.value_type import INVALID, Choice, Path, Report, Text, describe, editor_message

CALENDAR = "calendar:"
"""The prefix of the name of a calendar."""
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MOST_RULES = 1000
MOST_DATES = 10_000

_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_RULE_PATTERN = rf"^({_DATE}|{CALENDAR}{_NAME})$"
_RULE_ADVICE = 'write a date such as 2026-12-25, calendar:NAME, or {from: "22:00", to: "06:00"}'
_SOURCE_PATTERN = r"^(file:[^\x00]+|holidays:[A-Z]{2,8}(-[A-Za-z0-9]{1,8})?)$"
_SOURCE_ADVICE = "write a list of dates, file:PATH, or holidays: and a country, such as holidays:DE-BY"
_FULL_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_TIME = re.compile(r"([01]?[0-9]|2[0-4]):([0-5][0-9])")

CALENDAR_NAME = Text(
    pattern=rf"^{_NAME}$",
    advice="use 1 to 63 letters, digits, dashes, or underscores, a letter or digit first",
    is_name=True,
)


@dataclass(frozen=True, slots=True)
class Day:
    """A date, stored as text in ISO 8601."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, str):
            report(path, advise(f"expected a date, got {describe(value)}", "write one such as 2026-12-25"))
            return INVALID
        try:
            if not re.fullmatch(_DATE, value) or not 2 <= date.fromisoformat(value).year <= 9979:
                raise ValueError
        except ValueError:
            report(path, advise(f"{value!r} is not a date", "write one such as 2026-12-25"))
            return INVALID
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{_DATE}$"}

    def write(self, value: Any) -> Any:
        return value


@dataclass(frozen=True, slots=True)
class TimeOfDay:
    """A time of day, stored as minutes since midnight; with ``end``, 24:00 is valid too."""

    end: bool = False

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, str):
            report(
                path, advise(f"expected a time of day, got {describe(value)}", 'write one in quotes, such as "22:00"')
            )
            return INVALID
        match = _TIME.fullmatch(value)
        minutes = int(match[1]) * 60 + int(match[2]) if match is not None else -1
        if match is None or len(match[1]) != 2 or minutes > (1440 if self.end else 1439):
            what, last = f"{value!r} is not a time of day", "24:00" if self.end else "23:59"
            if match is not None and len(match[1]) == 1:
                report(path, advise(what, f'write "0{value}"', replacement=f'"0{value}"'))
            else:
                report(path, advise(what, f'write "00:00" to "{last}"'))
            return INVALID
        return minutes

    def schema(self) -> dict[str, Any]:
        hours = "([01][0-9]|2[0-3]):[0-5][0-9]"
        pattern = f"^({hours}|24:00)$" if self.end else f"^{hours}$"
        return {"type": "string", "pattern": pattern, **editor_message('write a time in quotes, such as "22:00"')}

    def write(self, value: Any) -> Any:
        return f"{value // 60:02}:{value % 60:02}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A time window on each of ``days``; times are minutes since midnight.

    If ``end`` is not after ``start``, the window ends on the next day.
    """

    start: int = option(
        TimeOfDay(), key="from", default=0, help="The time of day at which the window begins.", examples=("22:00",)
    )
    end: int = option(
        TimeOfDay(end=True),
        key="to",
        default=1440,
        help="The time of day at which the window ends, on the next day if it is not after from.",
        examples=("06:00",),
    )
    days: tuple[str, ...] = option(
        ListOf(
            Choice(WEEKDAYS, tuple(zip(_FULL_NAMES, WEEKDAYS, strict=True))),
            unique=True,
        ),
        default=(),
        help="The days on which the window begins, mon to sun; by default, all.",
        examples=(["sat", "sun"],),
    )

    def __str__(self) -> str:
        times = f"{TimeOfDay().write(self.start)} to {TimeOfDay().write(self.end)}"
        if not self.days:
            return times
        days = ", ".join(self.days)
        return days if (self.start, self.end) == (0, 1440) else f"{times} on {days}"


def _check_window(window: Window, path: Path, report: Report) -> bool:
    if window == Window():
        report(path, advise("covers all times", 'add from and to, such as {from: "22:00", to: "06:00"}, or days'))
        return False
    if window.start == window.end:
        report(
            (*path, "to"),
            advise("is equal to from, so the window is empty", "remove both for whole days", "; "),
        )
        return False
    return True


WINDOW = Section(
    Window,
    {"start": "from", "begin": "from", "end": "to", "until": "to", "day": "days", "weekdays": "days"},
    _check_window,
)


def _named(report: Report) -> Report:
    """Return a report about the name of a calendar, whose replacement needs the prefix."""

    def report_name(path: Path, message: str, *, on_key: bool = False) -> None:
        problem = as_message(message)
        replacement = problem.replacement and CALENDAR + problem.replacement
        report(path, Message(problem, problem.remedy, replacement=replacement), on_key=on_key)

    return report_name


@dataclass(frozen=True, slots=True)
class SlotRule:
    """A date or the name of a calendar, stored as text, or a time window, stored as a :class:`Window`."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if isinstance(value, Mapping):
            return WINDOW.read(value, path, report)
        if not isinstance(value, str):
            report(path, advise(f"expected a date, a calendar, or a time window, got {describe(value)}", _RULE_ADVICE))
            return INVALID
        if value.startswith(CALENDAR):
            name = CALENDAR_NAME.read(value.removeprefix(CALENDAR), path, _named(report))
            return INVALID if name is INVALID else value
        if re.fullmatch(_DATE, value):
            return Day().read(value, path, report)
        if value.startswith(("file:", "holidays:")):
            advice = f"add calendars: {{NAME: {value!r}}} to runner.yaml, and write {CALENDAR}NAME"
        elif value.lower() in (*WEEKDAYS, *_FULL_NAMES):
            written = f"{{days: [{value.lower()[:3]}]}}"
            report(path, advise(f"{value!r} is not a date", f"write {written}", replacement=written))
            return INVALID
        elif re.fullmatch(_NAME, value) and not value[0].isdigit():
            report(path, suggest(f"{value!r} is not a date", f"{CALENDAR}{value}"))
            return INVALID
        else:
            advice = _RULE_ADVICE
        report(path, advise(f"{value!r} is not a date", advice))
        return INVALID

    def schema(self) -> dict[str, Any]:
        # Each keyword applies to values of its own type only, so one rule covers text and mappings.
        return {
            **WINDOW.schema(),
            "type": ["string", "object"],
            "pattern": _RULE_PATTERN,
            "minProperties": 1,
            **editor_message(_RULE_ADVICE),
        }

    def write(self, value: Any) -> Any:
        return WINDOW.write(value) if isinstance(value, Window) else value


@dataclass(frozen=True, slots=True)
class SlotRules:
    """A list of :class:`SlotRule`, stored as a tuple; with ``some``, of at least one."""

    some: bool = False

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if isinstance(value, Mapping):
            report(path, advise("expected a list, got a mapping", "put it in brackets: [{…}]"))
            return INVALID
        if self.some and isinstance(value, list) and not value:
            report(path, advise("is empty, so no slot is left", "remove it", "; "))
            return INVALID
        return ListOf(SlotRule(), most=MOST_RULES).read(value, path, report)

    def schema(self) -> dict[str, Any]:
        schema = ListOf(SlotRule(), most=MOST_RULES).schema()
        return {**schema, "minItems": 1} if self.some else schema

    def write(self, value: Any) -> Any:
        return [SlotRule().write(item) for item in value]


def names_calendar(rule: str | Window) -> bool:
    """Return whether a rule is the name of a calendar."""
    return isinstance(rule, str) and rule.startswith(CALENDAR)


def calendar_names(rules: tuple[str | Window, ...]) -> list[tuple[int, str]]:
    """Return the names of the calendars in some rules, each with the index of its rule."""
    return [
        (index, rule.removeprefix(CALENDAR))
        for index, rule in enumerate(rules)
        if isinstance(rule, str) and rule.startswith(CALENDAR)
    ]


@dataclass(frozen=True, slots=True)
class CalendarSource:
    """The source of a calendar's dates: a list of dates, ``file:PATH``, or ``holidays:COUNTRY-SUBDIVISION``."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if isinstance(value, list):
            if not value:
                report(path, advise("is empty", _SOURCE_ADVICE))
                return INVALID
            return ListOf(Day(), most=MOST_DATES).read(value, path, report)
        if not isinstance(value, str):
            report(path, advise(f"expected a list of dates or text, got {describe(value)}", _SOURCE_ADVICE))
            return INVALID
        if not re.fullmatch(_SOURCE_PATTERN[1:-1], value):
            if re.fullmatch(_DATE, value):
                advice = f"write [{value}]"
            elif re.fullmatch(r"holidays:[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})?", value):
                advice = f"write holidays:{value.partition(':')[2].upper()}"
            elif value.endswith((".ics", ".txt")) or "/" in value:
                advice = f"write file:{value}"
            else:
                advice = _SOURCE_ADVICE
            report(path, advise(f"{value!r} is not a calendar", advice))
            return INVALID
        return value

    def schema(self) -> dict[str, Any]:
        return {
            "type": ["string", "array"],
            "pattern": _SOURCE_PATTERN,
            "items": Day().schema(),
            "minItems": 1,
            "maxItems": MOST_DATES,
            **editor_message(_SOURCE_ADVICE),
        }

    def write(self, value: Any) -> Any:
        return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True, slots=True)
class CalendarSources:
    """Calendars by name."""

    from_variable = False

    def read(self, value: Any, path: Path, report: Report) -> Any:
        return MapOf(CALENDAR_NAME, CalendarSource(), null_resets=True).read(value, path, report)

    def schema(self) -> dict[str, Any]:
        return MapOf(CALENDAR_NAME, CalendarSource(), null_resets=True).schema()

    def write(self, value: Any) -> Any:
        return {name: CalendarSource().write(source) for name, source in value.items()}
