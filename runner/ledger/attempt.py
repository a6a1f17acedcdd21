"""A worker's changes to runs: start, settle, retry, lose. Every call passes the token of its claim."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from runner._dataclass import dataclass
from runner.current import FlowRef
from runner.errors import InvalidParams, Unavailable, WriteRefused
from runner.ledger.failure import Failure
from runner.ledger.record import celery_meta, now_text, pack_digest
from runner.ledger.store import Store
from runner.ledger.translation import hung_up
from runner.model.run import State, to_timestamp
from runner.model.storable import cut, storable

log = logging.getLogger(__name__)

LONGEST_PAUSE = 5.0
"""Seconds between tries to write an outcome while Redis is unreachable."""

LONGEST_MESSAGE = 500
"""The maximum length of a progress message: it stays in the record, and everyone who watches the run reads it."""


LARGE = 256 * 1024
"""Size of a write that may be too large for the server (``proto-max-bulk-len`` is at least 1 MiB). The server stops
reading such a write and closes the connection, so its answer is rarely seen."""

MOST_HANG_UPS = 3
"""How many times in a row the server may close the connection on a large write before it counts as refused."""


class Settled(IntEnum):
    """The result of ending a run."""

    STALE = 0
    """The token is stale; nothing was written."""
    DONE = 1
    ADVANCES = 2
    """The run was a step, and its flow can go on now."""


class Started(NamedTuple):
    """The guard let an attempt start. ``attempt`` counts from 1; ``expires_at`` is a Unix time in seconds.

    ``slot``: the schedule slot of the run (RFC 3339), or None. ``traceparent``: the span of the submission.
    ``drop_result``: whether the submitter asked not to store the result. ``flow``: the flow of a step run.
    """

    attempt: int
    retries: int
    params: dict[str, Any]
    expires_at: float | None
    slot: str | None = None
    traceparent: str | None = None
    drop_result: bool = False
    flow: FlowRef | None = None
    is_flow: bool = False


@dataclass(frozen=True, slots=True)
class Dropped:
    """The guard refused: ``why`` is stale, unknown, foreign, final, duplicate, lost, or expired."""

    why: str


def started_of(answer: Sequence[Any]) -> Started:
    """Parse a script's answer about a run that it started; see ``lua/shared/starting.lua``.

    Raises:
        InvalidParams: the record is damaged.
    """
    attempt, retries, params, expires_at, slot, traceparent, drop_result, *_ = answer
    return Started(
        attempt=int(attempt),
        retries=int(retries),
        params=_params(params),
        expires_at=float(expires_at) / 1000 if expires_at else None,
        slot=to_timestamp(int(float(slot))) if slot else None,
        traceparent=traceparent or None,
        drop_result=bool(drop_result),
        flow=flow_of(answer),
        is_flow=is_flow(answer),
    )


def flow_of(answer: Sequence[Any]) -> FlowRef | None:
    """Return the flow of a step run from a script's answer about a run that it started."""
    if len(answer) == _PLAIN_ANSWER or not answer[7]:
        return None
    flow, job, step, item = answer[7:11]
    return FlowRef(flow, job, step, int(item) if item.isascii() and item.isdigit() else None)


def is_flow(answer: Sequence[Any]) -> bool:
    """Return whether a run that a script started is a flow."""
    return len(answer) > _PLAIN_ANSWER and bool(answer[11])


_PLAIN_ANSWER = 7
"""The length of the answer about a run that is neither a flow nor a step."""


def success_meta(run_id: str, result: str) -> str:
    """Return a result (JSON text) in Celery's format."""
    return celery_meta(run_id=run_id, state=State.SUCCESS, result=result, date_done=now_text())


def _params(text: str) -> dict[str, Any]:
    if text == "{}":
        return {}
    with contextlib.suppress(ValueError):
        value = json.loads(text)
        if isinstance(value, dict):
            return value
    raise InvalidParams("the params in its record cannot be read", hint="runner doctor names damaged records")


class Attempts:
    """The worker's side of the ledger.

    Args:
        store: the store to write to.
        patient: returns whether to go on trying while Redis is unreachable; by default always True.
    """

    def __init__(self, store: Store, patient: Callable[[], bool] = lambda: True) -> None:
        self.store = store
        self._patient = patient

    def start(self, run_id: str, token: str, worker: str, job: str, spec_digest: str = "") -> Started | Dropped:
        """Ask the guard, which also writes STARTED and the digest of the attempt's spec.

        Raises:
            InvalidParams: the run is STARTED, but its record is damaged.
        """
        answer = self.begin(run_id, token, worker, job, spec_digest)
        return answer if isinstance(answer, Dropped) else started_of(answer)

    def begin(self, run_id: str, token: str, worker: str, job: str, spec_digest: str = "") -> Sequence[Any] | Dropped:
        """Do the same as :meth:`start`, but return the raw answer for :func:`started_of`."""
        answer = self.persist(
            lambda: self.store.script("start", run_id, token, worker, os.getpid(), job, pack_digest(spec_digest))
        )
        return answer[1:] if answer[0] == "go" else Dropped(answer[0])

    def succeed(self, run_id: str, token: str, result: str) -> Settled:
        """STARTED -> SUCCESS; ``result`` is JSON text."""
        done = self.settle(run_id, token, success_meta(run_id, result))
        if not done:
            self.tell_refused(run_id, "SUCCESS")
        return done

    def settle(self, run_id: str, token: str, meta: str) -> Settled:
        """STARTED -> SUCCESS; ``meta`` is the result in Celery's format."""
        return Settled(self._write("settle", run_id, token, "SUCCESS", "", meta, ""))

    def tell_refused(self, run_id: str, state: str) -> None:
        """Log that another attempt has the run now."""
        log.warning("run %s: this attempt had lost its claim, its %s was refused", run_id, state)

    def fail(self, run_id: str, token: str, reason: str, failure: Failure) -> Settled:
        """STARTED -> FAILURE."""
        meta = failure.meta(run_id, State.FAILURE)
        return Settled(self._write("settle", run_id, token, "FAILURE", reason, meta, failure.error()))

    def fail_waiting(self, run_id: str, token: str, reason: str, failure: Failure) -> Settled:
        """PENDING | RETRY -> FAILURE, for a run that cannot be attempted."""
        meta = failure.meta(run_id, State.FAILURE)
        return Settled(self.store.script("fail", run_id, token, reason, meta, failure.error()))

    def retry(self, run_id: str, token: str, delay: float, failure: Failure) -> bool:
        """STARTED -> RETRY, due ``delay`` seconds from now. False: the token is stale, nothing was written."""
        meta = failure.meta(run_id, State.RETRY)
        return bool(self._write("retry", run_id, token, round(delay * 1000), meta, failure.error()))

    def lose(self, run_id: str, token: str, death: Mapping[str, Any]) -> str:
        """Record that the process of an attempt died; return the next state, or an empty string for a stale token."""
        text = json.dumps(dict(death))
        return str(self._write("lost", run_id, token, text))

    def progress(self, run_id: str, token: str, fraction: float | None, message: str | None) -> None:
        """Record the progress of an attempt. Dropped silently while Redis is unreachable: the next one is newer."""
        text = None if message is None else cut(storable(message), LONGEST_MESSAGE - 1)
        try:
            self.store.script("progress", run_id, token, json.dumps({"fraction": fraction, "message": text}))
        except Unavailable:
            return

    def now(self) -> float:
        """Return the Unix time (seconds) by Redis' clock, which decides when runs expire: this host's may be wrong."""
        found: float = self.persist(self.store.now)
        return found

    def _write(self, name: str, run_id: str, *args: Any) -> Any:
        size = sum(len(arg) for arg in args if isinstance(arg, str))
        answer, confirmed = self.persist(lambda: self.store.confirmed(name, run_id, *args), size)
        if not confirmed:
            log.warning("run %s: no replica has its outcome yet, a failover now could lose it", run_id)
        return answer

    def persist(self, write: Callable[[], Any], size: int = 0) -> Any:
        """Retry a write until Redis can be reached, so that no outcome is lost.

        Args:
            write: the function that writes.
            size: the approximate number of bytes that it sends.

        Raises:
            Unavailable: Redis cannot be reached, and the worker no longer waits for it.
            WriteRefused: Redis will never accept the write.
        """
        pause = 0.1
        hang_ups = 0
        while True:
            try:
                return write()
            except WriteRefused:
                raise
            except Unavailable as error:
                hang_ups = hang_ups + 1 if size > LARGE and hung_up(error) and self._answers() else 0
                if hang_ups >= MOST_HANG_UPS:
                    raise WriteRefused(
                        f"Redis hangs up on a write of {size} bytes, and answers all else: {error.message}",
                        hint="raise its proto-max-bulk-len, or lower limits.result",
                    ) from error
                if not self._patient():
                    raise
                time.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)

    def _answers(self) -> bool:
        """Return whether the server accepts writes, by deleting a key that does not exist."""
        try:
            self.store.touch()
        except Unavailable:
            return False
        return True
