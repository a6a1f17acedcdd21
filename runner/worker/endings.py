"""End attempts from outside: because of a limit of their job, a revocation, or a lost claim.

The outcome is settled once the process is dead (``dead_takers.py``).
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping

from celery.utils.log import get_logger

from runner.app.worker_log import about
from runner.attempt.slot import Shown, TakerState
from runner.attempt.state import SharedState
from runner.ledger.store import CONFIRM_MILLISECONDS
from runner.model.duration import format_size
from runner.process.group import kill_group
from runner.worker.memory_watch import Exceeded, MemoryWatch
from runner.worker.outcomes import Cause, Ended, ShownAttempt
from runner.worker.takers import Takers

log = get_logger("runner.worker.supervision")

TERMINATE_GRACE = 1.5
"""Seconds between the requested signal and SIGKILL."""

SUSPICION_SECONDS = 1.0
"""Seconds that a run must go on without a claim before its process is ended: a taker that has just settled a run shows
the next one slightly later."""

Running = list[tuple[int, Shown]]
"""The board slots of takers that are performing a run, with their content."""


class Endings:
    """Ends attempts of one worker. Any thread may call :meth:`end`; the supervision calls the other methods.

    Args:
        shared: the state of the worker.
        takers: its takers.
    """

    def __init__(self, shared: SharedState, takers: Takers) -> None:
        self._app = shared.app
        self._takers = takers
        self._board = takers.board
        self._causes: dict[str, tuple[Cause, ShownAttempt]] = {}
        """The tokens of the attempts that are being ended, with the reasons."""
        self._ending = threading.Lock()
        self._timed_out: set[str] = set()
        """The tokens of the attempts that have passed their soft limit."""
        # A taker that waits until a replica has an outcome has no claim, but still shows the run.
        replicated = shared.settings.durability != "local"
        # Twice, if the script has to be sent to the server first.
        self._suspicion = SUSPICION_SECONDS + (2 * CONFIRM_MILLISECONDS / 1000 if replicated else 0.0)
        self._suspects: dict[str, float] = {}
        """The tokens of lost claims, with the times of the loss."""
        self.memory = MemoryWatch()
        self._peaks: dict[str, int] = {}
        """The tokens of the attempts that are ended for their memory, with their peaks (bytes)."""

    def end(self, attempt: ShownAttempt, cause: Cause, signum: int) -> bool:
        """End the process group of an attempt; return False if it is already being ended or is over.

        A taker whose attempt is over may be performing another run, so it is left alone.
        """
        with self._ending:
            if attempt.token in self._causes:
                return False
            if self._takers.enforced:
                slot = self._board.slot(attempt.index)
                slot.end(True)
                # Only then: the taker shows its next request before it checks, so one of the two sees the other.
                shown = slot.read()
                if shown.state is not TakerState.RUNNING or shown.held != attempt.token:
                    slot.end(False)
                    return False
            self._causes[attempt.token] = cause, attempt
        if self._takers.enforced:
            grace = 0.0 if signum == signal.SIGKILL else TERMINATE_GRACE
            threading.Thread(
                target=kill_group, args=(attempt.pid, signum, grace), name="runner-terminate", daemon=True
            ).start()
        return True

    def ended(self, token: str) -> Ended | None:
        """Return the reason why this worker ended the process of a dead attempt; None if it did not."""
        self._timed_out.discard(token)
        peak = self._peaks.pop(token, 0)
        cause, attempt = self._causes.pop(token, (None, None))
        return None if cause is None or attempt is None else Ended(cause, attempt, peak)

    def due(self) -> Iterator[float]:
        """Yield the times of the next actions (``time.monotonic``), while a taker is busy."""
        yield time.monotonic() + self.memory.pause
        for _, shown in self._board.running():
            if shown.held in self._causes:
                continue
            if shown.soft and shown.held not in self._timed_out:
                yield shown.soft
            if shown.hard:
                yield shown.hard

    # -- limits

    def enforce(self, now: float) -> None:
        """End attempts that have reached a limit of their job, or that go on without a claim."""
        running = self._board.running()
        for index, shown in running:
            if shown.hard and now >= shown.hard:
                self.end(ShownAttempt.of(index, shown), Cause.TIMEOUT, signal.SIGKILL)
            elif shown.soft and now >= shown.soft and shown.held not in self._timed_out:
                self._time_out(shown)
        self._enforce_memory(running)
        held = {shown.held for _, shown in running}
        self._timed_out &= held
        if not self._takers.enforced:
            for token in self._causes.keys() - held:
                del self._causes[token]
        self._end_suspects(running, now)

    def _time_out(self, shown: Shown) -> None:
        self._timed_out.add(shown.held)
        message = f"run {shown.run_id} of {shown.job}: soft timeout ({shown.soft - shown.started:g}s)"
        log.warning("%s", message, extra=about(shown.run_id, shown.job))
        with contextlib.suppress(ProcessLookupError):
            os.kill(shown.pid, signal.SIGUSR1)

    def _enforce_memory(self, running: Running) -> None:
        tasks = ((shown, self._app.job_task(shown.job)) for _, shown in running)
        held = [(shown.pid, task.job, shown.held) for shown, task in tasks if task is not None]
        for exceeded in self.memory.look(held):
            index, shown = next(entry for entry in running if entry[1].held == exceeded.token)
            self._peaks[exceeded.token] = exceeded.peak
            self.end(ShownAttempt.of(index, shown), Cause.OUT_OF_MEMORY, signal.SIGKILL)
            if exceeded.token not in self._causes:
                del self._peaks[exceeded.token]  # the attempt has ended meanwhile
                continue
            _log_exceeded(exceeded, shown)
            for pid in exceeded.members - {shown.pid}:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)

    # -- claims

    def suspect(self, gone: Iterable[str]) -> None:
        """Record the tokens of lost claims."""
        now = time.monotonic()
        for token in gone:
            self._suspects.setdefault(token, now)

    def _end_suspects(self, running: Running, now: float) -> None:
        places = {shown.held: (index, shown) for index, shown in running}
        for token, since in list(self._suspects.items()):
            if token not in places:
                del self._suspects[token]
            elif now - since >= self._suspicion:
                del self._suspects[token]
                index, shown = places[token]
                message = f"run {shown.run_id}: its lease was lost, its process is ended"
                log.error("%s", message, extra=about(shown.run_id, shown.job))
                self.end(ShownAttempt.of(index, shown), Cause.LEASE_LOST, signal.SIGKILL)

    # -- revocations

    def terminate(self, terminating: Mapping[str, str]) -> None:
        """End runs, given their ids and the names of the first signals."""
        # By claim, not by id: this worker may have lost a run and received it again while the old attempt still runs.
        for index, shown in self._board.running() if terminating else ():
            name = terminating.get(shown.run_id)
            if name is None or shown.held in self._causes:
                continue
            message = f"run {shown.run_id} of {shown.job} is terminated ({name})"
            log.warning("%s", message, extra=about(shown.run_id, shown.job))
            signum = getattr(signal, f"SIG{name}", signal.SIGTERM)
            self.end(ShownAttempt.of(index, shown), Cause.TERMINATED, signum)


def _log_exceeded(exceeded: Exceeded, shown: Shown) -> None:
    message = f"run {shown.run_id} of {shown.job}: more than {format_size(exceeded.limit)} of memory, killed"
    log.error("%s", message, extra=about(shown.run_id, shown.job))
