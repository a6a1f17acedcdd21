"""What the first page says: the status line, the groups of failures, and the trend of a job."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from runner.model.run import Run, State
from runner.web.calendar import Due
from runner.web.failures import group_failures
from runner.web.home import status_line
from runner.web.job_rows import compare, outcomes_text

NOW = datetime(2026, 11, 28, 20, 0, tzinfo=UTC)
CALM: dict[str, Any] = {
    **dict.fromkeys(("failing", "overdue", "stuck", "approvals", "paused", "problems", "running"), 0),
    "workers": 1,
    "jobs": 3,
    "due": None,
    "zone": ZoneInfo("Europe/Berlin"),
    "now": NOW,
}


def said(**values: Any) -> tuple[str, str]:
    parts = status_line(**{**CALM, **values})
    return ", ".join(part.text for part in parts), parts[0].color if parts else ""


def test_the_status_line_names_the_worst_first() -> None:
    soon, tomorrow = (Due(at, "a", at) for at in (NOW + timedelta(minutes=80), NOW + timedelta(hours=9)))
    assert said(due=soon, failing=2, stuck=1, running=1200) == (
        "2 jobs failing, 1 queue without a worker, 1,200 running, next start 22:20",
        "bad",
    )
    assert said(due=tomorrow) == ("No job is failing, next start Sun 06:00", "good")
    # Where no worker is, it goes without saying that queues have none.
    assert said(workers=0, stuck=2) == ("no worker is running", "bad")
    assert said(paused=1, approvals=2) == ("2 approvals awaited, 1 job paused", "odd")
    assert said(jobs=0, workers=0) == ("", "")


def failed(job: str, minute: int, message: str, kind: str = "a.b.Timeout") -> Run:
    at = f"2026-11-28T20:{minute:02}:00.000Z"
    error = {"type": kind, "message": message, "traceback": None}
    return Run(id=f"{job}-{minute}", job=job, state=State.FAILURE, error=error, submitted_at=at, finished_at=at)


def test_failures_of_one_cause_are_one_group() -> None:
    runs = [
        failed("load", 1, "shop-7 did not answer within 30 s"),
        failed("load", 9, "shop-12 did not answer within 30 s"),
        failed("load", 5, "shop-3 did not answer within 30 s"),
        failed("load", 4, "shop-3 did not answer within 30 s", "OtherError"),
        failed("clean", 7, "exit code 1\n  rm: no such file\n"),
    ]
    groups = [(group.job, group.count, group.line, group.newest.id) for group in group_failures(runs)]
    assert groups == [
        ("load", 3, "shop-12 did not answer within 30 s", "load-9"),
        ("clean", 1, "rm: no such file", "clean-7"),
        ("load", 1, "shop-3 did not answer within 30 s", "load-4"),
    ]
    lost = Run(id="x", job="lost", state=State.FAILURE, reason="worker_lost")
    assert [group.line for group in group_failures([lost])] == ["worker lost"]


def test_a_trend_needs_runs_to_compare_with() -> None:
    assert compare([]) == (None, None, None)
    assert compare([9.0, 1.0, 1.0]) == (9.0, None, None)
    assert compare([3.0, 2.0, 2.0, 40.0]) == (3.0, 2.0, 50)
    assert compare([1.0, 2.0, 2.0, 2.0]) == (1.0, 2.0, -50)
    assert compare([2.2, 2.0, 2.0, 2.0]) == (2.2, 2.0, None)
    assert compare([0.09, 0.01, 0.01, 0.01]) == (0.09, 0.01, None)
    assert compare([1.0, 0.0, 0.0, 0.0]) == (1.0, 0.0, None)


def test_squares_are_put_into_words() -> None:
    assert outcomes_text(["SUCCESS", "FAILURE", "SUCCESS"]) == "Last 3 runs: 2 succeeded, 1 failed"
    assert outcomes_text(["STARTED"]) == "Last 1 run: 1 running"
    assert outcomes_text([]) == "No runs"
