"""What a worker does besides running jobs: keep its leases, beat, end what shall be terminated.

Bootsteps of Celery's worker. The thread starts when the worker consumes and ends when the worker does; it
goes on through lost connections, and stops renewing if the main loop is dead.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from celery import bootsteps
from celery.utils.log import get_logger
from celery.worker import state

from runner._version import __version__
from runner.app.drain import Drain
from runner.app.hooks import MOST_HOOKS, fire_hooks
from runner.app.systemd import Watchdog, notify
from runner.app.worker_log import about
from runner.delivery.claims import Claims
from runner.errors import RunnerError
from runner.ledger.ledger import WORKER_RECORD_SECONDS

log = get_logger(__name__)

BEAT_SECONDS = 0.5
"""Between two beats: how late a terminate, an expiry or a redelivery is noticed."""

BEAT_LEAST = 0.02
"""However soon the next run is due: many that are due one after the other share a beat."""

PULSE_SECONDS = 0.2
"""Between two signs of life of the main loop."""

SUSPICION_PULSES = 5
"""How often the main loop must have moved after a claim is gone, before the process of a run is ended that still
looks active: while the loop waits for Redis, it does not hear what its children have settled."""

PULSE_PATIENCE = 60.0
"""Seconds that the main loop may be silent before its leases are given up."""


class Lease(bootsteps.StartStopStep):
    """Starts the thread that renews, beats and terminates."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._thread: LeaseThread | None = None
        self._maintain: Callable[[], None] | None = None
        self._watchdog = Watchdog()
        self._drain = Drain(consumer, consumer.app.runner_settings.worker.shutdown_grace)

    def start(self, consumer: Any) -> None:
        """Start the thread once; point what still runs at the new channel after a reconnect."""
        channel = consumer.task_consumer.channel
        for request in tuple(state.active_requests):
            request.message.channel = channel
        if self._thread is None or not self._thread.is_alive():
            self._thread = LeaseThread(consumer, self._drain)
            consumer.app.beat_soon = self._thread.beat_soon
            self._thread.start()
        self._thread.connected = True
        if consumer.hub is not None:
            self._drain.install()
            pool = getattr(consumer.pool, "_pool", None)
            self._maintain = getattr(pool, "maintain_pool", None)
            if self._maintain is not None and getattr(pool, "on_process_down", None):
                # A child that died while the connection was lost: the loop cannot register what is not reaped.
                # Before the first loop it is the other way round: nobody would free the pipes of what is reaped.
                self._maintain()
            consumer.timer.call_repeatedly(PULSE_SECONDS, self._pulse)

    def _pulse(self) -> None:
        if self._thread is not None:
            self._thread.pulse()
        self._watchdog.pet()
        if self._maintain is not None and not self._drain.draining:
            # billiard looks once when a child's pipe closes, which is before the kernel lets it be reaped, and
            # then again after five seconds.
            self._maintain()
        self._drain.step()

    def stop(self, consumer: Any) -> None:
        """Go on: what runs stays leased through a lost connection and while the worker drains."""
        if self._thread is not None:
            self._thread.connected = False

    def shutdown(self, consumer: Any) -> None:
        """End the threads: the worker has drained."""
        if consumer.app.collector is not None:
            consumer.app.collector.end()
        if self._thread is not None:
            self._thread.end()


class LeaseThread(threading.Thread):
    """Renews every third of a lease, beats every half second."""

    def __init__(self, consumer: Any, drain: Drain) -> None:
        super().__init__(name="runner-lease", daemon=True)
        self._drain = drain
        self._watchdog = Watchdog()
        self.connected = True
        """Whether the main loop runs; while it waits for Redis it gives no pulse, and that is no fault."""
        self._consumer = consumer
        self._app = consumer.app
        self._ledger = consumer.app.open_ledger()
        self._claims: Claims = consumer.app.claims
        self._ended = False
        self._wake = threading.Event()
        self._last_pulse = time.monotonic()
        self._has_hub = consumer.hub is not None
        self._ending: set[str] = set()
        self._pulses = 0
        self._suspects: dict[str, int] = {}
        pool = consumer.pool
        self._record = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "queues": ",".join(sorted(consumer.app.run_queues)),
            "concurrency": pool.num_processes,
            "pool": consumer.app.pool_name,
            "started_at": round(time.time() * 1000),
            "version": __version__,
        }

    def beat_soon(self) -> None:
        """Beat at once: something is due sooner than the next beat."""
        self._wake.set()

    def pulse(self) -> None:
        """Say that the main loop is alive."""
        self._last_pulse = time.monotonic()
        self._pulses += 1

    @property
    def _moved(self) -> int:
        """How often the main loop has moved; where none gives a pulse, as often as it would have."""
        return self._pulses if self._has_hub else int(time.monotonic() / PULSE_SECONDS)

    def end(self) -> None:
        """End the thread, and say that this worker is gone."""
        self._ended = True
        self._wake.set()
        self.join(timeout=2.0)
        try:
            self._ledger.remove_worker(self._app.worker_name)
        except RunnerError:
            log.debug("Redis is away: the worker's record will expire by itself")

    def run(self) -> None:
        """Renew and beat until the worker ends."""
        renew_at = 0.0
        # The first beat at once: a submitter asks the ledger who takes from a queue.
        pause = 0.0
        while True:
            self._wake.wait(pause)
            self._wake.clear()
            if self._ended:
                return
            pause = BEAT_SECONDS
            if not self.connected and self._has_hub:
                self._last_pulse = time.monotonic()
                self._watchdog.pet()
                self._drain.step()
            if self._has_hub and time.monotonic() - self._last_pulse > PULSE_PATIENCE:
                log.critical("the main loop has not moved for %ds: leases are no longer renewed", PULSE_PATIENCE)
                continue
            try:
                if time.monotonic() >= renew_at:
                    self._suspects.update(dict.fromkeys(self._claims.renew(), self._moved))
                    renew_at = time.monotonic() + self._claims.lease / 3
                pause = self._beat()
            except RunnerError as error:
                log.warning("cannot reach Redis, will try again: %s", error)
                pause = 1.0
            except Exception:
                # Without this thread all that runs here would lose its lease, and start elsewhere as well.
                log.exception("a beat failed, will try again")
                pause = 1.0

    def _beat(self) -> float:
        """Do one beat; return the seconds until the next."""
        for request in tuple(state.active_requests):
            request.note_memory()
        next_due, terminating, more, hooks = self._ledger.beat(
            worker=self._app.worker_name,
            keep=WORKER_RECORD_SECONDS,
            lease=self._claims.lease,
            # With the beat's own time, by which the doctor sees how far this clock is off.
            record={**self._record, **self._told_now(), "clock": round(time.time() * 1000)},
        )
        # By claim, not by id: a run that was lost to this worker may have come back to it while the zombie still runs.
        asked = [each for each in tuple(state.active_requests) if each.id in terminating]
        for request in asked:
            if request.token not in self._ending:
                self._terminate(request, terminating[request.id])
        self._ending &= {request.token for request in asked}
        self._give_up_lost()
        if hooks and self.connected:
            more |= fire_hooks(self._ledger, self._app.catalog, by=self._app.worker_name) == MOST_HOOKS
        if more:
            return 0.0
        return BEAT_SECONDS if next_due is None else min(BEAT_SECONDS, max(BEAT_LEAST, next_due + 0.001))

    def _told_now(self) -> dict[str, str | int]:
        """Return what of the worker's record changes while it runs."""
        told: dict[str, str | int] = {
            "running": len(state.active_requests),
            "state": "stopping" if self._drain.draining else "running",
        }
        files = self._app.files
        return told if files is None else {**told, **files.record()}

    def _terminate(self, request: Any, name: str) -> None:
        log.warning(
            "run %s of %s is terminated (%s)", request.id, request.name, name, extra=about(request.id, request.name)
        )
        self._ending.add(request.token)
        signum = getattr(signal, f"SIG{name}", signal.SIGTERM)
        threading.Thread(target=request.end, args=(signum,), name="runner-terminate", daemon=True).start()

    def _give_up_lost(self) -> None:
        """End what runs under a claim that another worker may hold by now.

        A claim is also gone once the child has settled its attempt, and the parent learns of that a moment later:
        so a claim that is gone is a suspicion, and a run that is still active once the main loop has moved for a
        while is a lost one.
        """
        for token, since in list(self._suspects.items()):
            if self._moved - since < SUSPICION_PULSES:
                continue
            del self._suspects[token]
            for request in tuple(state.active_requests):
                if getattr(request, "token", None) == token and not request.acknowledged:
                    log.error(
                        "run %s: its lease was lost, its process is ended",
                        request.id,
                        extra=about(request.id, request.name),
                    )
                    threading.Thread(target=request.end, args=(signal.SIGKILL,), daemon=True).start()


class Announce(bootsteps.StartStopStep):
    """Says in the log that the worker consumes; what starts a worker waits for this line."""

    requires = (Lease, "celery.worker.consumer.control:Control")

    def start(self, consumer: Any) -> None:
        """Log it, and tell systemd."""
        log.info("runner worker ready: %s takes from %s", consumer.app.worker_name, ", ".join(consumer.app.run_queues))
        notify("READY=1")
