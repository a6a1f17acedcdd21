"""The limits of a taker and of its runs."""

from __future__ import annotations

from runner._dataclass import dataclass
from runner.app.celery_types import DeclaredTask
from runner.model.job import JobSpec
from runner.process.memory import holds_more_than


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a taker, and of the runs of jobs without limits of their own. None means no limit."""

    runs: int | None = None
    """The number of runs after which a taker exits."""
    memory: int | None = None
    """The memory (bytes) above which it exits after its run."""
    soft: float | None = None
    """The timeout in seconds."""
    hard: float | None = None

    def are_reached(self, runs: int) -> bool:
        """Return whether a process that has performed this number of runs should exit."""
        if self.runs and runs >= self.runs:
            return True
        return bool(self.memory and runs and holds_more_than(self.memory))

    def times_of(self, task: DeclaredTask) -> tuple[float | None, float | None]:
        """Return the soft and the hard timeout of a run (seconds)."""
        return task.soft_time_limit or self.soft, task.time_limit or self.hard


def is_full(job: JobSpec) -> bool:
    """Whether runs before this one have left so much in memory that a run of ``job`` may lack it."""
    return job.memory is not None and holds_more_than(job.memory // 2)
