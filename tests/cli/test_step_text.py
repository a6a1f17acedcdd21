"""The steps of a flow, as people read them: a tree, a line for each change, and a live display."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from runner.actions.step_tree import Branch, branch_of
from runner.cli.terminal.live import LiveRuns
from runner.cli.terminal.step_text import StepChanges, counts_text, flow_line, tree_lines
from runner.model.run import Run, State
from runner.model.step_run import ended, read_step_name, step_name

FLOW = str(uuid.UUID(int=1))
CHECK = str(uuid.UUID(int=2))
BEGIN, END = "2026-11-23T02:00:00.000Z", "2026-11-23T02:00:03.500Z"


def step(name: str, state: State = State.PENDING, **more: Any) -> dict[str, Any]:
    none = dict.fromkeys(("reason", "items", "started_at", "finished_at", "run"))
    return {"name": name, "kind": "task", "state": state, "counts": {}, **none, **more}


def flow(*steps: dict[str, Any], state: State = State.STARTED) -> Run:
    return Run(id=FLOW, job="nightly", state=state, attempts=1, steps=list(steps))


def single(name: str, state: State, run: Run, **more: Any) -> Branch:
    plain = branch_of(step(name, state, items=1, counts={str(state): 1}, run=run.id, **more))
    return Branch(name=plain.name, state=plain.state, items=1, counts=plain.counts, run=run, reason=run.reason)


@pytest.mark.parametrize(
    ("items", "counts", "told"),
    [
        (50, {"SUCCESS": 10, "FAILURE": 2, "STARTED": 8, "PENDING": 30}, "12 of 50, 8 running, 2 failed"),
        (3, {"SUCCESS": 3}, "3 of 3"),
        (0, {}, "0 of 0"),
        (9, {"RETRY": 1, "REVOKED": 4}, "4 of 9, 1 waiting for a retry, 4 revoked"),
    ],
)
def test_counts(items: int, counts: dict[str, int], told: str) -> None:
    assert counts_text(items, counts) == told


def test_names_of_step_runs_are_read_as_they_are_written() -> None:
    for name, item in (("load", None), ("load", 0), ("load", 9999)):
        assert read_step_name(step_name(name, item)) == (name, item)
    for wrong in ("", "[3]", "load[", "load[x]", "load[3]x"):
        assert read_step_name(wrong) is None
    assert ended({"PENDING": 1, "STARTED": 2, "RETRY": 3, "SUCCESS": 4, "FAILURE": 5, "REVOKED": 6}) == 15


def test_the_tree_tells_of_each_step_what_matters() -> None:
    failed = Run(
        id=CHECK,
        job="nightly/load",
        state=State.FAILURE,
        reason="exception",
        step="load",
        item=7,
        error={"type": "ValueError", "message": "no such\nfile", "traceback": None},
    )
    below = branch_of(step("validate", State.SUCCESS, started_at=BEGIN, finished_at=END))
    child = Run(id=CHECK, job="quality", state=State.STARTED, steps=[])
    approval = Run(id=CHECK, job="nightly/approve", state=State.PENDING, detail="waits for approval")
    lines = tree_lines(
        [
            branch_of(step("extract", State.SUCCESS, started_at=BEGIN, finished_at=END)),
            Branch(
                name="load",
                state=State.STARTED,
                items=50,
                counts={"SUCCESS": 9, "FAILURE": 3, "STARTED": 8},
                failed=[failed],
            ),
            Branch(name="check", state=State.STARTED, items=1, counts={}, run=child, branches=[below]),
            single("approve", State.PENDING, approval),
            branch_of(step("publish", needs=["check", "approve"])),
            branch_of(step("never", State.REVOKED, reason="upstream_failed")),
        ]
    )
    assert lines[0].split() == ["extract", "SUCCESS", "after", "3.5", "s"]
    assert "STARTED" in lines[1]
    assert "12 of 50, 8 running, 3 failed" in lines[1]
    assert lines[2].startswith("  load[7]  ")
    assert f"{CHECK}  ValueError: no such file" in lines[2]
    assert lines[3].endswith("2 more failed")
    assert lines[5].startswith("  validate ")
    assert "waits for approval" in lines[6]
    assert lines[7].endswith("needs check, approve")
    assert "REVOKED (upstream_failed)" in lines[8]
    # The states stand below each other.
    assert len({line.index(" SUCCESS") for line in lines if " SUCCESS" in line}) == 1


def test_each_change_of_a_step_has_one_line() -> None:
    changes = StepChanges()
    begun = flow(step("extract", State.STARTED, run=CHECK, started_at=BEGIN), step("load"))
    assert [line for _, line in changes.lines(begun)] == [f"STARTED   nightly/extract  {CHECK}"]
    assert list(changes.lines(begun)) == []
    done = step("extract", State.SUCCESS, run=CHECK, started_at=BEGIN, finished_at=END)
    wide = step("load", State.STARTED, items=3, counts={"STARTED": 2, "PENDING": 1})
    lines = list(changes.lines(flow(done, wide)))
    assert [state for state, _ in lines] == [State.SUCCESS, State.STARTED]
    assert lines[0][1] == f"SUCCESS   nightly/extract  {CHECK}  after 3.5 s"
    assert lines[1][1] == "STARTED   nightly/load  0 of 3, 2 running"
    revoked = step("load", State.REVOKED, items=3, counts={"REVOKED": 3}, reason="upstream_failed")
    assert "upstream_failed" in next(line for _, line in changes.lines(flow(done, revoked)))


def test_an_approval_that_waits_is_told_of_once() -> None:
    changes = StepChanges()
    approve = step("approve") | {"kind": "approval"}
    assert list(changes.lines(flow(approve))) == []
    waits = approve | {"run": CHECK, "items": 1, "counts": {"PENDING": 1}}
    assert [line for _, line in changes.lines(flow(waits))] == [
        f"PENDING   nightly/approve  {CHECK}  waits for approval"
    ]
    assert list(changes.lines(flow(waits))) == []
    with LiveRuns() as display:
        display.see(flow(waits))
        [row] = [row for row in display._progress.tasks if row.description == "  approve"]
        assert row.fields["note"] == "waits for approval"


def test_a_flow_that_goes_on_has_no_worker() -> None:
    assert flow_line(flow(step("a"), step("b"))) == f"STARTED   nightly  {FLOW}  2 steps"
    assert flow_line(flow(step("a"))) == f"STARTED   nightly  {FLOW}  1 step"
    assert flow_line(flow(state=State.SUCCESS)) == f"SUCCESS   nightly  {FLOW}"


def test_the_live_display_has_a_row_for_each_step(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    with LiveRuns() as display:
        display.see(flow(step("extract", State.STARTED, run=CHECK, started_at=BEGIN), step("load")))
        display._progress.refresh()
        assert {row.description for row in display._progress.tasks if row.visible} == {
            "nightly",
            "  extract",
            "  load",
        }
        wide = step("load", State.STARTED, items=50, counts={"SUCCESS": 12, "STARTED": 8, "PENDING": 30})
        display.see(flow(step("extract", State.SUCCESS, run=CHECK), wide))
        display._progress.refresh()
        [row] = [row for row in display._progress.tasks if row.description == "  load"]
        assert (row.completed, row.total) == (12, 50)
    text = capsys.readouterr().err
    assert "12 of 50, 8 running" in text


def test_of_a_long_flow_the_steps_that_run_have_rows() -> None:
    with LiveRuns() as display:
        display.see(flow(*(step(f"s{number}") for number in range(40)), step("last", State.STARTED, run=CHECK)))
        assert [row.description for row in display._progress.tasks if row.visible] == ["nightly", "  last"]
