"""Say what a run waits for, or why it ended."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from runner.actions.explain import Explanation, Facts, explain
from runner.actions.find import find_run
from runner.actions.logs import last_lines
from runner.actions.skipped import SkippedSlots, skipped_around
from runner.errors import UnknownRun
from runner.ledger.pauses import read_pauses
from runner.ledger.record import pairs
from runner.model.pause import paused
from runner.model.run import Run, to_datetime, to_timestamp
from runner.schedule.timetable import milliseconds

if TYPE_CHECKING:
    from runner.actions.project import Project

LOOK = 2000
"""Messages of the queue that are looked through."""

LOG_LINES = 5


def why(project: Project, reference: str, show: Callable[[str], str] = str) -> tuple[Facts, Explanation]:
    """Return the facts about a run, and their explanation.

    Args:
        project: where the run belongs.
        reference: its id, a prefix of it, or ``@JOB``.
        show: how the explanation writes a time (RFC 3339); as it is by default.

    Raises:
        UnknownRun, AmbiguousId, UsageError: see :func:`runner.actions.find.find_id`.
        Unavailable: Redis cannot be reached.
    """
    run = _find(project, reference)
    found = pairs(project.ledger.script("why", run.id, LOOK))
    words = ("holder", "paused", "holders", "detail", "required")
    holder, held, holders, note, required = (found.pop(name, None) for name in words)
    told: dict[str, Any] = {name: int(float(value)) for name, value in found.items() if value}
    workers = [] if run.final else project.ledger.workers()
    job = project.catalog.jobs.get(run.job)
    facts = Facts(
        run=run,
        note=note,
        holder=holder,
        required=required,
        required_stands=_stands(project, required) if required else None,
        pause=paused(read_pauses(project.ledger), run.job) if held else None,
        holders=list(json.loads(holders)) if holders else None,
        workers=len(workers),
        takers=[each.name for each in workers if run.queue in each.queues],
        declared=job is not None,
        enabled=job is None or job.enabled,
        changed=job is not None and run.spec_digest is not None and run.spec_digest != job.digest,
        left_out=[each.document() for each in _left_out(project, reference, run, told["now"])],
        log=[line.text for line in last_lines(project, run.id, LOG_LINES)] if run.attempts else [],
        show=show,
        **told,
    )
    return facts, explain(facts)


def _stands(project: Project, name: str) -> str | None:
    """Return the reason why a job cannot run, in words, or None."""
    job = project.catalog.jobs.get(name)
    if job is None:
        return "not declared in this project's files"
    if not job.enabled:
        return "disabled"
    return "paused" if paused(read_pauses(project.ledger), name) is not None else None


def _find(project: Project, reference: str) -> Run:
    """Return the run that ``reference`` means; if there is none of a job, say what its schedule has left out."""
    try:
        return find_run(project, reference)
    except UnknownRun as error:
        job = project.catalog.jobs.get(reference[1:]) if reference.startswith("@") else None
        found = skipped_around(project, job, 0, round(time.time() * 1000)) if job is not None else []
        if not found:
            raise
        slots = "; ".join(f"{to_timestamp(each.slot)}, {each.reason}" for each in found)
        raise UnknownRun(f"{error.message}, and its schedule leaves out {slots}", hint=error.hint) from None


def _left_out(project: Project, reference: str, run: Run, now: int) -> list[SkippedSlots]:
    job = project.catalog.jobs.get(run.job) if reference.startswith("@") else None
    if job is None:
        return []
    since = run.slot or run.submitted_at
    return skipped_around(project, job, 0 if since is None else milliseconds(to_datetime(since)), now)
