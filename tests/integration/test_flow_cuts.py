"""A taker that dies before or after any script of a flow: the flow goes on, and each step has one outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.model.run import State
from tests.support.flow_work import FILES, Flows, notes, told
from tests.support.project import Project

__all__ = ["notes"]

CUTS = """
import os, signal
from pathlib import Path

from runner.ledger.store import Store

HERE = Path(__file__).parent
PARENT = os.getpid()


def arm():
    \"\"\"Let the taker that runs a script of which the number stands in a file die, once for each number.\"\"\"
    real = Store.script

    def script(self, name, *args):
        number = None if os.getpid() == PARENT else count()
        if number is not None and os.environ["DIES"] == "before":
            die(number)
        answer = real(self, name, *args)
        if number is not None and os.environ["DIES"] == "after":
            die(number)
        return answer

    Store.script = script


def count():
    handle = os.open(HERE / "scripts", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, b".")
    number = os.lseek(handle, 0, os.SEEK_CUR)
    os.close(handle)
    return number


def die(number):
    try:
        at = int((HERE / "dies-at").read_text())
        if number >= at:
            os.rename(HERE / "dies-at", HERE / "died")
            os.kill(os.getpid(), signal.SIGKILL)
    except FileNotFoundError:
        pass
"""

TELL = {"task": "tasks:give", "max_deliveries": 50}
NOTED = {"notes": "${params.notes}"}
JOBS: dict[str, Any] = {
    "flow": {
        "params": {"notes": {"type": "string"}},
        "steps": {
            "a": {**TELL, "kwargs": {"value": [1, 2], **NOTED}},
            "fan": {**TELL, "needs": ["a"], "each": "${steps.a.result}", "kwargs": {"value": "${item}", **NOTED}},
            "once": {
                "task": "tasks:give",
                "needs": ["a"],
                "delivery": "at_most_once",
                "may_fail": True,
                "kwargs": {"value": "once", **NOTED},
            },
            "join": {**TELL, "needs": ["fan", "once"], "kwargs": {"value": "${steps.fan.results}", **NOTED}},
        },
    },
}


@pytest.mark.parametrize("dies", ["before", "after"])
def test_a_taker_that_dies_at_any_script_of_a_flow(
    make_project: Callable[..., Project], notes: Path, dies: str
) -> None:
    settings = {"setup": "cuts:arm", "worker": {"lease": "2s"}}
    flows = Flows(make_project(JOBS, {**FILES, "cuts.py": CUTS}, settings))
    scripts, at, died = (flows.project.path / name for name in ("scripts", "dies-at", "died"))
    cut = 0
    with flows.project.worker(concurrency=2, env={"DIES": dies}):
        for number in range(1, 30, 2):
            died.unlink(missing_ok=True)
            # Idle takers ask nothing: what is counted from here on are the scripts of this flow.
            scripts.unlink(missing_ok=True)
            at.write_text(str(number))
            flow = flows.run("flow", notes=str(notes))
            assert flow.state is State.SUCCESS, (number, flow.error)
            assert flows.run_of(flow, "join").result == [1, 2], number
            assert flows.rows(flow)["fan"]["counts"] == {"SUCCESS": 2}
            cut += died.exists()
            once = flows.run_of(flow, "once")
            told_of = Counter(note["id"] for note in told(notes))
            assert told_of[once.id] <= 1
            assert told_of[once.id] == 1 or once.reason == "worker_lost"
    assert cut > 10
