"""Revoking flows needs no worker: what waits ends at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.bench import Bench
from tests.support.flows import FlowBench
from tests.support.project import Project

JOBS: dict[str, Any] = {"flow": {"steps": {"a": {"task": "os:getpid"}, "ask": {"approval": {}}}}}


@pytest.mark.parametrize("running", [False, True])
def test_a_flow_ends_with_the_last_of_its_step_runs(make_project: Callable[..., Project], *, running: bool) -> None:
    project = make_project(JOBS)
    ledger = project.ledger()
    flows = FlowBench(Bench(ledger), JOBS)
    flow = flows.run()
    taken = flows.take() if running else None
    document = project.cli("revoke", flow, "--json").check().json
    assert document["state"] == ("STARTED" if running else "REVOKED")
    assert flows.steps(flow)["ask"] == "REVOKED"
    if taken is not None:
        flows.settle(taken, 1)
        flows.drain()
    run = flows.get(flow)
    assert (run.state, run.reason) == ("REVOKED", "cancelled")
    ledger.close()


def test_the_steps_of_a_flow_that_never_began_are_revoked_with_it(make_project: Callable[..., Project]) -> None:
    project = make_project(JOBS)
    flow = project.cli("submit", "flow").check().stdout.strip()
    project.cli("revoke", flow).check()
    document = project.cli("status", flow, "--json").check().json
    assert {(step["state"], step["reason"], step["items"]) for step in document["steps"]} == {
        ("REVOKED", "cancelled", None)
    }
