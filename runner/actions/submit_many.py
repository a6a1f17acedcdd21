"""Submit many runs of a job, several hundred per script."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from runner.actions.submit import new_id, submitter
from runner.errors import InvalidParams, JobPaused, NotHandedOver, RunnerError, Unavailable, UsageError
from runner.ledger.admission import Origin, admit_many, admit_params
from runner.ledger.batch import Batch
from runner.ledger.keys import Keys
from runner.ledger.refusals import many_not_handed_over
from runner.ledger.submission import Entry, Submitted
from runner.model.option import Path, did_you_mean
from runner.model.submit_options import KEY, NO_OPTIONS, SubmitOptions

if TYPE_CHECKING:
    from runner.actions.project import Project

T = TypeVar("T")

MOST_AT_ONCE = 500
"""The maximum number of runs per script, which blocks Redis for about 10 ms."""


class NotSubmitted(Exception):
    """Items of a batch were not submitted, and further items would fail in the same way; ``error`` is the reason.

    ``outcomes``: the outcomes of the items before these. ``recorded`` is None if it is unknown whether these were
    recorded; ``run_id`` is then the id of the first one.
    """

    def __init__(
        self,
        error: RunnerError,
        outcomes: Sequence[Submitted | RunnerError] = (),
        *,
        recorded: Literal[False] | None = False,
        run_id: str | None = None,
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.outcomes = list(outcomes)
        self.recorded = recorded
        self.run_id = run_id


class _Written(NamedTuple):
    """A prepared batch: for each item its entry or its error, and the entries to send."""

    admitted: Sequence[Entry | RunnerError]
    batch: Batch


class BulkSubmission:
    """Submits runs of one job in atomic batches."""

    def __init__(
        self,
        project: Project,
        job_name: str,
        *,
        key_from: str | None = None,
        options: SubmitOptions = NO_OPTIONS,
        trigger: str = "cli",
    ) -> None:
        """Check the common part of the runs.

        Args:
            project: the project of the job.
            job_name: the job.
            key_from: the param with each run's idempotency key.
            options: other options; no key, which is for a single run.
            trigger: as for :func:`runner.actions.submit.submit`.

        Raises:
            UnknownJob, UsageError: the runs cannot be submitted.
            JobDisabled: the job has ``enabled: false``.
        """
        if options.key is not None:
            raise UsageError("a key names one run, and this submits many", hint="take each run's key from a param")
        self.project = project
        self.job = project.catalog.get(job_name)
        self.key_from = key_from
        if key_from is not None and key_from not in self.job.params:
            raise UsageError(
                f"{job_name} has no param {key_from!r} to take keys from{did_you_mean(key_from, self.job.params)}",
                hint=f"runner jobs {job_name} shows what it takes",
            )
        self.asked_for: Sequence[Entry] = ()
        """The current or last batch; the caller may empty it after handling its outcomes."""
        self._not_handed_over: list[str] = []
        self._trouble = ""
        self.common = admit_many(
            self.job,
            origin=Origin(trigger=trigger, submitted_by=submitter()),
            options=options,
        )

    def submit(self, batch: Sequence[Mapping[str, Any] | RunnerError]) -> list[Submitted | RunnerError]:
        """Submit at most :data:`MOST_AT_ONCE` runs atomically; see :meth:`submit_all`."""
        (outcomes,) = self.submit_all([batch])
        return outcomes

    def submit_all(
        self, batches: Iterable[Sequence[Mapping[str, Any] | RunnerError]]
    ) -> Iterator[list[Submitted | RunnerError]]:
        """Submit batches, each atomically; the next batch is prepared while Redis works on the current one.

        Args:
            batches: at most :data:`MOST_AT_ONCE` items each: the params of a run, or the error of reading them.

        Yields:
            For each batch and each of its items, the run or the error.

        Raises:
            NotSubmitted: Redis did not answer or confirm, or the job is paused.
        """
        sent: _Written | None = None
        try:
            for items in batches:
                written = self._write(items)
                if sent is not None:
                    done, sent = sent, None
                    yield self._outcomes(done)
                sent = self._send(written)
        except Exception:
            if sent is not None:
                # The caller handles failed items; the other runs are submitted anyway.
                with suppress(NotSubmitted):
                    self._outcomes(sent)
            raise
        if sent is not None:
            yield self._outcomes(sent)

    def _write(self, items: Sequence[Mapping[str, Any] | RunnerError]) -> _Written:
        admitted = [self._admit(item) for item in items]
        entries = [entry for entry in admitted if isinstance(entry, Entry)]
        return _Written(admitted, Batch(self.project.ledger, self.common, entries))

    def _send(self, written: _Written) -> _Written:
        self.asked_for = written.batch.entries
        written.batch.send()
        return written

    def _outcomes(self, written: _Written) -> list[Submitted | RunnerError]:
        answers, unconfirmed = self._answers(written.batch)
        if isinstance(unconfirmed, NotHandedOver):
            self._not_handed_over += unconfirmed.run_ids
            self._trouble = self._trouble or unconfirmed.reason
            unconfirmed = None
        remaining = iter(answers)
        outcomes: list[Submitted | RunnerError] = []
        for entry_or_error in written.admitted:
            outcome = next(remaining) if isinstance(entry_or_error, Entry) else entry_or_error
            if isinstance(outcome, JobPaused):
                raise NotSubmitted(outcome, outcomes)
            outcomes.append(outcome)
        if unconfirmed is not None:
            raise NotSubmitted(unconfirmed, outcomes)
        return outcomes

    def _answers(self, batch: Batch) -> tuple[Sequence[Submitted | RunnerError], Unavailable | None]:
        run_id = batch.entries[0].id if batch.entries else None
        try:
            return batch.outcomes(leave=bool(self._not_handed_over))
        except Unavailable as error:
            recorded = self.is_recorded()
            if recorded is not True:
                raise NotSubmitted(error, recorded=recorded, run_id=run_id) from error
        # It was recorded, and the answer was lost. The same ids return the same answer again.
        try:
            return batch.outcomes(leave=bool(self._not_handed_over))
        except Unavailable as error:
            raise NotSubmitted(error, recorded=None, run_id=run_id) from error

    def not_handed_over(self) -> NotHandedOver | None:
        """Return the error for all runs so far that RabbitMQ has not confirmed; None if there are none.

        Redis has recorded them, so this does not end the submission. RabbitMQ is waited for once.
        """
        return many_not_handed_over(self._not_handed_over, self._trouble) if self._not_handed_over else None

    def is_recorded(self) -> bool | None:
        """Return whether the last batch is recorded; None if that is unknown.

        This is one query with a short timeout.
        """
        from runner.ledger.connection import exists_now  # start-up time: only where a submission failed

        if not self.project.opened or not self.asked_for:
            return False
        keys = Keys(self.project.settings.namespace)
        return exists_now(self.project.settings, *(keys.run(entry.id) for entry in self.asked_for))

    def _admit(self, params: object) -> Entry | RunnerError:
        if isinstance(params, RunnerError):
            return params
        if not isinstance(params, Mapping):
            return InvalidParams(f"params are {type(params).__name__}, not a mapping", hint="give names and values")
        try:
            key = None if self.key_from is None else _key_of(params, self.key_from)
            return Entry(new_id(), admit_params(self.job, params, self.project.settings), key)
        except RunnerError as error:
            return error


def _key_of(params: Mapping[str, Any], name: str) -> str:
    value = params.get(name)
    if value is None:
        raise UsageError(f"has no {name}, which the key is to be taken from")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise UsageError(f"{name} is {value!r}, a key is taken from text or a whole number")
    return str(KEY.read(str(value), (name,), _refuse_key))


def _refuse_key(path: Path, message: str, *, on_key: bool = False) -> None:  # noqa: ARG001
    raise UsageError(f"{path[0]}: {message}")


def in_batches(items: Iterable[T], size: int = MOST_AT_ONCE) -> Iterator[list[T]]:
    """Yield the items, ``size`` at a time."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
