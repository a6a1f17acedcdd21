"""The Python API: submit, follow, and revoke runs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from runner.errors import (
    InvalidParams,
    NotHandedOver,
    PartlySubmitted,
    RunFailed,
    RunnerError,
    RunRevoked,
    Unavailable,
    UsageError,
)
from runner.model.interface import PYTHON, parse_options
from runner.model.option import did_you_mean, options_of
from runner.model.run import Run, State
from runner.model.run_query import Reading, ReadingKeywords, RunKeywords, RunQuery
from runner.model.submit_options import BatchKeywords, SubmitKeywords, SubmitOptions

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.actions.submit_many import NotSubmitted

_PAGE = 1000
"""The maximum number of runs per read."""

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def takes(cls: type, *, without: tuple[str, ...] = ()) -> Callable[[F], F]:
    """Add the options that ``cls`` declares to a function's signature and docstring, for ``help()`` and editors."""

    def decorate(function: F) -> F:
        declared = [option for option in options_of(cls) if option.field not in without]
        plain = signature(function)
        named = [parameter for parameter in plain.parameters.values() if parameter.kind is not Parameter.VAR_KEYWORD]
        keywords = [Parameter(option.field, Parameter.KEYWORD_ONLY, default=option.default) for option in declared]
        function.__signature__ = plain.replace(parameters=[*named, *keywords])  # type: ignore[attr-defined]
        text = "".join(f"\n        {option.field}: {option.help}" for option in declared)
        # Behind the last line of "Args:".
        function.__doc__ = re.sub(r"(?=\n\n    (?:Returns|Raises):)", lambda _: text, function.__doc__ or "", count=1)
        return function

    return decorate


class RunHandle:
    """A run. Attributes of the run document read it again until it is final."""

    __slots__ = ("_job", "_project", "_run", "id")

    def __init__(self, project: Project, run_id: str, job: str, run: Run | None = None) -> None:
        self._project = project
        self._job = job
        self._run = run
        self.id = run_id
        """The run's id, which is its Celery task id."""

    def refresh(self) -> Run:
        """Read the run and return its document's values.

        Raises:
            UnknownRun: the run was forgotten or pruned.
        """
        if self._run is None or not self._run.final:
            self._run = self._project.records.get(self.id)
        return self._run

    @property
    def state(self) -> State:
        """Return the current state."""
        return self.refresh().state

    @property
    def result(self) -> Any:
        """Return the result of a successful run, or None."""
        return self.refresh().result

    @property
    def error(self) -> dict[str, Any] | None:
        """Return ``{"type", "message", "traceback"}`` of a failed run, or None."""
        return self.refresh().error

    @property
    def steps(self) -> dict[str, StepHandle]:
        """Return the steps of a flow by name, in the order of the graph; empty for other runs."""
        return {row["name"]: StepHandle(self, row["name"]) for row in self.refresh().steps or ()}

    def document(self) -> dict[str, Any]:
        """Return the run document."""
        return self.refresh().document()

    def wait(self, timeout: float | None = None, *, check: bool = False) -> Run:
        """Wait until the run is final.

        Args:
            timeout: seconds, or None to wait forever.
            check: raise an error unless the run ends in SUCCESS.

        Raises:
            WaitTimeout: the time has passed; the run goes on.
            RunFailed, RunRevoked: with ``check``.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._project.ledger.watch([self.id], self._project.records.archived) as watch:
            for run in watch.changes(deadline=deadline, ends_only=True):
                self._run = run
        run = self._run or self.refresh()
        if check and run.state is State.FAILURE:
            error = run.error or {}
            raise RunFailed(f"run {run.id} of {run.job} failed ({run.reason}): {error.get('message')}")
        if check and run.state is State.REVOKED:
            raise RunRevoked(f"run {run.id} of {run.job} was revoked ({run.reason})")
        return run

    def revoke(self, *, terminate: bool = False, comment: str | None = None) -> Run:
        """Revoke the run; with ``terminate``, end it even if it is active."""
        from runner.actions.revoke import revoke  # start-up time: `import runner` in a job must cost little

        self._run, _ = revoke(self._project, self.id, terminate=terminate, comment=comment)
        return self._run

    def forget(self) -> None:
        """Remove all data of the run.

        Raises:
            NotFinished: the run is not final.
            BelongsToFlow: the run is a step run.
        """
        from runner.actions.forget import forget  # start-up time: `import runner` in a job must cost little

        forget(self._project, self.id)

    def __repr__(self) -> str:
        return f"<run {self.id} of {self._job}{f': {self._run.state}' if self._run is not None else ''}>"


class StepHandle:
    """A step of a flow. Attributes read it again until the flow is final."""

    __slots__ = ("_flow", "name")

    def __init__(self, flow: RunHandle, name: str) -> None:
        self._flow = flow
        self.name = name

    @property
    def state(self) -> State:
        """Return PENDING until its first run starts, STARTED until the last one has ended, then the outcome."""
        return State(self._row["state"])

    @property
    def reason(self) -> str | None:
        """Return the reason why it did not succeed, or None."""
        reason: str | None = self._row["reason"]
        return reason

    @property
    def result(self) -> Any:
        """Return the result of its only run; None if the run has not succeeded.

        Raises:
            UsageError: the step has ``each``, and so one run per item.
        """
        if self._row["run"] is None:
            raise UsageError(f"step {self.name} has a result for each item", hint="read results instead of result")
        found = self._runs()
        return found[0].result if found else None

    @property
    def results(self) -> list[Any]:
        """Return the results of its runs in the order of the items, with None for runs that have not succeeded."""
        return [run.result for run in self._runs()]

    @property
    def runs(self) -> list[RunHandle]:
        """Return its runs in the order of the items."""
        return [RunHandle(self._flow._project, run.id, run.job, run) for run in self._runs()]

    @property
    def _row(self) -> dict[str, Any]:
        return next(row for row in self._flow.refresh().steps or () if row["name"] == self.name)

    def _runs(self) -> list[Run]:
        from runner.ledger.flow_progress import step_run_id  # start-up time: few programs look at steps

        row = self._row
        ids = [row["run"]] if row["run"] is not None else []
        if not ids:
            ids = [step_run_id(self._flow.id, self.name, item) for item in range(row["items"] or 0)]
        flow = self._flow.refresh()
        records = self._flow._project.reading(archived=flow.archived)
        # In an active flow, some runs may not exist yet.
        return [run for first in range(0, len(ids), _PAGE) for run in records.read(ids[first : first + _PAGE])]

    def __repr__(self) -> str:
        return f"<step {self.name} of run {self._flow.id}>"


@cache
def open_project(project: str | Path | None = None) -> Project:
    """Return the project of a folder, found as on the command line; it is opened once per process."""
    from runner.actions.project import Project  # start-up time: `import runner` in a job must cost little

    return Project.open(project)


@takes(SubmitOptions)
def submit(
    job: str,
    params: Mapping[str, Any] | None = None,
    *,
    project: str | Path | None = None,
    **options: Unpack[SubmitKeywords],
) -> RunHandle:
    """Submit a run of ``job``.

    Args:
        job: the name of the job in jobs.d.
        params: the params of the job.
        project: the folder of the project; by default found as on the command line.

    Raises:
        UsageError: an option has an invalid value, or two options exclude each other.
        UnknownJob, InvalidParams, JobDisabled, KeyConflict: see :mod:`runner.errors`.
        Unavailable: Redis did not answer. The run may be recorded; the message and the attribute ``run_id`` have its
            id.
    """
    from runner.actions import submit as action  # start-up time: `import runner` in a job must cost little

    _check_text("job", job)
    if params is not None and not isinstance(params, Mapping):
        raise InvalidParams(f"params are {type(params).__name__}, not a mapping", hint="give a dict of names to values")
    opened = open_project(project)
    asked = _ask(SubmitOptions, options, opened, "submit")
    opened.look(job)
    try:
        submitted = action.submit(opened, job, dict(params or {}), options=asked, trigger="api")
    except Unavailable as error:
        raise error.naming_run() from error
    # The recorded state is not kept: the handle reads the current state when it is asked.
    known, _ = submitted.record
    return RunHandle(opened, submitted.id, job, None if known else opened.records.get(submitted.id))


@takes(SubmitOptions, without=("key",))
def submit_many(
    job: str,
    params: Iterable[Mapping[str, Any]],
    *,
    key_from: str | None = None,
    project: str | Path | None = None,
    **options: Unpack[BatchKeywords],
) -> list[RunHandle]:
    """Submit a run of ``job`` for each item, up to 500 of them per request.

    A refused item does not prevent the others from being submitted. Items are consumed as needed, so a generator may
    yield more than fit into memory; only a handle per run is kept.

    Args:
        job: the name of the job in jobs.d.
        params: the params of each run.
        key_from: the param with each run's idempotency key. Submitting the same items again then returns the existing
            runs, so it is safe to start over after a failure.
        project: the folder of the project; by default found as on the command line.

    Returns:
        The runs, in the order of the items.

    Raises:
        PartlySubmitted: some runs were not submitted. It has the submitted runs, and the error for each other item.
        UsageError, UnknownJob, JobDisabled: nothing was submitted; see :mod:`runner.errors`.
    """
    # start-up time: most callers submit one run
    from runner.actions.submit_many import BulkSubmission, NotSubmitted, in_batches
    from runner.ledger.submission import Submitted

    _check_text("job", job)
    if key_from is not None:
        _check_text("key_from", key_from)
    opened = open_project(project)
    asked = _ask(SubmitOptions, options, opened, "submit_many")
    opened.look(job)
    bulk = BulkSubmission(opened, job, key_from=key_from, options=asked, trigger="api")
    runs: list[RunHandle | None] = []
    refused: dict[int, RunnerError] = {}
    stop: NotSubmitted | None = None

    def keep(outcomes: Iterable[Submitted | RunnerError]) -> None:
        for outcome in outcomes:
            if not isinstance(outcome, Submitted):
                refused[len(runs)] = outcome
            runs.append(RunHandle(opened, outcome.id, job) if isinstance(outcome, Submitted) else None)

    try:
        for outcomes in bulk.submit_all(in_batches(params)):
            keep(outcomes)
    except NotSubmitted as stopped:
        keep(stopped.outcomes)
        stop = stopped
    left = bulk.not_handed_over()
    if stop is not None or refused or left is not None:
        raise _partly(job, runs, refused, stop, left)
    return [run for run in runs if run is not None]


def _partly(
    job: str,
    runs: list[RunHandle | None],
    refused: dict[int, RunnerError],
    stop: NotSubmitted | None,
    left: NotHandedOver | None,
) -> PartlySubmitted:
    summary = f"runs of {job} submitted: {len(runs) - len(refused)}, refused: {len(refused)}"
    if left is not None:
        summary = f"{summary}; {left.message}"
    if stop is not None:
        doubt = "" if stop.recorded is False else "; it is not known whether the next batch was recorded"
        message = f"{summary}; then it stopped: {stop.error.message}{doubt}"
        hint: str | None = f"submit the items from position {len(runs)} on again; with key_from, no run is made twice"
    elif refused:
        first = min(refused)
        message = f"{summary}; item {first}: {refused[first].message}"
        hint = "the attribute refused of this exception has all of them"
    else:
        message, hint = summary, left.hint if left is not None else None
    stopped_by = stop.error if stop is not None else left
    return PartlySubmitted(message, hint=hint, runs=runs, refused=refused, stopped_by=stopped_by)


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise UsageError(f"{name} is {value!r}, not a string", hint=f"give {name} as a string")


def _ask(cls: type[T], given: Mapping[str, object], project: Project, function: str) -> T:
    """Return the options for the keywords of a function.

    Raises:
        UsageError: a value is invalid, or two options exclude each other.
        TypeError: a keyword is unknown; the message is Python's.
    """
    known = {declared.field for declared in options_of(cls)}
    for name in given:
        if name not in known:
            guess = did_you_mean(name, known)
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}{guess}")
    return parse_options(cls, given, PYTHON, zone=project.settings.timezone)


@takes(Reading)
def get_run(run_id: str, *, project: str | Path | None = None, **options: Unpack[ReadingKeywords]) -> RunHandle:
    """Return a run by its id, a unique prefix of it, or ``@JOB``.

    Args:
        run_id: the id, a prefix of 8 or more characters, or ``@JOB``.
        project: the folder of the project; by default found as on the command line.

    Raises:
        UnknownRun: the run does not exist.
        UsageError: the text is not an id, or is a prefix that is too short or ambiguous.
        ArchiveUnavailable: only the archive is read, and it cannot be reached.
    """
    from runner.actions.find import find_run  # start-up time: `import runner` in a job must cost little

    opened = open_project(project)
    run = find_run(opened, run_id, archived=_ask(Reading, options, opened, "get_run").archived)
    return RunHandle(opened, run.id, run.job, run)


class RunPage(list[RunHandle]):
    """A page of matching runs in order, with a cursor."""

    cursor: str | None = None
    """The cursor for the next page; None for the last page."""
    cut: bool = False
    """Whether the page ended because enough runs were examined, and not because it was full."""


@takes(RunQuery)
def get_runs(
    *,
    limit: int = 20,
    cursor: str | None = None,
    project: str | Path | None = None,
    **filters: Unpack[RunKeywords],
) -> RunPage:
    """Return matching runs, a page at a time; newest submission first by default.

    Job, state, and time are looked up in an index. For the other filters, up to 10,000 runs are examined per page.

    Args:
        limit: the maximum number of runs.
        cursor: the cursor of the previous page.
        project: the folder of the project; by default found as on the command line.

    Raises:
        UsageError: a filter or the cursor is invalid.
        UnknownJob: no run matches, and no job has the requested name.
        Unavailable: Redis cannot be reached.
        ArchiveUnavailable: only the archive is read, and it cannot be reached.
    """
    from runner.actions.find import list_runs  # start-up time: `import runner` in a job must cost little

    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise UsageError(f"limit is {limit!r}", hint="give a whole number above 0")
    if cursor is not None and not isinstance(cursor, str):
        raise UsageError(f"cursor is {cursor!r}", hint="give the cursor of the page before, or None")
    opened = open_project(project)
    found = list_runs(opened, _ask(RunQuery, filters, opened, "get_runs"), limit=limit, cursor=cursor)
    page = RunPage(RunHandle(opened, run.id, run.job, run) for run in found.runs)
    page.cursor, page.cut = found.cursor, found.cut
    return page
