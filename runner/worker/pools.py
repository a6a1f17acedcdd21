"""Celery's pools, from which a worker gets its number of takers. They get no work: takers take runs themselves."""

from __future__ import annotations

from celery import signals
from celery.concurrency.base import BasePool
from celery.utils.log import get_logger

from runner.app.celery_types import JsonObject
from runner.attempt.limits import Limits
from runner.attempt.taker_process import Inherited
from runner.errors import InvalidSettings
from runner.process.cgroup import MemoryCgroups
from runner.settings.options import Recycle
from runner.worker.state import WorkerState
from runner.worker.takers import ProcessTakers, SoloTaker, Takers, ThreadTakers

log = get_logger(__name__)


class TakerPool(BasePool):
    """The common base of the pools."""

    state: WorkerState
    takers: Takers

    def make(self, limits: Limits) -> Takers:
        """Return the takers, without starting them."""
        raise NotImplementedError

    def on_start(self) -> None:
        """Create the takers; they begin once the worker consumes."""
        state = self.state
        self.takers = state.takers = self.make(limits_of(self.options, state.shared.settings.worker.recycle))
        state.tell_takers()
        self.takers.start()
        if state.collector is not None:
            # After forking the template, which must not have threads.
            state.collector.start()

    def on_close(self) -> None:
        """Do nothing: takers leave when the worker drains."""

    def on_stop(self) -> None:
        """End the remaining takers."""
        self.takers.stop()

    on_terminate = on_stop

    def grow(self, n: int = 1) -> None:
        """Add takers."""
        self.takers.grow(n)

    def shrink(self, n: int = 1) -> None:
        """Remove takers; busy ones leave after their run."""
        self.takers.shrink(n)

    @property
    def num_processes(self) -> int:
        """Return the number of takers."""
        return self.takers.count

    def _get_info(self) -> JsonObject:
        pids = sorted(self.takers.pids.values())
        return {**super()._get_info(), "max-concurrency": self.takers.count, "processes": pids}


def limits_of(options: JsonObject, recycle: Recycle) -> Limits:
    """Return the limits from the options of Celery's worker, or else from the project."""
    kilobytes = options.get("max_memory_per_child")
    return Limits(
        runs=options.get("maxtasksperchild") or recycle.runs,
        memory=kilobytes * 1024 if kilobytes else recycle.memory,
        soft=options.get("soft_timeout") or None,
        hard=options.get("timeout") or None,
    )


class PreforkPool(TakerPool):
    """Takers in processes of their own."""

    def make(self, limits: Limits) -> Takers:
        """Return the takers, in a separate cgroup if this process may create one."""
        state = self.state
        cgroups = state.shared.cgroups = MemoryCgroups.delegated()
        if cgroups is not None:
            log.info("the kernel holds runs to the memory of their jobs: %s", cgroups)
        assert state.collector is not None
        assert state.generators is not None
        inherited = Inherited(state.collector.control, state.generators)
        return ProcessTakers(state.shared, self.limit, limits, inherited)


class ThreadPool(TakerPool):
    """Takers in threads."""

    def make(self, limits: Limits) -> Takers:
        """Return the takers."""
        return ThreadTakers(self.state.shared, self.limit, limits)


class SoloPool(TakerPool):
    """One taker, in the main loop."""

    def make(self, limits: Limits) -> Takers:
        """Return the taker."""
        self.limit = 1
        signals.worker_process_init.send(sender=self.state.shared.worker)
        return SoloTaker(self.state.shared, 1, limits)

    def grow(self, n: int = 1) -> None:
        """Refuse, because there is only one main loop."""
        raise ValueError("the solo pool has one taker")


POOLS: dict[str, type[TakerPool]] = {
    "prefork": PreforkPool,
    "threads": ThreadPool,
    "thread": ThreadPool,
    "solo": SoloPool,
}


def pool_of(name: str) -> type[TakerPool]:
    """Return the pool that replaces one of Celery's.

    Raises:
        InvalidSettings: the pool is not supported.
    """
    if name not in POOLS:
        raise InvalidSettings(f"the {name} pool is not supported", hint="use prefork, threads, or solo")
    return POOLS[name]


def pool_for(state: WorkerState) -> type[TakerPool]:
    """Return the pool class of a worker. Celery instantiates it with only the app."""
    return type("Pool", (pool_of(state.pool),), {"state": state})
