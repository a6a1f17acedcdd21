"""A job as a Celery task: one attempt of a run, from the guard to the outcome."""

from __future__ import annotations

import copy
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import Any, NamedTuple

from celery import Task, exceptions
from celery.app.task import Context
from celery.app.trace import task_has_custom
from celery.exceptions import Ignore, Reject, Retry, SoftTimeLimitExceeded
from celery.utils.log import get_task_logger

from runner import tracing
from runner.app.project_app import project_app_current
from runner.app.run_values import ParamsRefused, environment, expand_env, expand_kwargs
from runner.app.secret_values import MissingSecret, look_up_secrets, mask_result, masker_of, scrub
from runner.app.target import TargetError, known_exceptions, load_exceptions, load_target
from runner.current import CurrentRun, running
from runner.errors import InvalidParams
from runner.ledger.attempt import Dropped, Started
from runner.model.job import JobSpec
from runner.model.retry import RetryAt
from runner.model.run import FailureReason
from runner.model.template import Sources
from runner.spec.jobs_file import Entry, build
from runner.spec.params import check_params

log = get_task_logger(__name__)

TIMEOUTS = (exceptions.SoftTimeLimitExceeded, exceptions.TimeLimitExceeded)


SIGNALLED = frozenset(-(256 - signum) for signum in signal.Signals)
"""What billiard's children exit with when a signal ends them; the parent settles those."""


class Carried(NamedTuple):
    """A job as a pool child builds it: its options as JSON, all defaults merged in."""

    entry: Entry
    file: str


class JobExit(Exception):
    """The job called ``sys.exit`` with something other than 0."""


class JobAborted(Exception):
    """The job raised something that is no ``Exception``, such as ``asyncio.CancelledError``."""


class JobImportError(ImportError):
    """The target of a job could not be imported in this worker."""


_REASONS: dict[type[BaseException], FailureReason] = {
    ParamsRefused: FailureReason.INVALID_PARAMS,
    JobImportError: FailureReason.IMPORT_ERROR,
    MissingSecret: FailureReason.MISSING_SECRET,
    exceptions.SoftTimeLimitExceeded: FailureReason.TIMEOUT,
    exceptions.TimeLimitExceeded: FailureReason.TIMEOUT,
    exceptions.WorkerLostError: FailureReason.WORKER_LOST,
}


def reason_of(error: BaseException) -> str:
    """Return why a run ended that ended with ``error``."""
    for cls, reason in _REASONS.items():
        if isinstance(error, cls):
            return str(reason)
    return str(FailureReason.EXCEPTION)


class JobTask(Task):
    """The task of one job. ``job`` is its spec; the callable is imported when the worker starts."""

    abstract = True
    acks_late = True
    # Retries follow the job's policy, in `_decide`; Celery's own machinery stays out of it.
    max_retries = None
    typing = False
    Request = "runner.app.job_request:JobRequest"
    Strategy = "runner.app.strategy:strategy"

    job: JobSpec
    carried: Carried | None = None
    """What a request tells a pool child about the job; None if every child was forked with it."""
    loaded_at: float | None = None
    """When it came to be (``time.monotonic``), if that was while the worker ran."""
    _target: Callable[..., Any] | Task | None = None
    broken: str | None = None
    """Why the target could not be imported, or None."""

    def prepare(self) -> str | None:
        """Import the target and the exceptions of the retry policy; return what went wrong, or None."""
        try:
            with project_app_current(self.app):
                self._target = load_target(self.job.task)
            self._retry_for = load_exceptions(self.job.retry.for_) or (Exception,)
            self._never_for = load_exceptions(self.job.retry.not_for)
            refuse_reserved(self.job, self._target)
            self.broken = None
        except TargetError as error:
            # What a module says when its import fails may hold secrets that it found in the worker's environment.
            self.broken = masker_of(_held(self.app.secret_variables)).text(str(error))
        return self.broken

    def _follow(self, carried: Carried | None) -> None:
        """In a pool child: become the job that the request brought."""
        if carried is not None and carried.entry.digest != self.job.digest:
            self.job = build(carried.entry, carried.file)
            self._target, self.broken = None, None

    # -- one attempt

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Ask the guard; STARTED is written by the same step."""
        request = self.request
        self._follow(getattr(request, "carried", None))
        answer = self.backend.attempts.start(task_id, request.claim, request.hostname, self.name, self.job.digest)
        if isinstance(answer, Dropped):
            log.info("run %s of %s is not started here: %s", task_id, self.name, answer.why)
            raise Ignore
        request.attempt = answer
        request.retries = answer.retries

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Perform the attempt; the params are those of the ledger, not those of the message."""
        started: Started | None = getattr(self.request, "attempt", None)
        if started is None:
            # Called as a function, outside of any run.
            self._require_target()
            sources = Sources(params=kwargs, env=os.environ)
            return self._call(self.job, {**expand_kwargs(self.job, sources), **kwargs}, args)
        try:
            return self._perform(started)
        except SystemExit as leaving:
            if leaving.code in SIGNALLED:
                raise
            if leaving.code in (None, 0):
                return None
            error = self._clean(JobExit(f"the job called sys.exit({leaving.code!r})"))
            outcome = self._decide(error, started)
            raise outcome from self._clean(leaving)
        except (Ignore, Reject) as caught:
            # They would leave the run without an outcome.
            name = type(caught).__name__
            raise RuntimeError(f"the job raised {name}, which only a plain Celery task may") from self._clean(caught)
        except Exception as caught:
            error = self._clean(caught)
            outcome = self._decide(error, started)
            if outcome is caught:
                raise
            if outcome is error:
                raise error  # noqa: B904 - what was caught may hold secrets
            raise outcome from error
        except BaseException as caught:  # noqa: BLE001 - recorded, as all that a job raises
            # It would end the process, and count as a lost attempt.
            aborted = JobAborted(f"the job raised {type(caught).__name__}, which is no Exception")
            aborted.__traceback__ = caught.__traceback__  # where in the job that was
            raise self._decide(aborted, started) from self._clean(caught)

    def _perform(self, started: Started) -> Any:
        job, request = self.job, self.request
        shared = _held(request.secret_variables)
        masker = request.masker = masker_of(shared)
        self._require_target()
        try:
            params = check_params(job, started.params)
        except InvalidParams as error:
            raise ParamsRefused(error.message) from error
        run_id, token, settings = request.id, request.claim, self.app.runner_settings
        secrets = look_up_secrets(job, settings.project, os.environ)
        # They are variables of the run: a stock task has no other way to them.
        sources = Sources(run_id, started.slot, params, {**os.environ, **secrets})
        if secrets:
            shared = (*shared, *secrets.values())
            masker = request.masker = masker_of(shared)
        kwargs, env = expand_kwargs(job, sources), {**expand_env(job, sources), **secrets}

        def report(fraction: float | None, message: str | None) -> None:
            self.backend.attempts.progress(run_id, token, fraction, None if message is None else masker.text(message))

        current = CurrentRun(
            id=run_id, job=job.name, attempt=started.attempt, params=params, report=report, mask=masker.text
        )
        capture = self.app.capture
        captured = capture.attempt(run_id, job.name, started.attempt, shared) if capture else nullcontext()
        told = {"run_id": run_id, "attempt": started.attempt, "worker": str(request.hostname)}
        span = tracing.attempt(started.traceparent, job.name, told, masker.text)
        with environment(env), running(current), captured, span:
            result = self._call(job, {**kwargs, **params})
        return mask_result(masker, result, settings.limits.result) if masker else result

    def _clean(self, error: Any) -> Any:
        """Return an exception without secrets; of the same class, mostly the same one."""
        masker = getattr(self.request, "masker", None)
        return scrub(masker, error) if masker else error

    def _require_target(self) -> None:
        if self._target is None and self.prepare() is not None:
            raise JobImportError(self.broken)

    def _call(self, job: JobSpec, kwargs: Mapping[str, Any], args: tuple[Any, ...] = ()) -> Any:
        target = self._target
        # A copy: what a job does to its arguments must not reach the next run.
        args = args or copy.deepcopy(job.args)
        assert target is not None
        with project_app_current(self.app):
            return self._call_target(target, args, kwargs)

    def _call_target(self, target: Callable[..., Any] | Task, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if not isinstance(target, Task):
            return target(*args, **kwargs)
        # A task of somebody's Celery app: its function runs, bound or not. To it this is a direct call, so that
        # its `retry` raises instead of publishing, and the job's policy decides.
        target.request_stack.push(Context({**self.request.__dict__, "called_directly": True, "task": target.name}))
        try:
            # A class of theirs may do more around the function, such as Flask's application context.
            return (target if task_has_custom(target, "__call__") else target.run)(*args, **kwargs)
        finally:
            target.request_stack.pop()

    def _decide(self, error: Exception, started: Started) -> Exception:
        """Return what to raise for an attempt that ended with ``error``: itself, or a Retry."""
        # What Celery records instead of an exception that cannot be pickled has another class.
        self.request.raised = error
        if isinstance(error, ParamsRefused | JobImportError | MissingSecret):
            return error
        cause = error
        if isinstance(error, Retry):
            # The job itself asked for a retry, with `self.retry()` of a shared task.
            cause = self._clean(error.exc) if isinstance(error.exc, Exception) else error
            self.request.raised = cause
        decision = self.job.retry.decide(
            retries=started.retries,
            retryable=self.retryable(cause),
            now=self.backend.attempts.now() if started.expires_at is not None else 0.0,
            expires_at=started.expires_at,
        )
        if not isinstance(decision, RetryAt):
            if self.job.retry.max_retries:
                log.info("run %s of %s is not retried: %s", self.request.id, self.name, decision.why)
            return cause
        self.request.retry_in = decision.delay
        return Retry(exc=cause, when=decision.delay)

    def retryable(self, error: BaseException) -> bool:
        """Whether ``retry.for`` and ``retry.not_for`` let ``error`` be retried.

        A timeout is retried only if ``for`` names it.
        """
        if isinstance(error, TIMEOUTS) and not self.job.retry.for_:
            return False
        if self._target is None:
            # The parent of pool children, which imports nothing for a job that came while it ran: what it judges
            # (a timeout, that is) has a name that needs no import.
            policy = self.job.retry
            retried = known_exceptions(policy.for_) if policy.for_ else (Exception,)
            return isinstance(error, retried) and not isinstance(error, known_exceptions(policy.not_for))
        # A target may know what another try can't change; a policy that names what is retried knows better.
        hopeless = () if self.job.retry.for_ else getattr(self._target, "not_retried", ())
        if isinstance(error, (*self._never_for, *hopeless)):
            return False
        return isinstance(error, self._retry_for)


def _held(variables: Iterable[str]) -> tuple[str, ...]:
    """Return the values of those variables that this process has."""
    return tuple(os.environ[name] for name in sorted(variables) if name in os.environ)


def refuse_reserved(job: JobSpec, target: Any) -> None:
    """Refuse params by which a submitter could set what only YAML may.

    A target's ``reserved`` names what they may not be called, its ``check_templates`` tells where none may be inserted.

    Raises:
        TargetError: a param has such a name, or stands in such a place.
    """
    taken = sorted(set(job.params) & set(getattr(target, "reserved", ())))
    if taken:
        raise TargetError(f"params {', '.join(taken)} would let a submitter set what only YAML may: rename them")
    for name, message in getattr(target, "check_templates", lambda _: ())(job.kwargs):
        raise TargetError(f"kwargs.{name}: {message}")


__all__ = ["JobImportError", "JobTask", "ParamsRefused", "SoftTimeLimitExceeded", "reason_of"]
