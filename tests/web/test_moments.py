"""Times and errors as lists show them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from runner.web.moments import MOST_OF_A_LINE, age, last_line

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "just now"),
        (-4.9, "just now"),
        (59.9, "59 s ago"),
        (-60, "in 1 min"),
        (3599, "59 min ago"),
        (7200, "2 h ago"),
        (86399, "23 h ago"),
        (-86400 * 40, "in 40 d"),
    ],
)
def test_an_age_has_one_unit(seconds: float, shown: str) -> None:
    at = NOW - timedelta(seconds=seconds)
    assert age(at, NOW) == shown
    assert age(at.timestamp() * 1000, NOW) == shown
    assert age(at.isoformat(), NOW) == shown


@pytest.mark.parametrize(
    ("error", "line"),
    [
        ({"type": "a.b.ReadTimeout", "message": "shop-7 did not answer"}, "shop-7 did not answer"),
        ({"type": "E", "message": "exit code 3\n  cp: no space left\n\n"}, "cp: no space left"),
        ({"type": "a.b.ReadTimeout", "message": " \n"}, "ReadTimeout"),
        ({"type": "E", "message": None}, "E"),
        ({"type": "E", "message": "x" * 300}, "x" * (MOST_OF_A_LINE - 1) + "…"),
    ],
)
def test_an_error_is_its_last_line(error: dict[str, str | None], line: str) -> None:
    assert last_line(error) == line
