"""Flows in the pools that have no processes of their own, and what a worker that reloads its jobs makes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.model.run import State
from tests.support.flow_work import FILES, Flows, notes, told
from tests.support.project import Project

__all__ = ["notes"]

NOTES = {"notes": {"type": "string"}}

JOBS: dict[str, Any] = {
    "flow": {
        "params": NOTES,
        "steps": {
            "list": {"task": "tasks:give", "kwargs": {"value": [1, 2, 3]}},
            "map": {
                "needs": ["list"],
                "each": "${steps.list.result}",
                "task": "tasks:double",
                "kwargs": {"x": "${item}"},
            },
            "bad": {"needs": ["map"], "may_fail": True, "task": "tasks:fail"},
            "join": {"needs": ["map", "bad"], "task": "tasks:total", "kwargs": {"of": "${steps.map.results}"}},
        },
    },
}


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_a_flow_in_another_pool(make_project: Callable[..., Project], pool: str) -> None:
    flows = Flows(make_project(JOBS, FILES))
    with flows.project.worker("-P", pool, concurrency=1 if pool == "solo" else 2):
        made = [flows.submit("flow") for _ in range(3)]
        for flow in made:
            assert flow.wait(60.0).state is State.SUCCESS
            assert flows.run_of(flow, "join").result == 12


def test_a_pool_refuses_what_a_step_needs_and_it_lacks(make_project: Callable[..., Project]) -> None:
    steps = {"slow": {"task": "tasks:give", "timeout": "5s"}}
    project = make_project({"flow": {"timeout": "1h", "steps": steps}}, FILES)
    refused = project.cli("worker", "-P", "threads").check(2)
    assert "flow/slow (timeout)" in refused.stderr


def test_steps_follow_their_file_and_graphs_do_not(
    make_project: Callable[..., Project], notes: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    before: dict[str, Any] = {
        "flow": {
            "params": {"path": {"type": "string"}, **NOTES},
            "steps": {
                "held": {"task": "tasks:until", "kwargs": {"path": "${params.path}", "notes": "${params.notes}"}},
                "after": {"needs": ["held"], "task": "tasks:give", "kwargs": {"value": "old"}},
            },
        }
    }
    flows = Flows(make_project(before, FILES))
    with flows.project.worker(concurrency=1) as worker:
        flow = flows.submit("flow", path=str(gate), notes=str(notes))
        flows.wait_for_step(flow, "held", "STARTED")
        steps = {
            "new": {"task": "tasks:give", "kwargs": {"value": "from the start"}},
            "after": {"needs": ["new"], "task": "tasks:give", "kwargs": {"value": "new"}},
        }
        after = {"flow": {**before["flow"], "steps": {**before["flow"]["steps"], **steps}}}
        flows.project.write({"jobs.d/jobs.yaml": yaml.safe_dump({"jobs": after}, sort_keys=False)})
        worker.wait_for("jobs are reloaded")
        gate.touch()
        done = flow.wait(60.0)
        assert done.state is State.SUCCESS
        # Its graph is that of its submission; the code and the arguments of a step are those of the worker.
        assert list(flows.steps(done)) == ["held", "after"]
        assert flows.run_of(done, "after").result == "new"
        fresh = Flows(flows.project).run("flow", path=str(gate), notes=str(notes))
        assert list(flows.steps(fresh)) == ["held", "after", "new"]
        assert len(told(notes)) == 2


def test_a_run_of_a_job_that_has_got_steps_since_fails_and_says_so(make_project: Callable[..., Project]) -> None:
    flows = Flows(make_project({"job": {"task": "tasks:give"}}, FILES))
    run = flows.submit("job")
    flow = {"job": {"steps": {"one": {"task": "tasks:give"}}}}
    flows.project.write({"jobs.d/jobs.yaml": yaml.safe_dump({"jobs": flow})})
    with flows.project.worker(concurrency=1):
        done = run.wait(60.0)
    assert (done.state, done.reason) == (State.FAILURE, "invalid_params")
    assert done.error is not None
    assert "has got steps since" in done.error["message"]


def test_a_flow_whose_job_has_lost_its_steps_runs_those_that_it_has(make_project: Callable[..., Project]) -> None:
    flows = Flows(make_project({"job": {"steps": {"one": {"job": "other"}}}, "other": {"task": "tasks:give"}}, FILES))
    run = flows.submit("job")
    plain = {"job": {"task": "tasks:fail"}, "other": {"task": "tasks:give"}}
    flows.project.write({"jobs.d/jobs.yaml": yaml.safe_dump({"jobs": plain})})
    with flows.project.worker(concurrency=1):
        assert run.wait(60.0).state is State.SUCCESS


SECRET = "a-key-that-nobody-sees"


def test_the_secrets_of_a_step_are_masked(make_project: Callable[..., Project]) -> None:
    steps = {
        "tells": {"task": "tasks:tell_secret", "secrets": {"KEY": "env:THE_KEY"}},
        "takes": {"needs": ["tells"], "task": "tasks:give", "kwargs": {"value": "${steps.tells.result}"}},
        "inherits": {"task": "tasks:tell_secret"},
    }
    jobs = {"flow": {"secrets": {"KEY": "env:THE_KEY"}, "steps": steps}}
    flows = Flows(make_project(jobs, FILES))
    with flows.project.worker(env={"THE_KEY": SECRET}) as worker:
        flow = flows.run("flow")
        assert flow.state is State.SUCCESS
        for name in ("tells", "takes", "inherits"):
            assert flows.run_of(flow, name).result == "the key is ***"
        assert SECRET not in worker.log


def test_a_secret_that_is_missing_fails_its_step(make_project: Callable[..., Project]) -> None:
    steps = {
        "one": {"task": "tasks:give"},
        "two": {"needs": ["one"], "task": "tasks:tell_secret", "secrets": {"KEY": "env:THE_KEY"}},
    }
    flows = Flows(make_project({"flow": {"steps": steps}}, FILES))
    with flows.project.worker(env={"THE_KEY": None}):
        assert flows.steps(flows.run("flow")) == {"one": ("SUCCESS", None), "two": ("FAILURE", "missing_secret")}
