"""The JSON Schemas: valid, complete, committed as derived."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from runner.authoring.schema import JOBS_FILE, RUNNER_FILE, as_text, jobs_schema, runner_schema
from runner.model.job import JOB, JobSpec
from runner.model.option import INVALID, ignore, options_of
from runner.model.step import STEP, Step

FOLDER = Path(__file__).parents[2] / "schema"


@pytest.mark.parametrize("schema", [jobs_schema(), runner_schema()], ids=["jobs", "runner"])
def test_it_is_a_schema_of_2020_12(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"]
    assert schema["title"]


@pytest.mark.parametrize(("name", "schema"), [(JOBS_FILE, jobs_schema()), (RUNNER_FILE, runner_schema())])
def test_the_committed_file_is_what_the_model_says(name: str, schema: dict[str, Any]) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == as_text(schema), "stale, run: make schema"


def test_each_option_has_help_and_examples_that_it_accepts() -> None:
    validator = Draft202012Validator(jobs_schema())
    for option in options_of(JobSpec):
        rule = jobs_schema()["$defs"]["job"]["properties"][option.key]
        assert rule["description"].endswith(".")
        if not option.required and option.default is not None:
            assert validator.is_valid({"jobs": {"a": {"task": "a:b", option.key: rule["default"]}}})
        task = {} if option.key == "steps" else {"task": "a:b"}
        for example in option.examples:
            assert validator.is_valid({"jobs": {"a": {**task, option.key: example}}}), (option.key, example)


def test_each_option_of_a_step_has_help_and_examples_that_it_accepts() -> None:
    validator = Draft202012Validator(jobs_schema())
    for option in options_of(Step):
        rule = jobs_schema()["$defs"]["step"]["properties"][option.key]
        assert rule["description"].endswith(".")
        kind: dict[str, Any] = {} if option.key in ("task", "job", "approval") else {"task": "a:b"}
        if option.key == "params":
            kind = {"job": "other"}
        if option.key == "at_once":
            kind["each"] = ["a"]
        for example in option.examples:
            step = {**kind, option.key: example}
            assert validator.is_valid({"jobs": {"a": {"steps": {"one": step}}}}), (option.key, example)
            assert STEP.read(step, (), ignore) is not INVALID, (option.key, example)


@pytest.mark.parametrize(
    "step",
    [
        {},
        {"task": "a:b", "job": "other"} | {"approval": {}},
        {"job": "other", "queue": "q"},
        {"approval": {}, "each": ["a"]},
        {"task": "a:b", "params": {"a": 1}},
        {"task": "a:b", "at_once": 2},
        {"task": "a:b", "each": "eu"},
        {"task": "a:b", "if": "${params.a} and more"},
        {"task": "a:b", "when": "always"},
        {"task": "a:b", "kwargs": {"a": "${steps.load.output}"}},
        {"job": "other", "params": {"a": "${env.A}"}},
    ],
    ids=str,
)
def test_a_step_that_is_wrong_is_refused_by_the_schema_too(step: dict[str, Any]) -> None:
    assert not Draft202012Validator(jobs_schema()).is_valid({"jobs": {"a": {"steps": {"one": step}}}})


def test_every_mapping_of_options_refuses_unknown_keys() -> None:
    def closed(schema: Any) -> Iterator[bool]:
        if isinstance(schema, dict):
            if "properties" in schema and isinstance(schema["properties"], dict) and "description" in schema:
                yield "additionalProperties" in schema
            for value in schema.values():
                yield from closed(value)

    assert all(closed(jobs_schema()))


def test_options_written_and_read_again_are_the_same() -> None:
    options = {
        "task": "a.b:c",
        "args": [1, None],
        "kwargs": {"x": "$${y}", "z": {"deep": ["$$${", "$"], "a": "${params.p}/${env.HOME}"}},
        "env": {"A": "$${B}", "SLOT": "${run.slot}"},
        "secrets": {"KEY": "env:KEY", "DB": "file:/run/db"},
        "params": {"p": {"type": "string", "required": True}, "q": {"default": None}},
        "timeout": "1h0.5s",
        "retry": {"for": ["ValueError"], "delay": "1500ms", "jitter": False},
        "retention": {"runs": 5},
    }

    flow: dict[str, Any] = {
        "on_failure": "stop",
        "steps": {
            "ask": {"approval": {}},
            "load": {
                "needs": ["ask"],
                "when": "ended",
                "if": "${params.p}",
                "each": {"a": ["$${x}", 1], "b": "${params.q}"},
                "at_once": 2,
                "task": "a.b:c",
                "kwargs": {"a": {"b": ["${item.a}", "${steps.ask.result.comment}"]}},
                "timeout": "90s",
            },
            "other": {"each": [1, [2]], "job": "other", "params": {"a": "${item}"}},
        },
    }

    def refuse(path: Any, message: str, *, on_key: bool = False) -> None:
        raise AssertionError(f"{path}: {message}")

    for given in (options, flow):
        values, _ = JOB.read_fields(given, (), refuse)
        written = JOB.write_fields(values)
        again, _ = JOB.read_fields(json.loads(json.dumps(written)), (), refuse)
        assert again == values
        assert set(written) == set(given)


@pytest.mark.parametrize(("name", "schema"), [("jobs", jobs_schema()), ("runner", runner_schema())])
def test_the_command_that_prints_them(tmp_path: Path, name: str, schema: dict[str, Any]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "runner", "schema", name], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, as_text(schema), "")
