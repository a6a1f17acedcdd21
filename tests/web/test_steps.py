"""The steps of a flow as pages show them, from run documents: the table, the graph, and the Gantt chart."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from runner.model.run import Run, State, to_datetime
from runner.model.step import Approval, Step
from runner.web.drawing import draw
from runner.web.flows import page_of, shown_document
from runner.web.gantt import gantt
from runner.web.steps import MOST_ROWS, StepRow, shown_rows, step_rows

GRAPH = {
    "extract": Step(task="etl:extract"),
    "load": Step(task="etl:load", needs=("extract",), each="${steps.extract.result.files}"),
    "check": Step(job="quality-check", needs=("load",)),
    "approve": Step(approval=Approval(within=None), needs=("check",)),
    "publish": Step(task="etl:publish", needs=("approve",)),
}
NOTHING: dict[str, Any] = {"reason": None, "items": None, "counts": {}, "started_at": None, "finished_at": None}


def at(seconds: float) -> str:
    return f"2026-11-28T15:00:{seconds:06.3f}Z"


def milliseconds(timestamp: str) -> int:
    return round(to_datetime(timestamp).timestamp() * 1000)


def step(name: str, state: str = "PENDING", **more: Any) -> dict[str, Any]:
    return {"name": name, "state": state, "run": None, **NOTHING, **more}


def rows_of(*steps: dict[str, Any]) -> list[StepRow]:
    run = Run(id="f", job="nightly", state=State.STARTED, started_at=at(0), steps=list(steps))
    return step_rows(run, GRAPH)


def test_states_are_in_words_and_lead_to_the_runs() -> None:
    extract, load, check, publish = rows_of(
        step("extract", "SUCCESS", items=1, counts={"SUCCESS": 1}, run="e-1", started_at=at(1), finished_at=at(3)),
        step("load", "STARTED", items=50, counts={"SUCCESS": 9, "FAILURE": 1, "STARTED": 40}, started_at=at(3)),
        step("check", "REVOKED", reason="upstream_failed", items=1, counts={"REVOKED": 1}, run="c-1"),
        step("publish"),
    )
    now = milliseconds(at(10))
    assert (extract.line(now), extract.short(now), extract.href) == ("SUCCESS, 2.0 s", "SUCCESS 2.0 s", "/runs/e-1")
    assert (load.line(now), load.short(now)) == ("STARTED, 10 of 50, 7.0 s", "STARTED 10/50 7.0 s")
    assert load.href == "/runs?flow=f&job=nightly%2Fload"
    assert (extract.counts, load.counts) == ("", "9 SUCCESS, 1 FAILURE, 40 STARTED")
    assert (check.kind, check.line(now), check.short(now)) == ("job", "REVOKED upstream_failed", "REVOKED")
    assert (publish.line(now), publish.short(now), publish.href) == ("PENDING", "PENDING", None)
    [unmade] = rows_of(step("publish", run="known-before-it-is-made"))
    assert unmade.href is None


def test_an_each_step_that_has_ended_says_how_many_failed() -> None:
    [failed] = rows_of(step("load", "FAILURE", reason="exception", items=50, counts={"SUCCESS": 47, "FAILURE": 3}))
    assert (failed.line(0), failed.short(0)) == ("FAILURE exception, 3 of 50 failed", "FAILURE 3/50")
    [empty] = rows_of(step("load", "SUCCESS", items=0))
    assert (empty.line(0), empty.short(0), empty.href) == ("SUCCESS, 0 items", "SUCCESS ×0", None)
    [one] = rows_of(step("load", "SUCCESS", items=1, counts={"SUCCESS": 1}))
    assert (one.line(0), one.href) == ("SUCCESS, 1 item", "/runs?flow=f&job=nightly%2Fload")
    [some] = rows_of(step("load", "SUCCESS", items=3, counts={"SUCCESS": 2, "REVOKED": 1}))
    assert some.line(0) == "SUCCESS, 3 items"


def test_an_approval_waits_since_its_last_need_ended() -> None:
    check, approve = rows_of(
        step("check", "SUCCESS", items=1, counts={"SUCCESS": 1}, started_at=at(2), finished_at=at(5)),
        step("approve", items=1, counts={"PENDING": 1}, run="a-1"),
    )
    assert (check.waits, approve.waits) == (False, True)
    now = milliseconds(at(9))
    assert (approve.line(now), approve.short(now)) == ("waits for approval, 4.0 s", "waits for approval")
    [later] = rows_of(step("approve"))
    assert not later.waits
    [expired] = rows_of(step("approve", "REVOKED", reason="expired", items=1, counts={"REVOKED": 1}, run="a-1"))
    assert (expired.waits, expired.line(now)) == (False, "REVOKED expired")


def test_of_a_large_flow_what_goes_on_or_failed_is_shown() -> None:
    quiet = [step(f"s{number}", "SUCCESS", items=1) for number in range(MOST_ROWS)]
    rows = rows_of(*quiet, step("bad", "FAILURE", items=1), step("busy", "STARTED", items=1))
    shown = shown_rows(rows, whole=False)
    assert [row.name for row in shown][-2:] == ["bad", "busy"]
    assert [row.name for row in shown][:2] == ["s0", "s1"]
    assert len(shown) == MOST_ROWS
    assert shown_rows(rows, whole=True) == rows


def test_bars_begin_and_end_where_their_times_are() -> None:
    extract, load, publish = rows_of(
        step("extract", "SUCCESS", items=1, started_at=at(0), finished_at=at(5)),
        step("load", "STARTED", items=2, counts={"STARTED": 2}, started_at=at(5)),
        step("publish"),
    )
    begin, now = milliseconds(at(0)), milliseconds(at(10))
    chart = gantt([extract, load, publish], begin, now, now, ZoneInfo("Asia/Kolkata"))
    assert [(bar.x, bar.width) for bar in chart.bars] == [(0.0, 50.0), (50.0, 50.0), (None, 0.0)]
    assert [bar.line for bar in chart.bars] == ["SUCCESS, 5.0 s", "STARTED, 0 of 2, 5.0 s", "PENDING"]
    assert [tick.text for tick in chart.ticks] == [f"20:30:{second:02}" for second in range(0, 11, 2)]
    assert [tick.x for tick in chart.ticks] == [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]


def test_a_bar_of_a_moment_can_be_seen_and_stays_within_the_chart() -> None:
    [short] = rows_of(step("extract", "SUCCESS", items=1, started_at=at(10), finished_at=at(10)))
    begin, end = milliseconds(at(0)), milliseconds(at(10))
    [bar] = gantt([short], begin, end, end, ZoneInfo("UTC")).bars
    assert bar.x is not None
    assert bar.width > 0
    assert bar.x + bar.width <= 100


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, []),
        (0.003, ["16:00:00.000", "16:00:00.001"]),
        (0.5, ["16:00:00.0", "16:00:00.1"]),
        (45, ["16:00:00", "16:00:10"]),
        (900, ["16:00", "16:05"]),
        (7200, ["16:00", "16:30"]),
        (86400, ["18:00", "00:00"]),
        (3 * 86400, ["11-29", "11-30", "12-01"]),
        (10 * 86400, ["11-30", "12-02"]),
        (3 * 365 * 86400, ["2027-11-28"]),
    ],
)
def test_an_axis_has_a_few_round_times(seconds: float, expected: list[str]) -> None:
    begin = milliseconds(at(0))
    end = begin + round(seconds * 1000)
    chart = gantt([], begin, end, end, ZoneInfo("Europe/Berlin"))
    texts = [tick.text for tick in chart.ticks]
    assert texts[: len(expected)] == expected
    assert len(texts) <= 7
    assert all(0 <= tick.x <= 100 for tick in chart.ticks)


def test_an_axis_over_a_change_of_the_clock_keeps_whole_hours() -> None:
    zone = ZoneInfo("Europe/Berlin")
    begin, end = milliseconds("2026-10-24T20:00:00Z"), milliseconds("2026-10-25T06:00:00Z")
    chart = gantt([], begin, end, end, zone)
    assert [tick.text for tick in chart.ticks] == ["22:00", "00:00", "02:00", "04:00", "06:00"]
    # The night has 25 hours: between 02:00 and 04:00 lie three.
    assert [tick.x for tick in chart.ticks] == [0.0, 20.0, 40.0, 70.0, 90.0]


def test_a_graph_says_in_words_what_its_steps_do_and_what_they_are() -> None:
    rows = rows_of(
        step("extract", "SUCCESS", items=1, counts={"SUCCESS": 1}, run="e-1", started_at=at(1), finished_at=at(3)),
        step("load", "STARTED", items=50, counts={"STARTED": 50}, started_at=at(3)),
        *(step(name) for name in ("check", "approve", "publish")),
    )
    drawing = draw(GRAPH, rows, milliseconds(at(4)))
    nodes = {node.box.name: node for node in drawing.nodes}
    assert list(nodes) == list(GRAPH)
    assert nodes["extract"].line == "SUCCESS 2.0 s"
    assert (nodes["load"].line, nodes["load"].many) == ("STARTED 0/50 1.0 s", True)
    assert "each of ${steps.extract.result.files}" in nodes["load"].title
    assert [(line.need, line.step) for line in drawing.layout.lines] == list(zip(GRAPH, list(GRAPH)[1:], strict=False))
    declared = {node.box.name: node for node in draw(GRAPH).nodes}
    assert [node.line for node in declared.values()] == [
        "task",
        "task for each item",
        "job quality-check",
        "approval",
        "task",
    ]
    assert declared["check"].href == "/jobs/quality-check"
    assert {node.state for node in declared.values()} == {None}


def test_a_flow_whose_graph_cannot_be_read_is_still_listed() -> None:
    run = Run(id="f", job="nightly", state=State.STARTED, started_at=at(0), steps=[step("load", items=1, run="l-1")])
    page = page_of(run, {}, milliseconds(at(1)), ZoneInfo("UTC"), whole=False)
    assert page.drawing is None
    assert [row.href for row in page.rows] == ["/runs/l-1"]


def test_the_document_of_a_large_flow_is_shown_without_its_steps() -> None:
    steps = [step(f"s{number}") for number in range(MOST_ROWS + 1)]
    run = Run(id="f", job="nightly", state=State.STARTED, steps=steps)
    assert "steps" not in shown_document(run)
    assert shown_document(Run(id="f", job="nightly", state=State.STARTED, steps=steps[:3]))["steps"] == steps[:3]
