"""``${run.slot…}``: what it stands for, across changes of the clock, and whatever somebody writes there."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.model.option import INVALID, Path
from runner.model.slot_template import DIRECTIVES, PARTS, SlotTemplate, has_placeholders, resolve, slot_template_schema

# Zone, slot in UTC, template, value. Taken from the zones' laws with pencil and paper, not from a library.
VALUES = [
    ("Europe/Berlin", "2026-11-28T01:00", "${run.slot}", "2026-11-28T02:00:00+01:00"),
    ("UTC", "2026-11-28T01:00:00.250", "${run.slot}", "2026-11-28T01:00:00.250+00:00"),
    # The local date, not that of UTC.
    ("Europe/Berlin", "2026-11-27T23:30", "${run.slot.date}", "2026-11-28"),
    ("America/New_York", "2026-11-28T01:00", "${run.slot.date}", "2026-11-27"),
    ("Pacific/Kiritimati", "2026-11-28T11:00", "${run.slot.date} ${run.slot.time}", "2026-11-29 01:00:00"),
    # 29 March 2026, 01:00Z: 02:00 becomes 03:00 in Berlin.
    ("Europe/Berlin", "2026-03-29T01:00", "${run.slot}", "2026-03-29T03:00:00+02:00"),
    ("Europe/Berlin", "2026-03-29T22:00", "${run.slot - 1d}", "2026-03-29T00:00:00+01:00"),
    ("Europe/Berlin", "2026-03-29T22:00", "${run.slot - 24h}", "2026-03-28T23:00:00+01:00"),
    ("Europe/Berlin", "2026-03-30T00:30", "${run.slot.date - 1d}", "2026-03-29"),
    ("Europe/Berlin", "2026-03-30T00:30", "${run.slot - 1d | %F %H:%M}", "2026-03-29 02:30"),
    # 25 October 2026, 01:00Z: 03:00 becomes 02:00 in Berlin; both times of 02:30.
    ("Europe/Berlin", "2026-10-25T00:30", "${run.slot}", "2026-10-25T02:30:00+02:00"),
    ("Europe/Berlin", "2026-10-25T01:30", "${run.slot}", "2026-10-25T02:30:00+01:00"),
    ("Europe/Berlin", "2026-10-25T01:30", "${run.slot - 1h}", "2026-10-25T02:30:00+02:00"),
    ("Europe/Berlin", "2026-10-25T23:00", "${run.slot.date - 1d}", "2026-10-25"),
    ("Europe/Berlin", "2026-10-24T22:00", "${run.slot + 25h | %F %T %z}", "2026-10-26 00:00:00 +0100"),
    # The clock of Nuuk skips the last hour of 30 March 2024; a day before 23:30 of the next day is that day.
    ("America/Nuuk", "2024-04-01T00:30", "${run.slot.date - 1d}", "2024-03-30"),
    # Months and years end on their last day.
    ("UTC", "2026-03-31T00:00", "${run.slot.date - 1mo}", "2026-02-28"),
    ("UTC", "2028-03-31T00:00", "${run.slot.date-1mo}", "2028-02-29"),
    ("UTC", "2028-02-29T00:00", "${run.slot.date - 1y}", "2027-02-28"),
    ("UTC", "2026-01-15T00:00", "${run.slot - 1mo | %Y%m}", "202512"),
    ("UTC", "2026-12-15T00:00", "${run.slot.date + 1mo}", "2027-01-15"),
    ("UTC", "2026-01-15T00:00", "${run.slot.date - 25mo}", "2023-12-15"),
    ("UTC", "2026-03-01T00:00", "${run.slot.date - 1mo - 1d}", "2026-01-31"),
    ("UTC", "2026-01-05T00:00", "${run.slot.date - 1w}", "2025-12-29"),
    ("UTC", "2026-01-05T00:10", "${run.slot - 15m | %T}", "23:55:00"),
    # Numbers stay numbers where they stand alone.
    ("UTC", "2026-01-04T07:08:09", "${run.slot.year}", 2026),
    ("UTC", "2026-01-04T07:08:09", "${run.slot.month - 1mo}", 12),
    ("UTC", "2026-01-04T07:08:09", "${run.slot.weekday}", 7),
    ("UTC", "2026-01-04T07:08:09", "${run.slot.timestamp}", 1767510489),
    ("UTC", "2026-01-04T07:08:09", "w${run.slot.week} ${run.slot.day} ${run.slot.hour}", "w1 4 7"),
    # Formats are in English, with leading zeros.
    ("UTC", "2026-01-04T07:08:09", "${run.slot | %A %a %B %b %d %j %y %I %p %u %w %G-%V %Z %% x}",
     "Sunday Sun January Jan 04 004 26 07 AM 7 0 2026-01 UTC % x"),
    ("UTC", "2026-01-04T12:00", "$${run.slot} ${ run.slot.date }", "${run.slot} 2026-01-04"),
    ("UTC", "2026-01-04T12:00", {"a": ["${run.slot.day}", 1, None, True]}, {"a": [4, 1, None, True]}),
]  # fmt: skip


@pytest.mark.parametrize(("zone", "slot", "written", "value"), VALUES)
def test_what_a_placeholder_stands_for(zone: str, slot: str, written: Any, value: Any) -> None:
    found = resolve(written, datetime.fromisoformat(slot).replace(tzinfo=UTC).astimezone(ZoneInfo(zone)))
    assert found == value
    assert type(found) is type(value)
    assert faults_of(written) == []


def faults_of(written: Any) -> list[str]:
    messages: list[str] = []

    def report(path: Path, message: str, *, on_key: bool = False) -> None:
        messages.append(str(message))

    read = SlotTemplate().read(written, (), report)
    assert (read is INVALID) == bool(messages)
    return messages


SLOTS = st.datetimes(datetime(1970, 1, 1), datetime(2099, 12, 31), timezones=st.just(UTC))
ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Nuuk", "Asia/Tokyo"]
)


@given(slot=SLOTS, zone=ZONES, days=st.integers(-800, 800))
def test_a_date_moves_by_days_whatever_the_clock_does(slot: datetime, zone: str, days: int) -> None:
    local = slot.astimezone(ZoneInfo(zone))
    sign = "-" if days < 0 else "+"
    found = resolve(f"${{run.slot.date {sign} {abs(days)}d}}", local)
    assert date.fromisoformat(found) == local.date() + timedelta(days=days)


@given(slot=SLOTS, zone=ZONES, hours=st.integers(-800, 800))
def test_hours_are_time_that_passes(slot: datetime, zone: str, hours: int) -> None:
    sign = "-" if hours < 0 else "+"
    found = resolve(f"${{run.slot {sign} {abs(hours)}h}}", slot.astimezone(ZoneInfo(zone)))
    # A zone may have had an offset with seconds; a text has them all the same.
    assert datetime.fromisoformat(found) == (slot + timedelta(hours=hours)).replace(
        microsecond=slot.microsecond // 1000 * 1000
    )


@given(slot=SLOTS, zone=ZONES)
def test_formats_are_those_of_strftime(slot: datetime, zone: str) -> None:
    local = slot.astimezone(ZoneInfo(zone))
    for directive in DIRECTIVES:
        expected = str(int(slot.timestamp())) if directive == "s" else local.strftime(f"%{directive}")
        assert resolve(f"<${{run.slot | %{directive}}}>", local) == f"<{expected}>"


@given(st.text(alphabet="${}run.slotdateparamsx +-|%0123456789mhdwoyYQ\n", max_size=40))
def test_a_text_is_refused_or_can_be_filled_in(text: str) -> None:
    if faults_of(text):
        return
    slot = datetime(2026, 11, 28, tzinfo=UTC)
    try:
        found = resolve(text, slot)
    except (OverflowError, ValueError):
        assert "run.slot" in text
        return
    assert has_placeholders(text) or found == text.replace("$${", "${")


@pytest.mark.parametrize("part", PARTS)
def test_each_part_is_known_to_the_schema(part: str) -> None:
    rule = re.compile(slot_template_schema()["pattern"])
    assert rule.match(f"a ${{run.slot.{part} - 1mo}} b $${{x}}")
    assert not rule.match(f"a ${{run.slot.{part}x}}")
