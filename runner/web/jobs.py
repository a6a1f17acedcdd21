"""A job as the web shows it: as YAML, as a form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from runner.model.job import JOB, JobSpec
from runner.model.option import options_of


def job_yaml(job: JobSpec) -> str:
    """Return the options of a job as YAML, defaults of its file merged in."""
    values = {each.field: getattr(job, each.field) for each in options_of(JobSpec)}
    written = {"task": job.task, **JOB.write_fields(values)}
    return str(yaml.safe_dump({job.name: written}, sort_keys=False, allow_unicode=True, width=90))


@dataclass(frozen=True, slots=True)
class Field:
    """One param in a form. ``kind`` is text, number, date, choice, flag or json."""

    name: str
    kind: str
    required: bool
    description: str
    value: str
    choices: tuple[str, ...] = ()


def form_of(job: JobSpec, given: Mapping[str, Any] | None = None) -> list[Field]:
    """Return the form of a job's params; ``given`` are values to begin with, such as those of a former run."""
    return [_field(name, param, given or {}) for name, param in job.params.items()]


def _field(name: str, param: Any, given: Mapping[str, Any]) -> Field:
    schema = param.schema
    kinds = schema.get("type")
    single = kinds if isinstance(kinds, str) else None
    choices: tuple[str, ...] = ()
    if "enum" in schema:
        kind, choices = "choice", tuple(_text(value) for value in schema["enum"])
    elif single in ("integer", "number"):
        kind = "number"
    elif single == "boolean":
        kind, choices = "choice", ("true", "false")
    elif single == "string":
        kind = "date" if schema.get("format") == "date" else "text"
    else:
        kind = "json"
    value = given.get(name, schema.get("default"))
    shown = "" if value is None and "default" not in schema else _text(value)
    return Field(name, kind, param.required, str(schema.get("description") or ""), shown, choices)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
