"""Jobs that others require must be declared, and none may require itself by way of others."""

from __future__ import annotations

from collections.abc import Mapping

from runner._dataclass import dataclass
from runner.catalog.circles import circles
from runner.model.job import JobSpec
from runner.model.message import Message, advise
from runner.model.option import closest


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of the ``number``-th requirement of ``job``."""

    job: str
    number: int
    message: str

    @property
    def path(self) -> tuple[str | int, ...]:
        """Where in the job it stands."""
        return ("require", self.number, "job")


def check_required(requiring: Mapping[str, JobSpec], names: list[str]) -> list[Fault]:
    """Return the faults in what some jobs require.

    Args:
        requiring: the jobs that require others, by name.
        names: all names that are declared, also of jobs with problems.
    """
    edges = {(name, each.job): number for name, job in requiring.items() for number, each in enumerate(job.require)}
    known = set(names)
    faults = [
        Fault(job, number, _unknown(target, names, requiring))
        for (job, target), number in edges.items()
        if target not in known
    ]
    return faults + [Fault(job, number, message) for job, number, message in circles(edges)]


def _unknown(name: str, names: list[str], requiring: Mapping[str, JobSpec]) -> Message:
    what, close = f"no job is named {name}", closest(name, names)
    if close is None:
        return advise(what, "declare it, or remove this requirement")
    # One that requires others itself could lead in a circle.
    return Message(f"{what}, did you mean {close}?", replacement=close if close not in requiring else "")
