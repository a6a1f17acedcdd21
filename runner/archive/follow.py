"""Copy finished runs continuously: in a thread of each worker, or as ``runner archive --follow``.

Any number of copiers may run; one of them copies at a time. An error is logged once, and copying is tried again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from runner.archive.copier import Copier
from runner.archive.store import Archive
from runner.errors import ArchiveMismatch, ArchiveUnavailable, RunnerError, Unavailable
from runner.ledger.store import Store
from runner.ledger.unarchived import may_copy

COPY_SECONDS = 2.0
"""Seconds between two checks for finished runs."""
HOLD_SECONDS = 15.0
"""Seconds of silence after which another copier takes over."""
LONGEST_BACK_OFF = 30.0
"""Seconds between two attempts to reach the database."""

_NAMED = 3

Say = Callable[[str], None]


class Follower:
    """Copies finished runs, one step per call.

    Args:
        open_store: returns a ledger store for this copier.
        name: the unique name of this copier.
        say: takes a line for the log.
        goes_on: returns False when the copier shall end.
        warn: takes a warning for the log; ``say`` by default.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        name: str,
        say: Say,
        goes_on: Callable[[], bool] = lambda: True,
        warn: Say | None = None,
    ) -> None:
        self._open_store = open_store
        self._name = name
        self._say, self._warn = say, warn or say
        self._goes_on = goes_on
        self._store: Store | None = None
        self._archive: Archive | None = None
        self._copier: Copier | None = None
        self._failures = 0
        self._trouble: str | None = None
        self._refused: set[str] = set()
        self._renewed = 0.0

    def step(self) -> float:
        """Copy the finished runs, and return the seconds until the next step."""
        try:
            return self._step()
        except ArchiveMismatch as error:
            self._yield_turn()
            return self._later(error, LONGEST_BACK_OFF)
        except ArchiveUnavailable as error:
            self._yield_turn()
            return self._later(error)
        except Unavailable as error:
            return self._later(error)
        except RunnerError as error:
            return self._later(error, LONGEST_BACK_OFF)
        except Exception as error:  # noqa: BLE001 - whatever it is, runs are copied again
            return self._later(RunnerError(f"{type(error).__name__}: {error}"), LONGEST_BACK_OFF)

    def close(self) -> None:
        """Let another copier take over at once, and close all connections."""
        self._yield_turn()
        if self._archive is not None:
            self._archive.close()
        if self._store is not None:
            self._store.close()

    def _step(self) -> float:
        store = self._store = self._store or self._open_store()
        if not self._renew(store):
            # Spread out, so that copiers do not all check at the same moment.
            return HOLD_SECONDS * random.uniform(0.7, 1.0)  # noqa: S311
        if self._copier is None:
            url = store.settings.archive_url
            assert url is not None
            archive = self._archive = self._archive or Archive.open(url)
            copier = Copier(store, archive)
            copier.begin()
            self._copier = copier
            self._say(f"finished runs are copied to {archive.name}")
            self._trouble = None
        copied = self._copier.copy(lambda: self._goes_on() and self._renew(store))
        if self._trouble is not None:
            self._say("finished runs are copied again")
        self._trouble, self._failures = None, 0
        new = {run_id: message for run_id, message in copied.refused.items() if run_id not in self._refused}
        if new:
            named = ", ".join(list(new)[:_NAMED])
            self._warn(f"the database refuses {len(new)} of them ({named}): {next(iter(new.values()))}")
        self._refused = set(copied.refused)
        return COPY_SECONDS

    def _renew(self, store: Store) -> bool:
        now = time.monotonic()
        if now - self._renewed < HOLD_SECONDS / 5:
            return True
        held = may_copy(store, self._name, HOLD_SECONDS)
        self._renewed = now if held else 0.0
        return held

    def _yield_turn(self) -> None:
        """Let another copier try: it may be able to reach the database from its host."""
        if self._store is None or not self._renewed:
            return
        self._renewed = 0.0
        try:
            may_copy(self._store, self._name, 0)
        except RunnerError:
            return  # the turn ends by itself

    def _later(self, error: RunnerError, pause: float | None = None) -> float:
        """Log an error once, and return the seconds until the next attempt."""
        if isinstance(error, ArchiveMismatch) or not isinstance(error, Unavailable | ArchiveUnavailable):
            self._copier = None
        if error.message != self._trouble:
            self._warn(f"finished runs are not copied: {error.message}" + (f"; {error.hint}" if error.hint else ""))
            self._trouble = error.message
        self._failures += 1
        return pause or min(2.0 ** min(self._failures, 10), LONGEST_BACK_OFF)
