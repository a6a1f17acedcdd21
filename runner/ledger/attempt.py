"""A worker's changes to runs: start, settle, retry, lose. Every call presents the token of its claim."""

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
"""Seconds between tries to write an outcome while Redis is away."""

LONGEST_MESSAGE = 500
"""Characters of a progress message; it stays in the record, and all who watch the run read it each time."""


LARGE = 256 * 1024
"""Bytes of a write that may be too large for the server (``proto-max-bulk-len`` is at least 1 MiB). Of such a one it
reads no more, and hangs up: its answer is seldom seen."""

MOST_HANG_UPS = 3
"""How often in a row a server that answers all else may hang up on a large write before it counts as refused."""


class Settled(IntEnum):
    """The answer to a worker that ends a run."""

    STALE = 0
    """Its token is stale; nothing was written."""
    DONE = 1
    ADVANCES = 2
    """The run was a step of a flow that can go on now."""


class Started(NamedTuple):
    """The guard let an attempt start. ``attempt`` counts from 1, ``expires_at`` is a Unix time in seconds.

    ``slot`` is that of the run's schedule, RFC 3339, or None. ``traceparent`` leads to the span of the submission.
    ``drop_result``: the submitter does not want the result stored. ``flow`` is the one that the run is a step of.
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
    """The guard did not: ``why`` is stale, unknown, foreign, final, duplicate, lost or expired."""

    why: str


def started_of(answer: Sequence[Any]) -> Started:
    """Read a script's answer about a run that it started: see ``lua/shared/starting.lua``.

    Raises:
        InvalidParams: its record is damaged.
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
    """Return the flow that a run is a step of, from a script's answer about a run that it started."""
    if len(answer) == _PLAIN_ANSWER or not answer[7]:
        return None
    flow, job, step, item = answer[7:11]
    return FlowRef(flow, job, step, int(item) if item.isascii() and item.isdigit() else None)


def is_flow(answer: Sequence[Any]) -> bool:
    """Return whether a run that a script started has steps of its own."""
    return len(answer) > _PLAIN_ANSWER and bool(answer[11])


_PLAIN_ANSWER = 7
"""The length of the answer about a run that is neither a flow nor a step of one."""


def success_meta(run_id: str, result: str) -> str:
    """Return a result, which is JSON text, in Celery's format."""
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
        store: what is written to.
        patient: whether to go on trying while Redis is away; for ever by default.
    """

    def __init__(self, store: Store, patient: Callable[[], bool] = lambda: True) -> None:
        self.store = store
        self._patient = patient

    def start(self, run_id: str, token: str, worker: str, job: str, spec_digest: str = "") -> Started | Dropped:
        """Ask the guard; STARTED is written by the same step, and the digest of the spec that the attempt goes by.

        Raises:
            InvalidParams: it is STARTED, and its record is damaged.
        """
        answer = self.begin(run_id, token, worker, job, spec_digest)
        return answer if isinstance(answer, Dropped) else started_of(answer)

    def begin(self, run_id: str, token: str, worker: str, job: str, spec_digest: str = "") -> Sequence[Any] | Dropped:
        """Like :meth:`start`, but return the raw answer for :func:`started_of`."""
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
        """Log that another attempt has the run by now."""
        log.warning("run %s: this attempt had lost its claim, its %s was refused", run_id, state)

    def fail(self, run_id: str, token: str, reason: str, failure: Failure) -> Settled:
        """STARTED -> FAILURE."""
        meta = failure.meta(run_id, State.FAILURE)
        return Settled(self._write("settle", run_id, token, "FAILURE", reason, meta, failure.error()))

    def fail_waiting(self, run_id: str, token: str, reason: str, failure: Failure) -> Settled:
        """PENDING | RETRY -> FAILURE, for a run that no attempt can be made of."""
        meta = failure.meta(run_id, State.FAILURE)
        return Settled(self.store.script("fail", run_id, token, reason, meta, failure.error()))

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
        told = None if message is None else cut(storable(message), LONGEST_MESSAGE - 1)
        try:
            self.store.script("progress", run_id, token, json.dumps({"fraction": fraction, "message": told}))
        except Unavailable:
            return

    def now(self) -> float:
        """Return the Unix time in seconds by Redis' clock, which says when a run expires: this host's may be off."""
        found: float = self.persist(self.store.now)
        return found

    def _write(self, name: str, run_id: str, *args: Any) -> Any:
        size = sum(len(arg) for arg in args if isinstance(arg, str))
        answer, confirmed = self.persist(lambda: self.store.confirmed(name, run_id, *args), size)
        if not confirmed:
            log.warning("run %s: no replica has its outcome yet, a failover now could lose it", run_id)
        return answer

    def persist(self, write: Callable[[], Any], size: int = 0) -> Any:
        """Try until Redis can be reached: an outcome is kept until it can be written.

        Args:
            write: what to do.
            size: bytes that it sends, about.

        Raises:
            Unavailable: Redis cannot be reached, and the worker does not wait for it any more.
            WriteRefused: Redis will never accept it.
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
        """Whether the server takes writes: this one deletes a key that is not there."""
        try:
            self.store.touch()
        except Unavailable:
            return False
        return True
