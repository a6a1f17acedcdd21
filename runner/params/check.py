"""Check params by their JSON Schemas, and add defaults."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from typing import Any

from runner.errors import InvalidParams
from runner.model.duration import format_size
from runner.model.job import JobSpec
from runner.model.param import Param
from runner.model.strict_json import fault_of
from runner.params.faults import MOST_FAULTS, invalid, undeclared
from runner.params.plain import PLAIN, plain_fault
from runner.yaml_reader.problem import one_line


def check_params(job: JobSpec, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``params`` with defaults added.

    Raises:
        InvalidParams: a param is undeclared, missing, or invalid. The message lists all of them.
    """
    if not job.params and not params:
        return {}
    unknown = (name for name in params if name not in job.params)
    faults = [undeclared(job, str(name)) for name in islice(unknown, MOST_FAULTS + 1)]
    filled: dict[str, Any] = {}
    for name, param in job.params.items():
        if name in params:
            value = params[name]
            filled[name] = value
            fault = fault_of(value)
            faults += [f"{name}: {fault}"] if fault else [f"{name}{message}" for message in _faults(param, value)]
        elif param.has_default:
            filled[name] = param.default
        elif param.required:
            faults.append(f"{name}: is required{_meaning(param)}")
    if faults:
        raise invalid(job, faults)
    return filled


_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def check_size(params: Mapping[str, Any], limit: int) -> None:
    """Check that ``params`` take at most ``limit`` bytes as JSON.

    Raises:
        InvalidParams: they are larger, or cannot be written as JSON.
    """
    try:
        size = len(_to_json(params).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidParams(
            f"params cannot be written as JSON: {error}",
            hint="Give text, numbers, true, false, null, lists, and mappings.",
        ) from None
    if size > limit:
        raise InvalidParams(
            f"params take {size:,} bytes as JSON, at most {format_size(limit)} are allowed",
            hint="Put the data into a file or a store and pass its name, or increase limits.params in runner.yaml.",
        )


def fits(param: Param, value: Any) -> str | None:
    """Return the reason why ``value`` is invalid for ``param``, or None."""
    faults = _faults(param, value)
    return "; ".join(fault.removeprefix(": ") for fault in faults) if faults else None


def _meaning(param: Param) -> str:
    text = param.description or ""
    return f" ({one_line(text)})" if text else ""


def _faults(param: Param, value: Any) -> list[str]:
    schema = param.schema
    if PLAIN.issuperset(schema):
        fault = plain_fault(schema, value)
        return [f": {fault}"] if fault else []
    from runner.params.json_schema import faults_of  # start-up time: imports jsonschema

    return faults_of(param.schema, value)
