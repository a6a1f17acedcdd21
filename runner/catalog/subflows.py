"""Steps that run other jobs: these must be declared, take the params, and lead nowhere back nor too deep. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from runner._dataclass import dataclass
from runner.catalog.circles import circles
from runner.catalog.graph import Graph, named_types, types_of
from runner.model.job import JobSpec
from runner.model.message import Message, advise
from runner.model.option import closest
from runner.model.param import Param
from runner.model.step import Step
from runner.model.template import is_placeholder, placeholders, render
from runner.params.check import fits

MOST_LEVELS = 4
"""How many flows may run one inside the other."""

Find = Callable[[str], JobSpec | None]


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of a step of ``job``; ``below`` leads from the step to the place."""

    job: str
    step: str
    below: tuple[str | int, ...]
    message: str
    on_key: bool = False

    @property
    def path(self) -> tuple[str | int, ...]:
        """Where in the job it stands."""
        return ("steps", self.step, *self.below)


def check_subflows(flows: Mapping[str, JobSpec], find: Find, names: list[str]) -> list[Fault]:
    """Return the faults in the jobs that steps name.

    Args:
        flows: the jobs that have steps, by name.
        find: returns any sound job by its name.
        names: all names that are declared, also of jobs with problems.
    """
    faults: list[Fault] = []
    edges: dict[tuple[str, str], str] = {}
    for flow, name, step in _job_steps(flows):
        target = find(str(step.job))
        if target is not None:
            faults += (Fault(flow.name, name, *each) for each in _params(flow, name, step, target))
            edges.setdefault((flow.name, target.name), name)
        elif step.job not in names:
            faults.append(Fault(flow.name, name, ("job",), _unknown(flow, name, step, find, names)))
    in_circles = list(circles(edges))
    faults += (Fault(job, name, ("job",), message) for job, name, message in in_circles)
    closing = {(job, name) for job, name, _ in in_circles}
    left = {(job, target): name for (job, target), name in edges.items() if (job, name) not in closing}
    return faults + list(_too_deep(flows, left))


def _job_steps(flows: Mapping[str, JobSpec]) -> Iterator[tuple[JobSpec, str, Step]]:
    for flow in flows.values():
        for name, step in flow.steps.items():
            if step.job is not None:
                yield flow, name, step


def _unknown(flow: JobSpec, name: str, step: Step, find: Find, names: list[str]) -> Message:
    what = f"no job is named {step.job}"
    if step.job in flow.steps:
        return advise(f"{what}, it is a step of this one", "name it under needs", "; ")
    close = closest(str(step.job), names)
    if close is None:
        return advise(what, "declare it, or write task")
    target = find(close)
    # One that has steps itself could lead in a circle.
    fits_there = target is not None and not target.steps and not list(_params(flow, name, step, target))
    return Message(f"{what}, did you mean {close}?", replacement=close if fits_there else "")


def _too_deep(flows: Mapping[str, JobSpec], edges: Mapping[tuple[str, str], str]) -> Iterator[Fault]:
    below: dict[str, list[str]] = {}
    for flow, target in edges:
        if target in flows:
            below.setdefault(flow, []).append(target)
    levels: dict[str, int] = {}
    for start in flows:
        # Without recursion: a chain may be as long as there are jobs.
        path = [start]
        while path:
            name = path[-1]
            left = [each for each in below.get(name, ()) if each not in levels]
            if left:
                path.append(left[0])
            else:
                levels[name] = 1 + max((levels[each] for each in below.get(name, ())), default=0)
                path.pop()
    for (flow, target), step in edges.items():
        # Flows that run this one are too deep because of it, which is told once.
        if levels.get(target) == MOST_LEVELS:
            what = f"makes {MOST_LEVELS + 1} flows one inside the other, at most {MOST_LEVELS} are allowed"
            yield Fault(flow, step, ("job",), advise(what, f"write the steps of {target} here", "; "))


def _params(flow: JobSpec, name: str, step: Step, target: JobSpec) -> Iterator[tuple[tuple[str | int, ...], str, bool]]:
    """Yield the faults in the params that a step gives a job: the place, the words, and whether it is a key."""
    for given in step.params:
        if given not in target.params:
            what, close = f"{given} is not a param of {target.name}", closest(given, target.params)
            if close is not None:
                meant = Message(f"{what}, did you mean {close}?", replacement="" if close in step.params else close)
            else:
                known = ", ".join(target.params)
                meant = Message(f"{what}, which takes {known}") if known else advise(what, "remove it")
            yield ("params", given), meant, True
    missing = [each for each, param in target.params.items() if param.required and each not in step.params]
    if missing:
        what = f"{target.name} requires {', '.join(missing)}"
        yield ("job",), advise(what, f"add params: {{{missing[0]}: …}} to the step", "; "), False
    graph = Graph(flow.steps, tuple(flow.steps), flow.params)
    for given, value in step.params.items():
        if given in target.params and (fault := _unfit(graph, name, target.params[given], value)) is not None:
            yield ("params", given), fault, False


def _unfit(graph: Graph, name: str, param: Param, value: Any) -> str | None:
    """Return the reason why a value never fits a param, or None."""
    if not any(placeholders(value)):
        fault = fits(param, _literal(value))
        return None if fault is None else f"does not fit the param of the job: {fault}"
    if not isinstance(value, str) or not param.types:
        return None
    types = types_of(graph, name, value) if is_placeholder(value) else ("string",)
    if not types or any(_overlap(each, other) for each in types for other in param.types):
        return None
    what = f"{value} is {named_types(types)}, and {param.name} of the job takes {named_types(param.types)}"
    return advise(what, "give another value", "; ")


def _literal(value: Any) -> Any:
    if isinstance(value, str):
        return render(value, str)
    if isinstance(value, Mapping):
        return {key: _literal(item) for key, item in value.items()}
    return [_literal(item) for item in value] if isinstance(value, list | tuple) else value


def _overlap(one: str, other: str) -> bool:
    numbers = ("integer", "number")
    return one == other or (one in numbers and other in numbers)
