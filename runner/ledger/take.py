"""Settle a taker's last run and start its next one, in one round trip."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from runner.current import FlowRef
from runner.errors import Unavailable, WriteRefused
from runner.ledger.attempt import LARGE, Attempts, Settled, Started, flow_of, is_flow, started_of

Answer = Sequence[Any]


class Ask(NamedTuple):
    """The taker that asks for the next run, and its queues."""

    token: str
    """Of the claim to make: random, new for each run that is asked for, and known to the worker before it is used."""
    lease: int
    """Milliseconds."""
    worker: str
    known: str
    """The digest under which the jobs of this worker are known."""
    queues: Sequence[str]


class Success(NamedTuple):
    """An attempt that succeeded, and is not settled yet; ``meta`` is its result in Celery's format."""

    run_id: str
    token: str
    meta: str

    @property
    def can_wait(self) -> bool:
        """Whether it may go with the next question. A large one is written by itself: it may be refused."""
        return len(self.meta) <= LARGE


class Taken(NamedTuple):
    """A run that is STARTED under ``token``."""

    run_id: str
    job: str
    queue: str
    priority: int
    token: str
    answer: Started | Answer

    def started(self) -> Started:
        """Return the facts that the attempt needs.

        Raises:
            InvalidParams: its record is damaged.
        """
        return self.answer if isinstance(self.answer, Started) else started_of(self.answer)

    @property
    def flow(self) -> FlowRef | None:
        """The flow that the run is a step of."""
        return self.answer.flow if isinstance(self.answer, Started) else flow_of(self.answer)

    @property
    def is_flow(self) -> bool:
        """Whether the run has steps of its own."""
        return self.answer.is_flow if isinstance(self.answer, Started) else is_flow(self.answer)


class Held(NamedTuple):
    """A message that was claimed under ``token`` and of which no run was started: that is for the worker to decide."""

    queue: str
    priority: int
    token: str
    message: str


class Takes:
    """The questions of one taker.

    Args:
        attempts: its side of the ledger.
        on_refused: settles a success that Redis will never accept as it is.
    """

    def __init__(self, attempts: Attempts, on_refused: Callable[[Success, WriteRefused], None]) -> None:
        self._attempts = attempts
        self._on_refused = on_refused
        self.settled = Settled.STALE
        """The answer about the success that was settled last."""

    def take(self, last: Success | None, ask: Ask) -> Taken | Held | None:
        """Settle ``last``, and return what there is to do next; None if nothing waits.

        Raises:
            Unavailable: Redis cannot be reached, and the worker does not wait for it any more.
            WriteRefused: Redis will never hand out work to this worker.
        """
        while True:
            answer = self._ask(last, ask)
            last = None
            if answer[1] == "go":
                _, _, run_id, job, queue, priority, *rest = answer
                return Taken(run_id, job, queue, int(priority), ask.token, rest)
            if answer[1] == "held":
                return Held(answer[2], int(answer[3]), ask.token, answer[4])
            if answer[1] == "idle":
                return None

    def confirm(self, token: str) -> tuple[bool, bool]:
        """Return whether a claim is still held, and whether it is as durable as was asked for, with the start under it.

        Waits for a replica with ``durability: replicated``. A primary that was not there at the start may not know it.

        Raises:
            Unavailable: Redis cannot be reached, and the worker does not wait for it any more.
        """
        answer: tuple[Any, bool] = self._attempts.persist(lambda: self._attempts.store.confirmed("holds", token))
        return bool(answer[0]), answer[1]

    def settle(self, last: Success, *, again: bool = False) -> None:
        """Settle a success by itself.

        Args:
            last: what to settle.
            again: whether a question has gone out with it already: a stale token may mean that this one has settled it.

        Raises:
            Unavailable: Redis cannot be reached, and the worker does not wait for it any more.
        """
        try:
            self.settled = self._attempts.settle(last.run_id, last.token, last.meta)
        except WriteRefused as refused:
            self._on_refused(last, refused)
            return
        if not (self.settled or again):
            self._attempts.tell_refused(last.run_id, "SUCCESS")

    def _ask(self, last: Success | None, ask: Ask) -> Answer:
        if last is not None:
            try:
                return self._script(last, ask)
            except (Unavailable, WriteRefused):
                # What is refused to the one may be granted to the other, such as when Redis has no memory left.
                self.settle(last, again=True)
        answer: Answer = self._attempts.persist(lambda: self._script(None, ask))
        return answer

    def _script(self, last: Success | None, ask: Ask) -> Answer:
        settled = ("", "", "") if last is None else (last.run_id, last.token, last.meta)
        answer: Answer = self._attempts.store.script(
            "take", *settled, ask.token, ask.lease, ask.worker, os.getpid(), ask.known, *ask.queues
        )
        if answer[0] != "":
            self.settled = Settled(answer[0])
            if not self.settled:
                self._attempts.tell_refused(last.run_id if last else "", "SUCCESS")
        return answer
