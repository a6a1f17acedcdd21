"""The claims of a worker. One object per worker process, which outlives connections and channels."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from runner.errors import Unavailable
from runner.ledger.attempt import Attempts
from runner.ledger.failure import Failure
from runner.ledger.reach import reaching
from runner.ledger.scripts import run_script
from runner.model.duration import milliseconds

if TYPE_CHECKING:
    from runner.ledger.ledger import Ledger

PACKAGE = "runner.delivery"

DIED = "handed back by a worker whose process has died"


def damaged(why: str) -> Failure:
    """Return the failure for a run whose message cannot be read."""
    message = f"the message of this run was damaged: {why}"
    celery = {"exc_type": "DecodeError", "exc_message": [message], "exc_module": "kombu.exceptions"}
    return Failure("kombu.exceptions.DecodeError", message, None, celery)


class Claims:
    """The claim tokens that this worker holds, and the operations on them.

    Thread-safe: the lease thread renews while the main loop claims and releases.
    """

    def __init__(self, open_ledger: Callable[[], Ledger], lease: float) -> None:
        self._open_ledger = open_ledger
        self.lease = lease
        self._held: set[str] = set()
        self._left: set[str] = set()
        """The tokens that could not be handed back because Redis was unreachable."""
        self._asked_for: dict[str, float] = {}
        """Tokens of dead takers without a claim, and the time until which their last request may still create one."""
        self._mutex = threading.Lock()

    @cached_property
    def _ledger(self) -> Ledger:
        # Connected at the first claim of a worker, and not in every process that loads the app.
        return self._open_ledger()

    def take(self, token: str) -> None:
        """Record that a message was claimed under ``token``."""
        with self._mutex:
            self._held.add(token)

    def forget(self, token: str) -> None:
        """Record that the claim is gone: the script that ended the attempt released it."""
        with self._mutex:
            self._held.discard(token)
            self._left.discard(token)

    def holds(self, token: str) -> bool:
        """Return whether this worker holds the claim, as far as it knows."""
        with self._mutex:
            return token in self._held

    @property
    def tokens(self) -> list[str]:
        """Return all tokens that are held now."""
        with self._mutex:
            return list(self._held)

    def drop(self, token: str) -> None:
        """Release the claim of a message that is finished.

        Raises:
            Unavailable: Redis cannot be reached; the lease will run out instead.
        """
        self.forget(token)
        self._script("drop", token)

    def bury(self, token: str, raw: bytes, why: str, run_id: str | None) -> None:
        """Move a message that cannot be processed to the dead letters; its run, if there is one, ends in FAILURE.

        Raises:
            Unavailable: Redis cannot be reached; the lease will run out instead.
        """
        self.forget(token)
        self._ledger.bury(json.dumps({"why": why, "message": raw.decode("utf-8", "backslashreplace")}))
        if run_id is not None:
            Attempts(self._ledger).fail_waiting(run_id, token, "exception", damaged(why))
        self._script("drop", token)

    def hand_back(self, tokens: list[str], *, detail: str, untouched: bool = False) -> None:
        """Return runs whose processes are dead to the front of their queues, without counting a loss.

        Args:
            tokens: the tokens of their claims.
            detail: the reason, for people.
            untouched: whether no part of their jobs was performed, so that they may start again in any case.

        Raises:
            Unavailable: Redis cannot be reached; the leases will run out instead.
        """
        for token in tokens:
            self.forget(token)
        if tokens:
            self._ledger.script("hand_back", 0, detail, "1" if untouched else "", *tokens)

    def hand_back_asked(self, token: str) -> None:
        """Return the run that a dead taker has requested. The request may arrive later: see :meth:`hand_back_late`.

        Raises:
            Unavailable: Redis cannot be reached; the lease will run out instead.
        """
        with self._mutex:
            self._asked_for[token] = time.monotonic() + self.lease
        self.hand_back([token], detail=DIED, untouched=True)

    def hand_back_late(self) -> None:
        """Return the runs of requests that were still on their way when their takers died.

        Call it several times per lease. After one lease, a request that has not arrived is given up.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        now = time.monotonic()
        with self._mutex:
            tokens = list(self._asked_for)
        self.hand_back(tokens, detail=DIED, untouched=True)
        with self._mutex:
            for token in tokens:
                if self._asked_for[token] <= now:
                    del self._asked_for[token]

    def hand_back_waiting(
        self, tokens: list[str], *, pause: float = 0.0, detail: str = "handed back by a worker"
    ) -> None:
        """Return messages to the front of their queues, or put them into the delayed set for ``pause`` seconds.

        A claim whose attempt has started stays: a taker may have started it a moment ago.

        Raises:
            Unavailable: Redis cannot be reached; :meth:`hand_back_left` tries again.
        """
        if not tokens:
            return
        try:
            started = set(self._ledger.script("hand_back_waiting", milliseconds(pause), detail, *tokens))
        except Unavailable:
            # It is unknown which of them have started, so they are renewed until it is known.
            with self._mutex:
                self._left |= self._held.intersection(tokens)
            raise
        with self._mutex:
            self._left.difference_update(tokens)
            self._held.difference_update(set(tokens) - started)

    def hand_back_left(self) -> None:
        """Return the messages that could not be handed back while Redis was unreachable.

        Raises:
            Unavailable: it is still unreachable.
        """
        with self._mutex:
            left = list(self._left)
        self.hand_back_waiting(left)

    def renew(self, others: Sequence[str] = ()) -> list[str]:
        """Renew all leases and those of ``others``; return the tokens that are not or no longer held.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        tokens = [*self.tokens, *others]
        if not tokens:
            return []
        gone: list[str] = self._script("renew", milliseconds(self.lease), *tokens)
        for token in gone:
            self.forget(token)
        return gone

    def _script(self, name: str, *args: object) -> Any:
        with reaching(self._ledger.settings):
            ledger = self._ledger
            return run_script(ledger.client, ledger.namespace, name, *args, package=PACKAGE, hints=ledger.hints)
