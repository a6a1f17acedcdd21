"""Results of steps that are handed over: read by reference, and refused where they are too large."""

from __future__ import annotations

from typing import Any

import pytest

from runner.ledger import flows as ledger_flows
from runner.ledger.flows import read_results
from runner.model.run import State
from runner.model.value_path import NoValue
from tests.support.bench import Bench
from tests.support.flows import FlowBench

JOBS: dict[str, Any] = {
    "flow": {
        "steps": {
            "a": {"each": [1, 2, 3], "task": "m:a"},
            "b": {"needs": ["a"], "job": "other", "params": {"all": "${steps.a.results}"}},
        }
    },
    "other": {"task": "m:b", "params": {"all": {}}},
}


def test_results_of_a_step_are_handed_over_up_to_a_size(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    flows = FlowBench(bench, JOBS)
    flow = flows.run()
    monkeypatch.setattr(ledger_flows, "MOST_RESULTS", 5_000)
    flows.work(lambda run: "x" * 2000 if run.step == "a" else None)
    failed = flows.of(flow, "b")
    assert (failed.state, failed.reason) == (State.FAILURE, "invalid_params")
    assert failed.error is not None
    assert "${steps.a.results}: the 3 results have" in failed.error["message"]
    assert flows.get(flow).reason == "step_failed"
    with pytest.raises(NoValue, match="write files"):
        _ = read_results(flows.ledger, flow)["a"].results
    monkeypatch.setattr(ledger_flows, "MOST_RESULTS", 10_000)
    assert read_results(flows.ledger, flow)["a"].results == ["x" * 2000] * 3
