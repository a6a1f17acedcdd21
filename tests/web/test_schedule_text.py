"""Schedules as phrases."""

from __future__ import annotations

import pytest

from runner.model.schedule import Schedule
from runner.web.schedule_text import cron_phrase, schedule_phrase


@pytest.mark.parametrize(
    ("expression", "phrase"),
    [
        ("0 2 * * *", "daily at 02:00"),
        ("@daily", "daily at 00:00"),
        ("0 5 2 * * *", "daily at 02:05"),
        ("15 */3 * * *", "every 3 h at :15"),
        ("5 * * * *", "hourly at :05"),
        ("* * * * *", "every minute"),
        ("*/5 * * * *", "every 5 min"),
        ("*/10 8-18 * * mon-fri", "every 10 min, 08:00 to 18:50, Mon to Fri"),
        ("0 8-18 * * 1-5", "hourly, 08:00 to 18:00, Mon to Fri"),
        ("30 4 * * sun", "Sundays at 04:30"),
        ("30 4 * * 7", "Sundays at 04:30"),
        ("0 9 * * MON,wed,5", "Mon, Wed and Fri at 09:00"),
        ("7 15,3 * * *", "daily at 03:07 and 15:07"),
        ("0 0 1,15 * *", "monthly on the 1st and 15th at 00:00"),
        ("0 9 L * *", "on the last day of the month at 09:00"),
        ("0 0 29 2 *", "every 29 Feb at 00:00"),
    ],
)
def test_a_cron_expression_as_a_phrase(expression: str, phrase: str) -> None:
    assert cron_phrase(expression) == phrase


@pytest.mark.parametrize(
    "expression",
    [
        "*/7 * * * *",  # 56, then 00: not every 7 minutes
        "0 */5 * * *",
        "0 0 13 * fri",  # Debian's cron runs it on either
        "10 5 2 * * *",
        "0 1,2,3,4 * * *",
        "1,31 * * * *",
        "0 2 * * mon#1",
        "0 0 * 1-3 *",
    ],
)
def test_what_has_no_short_phrase_stays_as_it_is(expression: str) -> None:
    assert cron_phrase(expression) == expression


def test_intervals_zones_exceptions_and_several() -> None:
    assert [schedule_phrase([Schedule(every=seconds)], "UTC") for seconds in (1, 90, 3600, 5400, 86400, 172800)] == [
        "every second",
        "every 90 s",
        "every hour",
        "every 90 min",
        "every day",
        "every 2 d",
    ]
    berlin = Schedule(cron="0 2 * * *", timezone="Europe/Berlin")
    assert schedule_phrase([berlin], "UTC") == "daily at 02:00 (Europe/Berlin)"
    assert schedule_phrase([berlin], "Europe/Berlin") == "daily at 02:00"
    ruled = Schedule(cron="@hourly", excepted=("2026-12-24",))
    assert schedule_phrase([ruled, berlin, ruled, ruled], "Europe/Berlin") == (
        "hourly at :00, with exceptions; daily at 02:00; and 2 more"
    )
    assert schedule_phrase([], "UTC") == ""
