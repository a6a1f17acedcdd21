"""Rerun finished runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.actions.find import find_run
from runner.actions.submit import submit
from runner.errors import BelongsToFlow, NotFinished, Refused, UsageError
from runner.model.interface import QUERY, parse_options
from runner.model.run import Run, State
from runner.model.submit_options import SubmitOptions

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.flows.reuse import FormerStep
    from runner.ledger.submission import Submitted
    from runner.model.job import JobSpec


def rerun(
    project: Project,
    reference: str,
    *,
    from_failed: bool = False,
    run_id: str | None = None,
    key: str | None = None,
    by: str | None = None,
) -> Submitted:
    """Submit a run with the params of a finished one, under the job as it is declared now.

    Args:
        project: the project of the run.
        reference: the id of the finished run, or a unique prefix of it.
        from_failed: for a flow, run only the steps of :func:`steps_to_run`, and reuse the results of the others.
        run_id: the id of the new run; by default a new id.
        key: the idempotency key; the same key of a job returns the first run.
        by: the name of the person; ``user@host`` by default.

    Raises:
        NotFinished: the run is not in a final state.
        BelongsToFlow: the run is a step run.
        Refused: with ``from_failed``, no step would run, or only the archive has the results of those that would not.
        UsageError: with ``from_failed``, the run or its job has no steps.
        UnknownRun, AmbiguousId: see :func:`runner.actions.find.find_id`.
        UnknownJob, InvalidParams, JobDisabled, KeyConflict, Unavailable: see :func:`runner.actions.submit.submit`.
    """
    origin = _origin(project, reference)
    if from_failed and not _steps_to_run(project, origin):
        raise Refused(
            f"all steps of run {origin.id} of {origin.job} have succeeded, and none has changed: none would run",
            hint=f"run all of them again: runner rerun {origin.id}",
        )
    options = parse_options(SubmitOptions, {"key": key}, QUERY, zone=project.settings.timezone)
    return submit(
        project,
        origin.job,
        origin.params,
        run_id=run_id,
        options=options,
        trigger="rerun",
        rerun_of=origin.id,
        reuse=origin.id if from_failed else None,
        by=by,
    )


def steps_to_run(project: Project, reference: str) -> dict[str, str | None]:
    """Return the steps that run again if a flow is rerun from its failed steps, with the reasons for successful ones.

    Raises: as :func:`rerun` does.
    """
    return _steps_to_run(project, _origin(project, reference))


def _origin(project: Project, reference: str) -> Run:
    origin = find_run(project, reference, reading=False)
    if not origin.final:
        raise NotFinished(
            f"run {origin.id} of {origin.job} is {origin.state}, only a finished run can be run again",
            hint=f"wait for it: runner wait {origin.id}",
        )
    if origin.damaged:
        raise UsageError(
            f"run {origin.id} cannot be run again, its record is damaged: {origin.damaged}",
            hint="submit it anew; runner doctor --repair removes the record",
        )
    if origin.step is not None and "/" in origin.job:
        raise BelongsToFlow(
            f"run {origin.id} is one of step {origin.step}, which runs within its flow alone",
            hint=f"run its flow again: runner rerun {origin.flow} --from-failed",
        )
    return origin


def _steps_to_run(project: Project, origin: Run) -> dict[str, str | None]:
    from runner.flows.reuse import steps_that_run  # start-up time: most runs have no steps

    job = project.catalog.get(origin.job)
    if origin.steps is None or not job.is_flow:
        whose = f"run {origin.id}" if origin.steps is None else f"job {job.name}"
        raise UsageError(
            f"{whose} has no steps, so nothing of it can be kept", hint=f"run all of it again: runner rerun {origin.id}"
        )
    if origin.archived:
        raise Refused(
            f"run {origin.id} of {origin.job} is only in the archive, from which no step can take a result",
            hint=f"run all of it again: runner rerun {origin.id}",
        )
    return steps_that_run(job.steps, _digests(project, job), _former(project, origin))


def _digests(project: Project, job: JobSpec) -> dict[str, str]:
    """Return the digests of the jobs of a flow's steps."""
    known = project.catalog.digests()
    names = {name: step.job or f"{job.name}/{name}" for name, step in job.steps.items()}
    return {name: known[job_name] for name, job_name in names.items() if job_name in known}


def _former(project: Project, origin: Run) -> dict[str, FormerStep]:
    from runner.flows.reuse import FormerStep  # start-up time: most runs have no steps
    from runner.ledger.flow_progress import step_run_id

    rows = origin.steps or []
    firsts = {row["name"]: row["run"] or step_run_id(origin.id, row["name"], 0) for row in rows}
    runs = {run.id: run for run in project.ledger.read(list(firsts.values()))}
    found = {}
    for row in rows:
        run = runs.get(firsts[row["name"]])
        succeeded = row["state"] == State.SUCCESS or row["reason"] == "skipped"
        digest = (
            run.spec_digest if run is not None and run.state is State.SUCCESS and row["kind"] != "approval" else None
        )
        found[row["name"]] = FormerStep(succeeded, digest)
    return found
