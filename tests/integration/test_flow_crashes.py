"""Flows whose workers are killed at any moment: nothing is lost, nothing runs too early, and at_most_once holds."""

from __future__ import annotations

import json
import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from runner import submit_many
from runner.model.run import FINAL, State
from tests.support.deadline import wait_until
from tests.support.flow_work import FILES, Flows, notes, told
from tests.support.processes import takers_of
from tests.support.project import Project
from tests.support.running import Running

__all__ = ["notes"]

NOTES = {"notes": {"type": "string"}}
TELL = {"task": "tasks:give", "max_deliveries": 50}


def step(name: str, **options: Any) -> dict[str, Any]:
    """Return a step that notes its name, and its item if it has one."""
    value = [name, "${item}"] if "each" in options else [name]
    return {**TELL, "kwargs": {"value": value, "notes": "${params.notes}"}, **options}


JOBS: dict[str, Any] = {
    "battle": {
        "params": NOTES,
        "steps": {
            "start": step("start"),
            "fan": step("fan", needs=["start"], each=list(range(8)), at_once=3),
            "once": step("once", needs=["start"], delivery="at_most_once", may_fail=True),
            "join": step("join", needs=["fan", "once"]),
            "inner": {"needs": ["join"], "job": "inner", "params": {"notes": "${params.notes}"}},
            "end": step("end", needs=["inner"], when="ended"),
        },
    },
    "inner": {"params": NOTES, "steps": {"a": step("a"), "b": step("b", needs=["a"])}},
    "wait": {
        "params": {"path": {"type": "string"}, **NOTES},
        "steps": {
            "held": {"task": "tasks:until", "kwargs": {"path": "${params.path}", "notes": "${params.notes}"}},
            "after": step("after", needs=["held"]),
        },
    },
    "once": {
        "params": NOTES,
        "steps": {
            "deadly": {
                "task": "tasks:die",
                "delivery": "at_most_once",
                "kwargs": {"notes": "${params.notes}"},
            },
            "after": step("after", needs=["deadly"]),
            "cleanup": step("cleanup", needs=["deadly"], when="ended"),
        },
    },
    "deadly": {
        "params": NOTES,
        "steps": {
            "deadly": {"task": "tasks:die", "max_deliveries": 2, "kwargs": {"notes": "${params.notes}"}},
            "after": step("after", needs=["deadly"]),
        },
    },
    "gate": {
        "params": NOTES,
        "steps": {
            "before": step("before"),
            "approve": {"needs": ["before"], "approval": {"within": "12h"}},
            "after": step("after", needs=["approve"]),
        },
    },
    "echo": {"task": "tasks:give"},
}


@pytest.fixture
def flows(make_project: Callable[..., Project]) -> Flows:
    return Flows(make_project(JOBS, FILES, {"worker": {"lease": "2s"}}))


def test_flows_survive_the_deaths_of_workers_and_takers(flows: Flows, notes: Path) -> None:
    project, dice = flows.project, random.Random(17)
    ids = [run.id for run in submit_many("battle", ({"notes": str(notes)} for _ in range(25)), project=project.path)]
    ledger = flows.opened.ledger

    def ended() -> int:
        return sum(run.state in FINAL for run in ledger.get_many(ids))

    with ExitStack() as stack:
        workers: list[Running] = [stack.enter_context(project.worker(concurrency=2)) for _ in range(2)]
        while ended() < len(ids):
            seen = len(told(notes))
            wait_until(lambda: len(told(notes)) >= seen + 12 or ended() == len(ids), 90.0, "steps run")  # noqa: B023
            if dice.random() < 0.5:
                victim = dice.choice(workers)
                os.kill(victim.pid, signal.SIGKILL)
                workers.remove(victim)
                workers.append(stack.enter_context(project.worker(concurrency=2)))
            else:
                for pid in dice.sample([pid for worker in workers for pid in takers_of(worker.pid)], 1):
                    os.kill(pid, signal.SIGKILL)

    lines = told(notes)
    flows_done = ledger.get_many(ids)
    assert {run.state for run in flows_done} == {State.SUCCESS}, Counter(str(run.error) for run in flows_done)
    first: dict[str, float] = {}
    for line in lines:
        first.setdefault(line["id"], line["at"])
    for flow in flows_done:
        rows = flows.rows(flow)
        assert rows["fan"]["counts"] == {"SUCCESS": 8}
        assert {name: row["state"] for name, row in rows.items() if name != "once"} == dict.fromkeys(
            ("start", "fan", "join", "inner", "end"), "SUCCESS"
        )
        start, join = (flows.run_of(flow, name) for name in ("start", "join"))
        assert str(start.finished_at) <= str(join.started_at)
    once = Counter(line["id"] for line in lines if line["given"] == ["once"])
    assert set(once.values()) == {1}
    successes = Counter(json.dumps(line["given"]) for line in lines)
    assert successes['["join"]'] >= len(ids)


def test_a_step_that_kills_its_process_is_not_started_again(flows: Flows, notes: Path) -> None:
    with flows.project.worker(concurrency=1):
        flow = flows.run("once", notes=str(notes))
        assert (flow.state, flow.reason) == (State.FAILURE, "step_failed")
        assert flows.steps(flow) == {
            "deadly": ("FAILURE", "worker_lost"),
            "after": ("REVOKED", "upstream_failed"),
            "cleanup": ("SUCCESS", None),
        }
        assert [note.get("begun") for note in told(notes)].count(True) == 1


def test_a_step_that_kills_every_process_is_poisoned(flows: Flows, notes: Path) -> None:
    with flows.project.worker(concurrency=1):
        flow = flows.run("deadly", notes=str(notes))
        assert flows.steps(flow) == {"deadly": ("FAILURE", "poisoned"), "after": ("REVOKED", "upstream_failed")}
        assert len(told(notes)) == 2


def test_a_flow_goes_on_with_workers_that_did_not_begin_it(flows: Flows, notes: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    with flows.project.worker(concurrency=1) as first:
        flow = flows.submit("wait", path=str(there), notes=str(notes))
        wait_until(lambda: told(notes), 30.0, "the step runs")
        first.kill()
    assert flow.state is State.STARTED
    there.touch()
    with flows.project.worker(concurrency=1):
        assert flow.wait(60.0).state is State.SUCCESS
        assert flows.run_of(flow, "after").result == ["after"]


def test_an_approval_outlives_all_workers(flows: Flows, notes: Path) -> None:
    project = flows.project
    with project.worker(concurrency=1):
        flow = flows.submit("gate", notes=str(notes))
        flows.wait_for_step(flow, "approve", "PENDING")
    assert flow.state is State.STARTED
    # Nobody is there to go on with the flow but whoever approves.
    project.cli("approve", flow.id, "--comment", "go").check(0)
    with project.worker(concurrency=1):
        assert flow.wait(60.0).state is State.SUCCESS
    approval = flows.run_of(flow, "approve")
    assert approval.result["comment"] == "go"
