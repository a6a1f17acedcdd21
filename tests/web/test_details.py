"""What the pages of a run, a job, and the schedule show, from documents alone: attempts, logs, charts, and tables."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from markupsafe import escape

from runner.model.job import JobSpec
from runner.model.log_line import LogLine
from runner.model.run import Run, State, to_datetime
from runner.model.schedule import Schedule
from runner.web.attempts import seconds_until, timeline
from runner.web.axis import duration_text, duration_ticks
from runner.web.calendar import Calendar
from runner.web.durations import duration_chart, usual_durations
from runner.web.log_view import MOST_BYTES, MOST_LINES, LogView, log_view, numbered, read_line_name
from runner.web.values import LONGEST, MOST_ROWS, table_of
from tests.support.catalogs import catalog_of

UTC_ZONE = ZoneInfo("UTC")


def at(seconds: float) -> str:
    return f"2026-11-28T15:00:{seconds:06.3f}Z"


def milliseconds(timestamp: str) -> int:
    return round(to_datetime(timestamp).timestamp() * 1000)


def past(number: int, begin: float, end: float, outcome: str = "retry", error: str | None = "E: no") -> dict[str, Any]:
    return {
        "attempt": number,
        "worker": "w@a",
        "started_at": at(begin),
        "ended_at": at(end),
        "outcome": outcome,
        "error": error,
    }


def run_of(state: State = State.SUCCESS, **values: Any) -> Run:
    return Run(**{"id": "r", "job": "j", "state": state, "submitted_at": at(0), **values})


def test_attempts_are_bars_on_one_axis_with_the_waits_between_them() -> None:
    death = {"at": at(7), "worker": "w@a", "signal": "SIGKILL", "exit_code": None, "max_rss": 1, "oom_killed": True}
    run = run_of(
        attempts=3,
        past_attempts=[past(1, 2, 4), past(2, 6, 7, "lost", None)],
        started_at=at(10),
        finished_at=at(12),
        deaths=[death],
        worker="w@b",
    )
    found = timeline(run, 0, UTC_ZONE)
    assert found is not None
    first, second, third = found.attempts
    assert [(bar.number, bar.state, bar.outcome) for bar in found.attempts] == [
        (1, "FAILURE", "failed"),
        (2, "FAILURE", "lost with its worker process"),
        (3, "SUCCESS", "succeeded"),
    ]
    assert [(bar.wait_x, bar.x, bar.width) for bar in found.attempts] == [(0, 0, 20), (20, 40, 10), (50, 80, 20)]
    assert [bar.waited for bar in found.attempts] == [2, 2, 3]
    assert (first.error, second.death, third.worker) == ("E: no", "SIGKILL, ended by the kernel's OOM killer", "w@b")
    assert seconds_until(run, 0) == 10
    assert found.missing == 0


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (run_of(State.PENDING), None),
        (run_of(State.REVOKED, finished_at=at(5)), None),
        (run_of(State.STARTED, attempts=1, started_at=at(1)), [(1, "running", 9.0)]),
        # A run that waits for a retry has only past attempts, and its record keeps the last 20 of them.
        (run_of(State.RETRY, attempts=30, past_attempts=[past(30, 1, 3)], started_at=at(1)), [(30, "failed", 2.0)]),
        (run_of(State.REVOKED, attempts=1, started_at=at(1), finished_at=at(4)), [(1, "ended", 3.0)]),
        (run_of(State.PENDING, attempts=1, past_attempts=[past(1, 1, 3, "handed_back")]), [
            (1, "handed back by its worker", 2.0)
        ]),
    ],
)  # fmt: skip
def test_attempts_of_every_state(run: Run, expected: list[tuple[int, str, float]] | None) -> None:
    found = timeline(run, milliseconds(at(10)), UTC_ZONE)
    assert (found and [(bar.number, bar.outcome, bar.seconds) for bar in found.attempts]) == expected
    if found is not None:
        assert found.missing == found.attempts[0].number - 1
        assert all(0 <= bar.wait_x <= bar.x and bar.x + bar.width <= 100 for bar in found.attempts)


def lines(*attempts: int, text: str = "line") -> list[LogLine]:
    return [
        LogLine(0, attempt, None, f"{text} {number}")
        for attempt, count in enumerate(attempts, 1)
        for number in range(1, count + 1)
    ]


def names(view: LogView) -> tuple[str, str, int]:
    return view.lines[0].name, view.lines[-1].name, len(view.lines)


def test_the_number_of_a_line_counts_in_its_attempt_and_includes_lines_that_are_not_kept() -> None:
    log = [*lines(2), LogLine(0, 1, None, "… 5 lines are not kept …", cut=5), LogLine(0, 1, None, "on"), *lines(0, 1)]
    assert [item.name for item in numbered(log)] == ["L1.1", "L1.2", "L1.3", "L1.8", "L2.1"]
    assert log_view(log).ends == {1: 8, 2: 1}
    assert log_view(log[:3]).ends == {1: 7}
    assert [read_line_name(text) for text in ("2.17", "L2.17", "2", "0.1", "2.x", "")] == [(2, 17)] * 2 + [None] * 4


def test_a_page_shows_the_end_of_a_log_or_the_lines_around_one() -> None:
    log = lines(1000, 1000)
    half = MOST_LINES // 2
    end = log_view(log)
    assert names(end) == (f"L2.{1001 - MOST_LINES}", "L2.1000", MOST_LINES)
    assert (end.count, end.at_end, end.later) == (2000, True, None)
    assert end.earlier == f"?line=2.{1001 - MOST_LINES}#L2.{1001 - MOST_LINES}"
    middle = log_view(log, around=(1, 500))
    assert names(middle)[2] == MOST_LINES
    assert abs(middle.lines[half].number - 500) <= 1
    assert (middle.earlier is not None, middle.later is not None, middle.at_end) == (True, True, False)
    # Across the border of two attempts, before the first line, and after the last one.
    assert {item.line.attempt for item in log_view(log, around=(2, 1)).lines} == {1, 2}
    assert names(log_view(log, around=(1, 1)))[0] == "L1.1"
    assert log_view(log, around=(9, 9)).at_end
    assert log_view([]).lines == []
    # Every line is on one of the pages that lead to each other.
    seen, view = {item.name for item in end.lines}, end
    while view.earlier is not None:
        view = log_view(log, around=read_line_name(view.earlier.partition("#")[2]))
        seen |= {item.name for item in view.lines}
    assert len(seen) == len(log)


def test_a_page_stays_small_whatever_lines_are_long() -> None:
    for text in ("x" * 1000, "北京" * 500, '"<&' * 300):
        view = log_view(lines(500, text=text))
        assert MOST_BYTES / 2 < sum(len(escape(item.text).encode()) for item in view.lines) <= MOST_BYTES
        assert view.lines[-1].name == "L1.500"
    [long] = log_view([LogLine(0, 1, None, "y" * 1_000_000)]).lines
    assert long.text.endswith("… (1,000,000 characters)")
    assert len(long.text) < 10_000


def test_a_search_finds_text_in_any_case_in_the_whole_log() -> None:
    log = [*lines(MOST_LINES * 2), LogLine(0, 1, "ERROR", "It FAILED"), *lines(0, 5)]
    found = log_view(log, search="failed")
    assert [item.line.text for item in found.lines] == ["It FAILED"]
    assert (found.found, found.count, found.at_end) == (1, len(log), False)
    many = log_view(log, search="LINE")
    assert (many.found, len(many.lines)) == (len(log) - 1, MOST_LINES)
    assert log_view(log, search="nowhere").lines == []


def test_params_and_results_become_tables() -> None:
    pairs = table_of({"day": "2026-11-23", "count": 3, "none": None, "empty": "", "more": {"a": [1, 2]}}).pairs
    assert pairs is not None
    assert [(name, cell.text, cell.plain) for name, cell in pairs] == [
        ("day", "2026-11-23", True),
        ("count", "3", False),
        ("none", "null", False),
        ("empty", '""', False),
        ("more", '{"a": [1, 2]}', False),
    ]
    rows = table_of([{"shop": "a", "n": 1}, {"shop": "b", "n": 2}])
    assert rows.columns == ["shop", "n"]
    assert rows.rows is not None
    assert [[cell.text for cell in row] for row in rows.rows] == [["a", "1"], ["b", "2"]]
    others: list[Any] = [[], {}, "text", 0, None, [1, 2], [{"a": 1}], [{"a": 1}, {"b": 1}], [{"a": [1]}, {"a": 2}]]
    for other in others:
        assert table_of(other).cell is not None, other


@pytest.mark.parametrize(
    "value",
    [
        "x" * 100_000,
        {"text": "x" * 100_000},
        {str(number): "x" * 1000 for number in range(1000)},
        [{"a": "x" * 1000, "b": number} for number in range(1000)],
        list(range(100_000)),
    ],
)
def test_a_table_of_a_large_value_is_cut_and_says_so(value: Any) -> None:
    found = table_of(value)
    cells = [cell for _, cell in found.pairs or ()] + [cell for row in found.rows or () for cell in row]
    assert found.cut
    assert sum(len(cell.text) for cell in [*cells, *([found.cell] if found.cell else [])]) < 3 * LONGEST + 2000
    assert len(found.rows or ()) <= MOST_ROWS


@pytest.mark.parametrize(
    ("longest", "expected"),
    [
        (0.0004, ["0", "1 ms"]),
        (0.42, ["0", "200 ms", "400 ms", "600 ms"]),
        (1, ["0", "500 ms", "1 s"]),
        (12.3, ["0", "5 s", "10 s", "15 s"]),
        (61, ["0", "30 s", "1 min", "1.5 min"]),
        (3 * 3600, ["0", "1 h", "2 h", "3 h"]),
        (3 * 86400, ["0", "1 d", "2 d", "3 d"]),
    ],
)
def test_an_axis_of_durations_has_a_few_round_ones(longest: float, expected: list[str]) -> None:
    assert [duration_text(level) for level in duration_ticks(longest)] == expected


def test_a_chart_of_durations_has_a_bar_for_each_run_and_dates() -> None:
    def run(number: int, day: int, seconds: float, state: State = State.SUCCESS, **more: Any) -> Run:
        began = datetime(2026, 11, day, 12, tzinfo=UTC_ZONE)
        end = began + timedelta(seconds=seconds)
        return run_of(state, id=str(number), started_at=began.isoformat(), finished_at=end.isoformat(), **more)

    runs = [run(n, 1 + n // 5, n + 1, State.FAILURE if n == 9 else State.SUCCESS) for n in range(40)]
    chart = duration_chart([*reversed(runs)], 0, UTC_ZONE)
    assert chart is not None
    assert [bar.run.id for bar in chart.bars] == [str(n) for n in range(40)]
    assert (chart.bars[39].height, chart.bars[9].run.state) == (100, "FAILURE")
    assert chart.bars[-1].x + chart.width <= 100.01
    assert [tick.text for tick in chart.dates] == [f"Nov {day}" for day in range(1, 9)]
    assert chart.levels[-1].text == "40 s"
    assert chart.median == pytest.approx(100 * 21 / 40)
    assert usual_durations(runs) == (20, 38)
    retried = run_of(attempts=2, past_attempts=[past(1, 0, 1)], started_at=at(8), finished_at=at(10))
    assert usual_durations([retried, run_of(State.PENDING)]) == (10, 10)
    assert usual_durations([run_of(State.PENDING)]) is None
    one = duration_chart([run(1, 1, 0.0)], 0, UTC_ZONE)
    assert one is not None
    assert ([tick.text for tick in one.dates], one.median) == (["12:00"], None)
    assert duration_chart([run_of(State.PENDING)], 0, UTC_ZONE) is None


@pytest.mark.parametrize(
    ("schedule", "text", "count"),
    [
        (Schedule(cron="*/30 8-18 * * *"), "every 30 min, 08:00 to 18:30", 22),
        (Schedule(cron="15 */3 * * *"), "every 3 h", 8),
        (Schedule(cron="0 * * * *"), "every hour", 24),
        (Schedule(every=1200.0), "every 20 min", 72),
        (Schedule(cron="0 6,7,9,12,20 * * *"), "5 times, 06:00 to 20:00", 5),
        (Schedule(cron="* 3 * * *"), "every minute, 03:00 to 03:59", 60),
    ],
)
def test_many_slots_of_a_day_are_one_series(schedule: Schedule, text: str, count: int) -> None:
    job = JobSpec(name="often", task="a:b", schedule=(schedule,))
    daily = JobSpec(name="daily", task="a:b", schedule=(Schedule(cron="30 2 * * *"),))
    plan = Calendar(catalog_of({"often": job, "daily": daily}), "Asia/Kolkata").plan(date(2026, 11, 26))
    assert [due.job for due in plan.runs] == ["daily"]
    [series] = plan.series
    assert (series.text, series.count) == (text, count)


def test_a_day_lists_a_few_series_and_counts_the_others() -> None:
    jobs = {
        f"job-{number:02}": JobSpec(name=f"job-{number:02}", task="a:b", schedule=(Schedule(every=60.0),))
        for number in range(20)
    }
    plan = Calendar(catalog_of(jobs), "UTC").plan(date(2026, 11, 26))
    assert len(plan.series) + plan.more_series == 20
    assert 0 < plan.more_series < 20
    assert {series.count for series in plan.series} == {None}
