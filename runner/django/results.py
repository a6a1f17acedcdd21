"""A run as a result of Django's task framework."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils import timezone

from runner.django.priorities import to_task
from runner.django.task_framework import Task, TaskError, TaskResult, TaskResultStatus
from runner.errors import ResultExpired
from runner.model.run import Run, State, to_datetime

STATUS: dict[State, Any] = {
    State.PENDING: TaskResultStatus.READY,
    State.RETRY: TaskResultStatus.READY,
    State.STARTED: TaskResultStatus.RUNNING,
    State.SUCCESS: TaskResultStatus.SUCCESSFUL,
    State.FAILURE: TaskResultStatus.FAILED,
    # Django has no status for it. It has ended, and there is no return value.
    State.REVOKED: TaskResultStatus.FAILED,
}
"""The status of each state. Django says of READY: enqueued, or ready to be executed again."""

_EXPIRED: Any = object()


class RunnerResult(TaskResult):
    """The result of a task that the runner runs."""

    __slots__ = ()

    @property
    def return_value(self) -> Any:
        """The return value of a run that succeeded.

        Raises:
            ValueError: it has not succeeded.
            ResultExpired: it has, and ``retention.result`` has passed since.
        """
        if self._return_value is _EXPIRED:
            raise ResultExpired(
                f"the result of run {self.id} has expired", hint="raise retention.result of the job to keep it longer"
            )
        return super().return_value


def enqueued(task: Any, run_id: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> RunnerResult:
    """Return the result of a task whose run may not be recorded yet."""
    return RunnerResult(
        task=task,
        id=run_id,
        status=TaskResultStatus.READY,
        enqueued_at=None,
        started_at=None,
        last_attempted_at=None,
        finished_at=None,
        args=list(args),
        kwargs=kwargs,
        backend=task.backend,
        errors=[],
        worker_ids=[],
    )


def result_of(run: Run, task: Any) -> RunnerResult:
    """Return the result of a run; its arguments are the run's params, by name.

    Args:
        run: as it is now.
        task: what it runs.
    """
    found = enqueued(_as_run(task, run), run.id, (), dict(run.params))
    update(found, run)
    return found


def update(result: RunnerResult, run: Run) -> None:
    """Write into a result how its run is now; its type allows no assignment."""
    values = {
        "status": STATUS[run.state],
        "enqueued_at": moment(run.submitted_at),
        "started_at": moment(_first_start(run)),
        "last_attempted_at": moment(run.started_at),
        "finished_at": moment(run.finished_at),
        "errors": list(_errors(run)),
        "worker_ids": _workers(run),
        "_return_value": _EXPIRED if run.result_expired else run.result,
    }
    for name, value in values.items():
        object.__setattr__(result, name, value)


def moment(text: str | None) -> datetime | None:
    """Return a time of a run document as Django's settings want it: aware, or in the local zone without an offset."""
    if text is None:
        return None
    found = to_datetime(text)
    return found if settings.USE_TZ else timezone.make_naive(found)


def _as_run(task: Any, run: Run) -> Any:
    """Return the task with the options of its run, as far as its backend allows them."""
    backend = task.get_backend()
    queue = run.queue if not backend.queues or run.queue in backend.queues else None
    return task.using(priority=to_task(run.priority), queue_name=queue, run_after=moment(run.eta))


def _first_start(run: Run) -> str | None:
    first = run.past_attempts[0] if run.past_attempts else None
    return first["started_at"] if first is not None and first["attempt"] == 1 else run.started_at


def _workers(run: Run) -> list[str]:
    """Return a worker for each attempt: Django counts attempts by them. Of many attempts, the first are not kept."""
    known = {past["attempt"]: past["worker"] or "" for past in run.past_attempts}
    known.setdefault(run.attempts, run.worker or "")
    return [known.get(number, "") for number in range(1, run.attempts + 1)]


def _errors(run: Run) -> list[Any]:
    """Return an error for each attempt that ended with one, oldest first, and what ended the run."""
    # Of the attempts before the last, "type: message".
    past = [past_attempt["error"].partition(": ") for past_attempt in run.past_attempts if past_attempt["error"]]
    found = [_error(kind, message, None) for kind, _, message in past]
    if run.state is State.FAILURE and run.error is not None:
        found.append(_error(run.error["type"], run.error["message"], run.error["traceback"]))
    elif run.state is State.FAILURE:
        found.append(_error("runner.errors.RunFailed", run.detail or run.reason, None))
    elif run.state is State.REVOKED:
        found.append(_error("runner.errors.RunRevoked", _revocation(run), None))
    return found


def _error(kind: str, message: object, traceback: str | None) -> Any:
    path = kind if "." in kind else f"builtins.{kind}"
    return TaskError(exception_class_path=path, traceback=traceback or f"{kind}: {message}\n")


def _revocation(run: Run) -> str:
    revocation = run.revocation or {}
    by = f" by {revocation['by']}" if revocation.get("by") else ""
    comment = f": {revocation['comment']}" if revocation.get("comment") else ""
    return f"run {run.id} of {run.job} was revoked ({run.reason}){by}{comment}"


def task_of(target: Any, backend: str, factory: type = Task) -> Any:
    """Return the task that runs a target: itself, or a new one for a plain function."""
    if isinstance(target, Task):
        return target
    return factory(func=target, priority=0, backend=backend, queue_name="default", run_after=None, takes_context=False)
