"""Times as people write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from runner.cli.frame.moments import show_seconds
from runner.errors import UsageError
from runner.model.moment import read_moment

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


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.9, "59.9 s"), (59.97, "1m 00s"), (200, "3m 20s"), (7500, "2h 05m")]
)
def test_spans(seconds: float, text: str) -> None:
    assert show_seconds(seconds) == text
