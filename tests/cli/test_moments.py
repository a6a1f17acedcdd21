"""Times as people write them."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.cli.terminal.moments import show_age, show_seconds
from runner.errors import UsageError
from runner.model.moment import read_day, read_future, read_moment, read_since
from runner.model.run import to_timestamp

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-11-24T02:00:00Z", "2026-11-24T02:00:00+00:00"),
        ("2026-11-24T02:00:00+05:30", "2026-11-23T20:30:00+00:00"),
        ("2026-11-24 02:00", "2026-11-24T01:00:00+00:00"),
        ("2026-11-24", "2026-11-23T23:00:00+00:00"),
        ("14:00", "2026-11-23T13:00:00+00:00"),
        ("02:00", "2026-11-24T01:00:00+00:00"),
        ("13:00", "2026-11-24T12:00:00+00:00"),
        ("2026-10-25 02:30", "2026-10-25T00:30:00+00:00"),
    ],
)
def test_times(text: str, meant: str) -> None:
    assert datetime.fromtimestamp(read_moment(text, "Europe/Berlin", NOW), UTC).isoformat() == meant


@pytest.mark.parametrize("text", ["", "soon", "25:00", "12:60", "2026-13-01", "1764000000"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(UsageError, match="is not a time"):
        read_moment(text, "UTC", NOW)


def test_a_time_that_the_clock_skips() -> None:
    with pytest.raises(UsageError, match="skips"):
        read_moment("2026-03-29 02:30", "Europe/Berlin", NOW)


EDGES = (
    *("9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"),
    *("9999-12-31", "0001-01-01", "3000-01-01", "1899-12-31"),
)
MOMENT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?([+-][0-9]{2}:[0-9]{2}|Z)?)?"
TEXTS = (
    st.text(max_size=30)
    | st.from_regex(MOMENT, fullmatch=True)
    | st.from_regex(r"[0-9]{1,12}(\.[0-9]{1,9})?(ms|[smhdw])", fullmatch=True)
    | st.datetimes(timezones=st.timezones() | st.none()).map(lambda moment: moment.isoformat())
)


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/Los_Angeles"])
@pytest.mark.parametrize("text", EDGES)
def test_what_lies_beyond_the_calendar(text: str, zone: str) -> None:
    for read in (read_moment, read_since, read_future):
        with pytest.raises(UsageError, match="is not within the years"):
            read(text, zone)


@given(TEXTS, st.sampled_from(["UTC", "Pacific/Kiritimati", "America/Los_Angeles", "Europe/Berlin"]))
def test_whatever_is_written_is_a_time_or_is_refused(text: str, zone: str) -> None:
    for read in (read_moment, read_since, read_future, lambda day, _: read_day(day)):
        try:
            found = read(text, zone)
        except UsageError:
            continue
        else:
            # It can be written, in any zone.
            assert found if isinstance(found, date) else to_timestamp(round(found * 1000))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.9, "59.9 s"), (59.97, "1m 00s"), (200, "3m 20s"), (7500, "2h 05m")]
)
def test_spans(seconds: float, text: str) -> None:
    assert show_seconds(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text", "exact"),
    [
        (0.4, "now", "now"),
        (-59, "59s ago", "59s ago"),
        (-200, "3m ago", "3m 20s ago"),
        (7500, "in 2h", "in 2h 05m"),
        (-47.9 * 3600, "47h ago", "47h 54m ago"),
        (50 * 3600, "in 2d", "in 2d 02h"),
        (-800 * 86400, "2y ago", "2y 70d ago"),
    ],
)
def test_ages(seconds: float, text: str, exact: str) -> None:
    timestamp = to_timestamp(round((NOW + seconds) * 1000)) or ""
    assert show_age(timestamp, now=NOW) == text
    assert show_age(timestamp, now=NOW, exact=True) == exact
