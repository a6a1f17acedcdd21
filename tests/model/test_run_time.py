"""How long a run took: as a whole, and in milliseconds where seconds would be 0.0."""

from __future__ import annotations

import pytest

from runner.model.run import Run, State
from runner.model.run_time import duration_text, first_start, total_text

T0, T1, T2 = (f"2026-11-23T02:00:{second}Z" for second in ("00.000", "09.500", "12.300"))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0004, "0 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (59.97, "1m 00s"),
        (200, "3m 20s"),
        (7500, "2h 05m"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("past", "started", "finished", "attempts", "first", "total"),
    [
        ([], None, None, 0, None, ""),
        ([], None, T2, 0, None, ""),  # revoked before its start
        ([], T1, None, 1, T1, ""),
        ([], T1, T2, 1, T1, "2.8 s"),
        ([T0], T1, T2, 2, T0, "12.3 s, 2 attempts"),
        ([T0, None], T1, T2, 3, T0, "12.3 s, 3 attempts"),
        ([T0], None, T2, 1, T0, "12.3 s"),
        ([], T2, T0, 1, T2, "0 ms"),  # a clock was set back
    ],
)
def test_the_whole_run_counts(
    past: list[str | None], started: str | None, finished: str | None, attempts: int, first: str | None, total: str
) -> None:
    run = Run(
        id="i",
        job="j",
        state=State.SUCCESS,
        past_attempts=[{"attempt": number, "started_at": at} for number, at in enumerate(past, 1)],
        started_at=started,
        finished_at=finished,
        attempts=attempts,
    )
    assert (first_start(run), total_text(run)) == (first, total)
