"""Check that required jobs exist, and that no job requires itself by way of others."""

from __future__ import annotations

from collections.abc import Mapping

from runner._dataclass import dataclass
from runner.catalog.circles import circles
from runner.model.job import JobSpec
from runner.model.message import Message, advise, suggest
from runner.model.option import closest


@dataclass(frozen=True, slots=True)
class Fault:
    """A problem of the requirement at index ``number`` of ``job``."""

    job: str
    number: int
    message: str

    @property
    def path(self) -> tuple[str | int, ...]:
        """The path of the requirement below the job."""
        return ("require", self.number, "job")


def check_required(requiring: Mapping[str, JobSpec], names: list[str]) -> list[Fault]:
    """Return the problems of requirements.

    Args:
        requiring: the jobs that require others, by name.
        names: the names of all declared jobs, also of invalid ones.
    """
    edges = {(name, other.job): number for name, job in requiring.items() for number, other in enumerate(job.require)}
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
        return advise(what, "add it, or remove this requirement")
    # A job that requires others could lead back in a circle.
    return suggest(what, close, replacement=close if close not in requiring else "")
