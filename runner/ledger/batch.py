"""Submit several runs of one job with one script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from runner.errors import JobPaused, KeyConflict, NotHandedOver, RunnerError, Unconfirmed
from runner.ledger.audit import BY_PEOPLE, log_act
from runner.ledger.hint import Hint
from runner.ledger.hints import leave_to_workers
from runner.ledger.pauses import read_pause
from runner.ledger.refusals import conflict, many_not_handed_over, paused, unconfirmed
from runner.ledger.store import Store
from runner.ledger.submission import Entry, Submission, Submitted, arguments_of_many


class Batch:
    """A batch of submissions."""

    def __init__(self, store: Store, common: Submission, entries: Sequence[Entry]) -> None:
        """Prepare the batch.

        Args:
            store: where to record the runs.
            common: the common part of the submissions; see :func:`~runner.ledger.submission.arguments_of_many`.
            entries: the runs. Keep them few, because the script blocks Redis.
        """
        self.entries = entries
        self._store = store
        self._common = common
        self._arguments = arguments_of_many(common, entries, store.settings) if entries else []
        self._answer: Callable[[], Any] | None = None

    def send(self) -> None:
        """Send the batch if that is possible without waiting for the answer; otherwise :meth:`outcomes` sends it."""
        if self.entries and self._store.settings.durability == "local":
            self._answer = self._store.begin("submit_many", *self._arguments)

    def outcomes(
        self, *, leave: bool = False
    ) -> tuple[list[Submitted | KeyConflict | JobPaused], Unconfirmed | NotHandedOver | None]:
        """Wait for the answer. A second call sends the batch again, which creates no run twice.

        Args:
            leave: leave the hints to workers, because RabbitMQ has just not answered.

        Returns:
            For each entry the new or existing run, or the reason why there is none; and an error if the batch was
            recorded but no replica has it yet (``durability: replicated``), or RabbitMQ has not confirmed the hints.

        Raises:
            Unavailable: Redis cannot be reached, or refuses the write.
        """
        if not self.entries:
            return [], None
        answer, self._answer = self._answer, None
        reply, confirmed = (answer(), True) if answer else self._store.confirmed("submit_many", *self._arguments)
        job = self._common.job.name
        outcomes: list[Submitted | KeyConflict | JobPaused] = [Submitted(entry.id, False) for entry in self.entries]
        made = len(outcomes)
        others = set()
        for position, verdict, found in zip(reply[1::3], reply[2::3], reply[3::3], strict=True):
            entry = self.entries[position - 1]
            if verdict == "paused":
                outcomes[position - 1] = paused(job, read_pause(job, reply[0]))
            elif verdict == "conflict":
                outcomes[position - 1] = conflict(job, entry.key, found)
            elif found != entry.id:
                outcomes[position - 1] = Submitted(found, True)
            else:
                continue  # this submission created it: the answer to an earlier try was lost
            made -= 1
            others.add(entry.id)
        if made and self._common.trigger in BY_PEOPLE:
            log_act(BY_PEOPLE[self._common.trigger], self._common.submitted_by, job=job, comment=f"{made} runs")
        if not confirmed:
            return outcomes, unconfirmed(f"{made} runs of {job}", self.entries[0].id)
        return outcomes, self._hand_over([entry.id for entry in self.entries if entry.id not in others], leave=leave)

    def _hand_over(self, made: Sequence[str], *, leave: bool) -> NotHandedOver | None:
        """Send RabbitMQ hints for the new runs, except for delayed ones."""
        common, courier = self._common, self._store.courier
        if courier is None or common.eta is not None or common.delay is not None:
            return None
        # A hint for a run that waits for something else comes too early, and wakes a taker for nothing.
        hints = [Hint(run_id, common.queue, common.priority) for run_id in made]
        left = self._leave(hints) if leave else self._store.hand_over(hints)
        return many_not_handed_over([hint.id for hint in left], courier.trouble) if left else None

    def _leave(self, hints: Sequence[Hint]) -> Sequence[Hint]:
        # Otherwise the hints are due a few seconds later.
        with suppress(RunnerError):
            leave_to_workers(self._store, hints)
        return hints
