"""Flows with real workers: when steps start, what they get, and how the flow ends."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

from runner.model.run import State
from tests.support.deadline import wait_until
from tests.support.flow_work import Flows, flows, notes, told

__all__ = ["flows", "notes"]

NOTES = {"notes": {"type": "string"}}

JOBS: dict[str, Any] = {
    "line": {
        "params": {"x": {"type": "integer", "required": True}},
        "steps": {
            "first": {"task": "tasks:double", "kwargs": {"x": "${params.x}"}},
            "second": {"needs": ["first"], "task": "tasks:double", "kwargs": {"x": "${steps.first.result}"}},
            "third": {"needs": ["second"], "task": "tasks:give", "kwargs": {"value": "got ${steps.second.result}"}},
        },
    },
    "diamond": {
        "steps": {
            "top": {"task": "tasks:give", "kwargs": {"value": {"left": 2, "right": [3, 5]}}},
            "left": {"needs": ["top"], "task": "tasks:double", "kwargs": {"x": "${steps.top.result.left}"}},
            "right": {"needs": ["top"], "task": "tasks:double", "kwargs": {"x": "${steps.top.result.right[1]}"}},
            "bottom": {
                "needs": ["left", "right"],
                "task": "tasks:total",
                "kwargs": {"of": ["${steps.left.result}", "${steps.right.result}"]},
            },
        }
    },
    "fan": {
        "params": {"many": {"type": "array", "required": True}, **NOTES},
        "steps": {
            "map": {
                "each": "${params.many}",
                "at_once": 2,
                "task": "tasks:give",
                "kwargs": {"value": "${item}", "notes": "${params.notes}"},
            },
            "join": {"needs": ["map"], "task": "tasks:give", "kwargs": {"value": "${steps.map.results}"}},
        },
    },
    "matrix": {
        "steps": {
            "map": {
                "each": {"a": [1, 2], "b": ["x", "y"]},
                "task": "tasks:give",
                "kwargs": {"value": "${item.b}${item.a}"},
            },
            "join": {"needs": ["map"], "task": "tasks:give", "kwargs": {"value": "${steps.map.results}"}},
        }
    },
    "failing": {
        "steps": {
            "bad": {"task": "tasks:fail"},
            "after": {"needs": ["bad"], "task": "tasks:give"},
            "last": {"needs": ["after"], "task": "tasks:give"},
            "apart": {"task": "tasks:give", "kwargs": {"value": 1}},
        }
    },
    "tolerant": {
        "steps": {
            "map": {
                "each": [1, 2, 3],
                "may_fail": True,
                "task": "tasks:fail_if",
                "kwargs": {"x": "${item}", "bad": 2},
            },
            "join": {
                "needs": ["map"],
                "task": "tasks:give",
                "kwargs": {"value": ["${steps.map.results}", "${steps.map.state}"]},
            },
        }
    },
    "careful": {
        "params": {"x": {"type": "integer", "required": True}},
        "steps": {
            "work": {"task": "tasks:fail_if", "kwargs": {"x": "${params.x}", "bad": 1}},
            "alarm": {"needs": ["work"], "when": "failed", "task": "tasks:give"},
            "cleanup": {
                "needs": ["work"],
                "when": "ended",
                "task": "tasks:give",
                "kwargs": {"value": "${steps.work.state}"},
            },
        },
    },
    "choosy": {
        "params": {"go": {"required": True}},
        "steps": {
            "maybe": {"if": "${params.go}", "task": "tasks:give", "kwargs": {"value": "done"}},
            "after": {"needs": ["maybe"], "task": "tasks:give", "kwargs": {"value": "${steps.maybe.state}"}},
        },
    },
    "outer": {
        "params": {"x": {"type": "integer", "required": True}},
        "steps": {
            "inner": {"job": "line", "params": {"x": "${params.x}"}},
            "plain": {"needs": ["inner"], "job": "keep", "params": {"value": "${steps.inner.state}"}},
            "last": {"needs": ["plain"], "task": "tasks:give", "kwargs": {"value": "${steps.plain.result}"}},
        },
    },
    "keep": {"task": "tasks:give", "params": {"value": {}}},
    "retried": {
        "steps": {
            "shaky": {"task": "tasks:fail_once", "retry": {"max_retries": 2, "delay": "10ms", "jitter": False}},
            "after": {"needs": ["shaky"], "task": "tasks:give", "kwargs": {"value": "${steps.shaky.result}"}},
        }
    },
    "self-aware": {
        "params": {"x": {"type": "integer", "default": 7}, "unused": {"default": 1}},
        "steps": {
            "one": {"task": "tasks:where", "env": {"X": "${params.x}"}},
            "many": {"each": ["a", "b"], "task": "tasks:where", "env": {"ITEM": "${item}"}},
            "job": {"job": "where"},
            "bare": {"task": "tasks:nowhere", "kwargs": {"only": "${params.x}"}},
        },
    },
    "where": {"task": "tasks:where"},
    "script-of": {
        "params": {"script": {"type": "string", "required": True}},
        "steps": {
            "show": {
                "task": "runner.tasks.shell:run",
                "env": {"GIVEN": "${params.script}"},
                "kwargs": {"script": 'test "$GIVEN" = "exit 3"'},
            },
        },
    },
    "overdue": {
        "timeout": "500ms",
        "params": NOTES,
        "steps": {
            "slow": {"task": "tasks:hold", "kwargs": {"notes": "${params.notes}"}},
            "after": {"needs": ["slow"], "task": "tasks:give"},
        },
    },
    "strict": {
        "on_failure": "stop",
        "params": NOTES,
        "steps": {
            "slow": {"task": "tasks:hold", "kwargs": {"notes": "${params.notes}"}},
            "bad": {"task": "tasks:fail"},
            "after": {"needs": ["slow"], "task": "tasks:give"},
            "cleanup": {"needs": ["slow", "bad"], "when": "ended", "task": "tasks:give", "kwargs": {"value": "clean"}},
        },
    },
    "slow-step": {
        "params": NOTES,
        "steps": {
            "slow": {"task": "tasks:hold", "timeout": "500ms", "kwargs": {"notes": "${params.notes}"}},
            "after": {"needs": ["slow"], "task": "tasks:give"},
            "cleanup": {"needs": ["slow"], "when": "ended", "task": "tasks:give"},
        },
    },
    "isolated": {
        "isolation": "process",
        "steps": {
            "first": {"each": [1, 2], "task": "tasks:double", "kwargs": {"x": "${item}"}},
            "bad": {"needs": ["first"], "may_fail": True, "task": "tasks:fail"},
            "last": {"needs": ["first", "bad"], "task": "tasks:total", "kwargs": {"of": "${steps.first.results}"}},
        },
    },
    "wanting": {
        "steps": {
            "some": {"task": "tasks:give", "kwargs": {"value": {"a": 1}}},
            "more": {"needs": ["some"], "task": "tasks:give", "kwargs": {"value": "${steps.some.result.b}"}},
        }
    },
    "not-a-list": {
        "steps": {
            "some": {"task": "tasks:give", "kwargs": {"value": {"a": 1}}},
            "map": {"needs": ["some"], "each": "${steps.some.result}", "task": "tasks:give"},
        }
    },
}

DONE = ("SUCCESS", None)


def test_steps_follow_each_other_and_take_what_the_last_one_has_returned(flows: Flows) -> None:
    flow = flows.run("line", x=3)
    assert flow.state is State.SUCCESS
    assert flows.steps(flow) == {"first": DONE, "second": DONE, "third": DONE}
    assert flows.run_of(flow, "third").result == "got 12"
    runs = [flows.run_of(flow, name) for name in ("first", "second", "third")]
    assert all(str(a.finished_at) <= str(b.started_at) for a, b in pairwise(runs))
    assert [(run.job, run.document()["flow"], run.document()["step"]) for run in runs] == [
        (f"line/{name}", flow.id, name) for name in ("first", "second", "third")
    ]


def test_a_step_waits_for_all_that_it_needs(flows: Flows) -> None:
    flow = flows.run("diamond")
    assert flow.state is State.SUCCESS
    assert flows.run_of(flow, "bottom").result == 14


def test_a_step_for_each_item_some_at_once_joined_in_the_order_of_the_items(flows: Flows, notes: Path) -> None:
    many = list(range(12))
    flow = flows.run("fan", many=many, notes=str(notes))
    assert flow.state is State.SUCCESS
    assert flows.run_of(flow, "join").result == many
    assert sorted(note["given"] for note in told(notes)) == many
    row = flows.rows(flow)["map"]
    assert (row["items"], row["counts"]) == (12, {"SUCCESS": 12})


def test_no_item_is_a_success_with_no_results(flows: Flows, notes: Path) -> None:
    flow = flows.run("fan", many=[], notes=str(notes))
    assert flow.state is State.SUCCESS
    assert flows.run_of(flow, "join").result == []


def test_a_mapping_of_lists_gives_every_combination(flows: Flows) -> None:
    assert flows.run_of(flows.run("matrix"), "join").result == ["x1", "y1", "x2", "y2"]


def test_a_failed_step_fails_the_flow_and_revokes_what_needs_it(flows: Flows) -> None:
    flow = flows.run("failing")
    assert (flow.state, flow.reason) == (State.FAILURE, "step_failed")
    assert flow.error is not None
    assert "bad" in flow.error["message"]
    assert "after" not in flow.error["message"]
    assert flows.steps(flow) == {
        "bad": ("FAILURE", "exception"),
        "after": ("REVOKED", "upstream_failed"),
        "last": ("REVOKED", "upstream_failed"),
        "apart": DONE,
    }


def test_a_step_that_may_fail_leaves_null_where_it_did(flows: Flows) -> None:
    flow = flows.run("tolerant")
    assert flow.state is State.SUCCESS
    assert flows.run_of(flow, "join").result == [[1, None, 3], "FAILURE"]


def test_when_failed_and_when_ended(flows: Flows) -> None:
    good, bad = flows.run("careful", x=0), flows.run("careful", x=1)
    assert flows.steps(good) == {"work": DONE, "alarm": ("REVOKED", "skipped"), "cleanup": DONE}
    assert good.state is State.SUCCESS
    assert flows.steps(bad) == {"work": ("FAILURE", "exception"), "alarm": DONE, "cleanup": DONE}
    assert (bad.state, bad.reason) == (State.FAILURE, "step_failed")
    assert [flows.run_of(flow, "cleanup").result for flow in (good, bad)] == ["SUCCESS", "FAILURE"]


def test_if(flows: Flows) -> None:
    yes, no, neither = (flows.run("choosy", go=value) for value in (True, False, "maybe"))
    assert flows.steps(yes) == {"maybe": DONE, "after": DONE}
    assert flows.steps(no) == {"maybe": ("REVOKED", "skipped"), "after": DONE}
    assert no.state is State.SUCCESS
    assert flows.run_of(no, "after").result == "REVOKED"
    assert flows.steps(neither)["maybe"] == ("FAILURE", "invalid_params")
    error = flows.run_of(neither, "maybe").error
    assert error is not None
    assert "true or false" in error["message"]


def test_a_step_can_be_a_job_and_a_flow(flows: Flows) -> None:
    flow = flows.run("outer", x=2)
    assert flow.state is State.SUCCESS
    inner = flows.run_of(flow, "inner")
    assert (inner.job, inner.document()["flow"]) == ("line", flow.id)
    assert flows.steps(inner) == {"first": DONE, "second": DONE, "third": DONE}
    assert flows.run_of(flow, "last").result == "SUCCESS"


def test_a_step_is_retried_within_its_flow(flows: Flows) -> None:
    flow = flows.run("retried")
    assert flow.state is State.SUCCESS
    assert flows.run_of(flow, "after").result == 2


def test_a_step_knows_its_flow_and_is_called_with_its_kwargs_alone(flows: Flows) -> None:
    flow = flows.run("self-aware")
    assert flow.state is State.SUCCESS
    assert flows.run_of(flow, "one").result == [flow.id, "self-aware", "one", None, {"x": 7}]
    assert flows.submit("self-aware").wait(60.0).state is State.SUCCESS
    many = [flows.opened.ledger.get(flow.id)]
    assert many[0].state is State.SUCCESS
    assert flows.run_of(flow, "job").result == [flow.id, "self-aware", "job", None, {}]
    assert flows.run_of(flow, "bare").result == {"only": 7}
    assert flows.run("where").result is None


def test_a_param_of_a_flow_may_have_the_name_of_an_option_of_a_stock_task(flows: Flows) -> None:
    flow = flows.run("script-of", script="exit 3")
    assert flow.state is State.SUCCESS


def test_a_flow_that_takes_too_long_is_ended_with_its_steps(flows: Flows, notes: Path) -> None:
    flow = flows.run("overdue", notes=str(notes))
    assert (flow.state, flow.reason) == (State.FAILURE, "timeout")
    steps = flows.steps(flow)
    assert steps["slow"] == ("REVOKED", "terminated")
    assert steps["after"][0] == "REVOKED"
    assert not any("ended" in note for note in told(notes))


def test_a_step_that_takes_too_long_is_killed_and_the_flow_goes_on(flows: Flows, notes: Path) -> None:
    flow = flows.run("slow-step", notes=str(notes))
    assert (flow.state, flow.reason) == (State.FAILURE, "step_failed")
    assert flows.steps(flow) == {
        "slow": ("FAILURE", "timeout"),
        "after": ("REVOKED", "upstream_failed"),
        "cleanup": DONE,
    }


def test_a_failure_stops_the_other_branches_where_the_flow_says_so(flows: Flows, notes: Path) -> None:
    flow = flows.run("strict", notes=str(notes))
    assert (flow.state, flow.reason) == (State.FAILURE, "step_failed")
    steps = flows.steps(flow)
    assert steps["bad"] == ("FAILURE", "exception")
    assert steps["slow"][0] == "REVOKED"
    assert steps["after"][0] == "REVOKED"
    assert steps["cleanup"] == DONE
    assert not any("ended" in note for note in told(notes))


def test_steps_in_processes_of_their_own(flows: Flows) -> None:
    flow = flows.run("isolated")
    assert flow.state is State.SUCCESS
    assert flows.run_of(flow, "last").result == 6


def test_a_value_that_is_not_there_fails_the_step_that_wants_it(flows: Flows) -> None:
    flow = flows.run("wanting")
    assert flows.steps(flow)["more"] == ("FAILURE", "invalid_params")
    error = flows.run_of(flow, "more").error
    assert error is not None
    assert "kwargs.value: ${steps.some.result.b}: steps.some.result has no key b" in error["message"]


def test_each_of_what_is_no_list_fails_the_step(flows: Flows) -> None:
    flow = flows.run("not-a-list")
    assert flows.steps(flow)["map"] == ("FAILURE", "invalid_params")
    error = flows.run_of(flow, "map").error
    assert error is not None
    assert "must give a list" in error["message"]


def test_exit_codes_of_submit_wait(flows: Flows, notes: Path) -> None:
    cli = flows.project.cli
    cli("submit", "line", "-p", "x=1", "--wait").check(0)
    cli("submit", "failing", "--wait").check(1)
    cli("submit", "careful", "-p", "x=1", "--wait").check(1)
    cli("submit", "overdue", "-p", f"notes={notes}", "--wait").check(1)
    cli("submit", "choosy", "-p", "go=false", "--wait").check(0)
    refused = cli("submit", "line/first").check(2)
    assert "submit line" in " ".join(refused.stderr.split())
    cli("submit", "no-such-flow", "--wait").check(2)


def test_a_flow_holds_no_taker_and_no_claim(flows: Flows, tmp_path: Path, notes: Path) -> None:
    """More flows than takers: each has a step that waits for a file, which takes a taker each; flows take none."""
    made = [flows.submit("overdue", notes=str(notes)) for _ in range(8)]
    for flow in made:
        wait_until(lambda run=flow: run.state is not State.PENDING, 30.0, "the flow is begun")  # type: ignore[misc]
    for flow in made:
        assert flow.wait(60.0).reason == "timeout"
