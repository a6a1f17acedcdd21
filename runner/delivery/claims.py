"""What a worker holds. One object a worker process; it outlives connections and channels."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from runner.ledger.attempt import Attempts, Failure
from runner.ledger.scripts import run_script

if TYPE_CHECKING:
    import redis

    from runner.ledger.ledger import Ledger

PACKAGE = "runner.delivery"


def damaged(why: str) -> Failure:
    """Return what is recorded of a run whose message cannot be read."""
    words = f"the message of this run was damaged: {why}"
    celery = {"exc_type": "DecodeError", "exc_message": [words], "exc_module": "kombu.exceptions"}
    return Failure("kombu.exceptions.DecodeError", words, None, celery)


def milliseconds(seconds: float) -> int:
    """Return whole milliseconds, as scripts take them."""
    return round(seconds * 1000)


class Claims:
    """The tokens that this worker holds, and what can be done with them.

    Safe to use from several threads: the lease thread renews while the main loop takes and drops.
    """

    def __init__(self, open_ledger: Callable[[], Ledger], lease: float) -> None:
        self._open_ledger = open_ledger
        self.lease = lease
        self._held: set[str] = set()
        self._mutex = threading.Lock()

    @cached_property
    def _ledger(self) -> Ledger:
        # Connected by the worker that makes the first claim, not by every process that knows the app.
        return self._open_ledger()

    def take(self, token: str) -> None:
        """Note that a message was claimed under ``token``."""
        with self._mutex:
            self._held.add(token)

    def forget(self, token: str) -> None:
        """Note that the claim is gone: the script that ended the attempt released it."""
        with self._mutex:
            self._held.discard(token)

    def holds(self, token: str) -> bool:
        """Whether the claim is still ours, as far as we know."""
        with self._mutex:
            return token in self._held

    @property
    def tokens(self) -> list[str]:
        """All tokens held now."""
        with self._mutex:
            return list(self._held)

    def drop(self, token: str) -> None:
        """Release the claim of a message that is done with.

        Raises:
            Unavailable: Redis cannot be reached; the lease will run out instead.
        """
        self.forget(token)
        self._script("drop", token)

    def bury(self, token: str, raw: bytes, why: str, run_id: str | None) -> None:
        """Keep a message that nobody can act on among the dead letters; its run, if it is ours, ends in FAILURE.

        Raises:
            Unavailable: Redis cannot be reached; the lease will run out instead.
        """
        self.forget(token)
        self._ledger.bury(json.dumps({"why": why, "message": raw.decode("utf-8", "backslashreplace")}))
        if run_id is not None:
            Attempts(self._ledger).fail_waiting(run_id, token, "exception", damaged(why))
        self._script("drop", token)

    def hand_back(self, tokens: list[str], *, pause: float = 0.0, detail: str = "handed back by a worker") -> None:
        """Give messages back to the front of their queues, or into the delayed set for ``pause`` seconds.

        Raises:
            Unavailable: Redis cannot be reached; the leases will run out instead.
        """
        for token in tokens:
            self.forget(token)
        if tokens:
            self._ledger.script("hand_back", milliseconds(pause), detail, *tokens)

    def renew(self) -> list[str]:
        """Renew every lease; return the tokens that were taken away, which are ours no more.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        tokens = self.tokens
        if not tokens:
            return []
        gone = [token for token in self._script("renew", milliseconds(self.lease), *tokens) if self.holds(token)]
        for token in gone:
            self.forget(token)
        return gone

    def _script(self, name: str, *args: Any) -> Any:
        from runner.ledger.connection import reaching

        with reaching(self._ledger.settings):
            return run_script(self._ledger.client, self._ledger.namespace, name, *args, package=PACKAGE)


def claim_command(client: redis.Redis, namespace: str, token: str, lease: float, worker: str, queues: list[str]) -> Any:
    """Ask for the next message; see ``claim.lua`` for the answer."""
    return run_script(client, namespace, "claim", token, milliseconds(lease), worker, *queues, package=PACKAGE)
