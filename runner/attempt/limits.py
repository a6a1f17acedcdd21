"""The limits of a taker and of its runs."""

from __future__ import annotations

from runner._dataclass import dataclass
from runner.app.celery_types import DeclaredTask
from runner.model.job import JobSpec
from runner.process.memory import holds_more_than


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a taker, and of the runs of jobs that set none themselves. None means no limit."""

    runs: int | None = None
    """The number of runs after which a taker leaves."""
    memory: int | None = None
    """Bytes of memory after which it leaves, once its run has ended."""
    soft: float | None = None
    """Seconds."""
    hard: float | None = None

    def are_reached(self, runs: int) -> bool:
        """Return whether a process that has performed this number of runs should leave."""
        if self.runs and runs >= self.runs:
            return True
        return bool(self.memory and runs and holds_more_than(self.memory))

    def times_of(self, task: DeclaredTask) -> tuple[float | None, float | None]:
        """Return after how many seconds a run gets an exception, and after how many its process is ended."""
        return task.soft_time_limit or self.soft, task.time_limit or self.hard


def is_full(job: JobSpec) -> bool:
    """Whether runs before this one have left so much in memory that a run of ``job`` may lack it."""
    return job.memory is not None and holds_more_than(job.memory // 2)
