"""Runs of one job that are made in one step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from runner.errors import JobPaused, KeyConflict, Unconfirmed
from runner.ledger.audit import BY_PEOPLE, tell
from runner.ledger.pauses import read_pause
from runner.ledger.refusals import conflict, paused, unconfirmed
from runner.ledger.store import Store
from runner.ledger.submission import Entry, Submission, Submitted, arguments_of_many


class Batch:
    """A batch that is written, and made once it is sent."""

    def __init__(self, store: Store, common: Submission, entries: Sequence[Entry]) -> None:
        """Write it.

        Args:
            store: where the runs are recorded.
            common: what is asked for each of them; see :func:`~runner.ledger.submission.arguments_of_many`.
            entries: the runs; Redis serves nobody else while it makes them, so they should not be many.
        """
        self.entries = entries
        self._store = store
        self._common = common
        self._arguments = arguments_of_many(common, entries, store.settings) if entries else []
        self._answer: Callable[[], Any] | None = None

    def send(self) -> None:
        """Send it, where that can be done without waiting for the answer; else :meth:`outcomes` does."""
        if self.entries and self._store.settings.durability == "local":
            self._answer = self._store.begin("submit_many", *self._arguments)

    def outcomes(self) -> tuple[list[Submitted | KeyConflict | JobPaused], Unconfirmed | None]:
        """Wait for the answer. Called once more, it sends all of it again, which makes nothing twice.

        Returns:
            For each entry the run that was made or existed, or why none was made; and an error if all of this was
            accepted, and no replica has it yet (``durability: replicated``).

        Raises:
            Unavailable: Redis cannot be reached, or refuses to write.
        """
        if not self.entries:
            return [], None
        answer, self._answer = self._answer, None
        told, confirmed = (answer(), True) if answer else self._store.confirmed("submit_many", *self._arguments)
        job = self._common.job.name
        outcomes: list[Submitted | KeyConflict | JobPaused] = [Submitted(each.id, False) for each in self.entries]
        made = len(outcomes)
        for place, verdict, found in zip(told[1::3], told[2::3], told[3::3], strict=True):
            entry = self.entries[place - 1]
            if verdict == "paused":
                outcomes[place - 1] = paused(job, read_pause(job, told[0]))
            elif verdict == "conflict":
                outcomes[place - 1] = conflict(job, entry.key, found)
            elif found != entry.id:
                outcomes[place - 1] = Submitted(found, True)
            else:
                continue  # this very submission made it: the answer to an earlier try was lost
            made -= 1
        if made and self._common.trigger in BY_PEOPLE:
            tell(BY_PEOPLE[self._common.trigger], self._common.submitted_by, job=job, comment=f"{made} runs")
        return outcomes, None if confirmed else unconfirmed(f"{made} runs of {job}", self.entries[0].id)
