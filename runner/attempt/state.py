"""The state that a worker's parent shares with its takers, and the state of an attempt.

Both are passed as arguments. Celery's tracer cannot pass an attempt, so code that it calls uses
:func:`current_attempt`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import field

from runner._dataclass import dataclass
from runner.app.factory import RunnerApp
from runner.attempt.attempt_report import AttemptReport
from runner.attempt.capture.child import Capture
from runner.attempt.inherited import Generators
from runner.attempt.process_state import ProcessState
from runner.catalog.live import catalog_digest
from runner.delivery.claims import Claims
from runner.ledger.attempt import Attempts, Started
from runner.ledger.ledger import Ledger
from runner.ledger.record import pack_digest
from runner.ledger.take import Success, Taken
from runner.model.masking import Masker
from runner.model.run import FailureReason
from runner.process.cgroup import MemoryCgroups
from runner.settings import Settings


@dataclass(frozen=True, slots=True)
class Known:
    """The jobs whose runs ``take.lua`` may start: those that this worker can import, with their digests."""

    digest: str = ""
    jobs: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, app: RunnerApp) -> Known:
        """Return the current jobs of a worker."""
        jobs = {
            name: pack_digest(digest)
            for name, digest in app.catalog.digests().items()
            if (task := app.job_task(name)) is not None and task.broken is None
        }
        return cls(catalog_digest(jobs), jobs)


@dataclass(slots=True)
class TakerProcess:
    """The parts of a taker with a process of its own."""

    capture: Capture
    state: ProcessState
    generators: Generators


@dataclass(slots=True)
class SharedState:
    """The state that a worker's parent shares with its takers. A taker process has a copy from its fork."""

    app: RunnerApp
    worker: str
    """The name of the worker."""
    claims: Claims
    known: Known = field(default_factory=Known)
    cgroups: MemoryCgroups | None = None
    """Creates the cgroups of takers; None if that is not permitted."""
    ends: bool = False
    """Whether this worker is ending and no longer waits for Redis."""
    process: TakerProcess | None = None
    """Set only in a taker's process."""

    @property
    def settings(self) -> Settings:
        """Return the settings of the project."""
        return self.app.runner_settings

    @property
    def ledger(self) -> Ledger:
        """Return the ledger of this thread."""
        return self.app.backend.ledger

    @property
    def attempts(self) -> Attempts:
        """Return the worker's side of the ledger for this thread. It waits for Redis until this worker ends."""
        return Attempts(self.ledger, lambda: not self.ends)


@dataclass(slots=True)
class Settlement:
    """The outcome of one attempt so far."""

    result: str | None = None
    """The result as JSON, once the job has returned."""
    reason: FailureReason = FailureReason.EXCEPTION
    """The reason of a failure."""
    message: str | None = None
    """The message to record instead of the exception's own."""
    retry_in: float = 0.0
    """Seconds until the retry."""
    called: bool = False
    """Whether the job itself was called."""
    may_wait: bool = False
    """Whether a success is settled together with the taker's next request, in one round trip."""
    success: Success | None = None
    """The success that waits for the next request."""
    report: AttemptReport | None = None
    """Set once the outcome is written, cannot be written, or is a waiting success."""


_NO_SECRETS = Masker()


@dataclass(slots=True)
class Attempt:
    """One attempt, in the process that performs it."""

    taken: Taken
    shared: SharedState
    settlement: Settlement = field(default_factory=Settlement)
    started: Started | None = None
    """The data that the run was started with, once it was read."""
    masker: Masker = _NO_SECRETS
    """Masks the secrets of the run in its outcome."""


_current: ContextVar[Attempt | None] = ContextVar("runner_attempt", default=None)


def current_attempt() -> Attempt | None:
    """Return the attempt of the calling code; None outside of an attempt and in threads of a job."""
    return _current.get()


def attempt_number() -> int | None:
    """Return the number of that attempt, counted from 1."""
    attempt = _current.get()
    return None if attempt is None or attempt.started is None else attempt.started.attempt


class performing:  # noqa: N801 - it is used as a function
    """Make ``attempt`` the current one in the block."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    def __enter__(self) -> None:
        self._token = _current.set(self._attempt)

    def __exit__(self, *error: object) -> None:
        _current.reset(self._token)
