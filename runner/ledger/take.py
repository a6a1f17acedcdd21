"""Settle a taker's last run and start its next one, in one round trip."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from runner.current import FlowRef
from runner.errors import Unavailable, WriteRefused
from runner.ledger.attempt import LARGE, Attempts, Settled, Started, flow_of, is_flow, started_of

Answer = Sequence[Any]


class Ask(NamedTuple):
    """A taker's request for the next run."""

    token: str
    """The token for the new claim: random, new for each request, and known to the worker before it is used."""
    lease: int
    """The lease in milliseconds."""
    worker: str
    known: str
    """The digest of the jobs of this worker."""
    queues: Sequence[str]


class Success(NamedTuple):
    """A successful attempt that is not settled yet; ``meta`` is its result in Celery's format."""

    run_id: str
    token: str
    meta: str

    @property
    def can_wait(self) -> bool:
        """Return whether it can be settled with the next request; a large one may be refused."""
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
        """Return the data that the attempt needs.

        Raises:
            InvalidParams: the record is damaged.
        """
        return self.answer if isinstance(self.answer, Started) else started_of(self.answer)

    @property
    def flow(self) -> FlowRef | None:
        """Return the flow of a step run."""
        return self.answer.flow if isinstance(self.answer, Started) else flow_of(self.answer)

    @property
    def is_flow(self) -> bool:
        """Return whether the run is a flow."""
        return self.answer.is_flow if isinstance(self.answer, Started) else is_flow(self.answer)


class Held(NamedTuple):
    """A message that was claimed under ``token`` without starting a run; the worker decides about it."""

    queue: str
    priority: int
    token: str
    message: str


class Takes:
    """The requests of one taker.

    Args:
        attempts: the worker's side of the ledger.
        on_refused: settles a success that Redis will never accept as it is.
    """

    def __init__(self, attempts: Attempts, on_refused: Callable[[Success, WriteRefused], None]) -> None:
        self._attempts = attempts
        self._on_refused = on_refused
        self.settled = Settled.STALE
        """The answer about the last settled success."""
        self.asked_at = 0.0
        """When the last request was sent (``time.monotonic``). The lease that it was given begins later."""

    def take(self, last: Success | None, ask: Ask) -> Taken | Held | None:
        """Settle ``last`` and return the next run or message; None if no run waits.

        Raises:
            Unavailable: Redis cannot be reached, and the worker no longer waits for it.
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
        """Return whether a claim is still held, and whether it and the start are as durable as required.

        Waits for a replica with ``durability: replicated``. A new primary may not know the claim.

        Raises:
            Unavailable: Redis cannot be reached, and the worker no longer waits for it.
        """
        answer: tuple[Any, bool] = self._attempts.persist(lambda: self._attempts.store.confirmed("holds", token))
        return bool(answer[0]), answer[1]

    def settle(self, last: Success, *, again: bool = False) -> None:
        """Settle a success separately.

        Args:
            last: the success to settle.
            again: whether a request has already been sent with it, so that a stale token may mean that it is settled.

        Raises:
            Unavailable: Redis cannot be reached, and the worker no longer waits for it.
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
                # Redis may refuse one and accept the other, for example when it has no memory left.
                self.settle(last, again=True)
        answer: Answer = self._attempts.persist(lambda: self._script(None, ask))
        return answer

    def _script(self, last: Success | None, ask: Ask) -> Answer:
        settled = ("", "", "") if last is None else (last.run_id, last.token, last.meta)
        self.asked_at = time.monotonic()
        answer: Answer = self._attempts.store.script(
            "take", *settled, ask.token, ask.lease, ask.worker, os.getpid(), ask.known, *ask.queues
        )
        if answer[0] != "":
            self.settled = Settled(answer[0])
            if not self.settled:
                self._attempts.tell_refused(last.run_id if last else "", "SUCCESS")
        return answer
