"""The ``require:`` list of a job: jobs that must have succeeded before one of its runs starts."""

from __future__ import annotations

from typing import Any

from runner._dataclass import dataclass
from runner.model.hooks import JOB_NAME, JOB_REFERENCE
from runner.model.message import advise
from runner.model.option import INVALID, Duration, ListOf, Path, Report, Section, describe, option
from runner.model.value_type import ignore


@dataclass(frozen=True, slots=True, kw_only=True)
class Require:
    """A job, and the longest time since its last success, in seconds."""

    job: str = option(JOB_REFERENCE, help="The job that must have succeeded.", examples=("extract",))
    within: float = option(Duration(0.001), help="The longest time since its last success.", examples=("20h",))


REQUIRE_ALIASES = {"name": "job", "task": "job", "since": "within", "for": "within", "max_age": "within"}


@dataclass(frozen=True, slots=True)
class RequireList(ListOf):
    """A list of requirements, without duplicate jobs."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, list):
            name = value if isinstance(value, str) and JOB_NAME.read(value, (), ignore) is not INVALID else "extract"
            written = f"[{{job: {name}, within: 1d}}]"
            report(path, advise(f"expected a list, got {describe(value)}", f"write {written}"))
            return INVALID
        required = ListOf.read(self, value, path, report)
        if required is INVALID:
            return INVALID
        seen = set()
        for index, requirement in enumerate(required):
            if requirement.job in seen:
                report((*path, index, "job"), advise(f"{requirement.job!r} appears twice", "remove one"))
                return INVALID
            seen.add(requirement.job)
        return required


REQUIRED = RequireList(Section(Require, REQUIRE_ALIASES), most=20)
