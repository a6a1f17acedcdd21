"""The pool of child processes: Celery's own, that outlives the death of a child while the worker starts."""

from __future__ import annotations

from celery.concurrency.prefork import TaskPool


class JobPool(TaskPool):
    """A prefork pool."""

    def did_start_ok(self) -> bool:
        """Return whether no child gave up by itself; replace those that were killed.

        Celery's own says no when any child is dead at the worker's first look, and the worker ends. A child that was
        killed then (by the kernel for want of memory, say) is no reason to stop: the next one is forked, as ever.
        """
        gave_up = any((child.exitcode or 0) > 0 for child in self._pool._pool)
        self._pool.maintain_pool()
        return not gave_up
