"""The state of a worker's parent. There is one object per worker; bootsteps get it from :func:`state_of`."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field

from runner.app.celery_types import JsonObject
from runner.attempt.inherited import Generators
from runner.attempt.state import Known, SharedState
from runner.delivery.inbox_watch import InboxWatch
from runner.errors import Unavailable
from runner.ledger.inbox import INBOX
from runner.ledger.ledger import Ledger
from runner.ledger.specs import write_known
from runner.process.systemd import Watchdog
from runner.worker.celery_types import Consumer
from runner.worker.collector import Collector
from runner.worker.hint_waiter import HintWaiter
from runner.worker.live_files import LiveFiles
from runner.worker.settler import Settler
from runner.worker.takers import ProcessTakers, Takers
from runner.worker.waiter import Waiter


@dataclass(slots=True)
class WorkerState:
    """The state of a worker's parent."""

    shared: SharedState
    ledger: Ledger
    """The parent's ledger, for threads that rarely send commands and for Kombu's channels."""
    pool: str
    """The name of this worker's Celery pool, such as prefork."""
    queues: list[str]
    """The consumed queues in alphabetical order."""
    inbox_watch: InboxWatch
    """Wakes this worker when a plain client publishes."""
    log_form: str = "text"
    """The format of the worker's log: text, json, or plain (the output of runs unchanged)."""
    reload_code: bool = False
    """Whether the worker restarts when Python files of ``python_path`` change."""
    restart: bool = False
    """Whether the worker shall be restarted after its end."""
    connected: bool = False
    """Whether the main loop is running; it is not while it waits for Redis."""
    settler: Settler = field(default_factory=Settler)
    collector: Collector | None = None
    """Writes the output of runs to the ledger; None if takers have no processes of their own."""
    generators: Generators | None = None
    """The random generators that each taker process reseeds; None if takers have no processes of their own."""
    listed: threading.Event = field(default_factory=threading.Event)
    """Set after the first beat of the worker, when it is listed in the ledger."""
    watchdog: Watchdog = field(default_factory=Watchdog)
    """The watchdog of systemd, to which the main loop sends keep-alive messages."""
    waiter: Waiter | HintWaiter | None = None
    """None until the worker consumes."""
    takers: Takers = field(init=False)
    """Set once the pool has started."""
    files: LiveFiles = field(init=False)

    def __post_init__(self) -> None:
        self.files = LiveFiles(self.shared, self.pool, self.hand_over)

    @property
    def taken_queues(self) -> list[str]:
        """Return the queues that takers consume, including that of plain clients if a job uses it."""
        return sorted({*self.queues, INBOX})

    def hand_over(self, changes: JsonObject) -> None:
        """Pass changes of this worker's jobs to the current and future takers."""
        if isinstance(self.takers, ProcessTakers):
            self.takers.reload(changes)
        self.tell_takers()

    def tell_takers(self) -> None:
        """Tell the takers the current queues and jobs of this worker."""
        known = self.shared.known = Known.of(self.shared.app)
        self.takers.board.head.write_queues(self.taken_queues, known.digest)
        self.takers.wake_all()
        if self.waiter is not None:
            self.waiter.renew()

    def tell_ledger(self) -> None:
        """Write the jobs that ``take.lua`` may start before the first taker asks; later, if Redis is unreachable."""
        known = self.shared.known
        with contextlib.suppress(Unavailable):
            write_known(self.ledger, known.digest, known.jobs)

    @property
    def waiting_here(self) -> list[str]:
        """The claims of messages that this process holds, without runs that have just ended and are being settled."""
        return [token for token in self.shared.claims.tokens if not self.settler.holds(token)]


def state_of(consumer: Consumer) -> WorkerState:
    """Return the state of a consumer's worker."""
    found: WorkerState = consumer.controller.runner_state  # type: ignore[attr-defined]
    return found
