"""What validation accepts of steps, a real worker performs."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.project import Project

JOBS = """\
jobs:
  noted:
    task: work:note
    params: {rows: {type: array, required: true}, by: {type: string}}
  flow:
    params: {day: {type: string, required: true}, names: {type: array, items: {type: string, enum: [a, b]}}}
    env: {LEVEL: info, REGION: "${params.day}"}
    steps:
      say:
        each: [eu, us-1, 5]
        task: runner.tasks.shell:run
        kwargs: {command: [echo, "${item}", "--", "${params.day}"]}
      grid:
        each: {of: [x, y], name: "${params.names}"}
        task: work:note
        kwargs: {rows: ["${item.of}", "${item.name}"]}
      env: {task: "work:env", env: {LEVEL: null, WORD: "${params.day}"}}
      tell: {needs: [grid, env], job: noted, params: {rows: "${steps.grid.results}", by: "${steps.env.result.WORD}"}}
      skip: {needs: [tell], if: "${steps.tell.result.more}", task: "work:note", kwargs: {rows: []}}
      last:
        needs: [skip, say]
        when: ended
        task: work:note
        kwargs: {rows: ["${steps.skip.state}", "${steps.say.state}"]}
"""
WORK = """\
import os

def note(rows, by=None):
    return {"rows": rows, "by": by, "more": False}

def env():
    return {name: os.environ.get(name) for name in ("LEVEL", "REGION", "WORD")}
"""


def test_a_flow_with_every_kind_of_placeholder(make_project: Callable[..., Project]) -> None:
    project = make_project(JOBS, {"work.py": WORK})
    with project.worker(concurrency=2):
        document = project.cli("submit", "flow", "-p", "day=mon", "-p", "names=[a,b]", "--wait", "--json").check().json
    steps = {step["name"]: step for step in document["steps"]}
    assert {name: step["state"] for name, step in steps.items()} == {
        **dict.fromkeys(("say", "grid", "env", "tell", "last"), "SUCCESS"),
        "skip": "REVOKED",
    }
    results = {name: project.document(step["run"])["result"] for name, step in steps.items() if step["run"]}
    assert results["env"] == {"LEVEL": None, "REGION": "mon", "WORD": "mon"}
    pairs = [["x", "a"], ["x", "b"], ["y", "a"], ["y", "b"]]
    assert results["tell"] == {
        "rows": [{"rows": pair, "by": None, "more": False} for pair in pairs],
        "by": "mon",
        "more": False,
    }
    assert results["last"]["rows"] == ["REVOKED", "SUCCESS"]
