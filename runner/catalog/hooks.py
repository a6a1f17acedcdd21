"""Hooks reach over jobs and files: they must name jobs that there are, that take a run, and lead nowhere back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from runner._dataclass import dataclass
from runner.catalog.circles import circles
from runner.model.job import JobSpec
from runner.model.message import Message, advise
from runner.model.option import closest

PARAM = "run"
"""The param by which a hook gets the run document."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of one hook: the ``number``-th name under ``outcome`` of ``job``."""

    job: str
    outcome: str
    number: int
    message: str

    @property
    def path(self) -> tuple[str | int, ...]:
        """Where in the job it stands."""
        return ("hooks", self.outcome, self.number)


def check_hooks(hooked: Mapping[str, JobSpec], find: Callable[[str], JobSpec | None], names: list[str]) -> list[Fault]:
    """Return the faults in the hooks of some jobs.

    Args:
        hooked: the jobs that have hooks, by name.
        find: returns any sound job by its name.
        names: all names that are declared, also of jobs with problems.
    """
    faults = []
    for job, outcome, number, target in _edges(hooked):
        message = _refused(target, find(target), names)
        if message is not None and find(target) is None and (close := closest(target, names)) is not None:
            # One that has hooks of its own could lead in a circle.
            others = hooked[job].hooks.names()[outcome]
            fits = close not in others and close not in hooked and _refused(close, find(close), names) is None
            message = Message(f"{message}, did you mean {close}?", replacement=close if fits else "")
        if message is not None:
            faults.append(Fault(job, outcome, number, message))
    edges = {(job, target): (outcome, number) for job, outcome, number, target in _edges(hooked)}
    return faults + [Fault(job, *where, message) for job, where, message in circles(edges)]


def _edges(hooked: Mapping[str, JobSpec]) -> Iterator[tuple[str, str, int, str]]:
    for name, job in hooked.items():
        for outcome, targets in job.hooks.names().items():
            for number, target in enumerate(targets):
                yield name, outcome, number, target


def _refused(name: str, target: JobSpec | None, names: list[str]) -> str | None:
    if target is None:
        if name in names:
            return None  # it has problems of its own, which are told
        return f"no job is named {name}"
    param = target.params.get(PARAM)
    if param is None:
        return advise(f"{name} takes no param {PARAM}", f"declare it there: params: {{{PARAM}: {{type: object}}}}")
    types = param.schema.get("type", "object")
    if "object" not in ([types] if isinstance(types, str) else types):
        return advise(f"the param {PARAM} of {name} is not an object", f"write {PARAM}: {{type: object}}")
    missing = [each for each, param in target.params.items() if each != PARAM and param.required]
    if missing:
        what = f"{name} requires {', '.join(missing)} as well, which a hook does not give"
        return advise(what, "give it a default", "; ")
    return None
