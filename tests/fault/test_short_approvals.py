"""Flows that wait for days: server and workers are killed meanwhile, and come back with another time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runner.model.run import State
from tests.fault.server import RedisServer
from tests.support.flow_work import FILES, Flows
from tests.support.project import write_project

THREE_DAYS = 3 * 86_400


def gate(within: str) -> dict[str, Any]:
    """Return a flow whose second step waits for an approval."""
    return {
        "steps": {
            "before": {"task": "tasks:give", "kwargs": {"value": 7}},
            "ask": {"needs": ["before"], "approval": {"within": within}},
            "after": {"needs": ["ask"], "task": "tasks:double", "kwargs": {"x": "${steps.before.result}"}},
        }
    }


def test_an_approval_comes_three_days_later_when_everything_was_restarted(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    later = RedisServer(tmp_path / "redis", clock_offset=THREE_DAYS)
    later.port = server.port
    jobs = {"patient": gate("7d"), "impatient": gate("1d")}
    flows = Flows(write_project(tmp_path / "p", server.url, jobs, FILES))
    with server, flows.project.worker(concurrency=1) as worker:
        patient, impatient = flows.submit("patient"), flows.submit("impatient")
        for flow in (patient, impatient):
            flows.wait_for_step(flow, "ask", "PENDING")
        asked = flows.rows(patient)["ask"]["run"]
        server.kill()
        worker.kill()
    with later, flows.project.worker(concurrency=1):
        assert impatient.wait(60.0).reason == "step_failed"
        assert flows.steps(impatient)["ask"] == ("REVOKED", "expired")
        assert (patient.state, flows.rows(patient)["ask"]["state"]) == (State.STARTED, "PENDING")
        flows.project.cli("approve", asked, "--comment", "after the weekend").check(0)
        assert patient.wait(60.0).state is State.SUCCESS
        assert flows.run_of(patient, "after").result == 14
