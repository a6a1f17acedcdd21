"""JSON Schema 2020-12 for jobs files and ``runner.yaml``, derived from the declared options.

``python -m runner.spec.schema --write FOLDER`` writes both; ``--check FOLDER`` exits 1 if they are stale.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from runner.model.hooks import JOB_NAME
from runner.model.job import DEFAULTS, JOB
from runner.model.keyword import subschema
from runner.model.template import template_schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"
JOBS_FILE = "jobs.schema.json"
RUNNER_FILE = "runner.schema.json"
_IGNORED = {"^x-": {"description": "Ignored, so that it can hold anchors."}}


def jobs_schema() -> dict[str, Any]:
    """Return the schema of a file in ``jobs.d``."""
    job = JOB.schema()
    del job["required"]  # below: only where `defaults` does not give it
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
        "else": {"properties": {"jobs": {"additionalProperties": {"required": ["task"]}}}},
        "$defs": {"job": job, **_shared()},
    }


def runner_schema() -> dict[str, Any]:
    """Return the schema of ``runner.yaml``."""
    # Settings are read with this package's reader, so that they can only be imported once it is there.
    from runner.settings import SETTINGS

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
    return {"schema": subschema(), "template": template_schema()}


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "type": ["object", "null"]}


def as_text(schema: dict[str, Any]) -> str:
    """Return a schema as it stands in its file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the schemas into a folder, or compare."""
    if len(arguments) != 2 or arguments[0] not in ("--write", "--check"):
        sys.stderr.write("usage: python -m runner.spec.schema --write|--check FOLDER\n")
        return 2
    folder = Path(arguments[1])
    stale = 0
    for name, schema in ((JOBS_FILE, jobs_schema()), (RUNNER_FILE, runner_schema())):
        file = folder / name
        text = as_text(schema)
        if file.exists() and file.read_text(encoding="utf-8") == text:
            continue
        if arguments[0] == "--write":
            file.write_text(text, encoding="utf-8")
        else:
            sys.stderr.write(f"{file} is stale, run: python -m runner.spec.schema --write {folder}\n")
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
