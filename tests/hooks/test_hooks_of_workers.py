"""Hooks fired by real workers, which may be killed at any moment."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.answers import texts
from tests.support.deadline import wait_until
from tests.support.project import Project
from tests.support.work import FILES, JOBS

TAKES_RUN = {"run": {"type": "object"}}

HOOKED: dict[str, Any] = {
    "fine": {"task": "work:shared", "kwargs": {"x": 1}, "hooks": {"success": ["tell"]}},
    "wrong": {"task": "work:value_error", "hooks": {"failure": ["tell", "page"], "success": ["page"]}},
    "retried": {**JOBS["tells-attempt"], "hooks": {"retry": ["tell"], "failure": ["page"]}},
    "stuck": {**JOBS["sleep"], "hooks": {"revoked": ["tell"]}},
    "die": {**JOBS["die"], "max_deliveries": 1, "hooks": {"failure": ["tell"]}},
    "flaky": {
        "task": "hooked:flaky",
        "params": {"fails": {"type": "boolean"}},
        "hooks": {"start": ["tell"], "failure": [{"job": "tell", "after": 2}], "recovered": ["tell"]},
    },
    "slow": {**JOBS["sleep"], "overrun": "100ms", "hooks": {"overrun": ["tell"]}},
    "tell": {"task": "hooked:tell", "params": TAKES_RUN},
    "page": {"task": "hooked:tell", "params": TAKES_RUN},
}
HOOK = """
import json, os
from runner import current_run

def flaky(fails):
    if fails:
        raise ValueError("not now")

def tell(run):
    with open(os.environ["TOLD"], "a") as told:
        line = {"hook": current_run().job, "id": run["id"], "job": run["job"], "state": run["state"], "log": run["log"],
            "event": run["hook"]}
        told.write(json.dumps(line) + "\\\\n")
""".replace("\\\\n", "\\n")


def told(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_each_outcome_calls_its_hooks(make_project: Callable[..., Project], tmp_path: Path) -> None:
    project = make_project(HOOKED, {**FILES, "hooked.py": HOOK})
    path = tmp_path / "told.jsonl"
    with project.worker(env={"TOLD": str(path)}):
        ids = {job: project.cli("submit", job).check().id for job in ("fine", "wrong", "retried", "stuck")}
        ids["die"] = project.cli("submit", "die", "-p", f"notes={tmp_path / 'notes'}").check().id
        project.wait_for_state(ids["stuck"], "STARTED")
        project.cli("revoke", ids["stuck"], "--terminate").check()
        wait_until(lambda: len(told(path)) >= 7, 60.0, "all hooks have run")
        expected = {
            ("tell", ids["fine"], "SUCCESS"),
            ("tell", ids["wrong"], "FAILURE"),
            ("page", ids["wrong"], "FAILURE"),
            ("page", ids["retried"], "FAILURE"),
            ("tell", ids["stuck"], "REVOKED"),
            ("tell", ids["die"], "FAILURE"),
        }
        found = [(call["hook"], call["id"], call["state"]) for call in told(path)]
        assert {call for call in found if call[:2] != ("tell", ids["retried"])} == expected
        assert len(found) == len(expected) + 1
        [failed] = [call for call in told(path) if call["id"] == ids["retried"] and call["hook"] == "page"]
        assert failed["log"] == ["attempt 2"]
    hooks = [run for run in project.ledger().runs(limit=100) if run.trigger == "hook"]
    assert {run.hook_of for run in hooks} == set(ids.values())


def test_a_worker_killed_right_after_the_outcome_loses_no_hook(
    make_project: Callable[..., Project], tmp_path: Path
) -> None:
    project = make_project(HOOKED, {**FILES, "hooked.py": HOOK}, {"worker": {"lease": "2s"}})
    path = tmp_path / "told.jsonl"
    ids = []
    for _ in range(3):
        with project.worker(env={"TOLD": str(path)}) as worker:
            ids.append(project.cli("submit", "fine", "--wait").check().id)
            os.kill(worker.pid, signal.SIGKILL)
    # What the killed ones had taken and not done comes again.
    with project.worker(env={"TOLD": str(path)}):
        key = f"{project.ledger().namespace}:outbox"
        for entry in texts(project.redis().zrange(key, 0, -1)):
            project.redis().zadd(key, {entry: 0}, xx=True)
        wait_until(lambda: {call["id"] for call in told(path)} == set(ids), 60.0, "every hook has run")
    made = [run.hook_of or "" for run in project.ledger().runs(limit=100) if run.trigger == "hook"]
    assert sorted(made) == sorted(ids)


def test_workers_killed_between_lose_no_alert_and_repeat_none(
    make_project: Callable[..., Project], tmp_path: Path
) -> None:
    project = make_project(HOOKED, {**FILES, "hooked.py": HOOK}, {"worker": {"lease": "2s"}})
    path = tmp_path / "told.jsonl"
    ids = []
    for fails in ("true", "true", "false", "true"):
        with project.worker(env={"TOLD": str(path)}) as worker:
            ids.append(project.cli("submit", "flaky", "-p", f"fails={fails}", "--wait").id)
            os.kill(worker.pid, signal.SIGKILL)
    expected = {("failure", ids[1]), ("recovered", ids[2]), *(("start", run_id) for run_id in ids)}
    with project.worker(env={"TOLD": str(path)}):
        key = f"{project.ledger().namespace}:outbox"
        for entry in texts(project.redis().zrange(key, 0, -1)):
            project.redis().zadd(key, {entry: 0}, xx=True)
        wait_until(
            lambda: {(call["event"], call["id"]) for call in told(path)} == expected, 60.0, "all alerts have fired"
        )
    made = [run for run in project.ledger().runs(limit=100) if run.trigger == "hook"]
    assert sorted((run.params["run"]["hook"], run.hook_of or "") for run in made) == sorted(expected)


def test_a_run_that_takes_too_long_is_told_of_and_shown_while_its_worker_is_killed(
    make_project: Callable[..., Project], tmp_path: Path
) -> None:
    project = make_project(HOOKED, {**FILES, "hooked.py": HOOK}, {"worker": {"lease": "2s"}})
    path = tmp_path / "told.jsonl"
    with project.worker(env={"TOLD": str(path)}) as worker:
        run_id = project.submit("slow")
        wait_until(lambda: project.document(run_id)["overran_at"], 60.0, "the run is marked")
        os.kill(worker.pid, signal.SIGKILL)
    with project.worker("-c", "2", env={"TOLD": str(path)}):
        wait_until(lambda: project.document(run_id)["losses"] == 1, 60.0, "the lost attempt is seen")
        project.wait_for_state(run_id, "STARTED")
        wait_until(lambda: told(path), 60.0, "the hook has run")
        assert "STARTED, overran" in project.cli("runs", "--job", "slow").check().stdout
        assert "took longer than its job's overrun" in project.cli("why", run_id).check().stdout
        project.cli("revoke", run_id, "--terminate").check()
        assert project.wait_for_state(run_id, "REVOKED")["overran_at"]
    [hook] = [run for run in project.ledger().runs(limit=100) if run.trigger == "hook"]
    assert (hook.hook_of, hook.params["run"]["hook"]) == (run_id, "overrun")
