"""Make one error from all invalid params of a submission."""

from __future__ import annotations

from runner.errors import InvalidParams
from runner.model.job import JobSpec
from runner.model.option import did_you_mean
from runner.yaml_reader.problem import one_line

MOST_FAULTS = 20
"""Problems reported of one submission; more are the same one many times over."""


def undeclared(job: JobSpec, name: str) -> str:
    """Return the message about a param that a job does not declare."""
    guess = did_you_mean(name, job.params)
    if not guess:
        known = ", ".join(job.params)
        guess = f", {job.name} takes {known}" if known else f", {job.name} takes no params"
    return f"{one_line(name)}: is not declared{guess}"


def invalid(job: JobSpec, faults: list[str]) -> InvalidParams:
    """Return the error about invalid params of a job."""
    more = "; and more" if len(faults) > MOST_FAULTS else ""
    return InvalidParams(
        f"params of {job.name}: " + "; ".join(faults[:MOST_FAULTS]) + more,
        hint=f"runner jobs {job.name} shows its params.",
    )
