"""A flow is explained by the steps that it waits for, and a step run by its flow."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from runner.actions.explain import Facts, explain
from runner.actions.explain_flow import OpenStep
from runner.model.pause import Pause
from runner.model.run import Run, State

FLOW, STEP, OTHER = (str(uuid.UUID(int=number)) for number in (1, 2, 3))


def step(name: str, state: State = State.PENDING, **more: Any) -> dict[str, Any]:
    none = dict.fromkeys(("reason", "items", "started_at", "finished_at", "run"))
    return {"name": name, "kind": "task", "state": state, "counts": {}, **none, **more}


def step_run(name: str = "load", state: State = State.PENDING, **more: Any) -> Run:
    return Run(id=STEP, job=f"nightly/{name}", state=state, flow=FLOW, step=name, **more)


def flow(*steps: dict[str, Any], state: State = State.STARTED, **more: Any) -> Run:
    return Run(id=FLOW, job="nightly", state=state, steps=list(steps), started_at="2026-11-23T02:00:00.000Z", **more)


def opened(name: str, run: Run, summary: str, *commands: tuple[str, ...], **more: Any) -> OpenStep:
    return OpenStep(step(name, run.state, **more), run, summary, [], commands)


def told(facts: Facts) -> str:
    explanation = explain(facts)
    assert facts.document()["open_steps"] == [open_step.document() for open_step in facts.open_steps]
    return "\n".join(
        [explanation.summary, *explanation.because, *(" ".join(command) for command in explanation.commands)]
    )


@pytest.mark.parametrize(
    ("run", "summary"),
    [
        (step_run(detail="waits for approval"), "it waits for approval"),
        (step_run(), "no live worker takes runs from queue default"),
    ],
)
def test_the_step_that_waits_blocks_the_flow(run: Run, summary: str) -> None:
    waits = explain(Facts(run=run, now=0))
    blocked = OpenStep(step("load"), run, waits.summary, waits.because, waits.commands)
    text = told(Facts(run=flow(step("load"), step("next")), now=0, open_steps=[blocked], workers=1))
    assert text.startswith(f"step load blocks it: {summary}")
    assert "0 of 2 steps ended" in text
    if summary == "it waits for approval":
        assert f"approve {STEP}" in text
        assert f"reject {STEP}" in text


def test_what_runs_is_told_first_and_what_waits_too() -> None:
    running = step_run("load", State.STARTED, item=3)
    waiting = step_run("other", item=4)
    wide = step("load", State.STARTED, items=50, counts={"SUCCESS": 12, "STARTED": 8, "PENDING": 30})
    facts = Facts(
        run=flow(wide, step("other")),
        now=0,
        open_steps=[
            opened("other", waiting, "it waits for a slot"),
            opened("load", running, "it runs", ("logs", STEP)),
        ],
    )
    text = told(facts)
    assert text.startswith("step load[3] runs: it runs")
    assert "step load: 12 of 50 items ended, 8 running" in text
    assert "step other[4]: it waits for a slot" in text
    assert f"logs {STEP}" in text


def test_a_paused_flow_starts_no_step() -> None:
    pause = Pause(job="nightly", by="ann", since=0, ends=None, comment=None)
    facts = Facts(run=flow(step("load")), now=0, pause=pause, workers=1)
    assert told(facts).startswith("job nightly is paused: none of its steps starts")
    assert "resume nightly" in told(facts)
    running = opened("load", step_run("load", State.STARTED), "it runs")
    assert "no more of its steps start" in told(Facts(run=flow(step("load")), now=0, pause=pause, open_steps=[running]))


def test_a_flow_that_nobody_advances_is_told_of() -> None:
    text = told(Facts(run=flow(step("load")), now=0))
    assert text.startswith("its next step is about to start")
    assert "no live worker" in text


def test_a_flow_with_one_failed_step_names_it_once_with_its_error() -> None:
    error = {"type": "ValueError", "message": "no rows", "traceback": None}
    run = flow(
        step("load", State.FAILURE, reason="exception"),
        step("check", State.REVOKED, reason="upstream_failed"),
        state=State.FAILURE,
        reason="step_failed",
        error={"type": "StepFailed", "message": "load failed", "traceback": None},
    )
    failed = step_run("load", State.FAILURE, reason="exception", error=error)
    explanation = explain(Facts(run=run, now=0, failed_step=failed))
    assert explanation.summary == "it ended in FAILURE, step_failed: step load failed"
    assert explanation.beyond_state == "step load failed"
    assert explanation.because == [
        "error of step load: ValueError: no rows",
        "not run, because a step that they need failed: check",
    ]


def test_a_failed_flow_names_its_failed_steps_and_the_way_on() -> None:
    run = flow(
        step("extract", State.SUCCESS),
        step("load", State.FAILURE, reason="exception", items=50, counts={"FAILURE": 3, "SUCCESS": 47}),
        step("check", State.REVOKED, reason="upstream_failed"),
        step("extra", State.REVOKED, reason="skipped"),
        step("late", State.REVOKED, reason="expired"),
        state=State.FAILURE,
        reason="step_failed",
        error={"type": "StepFailed", "message": "load failed (3 of 50 items)", "traceback": None},
    )
    text = told(Facts(run=run, now=0))
    assert text.startswith("it ended in FAILURE, step_failed: a step of it failed")
    assert "step load failed (3 of 50 items)" in text
    assert "not run, because a step that they need failed: check" in text
    assert "skipped: extra" in text
    assert "step late was revoked, expired" in text
    assert f"rerun {FLOW} --from-failed" in text


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("skipped", "its `if` or its `when` did not hold"),
        ("upstream_failed", "a step that it needs failed"),
        ("expired", "nobody had approved it"),
    ],
)
def test_the_end_of_a_step_run_is_told_by_its_flow(reason: str, words: str) -> None:
    of = flow(step("extract", State.FAILURE), step("load", State.REVOKED), state=State.FAILURE)
    text = told(Facts(run=step_run(state=State.REVOKED, reason=reason), flow=of, now=0))
    assert words in text
    assert f"it is step load of flow {FLOW} (nightly, FAILURE)" in text
    assert ("failed in that flow: extract" in text) == (reason == "upstream_failed")


def test_a_failed_step_run_is_run_again_with_its_flow() -> None:
    text = told(Facts(run=step_run(state=State.FAILURE, reason="exception"), now=0))
    assert f"rerun {FLOW} --from-failed" in text
    assert f"it is step load of flow {FLOW}" in text
    reused = told(Facts(run=step_run(state=State.SUCCESS, reused_from=OTHER), flow=flow(), now=0))
    assert f"its result is that of run {OTHER}" in reused
