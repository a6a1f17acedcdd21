"""What people do to flows: revoke, terminate, pause, approve, reject, run again, ask from Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import runner
from runner.app.factory import create_app
from runner.errors import UsageError
from runner.model.run import State
from tests.support.deadline import wait_until
from tests.support.flow_work import Flows, flows, notes, told

__all__ = ["flows", "notes"]

NOTES = {"notes": {"type": "string"}}
HOLD = {"task": "tasks:hold", "kwargs": {"notes": "${params.notes}"}}
UNTIL = {"task": "tasks:until", "kwargs": {"path": "${params.path}", "notes": "${params.notes}"}}
PATH = {"path": {"type": "string"}}

JOBS: dict[str, Any] = {
    "held": {
        "params": NOTES,
        "steps": {
            "one": {"task": "tasks:give"},
            "hold": {**HOLD, "needs": ["one"]},
            "after": {"needs": ["hold"], "task": "tasks:give"},
        },
    },
    "gentle": {
        "params": {**PATH, **NOTES},
        "steps": {"hold": UNTIL, "after": {"needs": ["hold"], "task": "tasks:give"}},
    },
    "outer": {"params": NOTES, "steps": {"inner": {"job": "held", "params": {"notes": "${params.notes}"}}}},
    "gate": {
        "steps": {
            "before": {"task": "tasks:give"},
            "ask": {"needs": ["before"], "approval": {"within": "12h"}},
            "after": {"needs": ["ask"], "task": "tasks:give", "kwargs": {"value": "${steps.ask.result.comment}"}},
        }
    },
    "impatient": {
        "steps": {
            "ask": {"approval": {"within": "1s"}},
            "after": {"needs": ["ask"], "task": "tasks:give"},
            "instead": {"needs": ["ask"], "when": "failed", "task": "tasks:give", "kwargs": {"value": "late"}},
        }
    },
    "gates": {"steps": {"a": {"approval": {}}, "b": {"approval": {}}}},
    "values": {
        "steps": {
            "one": {"task": "tasks:give", "kwargs": {"value": {"a": 1}}},
            "many": {
                "each": [1, 2, 3],
                "may_fail": True,
                "task": "tasks:fail_if",
                "kwargs": {"x": "${item}", "bad": 2},
            },
        }
    },
    "again": {
        "params": {**PATH, **NOTES},
        "steps": {
            "list": {"task": "tasks:give", "kwargs": {"value": [1, 2], "notes": "${params.notes}"}},
            "map": {
                "needs": ["list"],
                "each": "${steps.list.result}",
                "task": "tasks:give",
                "kwargs": {"value": "${item}", "notes": "${params.notes}"},
            },
            "shaky": {"needs": ["map"], "task": "tasks:fail_unless", "kwargs": {"path": "${params.path}"}},
            "last": {
                "needs": ["shaky"],
                "task": "tasks:give",
                "kwargs": {"value": ["${steps.shaky.result}", "${steps.map.results}"]},
            },
        },
    },
    "plain": {"task": "tasks:give"},
    "stubborn": {"steps": {"fails": {"task": "tasks:fail", "retry": {"max_retries": 3, "delay": "1h"}}}},
    "apart": {
        "queue": "nobody-takes-from-it",
        "steps": {"own": {"task": "tasks:give"}, "inner": {"needs": ["own"], "job": "apart-too"}},
    },
    "apart-too": {"queue": "nor-from-this", "steps": {"own": {"task": "tasks:give"}}},
}


def test_a_flow_that_has_not_begun_is_revoked_at_once(flows: Flows) -> None:
    later = flows.project.submit("gate", "--in", "1h")
    flows.project.cli("revoke", later).check(0)
    run = flows.opened.ledger.get(later)
    assert (run.state, run.reason) == (State.REVOKED, "cancelled")


def test_a_revoked_flow_lets_its_steps_end_and_starts_no_more(flows: Flows, notes: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    flow = flows.submit("gentle", path=str(there), notes=str(notes))
    wait_until(lambda: told(notes), 30.0, "the step runs")
    flows.project.cli("revoke", flow.id, "--comment", "enough").check(0)
    assert flow.state is State.STARTED
    there.touch()
    done = flow.wait(60.0)
    assert (done.state, done.reason) == (State.REVOKED, "cancelled")
    assert flows.steps(done) == {"hold": ("SUCCESS", None), "after": ("REVOKED", "cancelled")}
    flows.project.cli("wait", flow.id).check(3)


def test_a_flow_that_waits_for_an_approval_is_revoked_at_once(flows: Flows) -> None:
    cli = flows.project.cli
    flow = cli("submit", "gate", "--wait", "--timeout", "2s").check(124).id
    cli("revoke", flow).check(0)
    cli("wait", flow, "--timeout", "30s").check(3)
    run = flows.opened.ledger.get(flow)
    assert run.reason == "cancelled"
    assert flows.steps(run) == {
        "before": ("SUCCESS", None),
        "ask": ("REVOKED", "cancelled"),
        "after": ("REVOKED", "cancelled"),
    }


def test_a_flow_is_revoked_while_a_step_waits_for_its_retry(flows: Flows) -> None:
    flow = flows.submit("stubborn")
    wait_until(lambda: flows.rows(flow)["fails"]["counts"].get("RETRY"), 30.0, "the step waits for its retry")
    flows.project.cli("revoke", flow.id).check(0)
    done = flow.wait(30.0)
    assert (done.state, done.reason) == (State.REVOKED, "cancelled")
    assert flows.steps(done)["fails"] == ("REVOKED", "cancelled")


def test_a_terminated_flow_ends_with_its_steps(flows: Flows, notes: Path) -> None:
    flow = flows.submit("held", notes=str(notes))
    wait_until(lambda: told(notes), 30.0, "the step runs")
    flows.project.cli("revoke", flow.id, "--terminate").check(0)
    done = flow.wait(60.0)
    assert (done.state, done.reason) == (State.REVOKED, "terminated")
    steps = flows.steps(done)
    assert steps["one"] == ("SUCCESS", None)
    assert steps["hold"] == ("REVOKED", "terminated")
    assert steps["after"][0] == "REVOKED"
    assert not any("ended" in note for note in told(notes))


def test_a_terminated_flow_ends_the_flows_within_it(flows: Flows, notes: Path) -> None:
    flow = flows.submit("outer", notes=str(notes))
    wait_until(lambda: told(notes), 30.0, "the step runs")
    flow.revoke(terminate=True)
    assert flow.wait(60.0).reason == "terminated"
    inner = flows.run_of(flow, "inner")
    assert inner.state is State.REVOKED
    assert flows.steps(inner)["hold"] == ("REVOKED", "terminated")


def test_a_flow_that_has_ended_is_not_revoked(flows: Flows) -> None:
    flow = flows.run("values")
    assert "had already ended" in flows.project.cli("revoke", flow.id).check(0).stderr
    assert flows.opened.ledger.get(flow.id).state is flow.state


def test_a_revoked_step_is_one_that_failed(flows: Flows, notes: Path) -> None:
    flow = flows.submit("held", notes=str(notes))
    wait_until(lambda: told(notes), 30.0, "the step runs")
    flows.project.cli("revoke", flows.rows(flow)["hold"]["run"], "--terminate").check(0)
    done = flow.wait(60.0)
    assert (done.state, done.reason) == (State.FAILURE, "step_failed")
    assert flows.steps(done)["after"] == ("REVOKED", "upstream_failed")


def test_an_approval_lets_the_flow_go_on(flows: Flows) -> None:
    flow = flows.submit("gate")
    row = flows.wait_for_step(flow, "ask", "PENDING")
    cli = flows.project.cli
    asked = flows.opened.ledger.get(row["run"])
    assert asked.detail == "waits for approval"
    approved = cli("approve", row["run"], "--comment", "go", "--json").check(0).json
    assert (approved["state"], approved["result"]["comment"]) == ("SUCCESS", "go")
    assert flow.wait(60.0).state is State.SUCCESS
    assert flows.run_of(flow, "after").result == "go"
    assert "not wait" in cli("approve", row["run"]).check(5).stderr
    assert "not wait" in cli("reject", flow.id).check(5).stderr
    acts = cli("audit", "--act", "approve", "--json").check(0).json
    assert [(act["id"], act["comment"]) for act in acts if act["id"] == row["run"]] == [(row["run"], "go")]


def test_a_rejection_fails_the_flow(flows: Flows) -> None:
    flow = flows.submit("gate")
    flows.wait_for_step(flow, "ask", "PENDING")
    flows.project.cli("reject", flow.id, "--comment", "rows are missing").check(0)
    done = flow.wait(60.0)
    assert (done.state, done.reason) == (State.FAILURE, "step_failed")
    assert flows.steps(done)["ask"] == ("REVOKED", "rejected")
    assert done.error is not None
    assert done.error["message"] == "ask was rejected"
    revocation = flows.run_of(done, "ask").revocation
    assert revocation is not None
    assert revocation["comment"] == "rows are missing"


def test_an_approval_that_nobody_gives_expires(flows: Flows) -> None:
    flow = flows.run("impatient")
    assert flows.steps(flow) == {
        "ask": ("REVOKED", "expired"),
        "after": ("REVOKED", "upstream_failed"),
        "instead": ("SUCCESS", None),
    }


def test_approvals_are_refused_where_there_is_nothing_to_approve(flows: Flows) -> None:
    cli = flows.project.cli
    cli("approve", "no-such-run").check(4)
    plain = cli("submit", "plain", "--wait").check(0).id
    assert "not wait" in cli("approve", plain).check(5).stderr
    both = flows.submit("gates")
    flows.wait_for_step(both, "b", "PENDING")
    assert "more than one approval" in cli("approve", both.id).check(2).stderr
    flows.project.cli("approve", *(flows.rows(both)[name]["run"] for name in ("a", "b"))).check(0)
    assert both.wait(60.0).state is State.SUCCESS


def test_steps_from_python(flows: Flows) -> None:
    flow = runner.submit("values", project=flows.project.path)
    flow.wait(60.0)
    assert list(flow.steps) == ["one", "many"]
    one, many = flow.steps["one"], flow.steps["many"]
    assert (one.state, one.result, one.results) == (State.SUCCESS, {"a": 1}, [{"a": 1}])
    assert (many.state, many.results, len(many.runs)) == (State.FAILURE, [1, None, 3], 3)
    with pytest.raises(UsageError, match="a result for each item"):
        _ = many.result
    plain = runner.submit("plain", project=flows.project.path)
    assert plain.steps == {}


def test_a_flow_in_the_foreground_has_a_worker_of_its_own(flows: Flows, notes: Path) -> None:
    cli = flows.project.cli
    assert json.loads(cli("run", "values").check(0).stdout) is None
    # No other worker takes from the queue of this step.
    apart = json.loads(cli("run", "apart", "--json").check(0).stdout)
    assert [row["state"] for row in apart["steps"]] == ["SUCCESS", "SUCCESS"]
    inner = flows.opened.ledger.get(apart["steps"][1]["run"])
    assert flows.run_of(inner, "own").queue.startswith("run-")
    assert cli("run", "again", "-p", f"path={notes}.none", "-p", f"notes={notes}").check(1).stdout == ""
    cli("run", "held", "-p", f"notes={notes}", "--timeout", "2s").check(124)


def test_a_flow_and_a_step_cannot_be_called_as_functions(flows: Flows) -> None:
    app = create_app(flows.project.settings, flows.project.catalog)
    for name in ("values", "values/one"):
        with pytest.raises(UsageError, match="cannot be called as a function"):
            app.tasks[name].apply()
        with pytest.raises(UsageError, match="cannot be called as a function"):
            app.tasks[name]()
    with pytest.raises(UsageError, match="runs within its flow alone"):
        app.send_task("values/one")
    sent = app.send_task("values")
    flows.project.cli("wait", sent.id).check(0)
