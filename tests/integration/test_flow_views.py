"""A flow as people and scripts see it: its steps, their runs and logs, what it waits for, figures, and metrics."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

import runner
from runner.model.run import to_datetime
from tests.support.deadline import wait_until
from tests.support.project import Project, write_project
from tests.support.servers import Server
from tests.web.conftest import serving

WORK = """
import logging
from pathlib import Path


def extract(day):
    print(f"extracting {day}")
    return {"files": ["a", "b", "c"]}


def load(file):
    print(f"loading {file}")
    logging.getLogger("jobs").warning("%s is old", file)
    return file


def odd(file):
    if file == "b":
        raise ValueError("b is odd")
    return file


def say(text):
    print(text)
    return {"text": text}


def note(run):
    Path("hooked.json").write_text(__import__("json").dumps(run))
"""

JOBS: dict[str, Any] = {
    "nightly": {
        "params": {"day": {"type": "string", "default": "monday"}},
        "steps": {
            "extract": {"task": "work:extract", "kwargs": {"day": "${params.day}"}},
            "load": {
                "needs": ["extract"],
                "each": "${steps.extract.result.files}",
                "at_once": 2,
                "task": "work:load",
                "kwargs": {"file": "${item}"},
            },
            "check": {"needs": ["load"], "job": "quality", "params": {"text": "checking"}},
            "approve": {"needs": ["check"], "approval": {"within": "12h"}},
            "publish": {"needs": ["approve"], "task": "work:say", "kwargs": {"text": "publishing"}},
        },
    },
    "quality": {
        "params": {"text": {"type": "string", "required": True}},
        "steps": {
            "measure": {"task": "work:say", "kwargs": {"text": "${params.text}"}},
        },
    },
    "fails": {
        "steps": {
            "first": {"task": "work:say", "kwargs": {"text": "first"}},
            "odd": {
                "needs": ["first"],
                "each": ["a", "b", "c"],
                "task": "work:odd",
                "kwargs": {"file": "${item}"},
            },
            "after": {"needs": ["odd"], "task": "work:say", "kwargs": {"text": "after"}},
        },
        "hooks": {"failure": ["note"]},
    },
    "note": {"task": "work:note", "params": {"run": {"type": "object"}}},
    "plain": {"task": "work:say", "kwargs": {"text": "plain"}},
    "unserved": {"steps": {"one": {"task": "work:say", "kwargs": {"text": "one"}, "queue": "nobody"}}},
}


@dataclass
class Waiting:
    """A flow that waits for an approval, in a project with a worker."""

    project: Project
    id: str
    web: httpx.Client

    def steps(self) -> dict[str, dict[str, Any]]:
        return {step["name"]: step for step in self.project.document(self.id)["steps"]}

    def listed(self, *words: str) -> list[str]:
        return self.project.cli("runs", "--ids", *words).check().stdout.split()


@contextmanager
def opened(folder: Path, server: Server) -> Iterator[Project]:
    project = write_project(folder / "p", server.url, JOBS, {"work.py": WORK})
    with project.worker(concurrency=3):
        yield project


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Iterator[Waiting]:
    with opened(tmp_path_factory.mktemp("views"), redis_server) as project:
        flow = project.submit("nightly")
        project.cli("submit", "plain", "--wait").check()
        with serving(project) as web, web.client() as client:
            found = Waiting(project, flow, client)
            wait_until(lambda: found.steps()["approve"]["run"], 60.0, "it waits for the approval")
            yield found


# -- status


def test_status_shows_the_tree_of_its_steps(waiting: Waiting) -> None:
    text = waiting.project.cli("status", waiting.id).check().stdout
    assert re.search(r"^steps +extract +SUCCESS +after .*s, [0-9a-f-]{36}$", text, re.MULTILINE)
    assert re.search(r"^ +load +SUCCESS +3 of 3, after", text, re.MULTILINE)
    # The steps of the flow that a step is stand below it.
    assert re.search(r"^ +check +SUCCESS .*\n +measure +SUCCESS ", text, re.MULTILINE)
    assert re.search(r"^ +approve +PENDING +waits for approval", text, re.MULTILINE)
    assert re.search(r"^ +publish +PENDING", text, re.MULTILINE)
    assert re.search(r"^progress +\d+% 3 of 5 steps", text, re.MULTILINE)


def test_status_in_json_has_the_steps(waiting: Waiting) -> None:
    steps = waiting.steps()
    assert list(steps) == ["extract", "load", "check", "approve", "publish"]
    assert {name: step["state"] for name, step in steps.items()} == {
        "extract": "SUCCESS",
        "load": "SUCCESS",
        "check": "SUCCESS",
        "approve": "PENDING",
        "publish": "PENDING",
    }
    assert (steps["load"]["items"], steps["load"]["counts"], steps["load"]["run"]) == (3, {"SUCCESS": 3}, None)
    assert to_datetime(steps["extract"]["finished_at"]) <= to_datetime(steps["load"]["started_at"])
    document = waiting.project.document(steps["check"]["run"])
    assert (document["flow"], document["step"], document["item"]) == (waiting.id, "check", None)
    assert (
        waiting.web.get(f"/api/v1/runs/{waiting.id}").json()["steps"] == waiting.project.document(waiting.id)["steps"]
    )


def test_a_step_run_is_found_as_any_run(waiting: Waiting) -> None:
    run_id = waiting.steps()["extract"]["run"]
    assert waiting.project.document(run_id[:13])["id"] == run_id
    latest = waiting.project.document("@nightly/load")
    assert (latest["job"], latest["params"]["item"]) == ("nightly/load", latest["params"]["item"])
    shown = waiting.project.cli("status", "@nightly/load").check().stdout
    assert re.search(rf"^step +load\[{latest['item']}\]$", shown, re.MULTILINE)
    assert re.search(rf"^flow +{waiting.id}$", shown, re.MULTILINE)


def test_the_overview_counts_approvals_and_no_step_runs(waiting: Waiting) -> None:
    overview = waiting.project.cli("status", "--json").check().json
    assert overview["approvals"]["count"] == 1
    [approval] = overview["approvals"]["steps"]
    assert (approval["job"], approval["oldest"]) == ("nightly/approve", waiting.steps()["approve"]["run"])
    assert overview["states"]["PENDING"] == 0
    assert overview["waiting"]["count"] == 0
    assert [run["id"] for run in overview["running"]["runs"]] == [waiting.id]
    text = waiting.project.cli("status").check().stdout
    assert re.search(r"^approvals +1 waiting\n +nightly/approve .*: runner .*approve [0-9a-f]{8}", text, re.MULTILINE)
    assert re.search(r"^running +1 run\n +nightly .* 3 of 5 steps$", text, re.MULTILINE)
    listed = waiting.project.cli("jobs", "--json").check().json
    assert {job["name"] for job in listed} == set(JOBS)


# -- runs


def test_step_runs_are_listed_when_they_are_asked_for(waiting: Waiting) -> None:
    project, steps = waiting.project, waiting.steps()
    single = {steps[name]["run"] for name in ("extract", "check", "approve")}
    loads = waiting.listed("--job", "nightly/load")
    assert len(loads) == 3
    assert set(waiting.listed()) == {waiting.id, project.cli("status", "@plain", "--json").json["id"]}
    of_flow = {*single, *loads}
    assert set(waiting.listed("--flow", waiting.id)) == of_flow
    assert set(waiting.listed("--flow", "@nightly")) == of_flow
    assert set(waiting.listed("--flow", waiting.id[:8], "--state", "success")) == of_flow - {steps["approve"]["run"]}
    assert set(waiting.listed("--flow", waiting.id, "--job", "nightly/load")) == set(loads)
    assert set(waiting.listed("--step", "load")) == set(loads)
    measured = project.document(steps["check"]["run"])["steps"][0]["run"]
    everything = set(waiting.listed("--steps"))
    assert everything == {*waiting.listed(), *of_flow, measured}
    # The step runs of a job do not count as runs of the job alone.
    assert waiting.listed("--job", "quality") == []
    assert waiting.listed("--job", "quality", "--steps") == [steps["check"]["run"]]
    found = waiting.web.get("/api/v1/runs", params={"flow": waiting.id}).json()["runs"]
    assert {run["id"] for run in found} == of_flow
    assert {run.id for run in runner.get_runs(flow=waiting.id, project=project.path)} == of_flow
    assert {run.id for run in runner.get_runs(steps=True, limit=99, project=project.path)} == everything


@pytest.mark.parametrize("words", [("--steps",), ("--flow", "@nightly"), ("--flow", "@nightly", "--sort", "oldest")])
def test_pages_of_step_runs_follow_each_other(waiting: Waiting, words: tuple[str, ...]) -> None:
    project = waiting.project
    whole = waiting.listed(*words, "-n", "99")
    found: list[str] = []
    cursor: list[str] = []
    while True:
        page = project.cli("runs", "--ids", "-n", "2", *words, *cursor).check()
        found += page.stdout.split()
        more = re.search(r"--cursor (\S+)", page.stderr)
        if more is None:
            break
        cursor = ["--cursor", more[1]]
    assert found == whole
    assert len(set(found)) == len(found)


def test_a_list_of_step_runs_names_the_steps(waiting: Waiting) -> None:
    lines = waiting.project.cli("runs", "--flow", waiting.id).check().stdout.splitlines()
    assert "STEP" in lines[0].split()
    assert sum(bool(re.search(r"nightly/load +load\[[012]\] +SUCCESS", line)) for line in lines) == 3
    table = waiting.project.cli("runs", "--flow", waiting.id, "--csv").check().stdout.splitlines()
    assert "flow,step,item" in table[0]


def test_a_filter_for_another_run_is_refused(waiting: Waiting) -> None:
    project = waiting.project
    plain = project.cli("status", "@plain", "--json").json["id"]
    assert f"run {plain} of plain is not a flow" in project.cli("runs", "--flow", plain).check(2).stderr
    project.cli("runs", "--flow", "0" * 36).check(4)
    assert "did you mean load?" in project.cli("runs", "--job", "nightly/lod").check(2).stderr
    assert "--job quality --steps" in project.cli("runs", "--job", "nightly/check").check(2).stderr
    assert project.cli("runs", "--job", "nightly/publish").check().stdout == ""


# -- why


def test_why_names_the_step_that_blocks(waiting: Waiting) -> None:
    approval = waiting.steps()["approve"]["run"]
    explanation = waiting.project.cli("why", waiting.id, "--json").check().json
    assert explanation["summary"].startswith("step approve blocks it: it waits for approval until ")
    assert any(f"approve {approval}" in line for line in explanation["commands"])
    assert any(f"reject {approval}" in line for line in explanation["commands"])
    assert explanation["because"] == ["3 of 5 steps ended"]
    assert [step["step"] for step in explanation["facts"]["open_steps"]] == ["approve"]
    assert (
        waiting.web.get(f"/api/v1/runs/{waiting.id}/why").json()["facts"]["open_steps"]
        == explanation["facts"]["open_steps"]
    )
    own = waiting.project.cli("why", approval).check().stdout
    assert "it waits for approval until " in own
    assert f"it is step approve of flow {waiting.id} (nightly, STARTED)" in own


def test_why_of_a_paused_flow_and_of_one_without_a_worker(waiting: Waiting) -> None:
    project = waiting.project
    flow = project.submit("unserved")
    explanation = wait_until(
        lambda: (found := project.cli("why", flow).check().stdout) and "queue nobody" in found and found,
        30.0,
        "its step waits",
    )
    assert "step one blocks it: no live worker takes runs from queue nobody" in explanation
    project.cli("pause", "unserved").check()
    try:
        paused = project.cli("why", flow).check().stdout
        assert "job unserved is paused" in paused
        assert "resume unserved" in paused
    finally:
        project.cli("resume", "unserved").check()
        project.cli("revoke", flow).check()
        project.wait_for_state(flow, "REVOKED")


# -- logs


def test_the_log_of_a_flow_is_that_of_its_steps(waiting: Waiting) -> None:
    project = waiting.project
    lines = project.cli("logs", waiting.id).check().stdout.splitlines()
    assert re.search(r"  extract \| +extracting monday$", lines[0])
    for item, file in enumerate("abc"):
        assert any(re.search(rf"  load\[{item}\] \| +loading {file}$", line) for line in lines)
    assert re.search(r"  check/measure \| +checking$", lines[-1])
    times = [line[:29] for line in lines]
    assert times == sorted(times)
    records = [json.loads(line) for line in project.cli("logs", waiting.id, "--jsonl").check().stdout.splitlines()]
    assert {(line["step"], line["run"]) for line in records} >= {("extract", waiting.steps()["extract"]["run"])}
    assert len(records) == len(lines) == 8


def test_the_log_of_one_step(waiting: Waiting) -> None:
    project = waiting.project

    def texts(*words: str) -> set[str]:
        return set(project.cli("logs", waiting.id, "--raw", *words).check().stdout.splitlines())

    loading = {f"loading {file}" for file in "abc"}
    assert texts("--step", "load") >= loading
    assert texts("--step", "load") & {"extracting monday", "checking"} == set()
    assert texts("--step", "load[1]") == {"loading b", "b is old"}
    assert texts("--step", "check") == texts("--step", "check/measure") == {"checking"}
    assert texts("--tail", "1") == {"checking"}
    wrong = project.cli("logs", waiting.id, "--step", "lod").check(2).stderr
    assert "nightly has no step 'lod', did you mean load?" in wrong
    assert "is not a flow" in project.cli("logs", "@plain", "--step", "load").check(2).stderr
    lines = waiting.web.get(f"/api/v1/runs/{waiting.id}/log", params={"step": "load[1]"}).json()["lines"]
    assert {line["text"] for line in lines} == {"loading b", "b is old"}


# -- figures


def test_stats_have_a_row_for_each_step(waiting: Waiting) -> None:
    stats = waiting.project.cli("stats", "nightly", "--json").check().json
    rows = {row["step"]: row for row in stats["steps"]}
    assert list(rows) == list(JOBS["nightly"]["steps"])
    assert (rows["load"]["job"], rows["load"]["states"]["SUCCESS"]) == ("nightly/load", 3)
    assert (rows["check"]["job"], rows["check"]["states"]["SUCCESS"]) == ("quality", 1)
    assert rows["load"]["run_seconds"]["p95"] is not None
    assert stats["states"]["STARTED"] == 1
    text = waiting.project.cli("stats", "nightly").check().stdout
    assert re.search(r"^load +nightly/load +3 +0 +100 %", text, re.MULTILINE)
    assert waiting.project.cli("stats", "nightly/load", "--json").check().json["runs"] == 3
    assert "did you mean load" in waiting.project.cli("stats", "nightly/lod").check(2).stderr
    assert {line.split()[0] for line in waiting.project.cli("stats").check().stdout.splitlines()[1:]} == set(JOBS)
    answer = waiting.web.get("/api/v1/jobs/nightly/stats").json()
    assert [row["step"] for row in answer["steps"]] == list(JOBS["nightly"]["steps"])


def test_metrics_count_the_runs_of_each_step(waiting: Waiting) -> None:
    text = waiting.project.cli("metrics").check().stdout
    assert 'runner_runs_total{job="nightly/load",reason="",state="SUCCESS"} 3.0' in text
    assert 'runner_run_seconds_count{job="nightly/load"} 3.0' in text
    assert 'runner_runs_total{job="nightly/publish",reason="",state="SUCCESS"} 0.0' in text
    assert 'runner_waiting_approvals{job="nightly/approve"} 1.0' in text
    assert 'runner_active_runs{state="PENDING"} 0.0' in text
    assert 'runner_active_step_runs{state="PENDING"} 1.0' in text


# -- what a step run refuses


def test_a_step_run_goes_with_its_flow(waiting: Waiting) -> None:
    project, run_id = waiting.project, waiting.steps()["extract"]["run"]
    refused = project.cli("forget", run_id).check(5).stderr
    assert f"is a step run of flow {waiting.id} and is forgotten with it" in refused
    assert f"forget {waiting.id}" in refused
    answer = waiting.web.delete(f"/api/v1/runs/{run_id}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "belongs_to_flow")
    again = project.cli("rerun", run_id).check(5).stderr
    assert f"rerun {waiting.id} --from-failed" in again
    answer = waiting.web.post(f"/api/v1/runs/{run_id}/rerun")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "belongs_to_flow")
    assert project.cli("wait", run_id).check().exit_code == 0


# -- following a flow


def test_a_flow_is_followed_to_its_end(make_project: Callable[..., Project]) -> None:
    project = make_project(JOBS, {"work.py": WORK})
    with project.worker(concurrency=3), serving(project) as web, web.client() as client:
        flow = project.submit("nightly", "-p", "day=friday")
        with (
            project.start("wait", flow) as waiter,
            project.start("logs", flow, "-f") as log,
            project.start("watch", flow, "--from", "0") as watch,
        ):
            log.wait_for("check/measure", stream="out")
            watch.wait_for("nightly/approve", stream="out")
            step = {row["name"]: row for row in project.document(flow)["steps"]}["approve"]["run"]
            answer = client.post(f"/api/v1/runs/{step}/approve", json={"comment": "looks good"})
            assert (answer.status_code, answer.json()["state"]) == (200, "SUCCESS")
            assert client.post(f"/api/v1/runs/{step}/approve").status_code == 409
            assert client.post(f"/api/v1/runs/{step}/reject").status_code == 409
            assert waiter.wait(60) == 0
            assert log.wait(60) == 0
            assert watch.wait(60) == 0
    lines = waiter.stderr.splitlines()
    assert f"PENDING   nightly/approve  {step}  waits for approval" in lines
    assert [line.split()[:2] for line in lines if "nightly/publish" in line][-1] == ["SUCCESS", "nightly/publish"]
    assert re.fullmatch(rf"SUCCESS   nightly  {flow}  after .*", lines[-1])
    assert re.search(r"  publish \| +publishing$", log.stdout.rstrip())
    assert log.stdout.count("loading ") == 3
    assert "SUCCESS   nightly/publish" in watch.stdout
    assert "(load[2])" in watch.stdout
    assert watch.stdout.rstrip().splitlines()[-1].split()[2:4] == ["SUCCESS", "nightly"]
    shown = project.cli("status", flow).check().stdout
    assert re.search(r"^ +approve +SUCCESS +approved by \S+: looks good", shown, re.MULTILINE)
    acts = project.cli("audit", "--json").check().json
    assert [(act["act"], act["comment"]) for act in acts if act["id"] == step] == [("approve", "looks good")]


def test_a_rejected_flow_fails(make_project: Callable[..., Project]) -> None:
    project = make_project(JOBS, {"work.py": WORK})
    with project.worker(concurrency=3), serving(project) as web, web.client() as client:
        flow = project.submit("nightly")

        def approval() -> Any:
            return next(row for row in project.document(flow)["steps"] if row["name"] == "approve")["run"]

        step = wait_until(approval, 60.0, "it waits for the approval")
        answer = client.post(f"/api/v1/runs/{step}/reject", json={"comment": "not now"})
        assert (answer.status_code, answer.json()["reason"]) == (200, "rejected")
        report = project.cli("wait", flow).check(1).stderr
    assert re.search(r"^ +approve +REVOKED \(rejected\)", report.replace("  steps", "       "), re.MULTILINE)
    assert re.search(r"publish +REVOKED \(upstream_failed\)", report)
    assert "its approval was rejected" in project.cli("why", step).check().stdout


def test_a_failed_flow_names_what_failed(make_project: Callable[..., Project]) -> None:
    project = make_project(JOBS, {"work.py": WORK})
    with project.worker(concurrency=3):
        done = project.cli("submit", "fails", "--wait").check(1)
        flow = done.id
        assert "STARTED   fails" in done.stderr
        assert "SUCCESS   fails/first" in done.stderr
        assert "FAILURE   fails/odd  3 of 3, 1 failed  exception" in done.stderr
        assert "fails: FAILURE (step_failed)" in done.stderr
        assert re.search(r"odd\[1\] +FAILURE \(exception\) +[0-9a-f-]{36}  ValueError: b is odd", done.stderr)
        assert re.search(r"after +REVOKED \(upstream_failed\)", done.stderr)
        explanation = project.cli("why", flow, "--json").check().json
        assert "step odd failed (1 of 3 items)" in explanation["summary"]
        assert "not run, because a step that they need failed: after" in explanation["because"]
        assert any(f"rerun {flow} --from-failed" in line for line in explanation["commands"])
        after = next(step for step in project.document(flow)["steps"] if step["name"] == "after")["run"]
        assert "failed in that flow: odd" in project.cli("why", after).check().stdout
        hooked = project.path / "hooked.json"
        document = wait_until(lambda: hooked.exists() and json.loads(hooked.read_text() or "0"), 30.0, "the hook ran")
    assert "odd" in document["error"]["message"]
    assert [step["name"] for step in document["steps"] if step["state"] == "FAILURE"] == ["odd"]
