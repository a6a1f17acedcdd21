"""The jobs of task steps: what the catalog knows of them, and what they inherit."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.authoring.advice import advice_for
from runner.catalog.catalog import Catalog, load_files
from runner.catalog.jobs_file import build, read_jobs
from runner.catalog.steps import flow_of, path_of, step_spec
from runner.errors import UnknownJob
from runner.model.job import JOB
from runner.model.option import known_options
from runner.model.step import Step
from runner.yaml_reader.reader import read_text

FLOW = """\
jobs:
  check: {task: "a.b:check"}
  nightly:
    params: {day: {type: string}, region: {type: string}}
    queue: etl
    priority: 7
    timeout: 3h
    env: {LEVEL: info, REGION: "${params.region}"}
    secrets: {KEY: "env:KEY"}
    retry: {max_retries: 2, delay: 5s}
    unsafe: true
    steps:
      extract: {task: "a.b:extract", kwargs: {day: "${params.day}"}, retry: {delay: 1s}}
      load:
        needs: [extract]
        each: "${steps.extract.result}"
        task: a.b:load
        queue: default
        env: {LEVEL: null, REGION: eu}
        secrets: {KEY: null}
        unsafe: false
        timeout: 5m
      check: {needs: [load], job: check}
      ask: {needs: [check], approval: {}}
"""


def catalog(tmp_path: Path, text: str = FLOW) -> Catalog:
    path = tmp_path / "jobs.yaml"
    path.write_text(text)
    found = load_files([path], base=tmp_path)
    assert not found.problems
    return found


def test_a_task_step_is_a_job_that_can_be_asked_for_and_is_not_listed(tmp_path: Path) -> None:
    jobs = catalog(tmp_path).jobs
    assert list(jobs) == ["check", "nightly"]
    assert len(jobs) == 2
    assert "nightly/load" in jobs
    assert "nightly/check" not in jobs
    assert "nightly/ask" not in jobs
    assert "nightly/none" not in jobs
    assert "check/load" not in jobs
    assert "none/load" not in jobs
    job = jobs["nightly/load"]
    assert (job.name, job.flow, job.step, job.task) == ("nightly/load", "nightly", "load", "a.b:load")
    assert not job.is_flow
    assert jobs["nightly"].is_flow
    assert [job.name for job in jobs.all()] == ["check", "nightly", "nightly/extract", "nightly/load"]
    assert path_of("nightly/load") == ("jobs", "nightly", "steps", "load")


def test_a_step_inherits_how_the_job_runs_tasks_and_may_reset_it(tmp_path: Path) -> None:
    jobs = catalog(tmp_path).jobs
    extract, load = jobs["nightly/extract"], jobs["nightly/load"]
    assert (extract.queue, extract.priority, extract.timeout, extract.unsafe) == ("etl", 7, None, True)
    assert dict(extract.env) == {"LEVEL": "info", "REGION": "${params.region}"}
    assert dict(extract.secrets) == {"KEY": "env:KEY"}
    assert (extract.retry.max_retries, extract.retry.delay) == (2, 1.0)
    assert (load.queue, load.priority, load.timeout, load.unsafe) == ("default", 7, 300.0, False)
    assert dict(load.env) == {"REGION": "eu"}
    assert dict(load.secrets) == {}


def test_the_params_of_a_step_are_those_that_it_names_and_its_item(tmp_path: Path) -> None:
    jobs = catalog(tmp_path).jobs
    assert list(jobs["nightly/extract"].params) == ["day", "region"]
    assert jobs["nightly/extract"].params["day"].types == ("string",)
    assert list(jobs["nightly/load"].params) == ["item"]


def test_the_digest_of_a_step_tells_what_it_runs_alone(tmp_path: Path) -> None:
    before = catalog(tmp_path).digests()
    assert list(before) == ["check", "nightly", "nightly/extract", "nightly/load"]
    after = catalog(tmp_path, FLOW.replace("timeout: 5m", "timeout: 6m")).digests()
    assert {name for name in before if before[name] != after[name]} == {"nightly", "nightly/load"}
    after = catalog(tmp_path, FLOW.replace("needs: [check]", "needs: [load]")).digests()
    assert {name for name in before if before[name] != after[name]} == {"nightly"}
    after = catalog(tmp_path, FLOW.replace("LEVEL: info", "LEVEL: debug")).digests()
    assert {name for name in before if before[name] != after[name]} == {"nightly", "nightly/extract"}
    jobs = catalog(tmp_path).jobs
    assert {name: jobs.digest(name) for name in before} == before
    assert {name: jobs[name].digest for name in before} == before


def test_options_of_steps_are_found_without_building_them(tmp_path: Path) -> None:
    found = catalog(tmp_path)
    assert list(found.jobs.with_option("secrets")) == ["nightly/extract"]
    assert list(found.unsafe()) == ["nightly/extract"]
    assert [job.name for job in found.with_secrets()] == ["nightly/extract"]
    assert list(found.jobs.flows()) == ["nightly"]


def test_a_frozen_graph_is_the_flow_that_it_was(tmp_path: Path) -> None:
    flow = catalog(tmp_path).jobs["nightly"]
    frozen = flow_of("nightly", json.loads(json.dumps(JOB.write(flow))))
    assert frozen.steps == flow.steps
    assert frozen.digest == flow.digest
    assert step_spec(frozen, "load").digest == step_spec(flow, "load").digest


def test_only_a_task_step_has_a_job_of_its_own(tmp_path: Path) -> None:
    found = catalog(tmp_path)
    with pytest.raises(KeyError):
        step_spec(found.jobs["nightly"], "check")
    with pytest.raises(UnknownJob, match="no job is named 'nightly/laod'") as raised:
        found.get("nightly/laod")
    assert raised.value.hint == "Did you mean nightly/load?"


def test_a_fault_of_an_inherited_option_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "jobs.yaml"
    path.write_text(
        FLOW.replace("env: {LEVEL: info,", "env: {KEY: a, LEVEL: info,").replace("priority: 7", "priority: 17")
    )
    assert [problem.path for problem in load_files([path], base=tmp_path).problems] == [
        "jobs.nightly.priority",
        "jobs.nightly.secrets.KEY",
    ]


def test_a_job_without_steps_pays_for_none(tmp_path: Path) -> None:
    found = catalog(tmp_path, 'jobs: {plain: {task: "a.b:c", unsafe: true}}\n')
    job = found.jobs["plain"]
    assert (job.steps, job.flow, job.step) == ({}, None, None)
    assert list(found.digests()) == ["plain"]


def test_a_param_that_no_step_uses_is_told(tmp_path: Path) -> None:
    text = """\
jobs:
  flow:
    unsafe: true
    params: {day: {}, tenant: {type: string}, lost: {}, run: {type: object}, full: {type: boolean}, names: {}}
    concurrency: {limit: 1, key: "${params.tenant}"}
    steps:
      one: {if: "${params.full}", task: "a.b:c", kwargs: {a: {b: ["${params.day}"]}}}
      two: {each: {name: "${params.names}"}, task: "a.b:c"}
"""
    [job, *steps] = catalog(tmp_path, text).jobs.all()
    assert [(fault.path, fault.severity) for fault in advice_for(job)] == [(("params", "lost"), "warning")]
    assert [list(advice_for(step)) for step in steps] == [[], []]


@pytest.mark.parametrize(
    ("each", "message"),
    [
        (list(range(10_001)), "has 10001 items, at most 10000 are allowed, remove some"),
        (
            {"a": list(range(101)), "b": list(range(100))},
            "has 10,100 combinations, at most 10,000 are allowed, split the step",
        ),
    ],
    ids=["items", "combinations"],
)
def test_a_step_has_at_most_10_000_items(tmp_path: Path, each: Any, message: str) -> None:
    step = {"task": "a.b:c", "each": each}
    (tmp_path / "jobs.yaml").write_text(json.dumps({"jobs": {"flow": {"steps": {"load": step}}}}))
    [problem] = load_files([tmp_path / "jobs.yaml"], base=tmp_path).problems
    assert (problem.path, problem.message) == ("jobs.flow.steps.load.each", message)


def test_a_job_has_at_most_1_000_steps(tmp_path: Path) -> None:
    def problems(number: int) -> list[str]:
        names = [f"s{index}" for index in range(number)]
        steps = {name: {"task": "a.b:c", "needs": names[max(0, index - 1) : index]} for index, name in enumerate(names)}
        (tmp_path / "jobs.yaml").write_text(json.dumps({"jobs": {"flow": {"steps": steps}}}))
        return [problem.message for problem in load_files([tmp_path / "jobs.yaml"], base=tmp_path).problems]

    assert problems(1000) == []
    assert problems(1001) == ["has 1,001 steps, at most 1,000 are allowed, use each, or job"]


@settings(max_examples=200, deadline=None)
@given(random=st.randoms(use_true_random=False))
def test_whatever_stands_in_steps_is_sound_or_told(random: Random) -> None:
    document = yaml.safe_load((Path(__file__).parents[1] / "specs" / "valid" / "steps.yaml").read_text())
    for _ in range(random.randint(1, 3)):
        spoil(document["jobs"]["steps-all"]["steps"], random)
    read = read_jobs(read_text(json.dumps(document), "jobs.yaml"), {})
    names = {entry.name for entry in read.entries} | {name for name, _ in read.broken}
    assert names == set(document["jobs"])
    assert bool(read.problems) == bool(read.broken)
    for entry in read.entries:
        job = build(entry, "jobs.yaml")
        for name, step in job.steps.items():
            assert step.task is None or step_spec(job, name).digest.startswith("sha256:")


def spoil(value: Any, random: Random) -> None:
    """Put something else anywhere into mappings and lists."""
    others: list[Any] = [
        None,
        True,
        5,
        "",
        "x",
        "${item}",
        "${steps.load.results}",
        "${steps.x.result}",
        "${",
        [],
        {},
        ["a"],
    ]
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = random.choice(keys)
        inner = value[key]
        if isinstance(inner, dict | list) and inner and random.random() < 0.8:
            value = inner
        elif isinstance(value, dict) and random.random() < 0.3:
            value[random.choice((*STEP_KEYS, "zzz"))] = value.pop(key)
            return
        else:
            value[key] = random.choice(others)
            return


STEP_KEYS = tuple(known_options(Step))
