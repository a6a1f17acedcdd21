"""Read calendars in the iCalendar format (RFC 5545): whole-day, timed, and recurring events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import islice
from typing import Any

from runner.catalog.calendar_sources import INSTALL
from runner.model.message import advise
from runner.schedule.coverage import Calendar, CalendarFault, Span, Year

MOST_EVENTS = 20_000
"""The largest number of occurrences of one event in a year."""

_DAY = timedelta(days=1)
_OFTEN = ("SECONDLY", "MINUTELY", "HOURLY")


@dataclass(slots=True)
class _Event:
    """An event, or a series of events. Times are wall-clock times in ``zone``, which may be None."""

    name: str
    start: datetime
    length: timedelta
    whole_days: bool
    zone: tzinfo | None
    rule: Any = None
    more: list[datetime] = field(default_factory=list)
    left_out: set[datetime] = field(default_factory=set)

    def moment(self, wall: datetime) -> datetime:
        """Return a time of the event in UTC; unchanged if the event has no time zone."""
        return wall if self.zone is None else wall.replace(tzinfo=self.zone).astimezone(UTC)

    def starts(self, begin: datetime, end: datetime) -> Iterator[datetime]:
        """Yield the starts from ``begin`` to ``end``, both included."""
        singles = [self.start, *self.more] if self.rule is None else self.more
        repeated = () if self.rule is None else self.rule.between(begin, end, inc=True)
        for start in (*(single for single in singles if begin <= single <= end), *islice(repeated, MOST_EVENTS)):
            if start not in self.left_out:
                yield start


def read_icalendar(data: bytes, shown: str) -> Calendar:
    """Return the calendar of a file.

    A whole-day event covers its days, a timed event the time from its start to its end. Cancelled events are ignored.

    Raises:
        CalendarFault: the library is not installed, or the file is not a calendar, or has no events.
    """
    try:
        import icalendar  # an extra: only files of this format need it
    except ImportError:
        raise CalendarFault(advise("the package icalendar is not installed", INSTALL)) from None
    if data.strip() and not data.rstrip().upper().endswith(b"END:VCALENDAR"):
        raise CalendarFault(advise(f"{shown} does not end with END:VCALENDAR, so it is incomplete", _AGAIN))
    try:
        calendars = icalendar.Calendar.from_ical(data, multiple=True)
        found = [component for calendar in calendars for component in calendar.walk("VEVENT")]
    except Exception as error:  # noqa: BLE001 - the library may raise anything for an invalid file
        raise CalendarFault(advise(f"{shown} is not in the iCalendar format: {error}", _AGAIN)) from None
    if not found:
        raise CalendarFault(advise(f"{shown} has no events", _AGAIN))
    events: list[_Event] = []
    for component in found:
        name = " ".join(str(component.get("SUMMARY", "")).split())
        try:
            events += _read_event(component, name, found)
        except CalendarFault:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            raise CalendarFault(advise(f"{shown}: event {name!r} cannot be read: {error}", _AGAIN)) from None

    return Calendar(lambda year: _year(events, year))


_AGAIN = "export it again, or write a text file with dates"


def _read_event(component: Any, name: str, all_components: list[Any]) -> Iterator[_Event]:
    if component.errors:
        raise ValueError("; ".join(f"{option}: {error}" for option, error in component.errors))
    if str(component.get("STATUS", "")).upper() == "CANCELLED":
        return
    first = component["DTSTART"].dt
    zone = first.tzinfo if isinstance(first, datetime) else None
    named = component["DTSTART"].params.get("TZID")
    if named is not None and zone is None and isinstance(first, datetime):
        raise ValueError(f"the time zone {named} is not known")
    event = _Event(name, _naive(first, zone), _length(component, first, zone), not isinstance(first, datetime), zone)
    if "RRULE" in component:
        event.rule = _rule(component["RRULE"], event)
    event.more = [_naive(day, zone) for day in _dates(component, "RDATE")]
    event.left_out = {_naive(day, zone) for day in _dates(component, "EXDATE")}
    if "RECURRENCE-ID" not in component:
        # A moved or cancelled occurrence is an event of its own.
        event.left_out |= {
            _naive(other["RECURRENCE-ID"].dt, zone)
            for other in all_components
            if "RECURRENCE-ID" in other and "UID" in component and other.get("UID") == component["UID"]
        }
    yield event


def _length(component: Any, first: date, zone: tzinfo | None) -> timedelta:
    if "DTEND" in component:
        return _naive(component["DTEND"].dt, zone) - _naive(first, zone)
    if "DURATION" in component:
        length: timedelta = component["DURATION"].dt
        return length
    return timedelta(0) if isinstance(first, datetime) else _DAY


def _rule(given: Any, event: _Event) -> Any:
    from dateutil.rrule import rrulestr  # an extra: icalendar needs it too

    if isinstance(given, list):
        raise ValueError("it has several recurrence rules")
    if given["FREQ"][0] in _OFTEN:
        raise ValueError(f"it repeats {given['FREQ'][0].lower()}, at most daily is allowed")
    text = ";".join(part for part in given.to_ical().decode().split(";") if not part.startswith("UNTIL="))
    rule = rrulestr(text, dtstart=event.start, cache=True)
    until = given.get("UNTIL")
    if until:
        last = until[0]
        whole = not isinstance(last, datetime) or event.whole_days
        rule = rule.replace(until=datetime.combine(last, time.max) if whole else _naive(last, event.zone))
    return rule


def _dates(component: Any, option: str) -> Iterator[date]:
    given = component.get(option, [])
    for dates in given if isinstance(given, list) else [given]:
        for item in dates.dts:
            yield item.dt[0] if isinstance(item.dt, tuple) else item.dt


def _naive(moment: date, zone: tzinfo | None) -> datetime:
    """Return a date or a time as wall-clock time in ``zone``."""
    if not isinstance(moment, datetime):
        return datetime.combine(moment, time())
    if moment.tzinfo is not None and zone is not None:
        moment = moment.astimezone(zone)
    return moment.replace(tzinfo=None)


def _year(events: list[_Event], year: int) -> Year:
    days: dict[date, str] = {}
    spans: list[Span] = []
    # Two more days at both ends: in other time zones the year begins and ends at another time.
    begin, end = datetime(year, 1, 1) - 2 * _DAY, datetime(year + 1, 1, 1) + 2 * _DAY
    for event in events:
        for start in event.starts(begin - event.length, end):
            if event.whole_days:
                day = max(start, begin).date()
                while datetime.combine(day, time()) < min(start + event.length, end):
                    days.setdefault(day, event.name)
                    day += _DAY
            else:
                spans.append(Span(event.moment(start), event.moment(start + event.length), event.name))
    return Year(days, spans)
