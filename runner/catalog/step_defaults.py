"""Merge options of a flow into its task steps, for which they are defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.model.job import JobSpec
from runner.model.option import known_options
from runner.yaml_reader.merge import merge_options

SHARED = (
    "queue",
    "priority",
    "env",
    "env_file",
    "secrets",
    "retry",
    "delivery",
    "max_deliveries",
    "memory",
    "isolation",
    "result",
    "unsafe",
)
_OF_TASKS = frozenset({"task", "args", "kwargs", "soft_timeout"})
_OF_FLOWS = frozenset({"steps", "on_failure"})


def inherited_by(own: Mapping[str, Any], defaults: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the defaults for a job: without steps if it has a task, without options of tasks if it has steps."""
    has_steps = own.get("steps") is not None or (own.get("task") is None and defaults.get("steps") is not None)
    unfit = _OF_TASKS if has_steps else _OF_FLOWS
    if unfit.isdisjoint(defaults):
        return defaults
    return {name: value for name, value in defaults.items() if name not in unfit}


def merge_into_steps(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the options of a job; those of a flow are merged into each of its task steps.

    An invalid option is not merged, so that it is reported only once.
    """
    steps = options.get("steps")
    if not isinstance(steps, Mapping):
        return options
    known = known_options(JobSpec)
    shared = {
        name: options[name] for name in SHARED if options.get(name) is not None and known[name].takes(options[name])
    }
    if "env" in shared and "secrets" in shared:
        shared["env"] = {name: value for name, value in shared["env"].items() if name not in shared["secrets"]}
    merged = {
        name: merge_options(shared, step) if isinstance(step, Mapping) and step.get("task") is not None else step
        for name, step in steps.items()
    }
    return {**options, "steps": merged}
