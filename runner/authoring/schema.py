"""JSON Schema 2020-12 for jobs files and ``runner.yaml``, derived from the declared options."""

from __future__ import annotations

import json
from typing import Any

from runner.model.hooks import JOB_NAME
from runner.model.job import DEFAULTS, JOB, NOT_OF_FLOWS
from runner.model.keyword import subschema
from runner.model.slot_template import slot_template_schema
from runner.model.step import STEP
from runner.model.template import SCOPES, template_schema
from runner.settings import SETTINGS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
JOBS_FILE = "jobs.schema.json"
RUNNER_FILE = "runner.schema.json"
_IGNORED = {"^x-": {"description": "Ignored, so that it can hold anchors."}}


def jobs_schema() -> dict[str, Any]:
    """Return the schema of a file in ``jobs.d``."""
    steps = {"required": ["steps"], "properties": {"steps": {"type": "object", "minProperties": 1}}}
    task = {"required": ["task"], "properties": {"task": {"type": "string"}}}
    # That there is a task is said below: only where `defaults` does not give it.
    not_of_flows = {name: {"type": "null"} for name in NOT_OF_FLOWS}
    job = {**JOB.schema(), "if": steps, "then": {"properties": not_of_flows}}
    names = {key: rule for key, rule in JOB_NAME.schema().items() if key != "type"}
    named = {"type": ["object", "null"], "propertyNames": names}
    return {
        "$schema": DIALECT,
        "$id": f"urn:celery-runner:{JOBS_FILE}",
        "title": "Jobs of celery-runner",
        "description": "A file in jobs.d: jobs, and the options they share.",
        "type": ["object", "null"],
        "properties": {
            "defaults": {
                **_nullable(DEFAULTS.schema()),
                "description": "Options for all jobs of this file; a job's own options come first.",
                "examples": [{"queue": "reports"}],
            },
            "jobs": {
                **named,
                "description": "Jobs by name; a name is unique across all files.",
                "additionalProperties": {"$ref": "#/$defs/job"},
                "examples": [{"nightly-report": {"task": "reports.nightly:build"}}],
            },
        },
        "patternProperties": _IGNORED,
        "additionalProperties": False,
        "if": {
            "type": "object",
            "properties": {
                "defaults": {"type": "object", "properties": {"task": {"type": "string"}}, "required": ["task"]}
            },
            "required": ["defaults"],
        },
        "else": {"properties": {"jobs": {"additionalProperties": {"if": steps, "else": task}}}},
        "$defs": {"job": job, **_shared()},
    }


def runner_schema() -> dict[str, Any]:
    """Return the schema of ``runner.yaml``."""
    options = SETTINGS.schema()
    properties = options["properties"]
    if "defaults" in properties:
        properties["defaults"] = {**properties["defaults"], **_nullable(DEFAULTS.schema())}
    return {
        "$schema": DIALECT,
        "$id": f"urn:celery-runner:{RUNNER_FILE}",
        "title": "Settings of celery-runner",
        "description": "runner.yaml: where Redis is, where jobs are, and what holds for all of them.",
        **options,
        "type": ["object", "null"],
        "patternProperties": _IGNORED,
        "$defs": _shared(),
    }


def _shared() -> dict[str, Any]:
    templates = {scope.name: template_schema(scope) for scope in SCOPES}
    return {
        "schema": subschema(),
        **templates,
        "slot_template": slot_template_schema(),
        "step": STEP.full_schema(),
    }


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "type": ["object", "null"]}


def as_text(schema: dict[str, Any]) -> str:
    """Return a schema as it stands in its file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
