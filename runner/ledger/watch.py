"""Follow runs as they change, through one channel per run and a read after each event."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

from runner.errors import Unavailable, WaitTimeout
from runner.ledger.reach import reaching
from runner.ledger.reading import read_runs, unknown_run
from runner.ledger.store import Store
from runner.model.run import FINAL, Run, to_datetime

LONGEST_SILENCE = 15.0
"""Seconds after which a run is read again without an event, in case one was lost."""

FLOW_PAUSE = 0.2
"""Seconds for which changes of a flow are collected before it is read again: it may have thousands of step runs."""

RECONNECT_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds between tries to reach Redis again; the last one repeats."""


def nowhere(_ids: Sequence[str]) -> list[Run]:
    """Return no runs: only those of the ledger are known."""
    return []


class Watch:
    """A subscription to the changes of some runs. ``elsewhere`` returns the runs that the ledger does not know."""

    def __init__(
        self, store: Store, ids: Sequence[str], elsewhere: Callable[[Sequence[str]], list[Run]] = nowhere
    ) -> None:
        self._store = store
        self._elsewhere = elsewhere
        self._waiting = dict.fromkeys(ids)
        self._channels = {store.keys.changed(run_id): run_id for run_id in self._waiting}
        self._pubsub: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._disconnect()

    def changes(
        self, *, deadline: float | None = None, patience: float | None = None, ends_only: bool = False
    ) -> Iterator[Run]:
        """Yield each run in its current state and after each change; end when all are final.

        Args:
            ends_only: changes other than the end need not be reported, which saves reading them.
            deadline: a ``time.monotonic()`` time, or None to wait forever.
            patience: how long to go on while Redis is unreachable (seconds); None: until the deadline.

        Raises:
            UnknownRun: one of them is not or no longer known.
            WaitTimeout: the deadline passed before all were final.
            Unavailable: Redis was unreachable for longer than ``patience``.
        """
        seen: dict[str, Run] = {}
        failures, lost_since = 0, 0.0
        while self._waiting:
            try:
                dirty = self._next(seen, deadline, ends_only)
                found = self._read(dirty)
            except Unavailable:
                self._disconnect()
                lost_since = lost_since or time.monotonic()
                if patience is not None and time.monotonic() - lost_since > patience:
                    raise
                self._pause(RECONNECT_PAUSES[min(failures, len(RECONNECT_PAUSES) - 1)], deadline)
                failures += 1
                continue
            failures, lost_since = 0, 0.0
            for run in found:
                if run.final:
                    self._waiting.pop(run.id, None)
                if seen.get(run.id) != run:
                    seen[run.id] = run
                    yield run
            if not ends_only and any(run.steps is not None and not run.final for run in found):
                self._pause(FLOW_PAUSE, None)

    def _read(self, ids: Sequence[str]) -> list[Run]:
        """Return the runs.

        Raises:
            UnknownRun: one of them is unknown.
        """
        found = read_runs(self._store, ids)
        known = {run.id for run in found}
        if lost := [run_id for run_id in ids if run_id not in known]:
            found += self._elsewhere(lost)
            known = {run.id for run in found}
            for run_id in lost:
                if run_id not in known:
                    raise unknown_run(run_id)
        return found

    def _next(self, seen: dict[str, Run], deadline: float | None, ends_only: bool) -> list[str]:
        """Return the ids to read now: all after (re)connecting or a silence, otherwise the changed ones."""
        if self._pubsub is None:
            self._connect()
            return list(self._waiting)
        changed: set[str] = set()
        with reaching(self._store.settings):
            while not changed:
                message = self._pubsub.get_message(timeout=self._patience(seen, deadline))
                if message is None:
                    break
                while message is not None:
                    changed |= self._changed(message, ends_only)
                    message = self._pubsub.get_message(timeout=0)
        if deadline is not None and time.monotonic() >= deadline and not changed:
            raise WaitTimeout(
                f"the time to wait has passed, {next(iter(self._waiting))} goes on",
                hint=f"runner wait {' '.join(self._waiting)}",
            )
        return [run_id for run_id in self._waiting if not changed or run_id in changed]

    def _changed(self, message: Any, ends_only: bool) -> set[str]:
        """Return the watched run that a message is about; its content is the state of the run."""
        if message["type"] != "message" or (ends_only and message["data"] not in FINAL):
            return set()
        channel = message["channel"]
        run_id = self._channels.get(channel if isinstance(channel, str) else channel.decode())
        return {run_id} if run_id in self._waiting and run_id is not None else set()

    def _patience(self, seen: dict[str, Run], deadline: float | None) -> float:
        waits = [LONGEST_SILENCE]
        for run_id in self._waiting:
            run = seen.get(run_id)
            if run is not None and run.expires_at is not None and run.state in ("PENDING", "RETRY"):
                # Nobody may read it when it expires, and reading it ends it.
                waits.append(to_datetime(run.expires_at).timestamp() - time.time() + 0.01)
        if deadline is not None:
            waits.append(deadline - time.monotonic())
        return max(0.01, min(waits))

    def _pause(self, seconds: float, deadline: float | None) -> None:
        if deadline is not None and time.monotonic() + seconds > deadline:
            raise WaitTimeout("the time to wait has passed, and Redis cannot be reached", hint="runner status ID")
        time.sleep(seconds)

    def _connect(self) -> None:
        with reaching(self._store.settings):
            self._pubsub = self._store.client.pubsub()
            self._pubsub.subscribe(*self._channels)
            # Subscribe before the first read, or a change in between is missed.
            for _ in self._channels:
                self._pubsub.get_message(timeout=5.0)

    def _disconnect(self) -> None:
        if self._pubsub is not None:
            pubsub, self._pubsub = self._pubsub, None
            pubsub.close()
