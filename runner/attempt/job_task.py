"""A job as a Celery task: one attempt of a run, from the guard to the outcome."""

from __future__ import annotations

import copy
import os
import sys
import traceback
from collections import ChainMap
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from contextvars import copy_context
from types import TracebackType
from typing import Any

from billiard.common import terminate_handler_fired
from celery import Task, exceptions, states
from celery.app import trace
from celery.app.task import Context
from celery.app.trace import task_has_custom
from celery.exceptions import Ignore, MaxRetriesExceededError, Reject, Retry, WorkerShutdown, WorkerTerminate
from celery.result import EagerResult
from celery.utils.log import get_task_logger

from runner import tracing
from runner.app.env_file import read_env_file
from runner.app.project_app import project_app_current
from runner.app.secret_sources import MissingSecret, look_up_secrets
from runner.app.secret_values import mask_result, masker_of, scrub
from runner.app.target import TargetError, known_exceptions, load_exceptions, load_target
from runner.attempt import builtin_names
from runner.attempt.attempt_report import LONGEST_TEXT, PlumbingFault
from runner.attempt.awaiting import finish
from runner.attempt.database_connections import with_fresh_connections
from runner.attempt.forks import ending_forks
from runner.attempt.honest import honest
from runner.attempt.run_values import ParamsRefused, expand_env, expand_kwargs
from runner.attempt.settlement import JobInfo
from runner.attempt.state import Attempt, SharedState, current_attempt
from runner.attempt.step_sources import sources_of
from runner.current import CurrentRun, FlowRef, running
from runner.errors import InvalidParams, UsageError
from runner.ledger.outcome import ResultNotKept, shape_result, write_result
from runner.model.job import JobSpec
from runner.model.retry import RetryAt
from runner.model.run import FailureReason
from runner.model.storable import names_of, short_text
from runner.model.template import Sources
from runner.params.check import check_params
from runner.params.placement import misplaced
from runner.yaml_reader.problem import show_path

log = get_task_logger(__name__)

TIMEOUTS = (exceptions.SoftTimeLimitExceeded, exceptions.TimeLimitExceeded)


class JobExit(Exception):
    """The job called ``sys.exit`` with another value than 0."""


class JobAborted(Exception):
    """The job raised an exception that is not an ``Exception``, such as ``asyncio.CancelledError``."""


class JobImportError(ImportError):
    """The target of a job could not be imported in this worker."""


_BEFORE_THE_JOB: dict[type[BaseException], FailureReason] = {
    ParamsRefused: FailureReason.INVALID_PARAMS,
    JobImportError: FailureReason.IMPORT_ERROR,
    MissingSecret: FailureReason.MISSING_SECRET,
}
"""The reason for a failure before the job itself is called. Another try would fail in the same way."""


class _Call:
    """The call of a job, which holds back its exception, to tell it from exceptions of the runner."""

    entered = False
    result: object = None
    error: BaseException | None = None

    def __enter__(self) -> None:
        self.entered = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.error = error
        return not terminate_handler_fired()


class JobTask(Task):
    """The task of one job. ``job`` is its spec; the callable is imported when the worker starts."""

    abstract = True
    acks_late = True
    # Retries follow the job's policy, in `_decide`, and not Celery's own.
    max_retries = None
    typing = False

    job: JobSpec
    loaded_at: float | None = None
    """The time of its creation (``time.monotonic``), if the worker was already running."""
    _target: Callable[..., Any] | Task | None = None
    _placed: JobSpec | None = None
    """The last spec whose placeholders were found to be in permitted places."""
    _tracer: Callable[..., Any] | None = None
    broken: str | None = None
    """The error of importing the target, or None."""

    @property
    def tracer(self) -> Callable[..., Any]:
        """Return Celery's tracer of this job, created at its first run in a process."""
        if self._tracer is None:
            self._tracer = trace.build_tracer(self.name, self, self.app.loader, app=self.app, Info=JobInfo)
        return self._tracer

    def prepare(self) -> str | None:
        """Import the target and the exceptions of the retry policy; return the error, or None."""
        if self.job.is_flow:
            return None  # it has no target: its steps are tasks of their own
        try:
            with ending_forks(), project_app_current(self.app):
                target = load_target(self.job.import_path)
            self._retry_for = load_exceptions(self.job.retry.for_) or (Exception,)
            self._never_for = load_exceptions(self.job.retry.not_for)
            refuse_reserved(self.job, target)
            # Last, because a refusal is the same each time.
            self._target, self.broken = target, None
        except TargetError as error:
            # The message of a failed import may contain secrets from the worker's environment.
            self.broken = masker_of((*_held(self.app.secret_variables), *self.app.own_secrets)).text(str(error))
        return self.broken

    # -- one attempt

    def before_start(self, task_id: str, args: object, kwargs: object) -> None:
        """Read the data that the run was started with."""
        attempt = current_attempt()
        assert attempt is not None
        try:
            started = attempt.started = attempt.taken.started()
        except InvalidParams as error:
            attempt.settlement.reason = FailureReason.INVALID_PARAMS
            raise ParamsRefused(error.message) from error
        self.request.retries = started.retries

    def run(self, *args: object, **kwargs: object) -> Any:
        """Perform the attempt with the params from the ledger, not from the message."""
        attempt = current_attempt()
        if attempt is None or attempt.taken.run_id != self.request.id:
            # Another job calls this one as a function.
            return self._run_outside(args, kwargs)
        try:
            return self._perform(attempt)
        except PlumbingFault:
            raise
        except BaseException as caught:
            if terminate_handler_fired():
                # This process is being ended, so an exception of the job is not its outcome.
                sys.exit(1)
            if isinstance(caught, SystemExit) and _is_success(caught):
                attempt.settlement.result = "null"
                return None
            outcome = self._outcome_of(caught, attempt)
            if outcome is caught:
                raise
            if isinstance(outcome, Retry) or outcome.__traceback__ is not None:
                raise outcome  # noqa: B904 - what was caught may hold secrets
            raise outcome from _clean(attempt, caught)

    def _outcome_of(self, caught: BaseException, attempt: Attempt) -> Exception:
        """Return the exception to raise for an attempt that ended with ``caught``: an ordinary one, or a Retry."""
        settlement = attempt.settlement
        if not settlement.called:
            settlement.reason = _BEFORE_THE_JOB.get(type(caught), settlement.reason)
        if isinstance(caught, exceptions.SoftTimeLimitExceeded) and self.job.soft_timeout is not None:
            settlement.reason = FailureReason.TIMEOUT
            settlement.message = "the job ran longer than its soft_timeout"
        if isinstance(caught, SystemExit):
            return self._decide(_left(caught), attempt)
        if isinstance(caught, Ignore | Reject):
            # These would leave the run without an outcome.
            return RuntimeError(f"the job raised {type(caught).__name__}, which only a plain Celery task may")
        if isinstance(caught, Exception):
            return self._decide(_clean(attempt, caught), attempt)
        # This would end the process and count as a lost attempt.
        aborted = JobAborted(f"the job raised {names_of(type(caught))[1]}, which is not an Exception")
        aborted.__traceback__ = caught.__traceback__  # the position in the job
        aborted.__cause__ = _clean(attempt, caught)
        return self._decide(aborted, attempt)

    def _run_outside(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Call the target as a function, outside of any run.

        Raises:
            UsageError: the job has steps, or is a step.
        """
        self._refuse_steps()
        attempt = current_attempt()
        self._require_target(attempt.shared if attempt else None)
        sources = Sources(params=kwargs, env=os.environ)
        return self._call(self.job, {**expand_kwargs(self.job, sources, self._target), **kwargs}, args)

    def _refuse_steps(self) -> None:
        if self.job.is_flow or self.job.step is not None:
            what = "is a step, which runs within its flow alone" if self.job.step is not None else "has steps"
            raise UsageError(
                f"job {self.name} {what}: it cannot be called as a function",
                hint=f"submit it: runner submit {self.job.flow or self.name}",
            )

    def apply(
        self,
        args: object = None,
        kwargs: dict[str, Any] | None = None,
        link: object = None,
        link_error: object = None,
        task_id: str | None = None,
        retries: int | None = None,
        throw: bool | None = None,
        logfile: object = None,
        loglevel: object = None,
        headers: object = None,
        **options: object,
    ) -> EagerResult:
        """Perform the job in this process, without a run and without a record, and return its result.

        Args:
            args: none are accepted.
            kwargs: the params.
            link: refused, as in :meth:`~runner.app.factory.RunnerApp.send_task`; so are ``link_error`` and others.
            link_error: see ``link``.
            task_id: the id of the result.
            retries: see ``link``.
            throw: whether to raise the exception of the job.
            logfile: refused.
            loglevel: refused.
            headers: see ``link``.
            options: the options of ``send_task``.

        Raises:
            InvalidParams: ``kwargs`` do not match the job's params.
            UsageError: an option is not supported, or the job has an option that needs a taker process.
        """
        self._refuse_steps()
        if self.job.needs_prefork:
            raise UsageError(
                f"job {self.name} has {self.job.needs_prefork}, which apply() cannot honor",
                hint="call apply_async(), or: runner run " + self.name,
            )
        asked = {"link": link, "link_error": link_error, "retries": retries, "headers": headers, "task_id": task_id}
        asked |= {"logfile": logfile, "loglevel": loglevel, **options}
        submission = self.app.submission_of(self.name, args, kwargs, asked)
        if submission.eta is not None or submission.delay:
            raise UsageError("apply() runs the job now", hint="call apply_async() for a later start")
        try:
            result = self._run_outside((), submission.params)
        except Exception as error:
            if self.app.conf.task_eager_propagates if throw is None else throw:
                raise
            text = "".join(traceback.format_exception(error))
            return EagerResult(submission.id, error, states.FAILURE, traceback=text, name=self.name)
        return EagerResult(submission.id, result, states.SUCCESS, name=self.name)

    def _perform(self, attempt: Attempt) -> Any:
        job, shared, settlement, started = self.job, attempt.shared, attempt.settlement, attempt.started
        assert started is not None
        hidden = (*_held(sorted(self.app.secret_variables)), *self.app.own_secrets)
        masker = attempt.masker = masker_of(hidden)
        self._require_target(shared)
        self._require_placed()
        try:
            params = check_params(job, started.params)
        except InvalidParams as error:
            raise ParamsRefused(error.message) from error
        run_id, token, settings = attempt.taken.run_id, attempt.taken.token, shared.settings
        secrets = look_up_secrets(job, settings.project, os.environ)
        file = read_env_file(job, settings.project, settings.trust) if job.env_file is not None else {}
        # Variables of the run, because a stock task has no other access to them.
        known = ChainMap(secrets, file, os.environ)
        if secrets:
            hidden = (*hidden, *secrets.values())
            masker = attempt.masker = masker_of(hidden)

        def fill_in() -> tuple[dict[str, Any], dict[str, str]]:
            sources = sources_of(job, attempt, params, known)
            return expand_kwargs(job, sources, self._target), {**file, **expand_env(job, sources), **secrets}

        # A step needs the ledger, which may be unreachable for a while.
        kwargs, env = shared.attempts.persist(fill_in) if job.step is not None else fill_in()

        def report(fraction: float | None, message: str | None) -> None:
            masked = None if message is None else short_text(message, LONGEST_TEXT, say=str, mask=masker.text)
            shared.attempts.progress(run_id, token, None if fraction is None else float(fraction), masked)

        current = CurrentRun(
            id=run_id,
            job=job.name,
            attempt=started.attempt,
            params=params,
            flow=started.flow,
            report=report,
            mask=masker.text,
        )
        own = shared.process
        if own is None:
            builtin_names.note_shared()
        capture, process = (own.capture, own.state) if own else (None, None)
        changed: list[str] = []
        captured = capture.attempt(run_id, job.name, started.attempt, hidden, changed) if capture else nullcontext()
        attempted = process.attempt(run_id, job.name, env, changed) if process else nullcontext()
        performed = process.job(job.import_path) if process else nullcontext()
        limited = process.soft_limit if process else nullcontext()
        attributes = {"run_id": run_id, "attempt": started.attempt, "worker": shared.worker, **_of_flow(started.flow)}
        # A step gets only its kwargs.
        given = kwargs if job.step is not None else {**kwargs, **params}
        span = tracing.attempt(started.traceparent, job.name, attributes, masker.text)
        call, around = _Call(), _Call()
        fault: BaseException | None = None
        try:
            with attempted, running(current), captured, around, span:
                # The exception of the soft limit counts as the job's.
                with performed, call, limited:
                    # A context variable that a job sets must not reach the next run.
                    call.result = copy_context().run(with_fresh_connections, self._call, job, given)
                if call.error is not None:
                    call.error = honest(call.error)
                    raise call.error
            fault = None if around.error is call.error else around.error
        except Exception as caught:  # noqa: BLE001 - a fault of ours, never an outcome of the job
            fault = caught
        settlement.called = call.entered
        if fault is not None:
            if not call.entered:
                if isinstance(fault, exceptions.SoftTimeLimitExceeded):
                    raise fault
                raise PlumbingFault(f"what a run needs cannot be set up: {short_text(fault, 500)}") from fault
            reason = short_text(fault, 500)
            log.warning("run %s of %s: clearing up after it failed: %s", run_id, self.name, reason)
            if process is not None:
                process.spoiled = process.spoiled or reason
        if call.error is not None:
            raise call.error
        keep = "drop" if started.drop_result else job.result
        with limited:
            # Objects of the job may lie about their types.
            result = shape_result(call.result, keep, settings.limits.result, masker.text)
            result = mask_result(masker, result, settings.limits.result) if masker else result
            text = write_result(result, settings.limits.result)
        settlement.result = text
        return result

    def _require_target(self, shared: SharedState | None) -> None:
        if self._target is not None:
            return
        if shared is not None and shared.process is not None:
            shared.process.state.renew()
        if self.prepare() is not None:
            raise JobImportError(self.broken)

    def _require_placed(self) -> None:
        # Checked again, once per spec, wherever the spec came from.
        if self._placed is not self.job:
            try:
                refuse_misplaced(self.job, self._target)
            except TargetError as error:
                raise JobImportError(str(error)) from None
            self._placed = self.job

    def _call(self, job: JobSpec, kwargs: Mapping[str, Any], args: tuple[Any, ...] = ()) -> Any:
        target = self._target
        # A copy, because changes of a job to its arguments must not reach the next run.
        args = args or (copy.deepcopy(job.args) if job.args else ())
        assert target is not None
        with ending_forks(), project_app_current(self.app):
            return self._call_target(target, args, kwargs)

    def _call_target(self, target: Callable[..., Any] | Task, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if not isinstance(target, Task):
            return finish(_called(target, args, kwargs))
        # A task of somebody's Celery app: its function runs, bound or not. To it this is a direct call, so that
        # its `retry` raises instead of publishing, and the job's policy decides.
        target.request_stack.push(Context({**self.request.__dict__, "called_directly": True, "task": target.name}))
        try:
            # A task class may do more around the function, such as entering Flask's application context.
            return finish(_called(target if task_has_custom(target, "__call__") else target.run, args, kwargs))
        finally:
            target.request_stack.pop()

    def _decide(self, error: Exception, attempt: Attempt) -> Exception:
        """Return the exception to raise for an attempt that ended with ``error``: ``error`` itself or a Retry."""
        settlement, started = attempt.settlement, attempt.started
        if settlement.reason in _BEFORE_THE_JOB.values() or isinstance(error, ResultNotKept):
            return error
        cause = error
        if isinstance(error, Retry):
            # The job itself asked for a retry, with `self.retry()` of a shared task.
            behind = honest(error.exc) if error.exc is not None else None
            cause = _clean(attempt, behind) if isinstance(behind, Exception) else error
        assert started is not None
        decision = self.job.retry.decide(
            retries=started.retries,
            retryable=self.retryable(cause),
            now=attempt.shared.attempts.now() if started.expires_at is not None else 0.0,
            expires_at=started.expires_at,
        )
        if not isinstance(decision, RetryAt):
            if self.job.retry.max_retries:
                log.info("run %s of %s is not retried: %s", attempt.taken.run_id, self.name, decision.why)
            if isinstance(cause, Retry | Ignore | Reject):
                return MaxRetriesExceededError("the job asked for a retry, and its retry policy allows none")
            return cause
        settlement.retry_in = decision.delay
        retry = Retry(when=decision.delay)
        # Not through its constructor, which formats the exception without a limit.
        retry.exc = cause
        return retry

    def retryable(self, error: BaseException) -> bool:
        """Return whether ``retry.for`` and ``retry.not_for`` permit a retry after ``error``.

        A timeout is retried only if ``for`` names it.
        """
        if isinstance(error, TIMEOUTS) and not self.job.retry.for_:
            return False
        if self._target is None:
            # The parent of takers does not import code for new jobs. It only judges timeouts, whose name needs no
            # import.
            policy = self.job.retry
            retried = known_exceptions(policy.for_) if policy.for_ else (Exception,)
            return isinstance(error, retried) and not isinstance(error, known_exceptions(policy.not_for))
        # A target may declare permanent errors, but `retry.for` takes precedence.
        hopeless = () if self.job.retry.for_ else getattr(self._target, "not_retried", ())
        if isinstance(error, (*self._never_for, *hopeless)):
            return False
        return isinstance(error, self._retry_for)


def _called(target: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    try:
        return target(*args, **kwargs)
    finally:
        builtin_names.put_back()


def _clean(attempt: Attempt, error: Any) -> Any:
    """Return an exception without secrets: usually the same object, otherwise one of the same class."""
    return scrub(attempt.masker, error) if attempt.masker else error


def _is_success(leaving: SystemExit) -> bool:
    """Return whether ``sys.exit`` of a job means success. Celery's exceptions for stopping a worker do not."""
    if isinstance(leaving, WorkerShutdown | WorkerTerminate):
        return False
    return leaving.code is None or (type(leaving.code) is int and leaving.code == 0)


def _of_flow(flow: FlowRef | None) -> dict[str, Any]:
    """Return the span attributes for the flow of a step."""
    if flow is None:
        return {}
    return {"flow": flow.id, "step": flow.step, **({} if flow.item is None else {"item": flow.item})}


def _left(leaving: SystemExit) -> JobExit:
    if isinstance(leaving, WorkerShutdown | WorkerTerminate):
        return JobExit(f"the job raised {type(leaving).__name__}, which only Celery itself may")
    return JobExit(f"the job called sys.exit({short_text(leaving.code, 500)})")


def _held(variables: Collection[str]) -> tuple[str, ...]:
    """Return the values of the variables that exist in this process."""
    if not variables:
        return ()
    return tuple(os.environ[name] for name in sorted(variables) if name in os.environ)


def refuse_reserved(job: JobSpec, target: object) -> None:
    """Refuse params by which a submitter could set options that only YAML may set.

    A target's ``reserved`` lists forbidden names; :mod:`runner.params.placement` defines forbidden places.

    Raises:
        TargetError: a param has a forbidden name or place.
    """
    # A step is called only with its kwargs.
    passed = set(job.params) if job.step is None else set()
    taken = sorted(passed & set(getattr(target, "reserved", ())))
    if taken:
        raise TargetError(
            f"params {', '.join(taken)} would let a submitter set an option that only YAML may set: rename them"
        )
    refuse_misplaced(job, target)


def refuse_misplaced(job: JobSpec, target: object) -> None:
    """Refuse placeholders in places where a submitter may not choose values.

    Raises:
        TargetError: a placeholder is in such a place.
    """
    for problem in misplaced(job, target):
        raise TargetError(f"{show_path(problem.path)}: {problem.message}")


__all__ = ["JobImportError", "JobTask", "ParamsRefused"]
