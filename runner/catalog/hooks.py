"""Check the hooks of all jobs: each job that they name must exist, take a run, and not lead back in a circle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from runner._dataclass import dataclass
from runner.catalog.circles import circles
from runner.model.job import JobSpec
from runner.model.message import advise, suggest
from runner.model.option import closest

PARAM = "run"
"""The param that holds the run document."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A problem of one hook: the name at index ``number`` under ``outcome`` of ``job``."""

    job: str
    outcome: str
    number: int
    message: str

    @property
    def path(self) -> tuple[str | int, ...]:
        """The path of the hook below the job."""
        return ("hooks", self.outcome, self.number)


def check_hooks(hooked: Mapping[str, JobSpec], find: Callable[[str], JobSpec | None], names: list[str]) -> list[Fault]:
    """Return the problems of hooks.

    Args:
        hooked: the jobs with hooks, by name.
        find: returns a valid job by its name.
        names: the names of all declared jobs, also of invalid ones.
    """
    faults = []
    for job, outcome, number, target in _edges(hooked):
        message = _refused(target, find(target), names)
        if message is not None and find(target) is None and (close := closest(target, names)) is not None:
            # A job with hooks of its own could lead back in a circle.
            others = hooked[job].hooks.names()[outcome]
            fits = close not in others and close not in hooked and _refused(close, find(close), names) is None
            message = suggest(message, close, replacement=close if fits else "")
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
            return None  # its own problems are reported
        return f"no job is named {name}"
    param = target.params.get(PARAM)
    if param is None:
        return advise(f"{name} has no param {PARAM}", f"add params: {{{PARAM}: {{type: object}}}} to {name}")
    types = param.schema.get("type", "object")
    if "object" not in ([types] if isinstance(types, str) else types):
        what = f"the param {PARAM} of {name} is not an object"
        return advise(what, f"write params: {{{PARAM}: {{type: object}}}} in {name}")
    missing = [other for other, param in target.params.items() if other != PARAM and param.required]
    if missing:
        what = f"{name} requires {', '.join(missing)} too, which a hook does not set"
        return advise(what, f"give {missing[0]} a default", "; ")
    return None
