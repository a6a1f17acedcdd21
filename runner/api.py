"""The Python API: submit a run, follow it, end it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.errors import RunFailed, RunRevoked, UsageError
from runner.model.run import Run, State

if TYPE_CHECKING:
    from runner.actions.project import Project


class RunHandle:
    """A run that can be asked and told things. Attributes of the run document read it anew until it is final."""

    def __init__(self, project: Project, run: Run) -> None:
        self._project = project
        self._run = run

    @property
    def id(self) -> str:
        """The run's id, which is its Celery task id."""
        return self._run.id

    def refresh(self) -> Run:
        """Read the run and return its document's values.

        Raises:
            UnknownRun: it was forgotten or pruned.
        """
        if not self._run.final:
            self._run = self._project.ledger.get(self.id)
        return self._run

    @property
    def state(self) -> State:
        """The state now."""
        return self.refresh().state

    @property
    def result(self) -> Any:
        """The result of a run that succeeded, else None."""
        return self.refresh().result

    @property
    def error(self) -> dict[str, Any] | None:
        """``{"type", "message", "traceback"}`` of a run that failed, else None."""
        return self.refresh().error

    def document(self) -> dict[str, Any]:
        """Return the run document."""
        return self.refresh().document()

    def wait(self, timeout: float | None = None, *, check: bool = False) -> Run:
        """Wait until the run is final.

        Args:
            timeout: seconds, or None to wait for ever.
            check: raise unless the run ended in SUCCESS.

        Raises:
            WaitTimeout: the time has passed; the run goes on.
            RunFailed, RunRevoked: with ``check``.
        """
        import time

        deadline = None if timeout is None else time.monotonic() + timeout
        with self._project.ledger.watch([self.id]) as watch:
            for run in watch.changes(deadline=deadline, ends_only=True):
                self._run = run
        run = self._run
        if check and run.state is State.FAILURE:
            error = run.error or {}
            raise RunFailed(f"run {run.id} of {run.job} failed ({run.reason}): {error.get('message')}")
        if check and run.state is State.REVOKED:
            raise RunRevoked(f"run {run.id} of {run.job} was revoked ({run.reason})")
        return run

    def revoke(self, *, terminate: bool = False, comment: str | None = None) -> Run:
        """Revoke the run; with ``terminate``, also if it is running."""
        from runner.actions.submit import submitter

        self._run, _ = self._project.ledger.revoke(self.id, by=submitter(), comment=comment, terminate=terminate)
        return self._run

    def forget(self) -> None:
        """Remove all that is known of the run.

        Raises:
            NotFinished: it is not final.
        """
        from runner.actions.submit import submitter

        self._project.ledger.forget(self.id, by=submitter())

    def __repr__(self) -> str:
        return f"<run {self.id} of {self._run.job}: {self._run.state}>"


@cache
def open_project(project: str | Path | None = None) -> Project:
    """Return the project of a folder, found as on the command line; it is opened once a process."""
    from runner.actions.project import Project

    return Project.open(project)


def submit(
    job: str,
    params: Mapping[str, Any] | None = None,
    *,
    key: str | None = None,
    delay: float | None = None,
    at: datetime | None = None,
    expires: float | None = None,
    queue: str | None = None,
    priority: int | None = None,
    project: str | Path | None = None,
) -> RunHandle:
    """Submit a run of ``job``.

    Args:
        job: its name in jobs.d.
        params: what the job declares.
        key: submitting the same key of a job again returns the run that exists.
        delay: seconds to wait before the run may start.
        at: when the run may start, instead of ``delay``; an aware datetime.
        expires: seconds, counted from the start time, after which it may not start any more.
        queue: instead of the job's.
        priority: 0 to 9, instead of the job's.
        project: the folder; found as on the command line by default.

    Raises:
        UsageError: ``at`` has no offset, or ``delay`` is given as well.
        UnknownJob, InvalidParams, JobDisabled, KeyConflict, Unavailable: see :mod:`runner.errors`.
    """
    from runner.actions import submit as action

    if at is not None and delay is not None:
        raise UsageError("at and delay both say when to start", hint="use one of them")
    if at is not None and at.tzinfo is None:
        raise UsageError(
            f"at has no offset: {at}", hint="give an aware datetime: datetime.now(UTC) + timedelta(hours=1)"
        )
    opened = open_project(project)
    submitted = action.submit(
        opened,
        job,
        dict(params or {}),
        key=key,
        eta=at.timestamp() if at is not None else None,
        delay=delay if at is None else None,
        expires=expires,
        queue=queue,
        priority=priority,
        trigger="api",
    )
    return RunHandle(opened, submitted.run or opened.ledger.get(submitted.id))


def get_run(run_id: str, *, project: str | Path | None = None) -> RunHandle:
    """Return a run by its id, a unique prefix of it, or ``@JOB``.

    Raises:
        UnknownRun: there is none.
        UsageError: the text is no id, or a prefix that is too short or fits more than one.
    """
    from runner.actions.find import find_run

    opened = open_project(project)
    return RunHandle(opened, find_run(opened, run_id))
