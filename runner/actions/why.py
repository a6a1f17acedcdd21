"""Collect the facts that explain what a run waits for, or why it ended."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from runner.actions.broker import ask_broker
from runner.actions.explain import Explanation, Facts, explain
from runner.actions.explain_flow import MOST_BLOCKING, OpenStep, explain_step
from runner.actions.find import find_run
from runner.actions.logs import last_lines
from runner.actions.skipped import SkippedSlots, skipped_around
from runner.errors import UnknownRun
from runner.ledger.pauses import read_pauses
from runner.ledger.record import pairs
from runner.ledger.search import search
from runner.model.pause import paused
from runner.model.run import FINAL, Run, State, to_datetime, to_timestamp
from runner.model.run_query import RunQuery
from runner.schedule.timetable import milliseconds

if TYPE_CHECKING:
    from runner.actions.project import Project

LOOK = 2000
"""The most messages of a queue that are examined."""

LOG_LINES = 5


def why(
    project: Project, reference: str, show: Callable[[str], str] = str, *, archived: bool = False
) -> tuple[Facts, Explanation]:
    """Return the facts about a run, and their explanation.

    Args:
        project: the project of the run.
        reference: its id, a prefix of it, or ``@JOB``.
        show: formats a time (RFC 3339) for the explanation; unchanged by default.
        archived: read only the archive.

    Raises:
        UnknownRun, AmbiguousId, UsageError: see :func:`runner.actions.find.find_id`.
        Unavailable: Redis cannot be reached.
    """
    run = _find(project, reference, archived=archived)
    facts = _facts(project, run, reference, show)
    return facts, explain(facts)


def _facts(project: Project, run: Run, reference: str, show: Callable[[str], str]) -> Facts:
    # Redis does not know an archived run, and need not be reachable.
    now = {"now": str(round(time.time() * 1000))}
    found = now if run.archived else pairs(project.ledger.script("why", run.id, LOOK))
    texts = ("holder", "paused", "holders", "detail", "required")
    holder, held, holders, note, required = (found.pop(name, None) for name in texts)
    numbers: dict[str, Any] = {name: int(float(value)) for name, value in found.items() if value}
    workers = [] if run.final else project.ledger.workers()
    job = project.catalog.jobs.get(run.job)
    stays = run.steps is not None and run.state is State.STARTED
    return Facts(
        run=run,
        note=note,
        holder=holder,
        required=required,
        required_stands=_obstacle(project, required) if required else None,
        pause=paused(read_pauses(project.ledger), run.job) if held or stays else None,
        holders=list(json.loads(holders)) if holders else None,
        workers=len(workers),
        takers=[worker.name for worker in workers if run.queue in worker.queues],
        declared=job is not None or _flow_of(run.job) in project.catalog.jobs,
        enabled=job is None or job.enabled,
        changed=job is not None and run.spec_digest is not None and run.spec_digest != job.digest,
        left_out=[slots.document() for slots in _left_out(project, reference, run, numbers["now"])],
        broker=_broker(project, run),
        log=[line.labeled() for line in last_lines(project, run, LOG_LINES)] if run.attempts else [],
        flow=_read(project, run, run.flow) if run.flow is not None else None,
        failed_step=_failed_step(project, run) if run.reason == "step_failed" else None,
        open_steps=_open_steps(project, run, show) if stays else [],
        show=show,
        **numbers,
    )


def _broker(project: Project, run: Run) -> str | None:
    """Return the reason why RabbitMQ may not notify an idle worker of a waiting run; None if there is none."""
    if run.state not in (State.PENDING, State.RETRY):
        return None
    answer = ask_broker(project, [run.queue])
    if answer is None:
        return None
    if answer.trouble is not None:
        return answer.trouble.message
    refused = (answer.queues or {})[run.queue].refused if run.queue in (answer.queues or {}) else ""
    return f"RabbitMQ refuses the queue of its hints: {refused}" if refused else None


def _read(project: Project, run: Run, other: str) -> Run | None:
    """Return another run from where ``run`` was read, the ledger or the archive; None if it is not there."""
    return next(iter(project.reading(archived=run.archived).read([other])), None)


def _failed_step(project: Project, flow: Run) -> Run | None:
    """Return the first run of a step of a flow that failed, wherever the flow's own record is."""
    query = RunQuery(flow=flow.id, state=[State.FAILURE], sort="oldest")
    return next(iter(project.reading(archived=flow.archived).page(query, limit=1).runs), None)


def _flow_of(name: str) -> str | None:
    """Return the flow of a step's job: ``nightly`` for ``nightly/approve``; None for other jobs."""
    flow, slash, _ = name.partition("/")
    return flow if slash else None


def _open_steps(project: Project, flow: Run, show: Callable[[str], str]) -> list[OpenStep]:
    """Return the steps of a flow that wait or run, each with its run that has waited longest."""
    found: list[OpenStep] = []
    for step in flow.steps or ():
        if len(found) == MOST_BLOCKING:
            break
        run = None if step["state"] in FINAL else _open_run(project, flow, step)
        if run is not None:
            explanation = explain(_facts(project, run, run.id, show))
            obvious = set(explain_step(run, flow))
            because = [text for text in explanation.because if text not in obvious]
            found.append(OpenStep(step, run, explanation.summary, because, explanation.commands))
    return found


def _open_run(project: Project, flow: Run, step: Mapping[str, Any]) -> Run | None:
    """Return the oldest waiting run of a step; if none waits, the oldest one that runs."""
    if step.get("run"):
        return next((run for run in project.ledger.read([step["run"]]) if not run.final), None)
    for states in ([State.PENDING, State.RETRY], [State.STARTED]):
        if any((step.get("counts") or {}).get(state) for state in states):
            query = RunQuery(flow=flow.id, step=step["name"], state=states, sort="oldest")
            if runs := search(project.ledger, query, limit=1).runs:
                return runs[0]
    return None


def _obstacle(project: Project, name: str) -> str | None:
    """Return the reason why a job does not run: not declared, disabled, or paused; None if it can run."""
    job = project.catalog.jobs.get(name)
    if job is None:
        return "not declared in this project's files"
    if not job.enabled:
        return "disabled"
    return "paused" if paused(read_pauses(project.ledger), name) is not None else None


def _find(project: Project, reference: str, *, archived: bool) -> Run:
    """Return the run that ``reference`` means. If its job has no run, the error names the slots that were left out."""
    try:
        return find_run(project, reference, archived=archived)
    except UnknownRun as error:
        job = project.catalog.jobs.get(reference[1:]) if reference.startswith("@") else None
        found = skipped_around(project, job, 0, round(time.time() * 1000)) if job is not None else []
        if not found:
            raise
        slots = "; ".join(f"{to_timestamp(skipped.slot)}, {skipped.reason}" for skipped in found)
        raise UnknownRun(f"{error.message}, and its schedule leaves out {slots}", hint=error.hint) from None


def _left_out(project: Project, reference: str, run: Run, now: int) -> list[SkippedSlots]:
    job = project.catalog.jobs.get(run.job) if reference.startswith("@") else None
    if job is None:
        return []
    since = run.slot or run.submitted_at
    return skipped_around(project, job, 0 if since is None else milliseconds(to_datetime(since)), now)
