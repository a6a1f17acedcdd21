"""Check a job file that is being edited as a worker would read it: its problems, its jobs, and those of other files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from runner._dataclass import dataclass
from runner.actions.job_files import encode, locate
from runner.actions.plan import Plan, plan
from runner.actions.project import Project
from runner.actions.validate import advice_on
from runner.catalog.edited import with_file

if TYPE_CHECKING:
    from runner.catalog.catalog import Catalog
    from runner.yaml_reader.problem import Problem


@dataclass(frozen=True, slots=True)
class Checked:
    """What would follow from another content of a job file, compared with the files as they are now."""

    problems: tuple[Problem, ...]
    """The problems of the file, and those that it would cause in other files."""
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    catalog: Catalog
    """All jobs as they would be."""

    @property
    def sound(self) -> bool:
        """Whether there is nothing but warnings."""
        return all(problem.severity == "warning" for problem in self.problems)

    def jobs(self) -> dict[str, list[str]]:
        """Return the names of the jobs that would be added, changed, and removed."""
        return {"added": list(self.added), "changed": list(self.changed), "removed": list(self.removed)}


def check_text(project: Project, name: str, text: str | None) -> Checked:
    """Check a job file as if it held ``text``; None checks its removal. Nothing is written.

    Raises:
        UnknownFile: there can be no job file of that name.
        UsageError: the text is too long, or cannot be written as UTF-8.
    """
    at = locate(project.settings, name)
    data = None if text is None else encode(text)
    before = project.catalog
    after = with_file(project.settings, before, at.path, data)
    old, new = before.digests(), after.digests()
    known = {_key(problem) for problem in before.all_problems()}
    problems = [fault for fault in after.all_problems() if fault.file == name or _key(fault) not in known]
    if data is not None:
        problems += advice_on(after, project.settings, project.settings.project, {name: data})
    return Checked(
        tuple(sorted(problems)),
        tuple(sorted(_declared(new) - _declared(old) - set(before.broken))),
        tuple(sorted(job for job in _declared(old) & _declared(new) if _differs(job, old, new))),
        tuple(sorted(_declared(old) - _declared(new) - set(after.broken))),
        after,
    )


def plan_text(project: Project, name: str, text: str | None) -> Plan:
    """Compare the jobs as they would be with those that the workers run.

    Raises:
        Unavailable: Redis cannot be reached.
        UnknownFile, UsageError: as :func:`check_text`.
    """
    at = locate(project.settings, name)
    edited = Project(project.settings)
    data = None if text is None else encode(text)
    edited.catalog = with_file(project.settings, project.catalog, at.path, data)
    edited.ledger = project.ledger
    return plan(edited)


def _declared(digests: Mapping[str, str]) -> set[str]:
    return {name for name in digests if "/" not in name}


def _differs(job: str, old: Mapping[str, str], new: Mapping[str, str]) -> bool:
    return old[job] != new[job]


def _key(problem: Problem) -> tuple[Any, ...]:
    """Return an identity of a problem that does not change if lines are added above it."""
    return (problem.file, problem.path, problem.message, problem.severity)
