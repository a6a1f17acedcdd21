"""The state of a worker's parent. There is one object per worker; its steps get it from :func:`state_of`."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field

from runner.app.celery_types import Words
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
    """The parent's, for all of its threads that send a command now and then, and for Kombu's channels."""
    pool: str
    """Which of Celery's pools this worker has, such as prefork."""
    queues: list[str]
    """Those that runs are taken from, in alphabetical order."""
    inbox_watch: InboxWatch
    """Wakes this worker when a plain client has published."""
    log_form: str = "text"
    """How the worker's log is written: text, json, or plain (what runs write as it is)."""
    reload_code: bool = False
    """Whether the worker starts anew when Python files of ``python_path`` change."""
    restart: bool = False
    """Whether what ends now shall start anew."""
    connected: bool = False
    """Whether the main loop runs; while it waits for Redis it does not."""
    settler: Settler = field(default_factory=Settler)
    collector: Collector | None = None
    """Keeps what runs write; None where takers have no process of their own."""
    generators: Generators | None = None
    """Those that each taker's process seeds anew; None where takers have no process of their own."""
    listed: threading.Event = field(default_factory=threading.Event)
    """Set once the worker has beaten for the first time, so that everybody finds it in the ledger."""
    watchdog: Watchdog = field(default_factory=Watchdog)
    """Systemd's, which the main loop pets."""
    waiter: Waiter | HintWaiter | None = None
    """None until the worker consumes."""
    takers: Takers = field(init=False)
    """There once the pool has started."""
    files: LiveFiles = field(init=False)

    def __post_init__(self) -> None:
        self.files = LiveFiles(self.shared, self.pool, self.hand_over)

    @property
    def taken_queues(self) -> list[str]:
        """The queues that takers take from: also that of plain clients, if a job has it."""
        return sorted({*self.queues, INBOX})

    def hand_over(self, changes: Words) -> None:
        """Tell takers what has changed in the jobs of this worker, and those that are forked from now on."""
        if isinstance(self.takers, ProcessTakers):
            self.takers.reload(changes)
        self.tell_takers()

    def tell_takers(self) -> None:
        """Tell the takers which queues and which jobs are those of this worker now."""
        known = self.shared.known = Known.of(self.shared.app)
        self.takers.board.head.write_queues(self.taken_queues, known.digest)
        self.takers.wake_all()
        if self.waiter is not None:
            self.waiter.renew()

    def tell_ledger(self) -> None:
        """Tell ``take.lua`` which runs it may start, before the first taker asks; later, if Redis is away."""
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
