"""What a worker does to runs: start, settle, retry, lose. Every call presents the token of its claim."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from runner.errors import Unavailable
from runner.ledger.ledger import Ledger
from runner.ledger.record import celery_meta, pack_digest
from runner.model.run import State, to_timestamp

log = logging.getLogger(__name__)

LONGEST_PAUSE = 5.0
"""Seconds between tries to write an outcome while Redis is away."""

LONGEST_MESSAGE = 500
"""Characters of a progress message; it stays in the record, and all who watch the run read it each time."""


@dataclass(frozen=True, slots=True)
class Started:
    """The guard let an attempt start. ``attempt`` counts from 1, ``expires_at`` is a Unix time in seconds.

    ``slot`` is that of the run's schedule, RFC 3339, or None. ``traceparent`` leads to the span of the submission.
    """

    attempt: int
    retries: int
    params: dict[str, Any]
    expires_at: float | None
    slot: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Dropped:
    """The guard did not: ``why`` is stale, unknown, foreign, final, duplicate, lost or expired."""

    why: str


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as it is recorded: for people (``type``, ``message``, ``traceback``) and for Celery's clients."""

    type: str
    message: str
    traceback: str | None
    celery: Mapping[str, Any]
    """``exc_type``, ``exc_message``, ``exc_module``."""

    def error(self) -> str:
        """Return the run document's ``error`` as JSON."""
        return json.dumps({"type": self.type, "message": self.message, "traceback": self.traceback})

    def meta(self, run_id: str, state: State) -> str:
        """Return the result in Celery's format."""
        return celery_meta(
            run_id=run_id,
            state=state,
            result=json.dumps(self.celery),
            traceback=self.traceback,
            date_done=datetime.now(UTC).isoformat(),
        )


class Attempts:
    """The worker's side of the ledger.

    Args:
        ledger: what is written to.
        patient: whether to go on trying while Redis is away; for ever by default.
    """

    def __init__(self, ledger: Ledger, patient: Callable[[], bool] = lambda: True) -> None:
        self.ledger = ledger
        self._patient = patient

    def start(self, run_id: str, token: str, worker: str, job: str, spec_digest: str = "") -> Started | Dropped:
        """Ask the guard; STARTED is written by the same step, and the digest of the spec that the attempt goes by."""
        answer = self.persist(
            lambda: self.ledger.script("start", run_id, token, worker, os.getpid(), job, pack_digest(spec_digest))
        )
        if answer[0] != "go":
            return Dropped(answer[0])
        _, attempt, retries, params, expires_at, slot, traceparent = answer
        return Started(
            attempt=int(attempt),
            retries=int(retries),
            params=json.loads(params),
            expires_at=float(expires_at) / 1000 if expires_at else None,
            slot=to_timestamp(int(float(slot))) if slot else None,
            traceparent=traceparent or None,
        )

    def succeed(self, run_id: str, token: str, result: str) -> bool:
        """STARTED -> SUCCESS; ``result`` is JSON text. False: the token is stale, nothing was written."""
        meta = celery_meta(run_id=run_id, state=State.SUCCESS, result=result, date_done=datetime.now(UTC).isoformat())
        return bool(self._write("settle", run_id, token, "SUCCESS", "", meta, ""))

    def fail(self, run_id: str, token: str, reason: str, failure: Failure) -> bool:
        """STARTED -> FAILURE. False: the token is stale, nothing was written."""
        meta = failure.meta(run_id, State.FAILURE)
        return bool(self._write("settle", run_id, token, "FAILURE", reason, meta, failure.error()))

    def fail_waiting(self, run_id: str, token: str, reason: str, failure: Failure) -> bool:
        """PENDING | RETRY -> FAILURE, for a run that no attempt can be made of."""
        meta = failure.meta(run_id, State.FAILURE)
        return bool(self.ledger.script("fail", run_id, token, reason, meta, failure.error()))

    def retry(self, run_id: str, token: str, delay: float, failure: Failure) -> bool:
        """STARTED -> RETRY, due ``delay`` seconds from now. False: the token is stale, nothing was written."""
        meta = failure.meta(run_id, State.RETRY)
        return bool(self._write("retry", run_id, token, round(delay * 1000), meta, failure.error()))

    def lose(self, run_id: str, token: str, death: Mapping[str, Any]) -> str:
        """The process of an attempt is dead; return the state that follows, or an empty string for a stale token."""
        told = json.dumps(dict(death))
        return str(self._write("lost", run_id, token, told))

    def progress(self, run_id: str, token: str, fraction: float | None, message: str | None) -> None:
        """Note how far an attempt is. Lost without a word while Redis is away: the next one tells more."""
        if message is not None and len(message) > LONGEST_MESSAGE:
            message = f"{message[: LONGEST_MESSAGE - 1]}…"
        try:
            self.ledger.script("progress", run_id, token, json.dumps({"fraction": fraction, "message": message}))
        except Unavailable:
            return

    def now(self) -> float:
        """Return the Unix time in seconds by Redis' clock, which says when a run expires: this host's may be off."""
        found: float = self.persist(self.ledger.now)
        return found

    def _write(self, name: str, run_id: str, *args: Any) -> Any:
        answer, confirmed = self.persist(lambda: self.ledger.confirmed(name, run_id, *args))
        if not confirmed:
            log.warning("run %s: no replica has its outcome yet, a failover now could lose it", run_id)
        return answer

    def persist(self, write: Callable[[], Any]) -> Any:
        """Try until Redis can be reached: an outcome is kept until it can be written.

        Raises:
            Unavailable: Redis cannot be reached, and the worker does not wait for it any more.
        """
        pause = 0.1
        while True:
            try:
                return write()
            except Unavailable:
                if not self._patient():
                    raise
                time.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
