"""Make the jobs of task steps, which workers run under the name ``FLOW/STEP``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from runner.catalog.digest import digest_of
from runner.model.job import JOB, JobSpec
from runner.model.option import options_of
from runner.model.param import Param
from runner.model.step import Step
from runner.model.task_options import TaskOptions
from runner.model.template import placeholders

ITEM = "item"
"""The param that holds the item, in a run of a step with ``each``."""


def step_spec(flow: JobSpec, name: str) -> JobSpec:
    """Return the job of a task step, with its options, the params of the flow that it uses, and its item.

    Raises:
        KeyError: the flow has no step of that name, or the step is another job or an approval.
    """
    step = flow.steps[name]
    if step.task is None:
        raise KeyError(name)
    options = {option.field: getattr(step, option.field) for option in options_of(TaskOptions)}
    params = {param: flow.params[param] for param in params_of(step) if param in flow.params}
    if step.each is not None:
        params[ITEM] = Param(ITEM, item_schema(step.each, flow.params))
    spec = JobSpec(
        name=step_job(flow.name, name),
        **options,
        params=params,
        retention=flow.retention,
        flow=flow.name,
        step=name,
        file=flow.file,
        line=flow.line,
    )
    return replace(spec, digest=digest_of(JOB.write(spec)))


def item_schema(each: Any, params: Mapping[str, Param]) -> dict[str, Any]:
    """Return the JSON Schema of the items of a step, as far as it is known before the flow runs.

    It does not change when a list gets another item of the same type.
    """
    if isinstance(each, Mapping):
        known = {name: one for name, items in each.items() if (one := item_schema(items, params))}
        return {"type": "object", "properties": known} if known else {}
    if isinstance(each, str):
        param = params.get(each[2:-1].removeprefix("params."))
        return dict(param.schema.get("items") or {}) if param is not None and param.types == ("array",) else {}
    types = {_type(item) for item in each}
    if None in types:
        return {}
    schema: dict[str, Any] = {"type": sorted(str(one) for one in types)}
    texts = [item for item in each if isinstance(item, str)]
    if texts and all(_PLAIN_TEXT.fullmatch(text) for text in texts):
        schema["pattern"] = f"^{_PLAIN_TEXT.pattern}$"
    return schema


_PLAIN_TEXT = re.compile("[A-Za-z0-9_./][A-Za-z0-9_@%+=:,./-]*")


def _type(item: Any) -> str | None:
    """Return the JSON type of a literal item; None for a placeholder, a list, or a mapping."""
    if isinstance(item, str):
        return None if "${" in item else "string"
    return "boolean" if isinstance(item, bool) else "number" if isinstance(item, int | float) else None


def step_job(flow: str, step: str) -> str:
    """Return the name of the job of a step."""
    return f"{flow}/{step}"


def path_of(name: str) -> tuple[str, ...]:
    """Return the path in a jobs file of a job, or of a step with a name such as ``nightly/load``."""
    flow, slash, step = name.partition("/")
    return ("jobs", flow, "steps", step) if slash else ("jobs", name)


def step_specs(flow: JobSpec) -> Iterator[JobSpec]:
    """Yield the jobs of the task steps of a flow, in order."""
    for name, step in flow.steps.items():
        if step.task is not None:
            yield step_spec(flow, name)


def params_of(step: Step) -> list[str]:
    """Return the params of the flow that a step passes to its task, in order."""
    found = (name for value in (step.kwargs, step.env) for _, name in placeholders(value))
    return list(dict.fromkeys(name.removeprefix("params.") for name in found if name.startswith("params.")))


def flow_of(name: str, graph: Mapping[str, Any]) -> JobSpec:
    """Return the job of a flow as it was at submission.

    Args:
        name: the name of the job.
        graph: its options, as ``JOB.write`` wrote them.

    Raises:
        ValueError: the options are not those of a valid job.
    """

    def refuse(path: tuple[str | int, ...], message: str, *, on_key: bool = False) -> None:  # noqa: ARG001
        raise ValueError(message)

    values, _ = JOB.read_fields(graph, (), refuse)
    return JobSpec(name=name, digest=digest_of(graph), **values)
