"""Flows that are run again from where they failed: what is taken over, what runs, and what is said about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from runner.model.run import State
from tests.support.flow_work import FILES, Flows, notes, told
from tests.support.project import Project

__all__ = ["notes"]


def steps(value: Any = "first", **more: Any) -> dict[str, Any]:
    """Return the jobs of a flow whose third step fails until there is a file."""
    step = {"task": "tasks:give"}
    return {
        "flow": {
            "params": {"path": {"type": "string"}, "notes": {"type": "string"}},
            "steps": {
                "a": {**step, "kwargs": {"value": value, "notes": "${params.notes}"}},
                "b": {**step, "needs": ["a"], "kwargs": {"value": "b", "notes": "${params.notes}"}},
                "apart": {**step, "kwargs": {"value": "apart", "notes": "${params.notes}"}},
                "shaky": {"needs": ["b"], "task": "tasks:fail_unless", "kwargs": {"path": "${params.path}"}},
                "cleanup": {
                    **step,
                    "needs": ["shaky"],
                    "when": "ended",
                    "kwargs": {"value": "cleanup", "notes": "${params.notes}"},
                },
                **more,
            },
        }
    }


def rewrite(flows: Flows, jobs: dict[str, Any]) -> None:
    flows.project.write({"jobs.d/jobs.yaml": yaml.safe_dump({"jobs": jobs}, sort_keys=False)})


def test_what_succeeded_is_taken_over_and_what_follows_a_failure_runs_again(
    make_project: Callable[..., Project], notes: Path, tmp_path: Path
) -> None:
    there = tmp_path / "there"
    flows = Flows(make_project(steps(), FILES))
    with flows.project.worker(concurrency=2):
        flow = flows.run("flow", path=str(there), notes=str(notes))
        assert flow.reason == "step_failed"
        first = sorted(note["given"] for note in told(notes))
        assert first == ["apart", "b", "cleanup", "first"]
        there.touch()
        again = flows.project.cli("rerun", flow.id, "--from-failed", "--wait").check(0)
        assert "step shaky runs\n" in again.stderr
        assert "step cleanup runs again: it needs shaky, which runs again" in again.stderr
        assert "step b" not in again.stderr
        # A cleanup that had succeeded cleans up again.
        assert sorted(note["given"] for note in told(notes)) == sorted([*first, "cleanup"])
        done = flows.opened.ledger.get(again.id)
        reused = {name: flows.run_of(done, name).document()["reused_from"] for name in flows.steps(done)}
        assert reused == {
            "a": flows.run_of(flow, "a").id,
            "b": flows.run_of(flow, "b").id,
            "apart": flows.run_of(flow, "apart").id,
            "shaky": None,
            "cleanup": None,
        }
        refused = flows.project.cli("rerun", again.id, "--from-failed").check(5)
        assert "none would run" in refused.stderr


def test_a_step_that_has_changed_runs_again_with_those_that_need_it(
    make_project: Callable[..., Project], notes: Path, tmp_path: Path
) -> None:
    there = tmp_path / "there"
    flows = Flows(make_project(steps(), FILES))
    with flows.project.worker(concurrency=2):
        flow = flows.run("flow", path=str(there), notes=str(notes))
        there.touch()
        rewrite(flows, steps("other", new={"task": "tasks:give"}))
        again = flows.project.cli("rerun", flow.id, "--from-failed", "--wait").check(0)
        assert "step a runs again: it has changed since" in again.stderr
        assert "step b runs again: it needs a, which runs again" in again.stderr
        assert "step new runs\n" in again.stderr
        assert "step apart" not in again.stderr
        done = flows.opened.ledger.get(again.id)
        assert done.state is State.SUCCESS
        assert sorted(note["given"] for note in told(notes)) == sorted(
            ["first", "b", "apart", "cleanup", "other", "b", "cleanup"]
        )


def test_from_failed_is_refused_where_nothing_can_be_kept(make_project: Callable[..., Project], notes: Path) -> None:
    flows = Flows(make_project({**steps(), "plain": {"task": "tasks:give"}}, FILES))
    with flows.project.worker(concurrency=2):
        cli = flows.project.cli
        plain = cli("submit", "plain", "--wait").check(0).id
        assert "has no steps" in cli("rerun", plain, "--from-failed").check(2).stderr
        flow = flows.run("flow", path=f"{notes}.none", notes=str(notes))
        cli("rerun", flows.run_of(flow, "shaky").id).check(5)
        rewrite(flows, {"flow": {"task": "tasks:give", "params": steps()["flow"]["params"]}})
        assert "has no steps" in cli("rerun", flow.id, "--from-failed").check(2).stderr
    cli("rerun", "no-such-run-at-all", "--from-failed").check(4)
