"""Run again what has run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.actions.find import find_id
from runner.actions.submit import submit
from runner.errors import NotFinished, UsageError
from runner.model.asking import QUERY, ask
from runner.model.submit_options import SubmitOptions

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.ledger.submission import Submitted


def rerun(
    project: Project, reference: str, *, run_id: str | None = None, key: str | None = None, by: str | None = None
) -> Submitted:
    """Submit a run with the params of a finished one, under the job as it is declared now.

    Args:
        project: whose run.
        reference: the id of the finished run, or a unique prefix of it.
        run_id: the id of the new run; made by default.
        key: submitting the same key of a job again gives the first run.
        by: who; ``user@host`` by default.

    Raises:
        NotFinished: it is not in a final state.
        UnknownRun, AmbiguousId: see :func:`runner.actions.find.find_id`.
        UnknownJob, InvalidParams, JobDisabled, KeyConflict, Unavailable: see :func:`runner.actions.submit.submit`.
    """
    origin = project.ledger.get(find_id(project, reference, reading=False))
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
    options = ask(SubmitOptions, {"key": key}, QUERY, zone=project.settings.timezone)
    return submit(
        project, origin.job, origin.params, run_id=run_id, options=options, trigger="rerun", rerun_of=origin.id, by=by
    )
