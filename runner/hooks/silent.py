"""Find jobs that have not succeeded for too long, for the hook ``silent``."""

from __future__ import annotations

import time

from runner.catalog.catalog import Catalog
from runner.ledger.health.successes import note_silences
from runner.ledger.ledger import Ledger

LOOK_SECONDS = 5.0
"""Seconds between two checks by one process."""

LOOKERS = 3
"""The number of workers that check, so that a hanging worker does not delay an alert."""


class Silences:
    """The jobs of a catalog with the hook ``silent``, and the time of this process's next check."""

    def __init__(self) -> None:
        self._catalog: Catalog | None = None
        self._deadlines: dict[str, float] = {}
        self._next = 0.0

    def look(self, ledger: Ledger, catalog: Catalog) -> int:
        """Add late jobs to the outbox and return their number. Checks once in :data:`LOOK_SECONDS` at most.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        now = time.monotonic()
        if catalog is not self._catalog:
            self._catalog, self._deadlines, self._next = catalog, silent_deadlines(catalog), now
        if not self._deadlines or now < self._next:
            return 0
        self._next = now + LOOK_SECONDS
        return note_silences(ledger, self._deadlines)


def silent_deadlines(catalog: Catalog) -> dict[str, float]:
    """Return the seconds within which jobs that have the hook ``silent`` are to succeed, by job."""
    hooked = set(catalog.jobs.with_option("hooks"))
    jobs = [catalog.jobs[name] for name in catalog.jobs.with_option("alert_if_no_success") if name in hooked]
    return {
        job.name: job.alert_if_no_success
        for job in jobs
        if job.hooks.silent and job.alert_if_no_success is not None and job.enabled
    }
