"""Supervise the takers of a worker: handle their messages, renew their leases, and beat.

This is one thread, which starts when the worker consumes, goes on while connections are lost, and ends with the worker.
It is not on the path of a run: it reads the board twice a second while a taker is busy, and otherwise only at its
turns. ``endings.py`` ends attempts, ``dead_takers.py`` settles those of dead takers, and ``succession.py`` replaces
takers.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator

from celery.utils.log import get_logger
from celery.worker import state as celery_state

from runner._version import __version__
from runner.app.celery_types import JsonObject
from runner.attempt.slot import LOOK_SECONDS
from runner.errors import RunnerError
from runner.hooks.fire import MOST_HOOKS, fire_hooks
from runner.hooks.silent import LOOKERS, Silences
from runner.host.process import started_at
from runner.ledger.ledger import WORKER_RECORD_SECONDS
from runner.process.orphans import Orphans, adopts_orphans
from runner.worker.celery_types import Consumer, autoscaler_of
from runner.worker.dead_takers import DeadTakers
from runner.worker.drain import Drain
from runner.worker.endings import Endings
from runner.worker.outcomes import Outcomes
from runner.worker.state import WorkerState
from runner.worker.succession import Succession
from runner.worker.takers import ProcessTakers

log = get_logger(__name__)

BEAT_LEAST = 0.02
"""The minimum of seconds between two beats, so that many runs with close due times share a beat."""

TURN_SHARE = 0.02
"""Seconds that a worker waits for each worker before it in the round to handle due runs."""

QUIET_SHARE = 0.1
"""The maximum sleep of this thread as a share of a lease: takers stop if their parent seems dead."""


class Supervision(threading.Thread):
    """The thread.

    Args:
        consumer: Celery's consumer of this worker.
        state: the state of the worker.
        endings: ends attempts of its takers.
        drain: the shutdown of this worker.
    """

    def __init__(self, consumer: Consumer, state: WorkerState, endings: Endings, drain: Drain) -> None:
        super().__init__(name="runner-supervision", daemon=True)
        self._consumer = consumer
        self._state, self._shared = state, state.shared
        self._takers, self._board = state.takers, state.takers.board
        self._claims = self._shared.claims
        self._ledger = state.ledger
        self._endings, self._drain = endings, drain
        flush = state.collector.flush if state.collector is not None else None
        outcomes = Outcomes(self._shared, self._board.head, self.send_event, flush)
        self._dead = DeadTakers(self._shared, state.settler, endings, outcomes, self.beat_soon)
        self._succession: Succession | None = None
        if isinstance(self._takers, ProcessTakers):
            self._succession = Succession(self._takers, self._dead, self._leaves, self._obey)
        self._silences = Silences()
        self._attentive_until = self._sleeps_until = 0.0
        self.waiting = 0
        """The number of runs that wait for a taker, for Celery's autoscaler."""
        self._autoscales = autoscaler_of(consumer) is not None
        self._events: deque[tuple[str, str, JsonObject]] = deque()
        self._renew_at = self._beat_at = self._look_at = 0.0
        self._ended = False
        self._orphans = Orphans() if adopts_orphans() else None
        self._woken, self._waking = socket.socketpair()
        self._woken.setblocking(False)
        self._listening: dict[int, int] = {}
        """The descriptors of takers' channels, with the takers' slots."""
        self._takers.on_new, self._takers.on_wake = self.wake, self._attend
        self._record: dict[str, str | int] = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            # Containers with the same host name can have processes with the same id.
            "process": started_at(os.getpid()) or "",
            "pool": state.pool,
            "broker": "rabbitmq" if state.shared.settings.on_amqp else "redis",
            "started_at": round(time.time() * 1000),
            "version": __version__,
        }

    # -- from other threads

    def wake(self) -> None:
        """Wake the thread."""
        with contextlib.suppress(OSError):
            self._waking.send(b".")

    def _attend(self) -> None:
        """Read the board soon, because a taker is about to be busy."""
        now = time.monotonic()
        self._attentive_until = now + 2 * LOOK_SECONDS
        if self._sleeps_until > now + LOOK_SECONDS:
            self.wake()

    def beat_soon(self) -> None:
        """Beat at once, because something is due before the next turn."""
        self._beat_at = 0.0
        self.wake()

    def send_event(self, kind: str, run_id: str, fields: JsonObject) -> None:
        """Let the main loop send a Celery event."""
        # The main loop runs its callbacks in any order.
        self._events.append((kind, run_id, fields))
        self._consumer.call_soon(self._send_events)

    def _send_events(self) -> None:
        dispatcher = self._consumer.event_dispatcher
        while self._events:
            kind, run_id, fields = self._events.popleft()
            if dispatcher is not None and dispatcher.enabled:
                dispatcher.send(kind, uuid=run_id, **fields)

    def end(self) -> None:
        """End the thread, and remove this worker from the list."""
        self._ended = True
        self.wake()
        self.join(timeout=2.0)
        try:
            self._ledger.remove_worker(self._shared.worker)
        except RunnerError:
            log.debug("Redis is away: the worker's record will expire by itself")

    # -- the thread

    def run(self) -> None:
        """Supervise until the worker ends."""
        self._takers.begin()
        while not self._ended:
            try:
                self._turn()
            except Exception:
                # Without this thread, active runs would lose their leases and start elsewhere, too.
                log.exception("the supervision of takers failed, will try again")
                time.sleep(LOOK_SECONDS)

    def _turn(self) -> None:
        now = time.monotonic()
        patience = max(0.0, min(self._due(now)) - now)
        self._sleeps_until = now + patience
        for descriptor in self._listen(patience):
            self._hear(descriptor)
        self._sleeps_until = 0.0
        self._board.head.live()
        if self._orphans is not None:
            self._orphans.reap({self._takers.template.pid} if isinstance(self._takers, ProcessTakers) else ())
        if not self._state.connected:
            self._drain.step()
        now = time.monotonic()
        if self._succession is not None:
            self._succession.make_missing(now)
        busy = self._board.is_busy
        if busy:
            self._endings.enforce(now)
        try:
            self._speak_with_redis(now, busy)
        except RunnerError as error:
            log.warning("cannot reach Redis, will try again: %s", error)
            pause = time.monotonic() + 1.0
            self._renew_at, self._beat_at, self._look_at = (
                max(at, pause) for at in (self._renew_at, self._beat_at, self._look_at)
            )

    def _due(self, now: float) -> Iterator[float]:
        """Yield the times of the next actions."""
        yield from (self._renew_at, self._beat_at, now + self._claims.lease * QUIET_SHARE)
        if self._succession is not None:
            yield from self._succession.due()
        if now < self._attentive_until:
            yield now + LOOK_SECONDS
        if self._board.is_busy:
            yield max(self._look_at, now + 0.001)
            yield from self._endings.due()

    def _leaves(self) -> bool:
        """Return whether no more runs are taken."""
        return self._drain.draining or self._ended

    # -- messages of takers and of the template

    def _listen(self, seconds: float) -> list[int]:
        """Wait for at most this time; return the descriptors with messages."""
        self._listening = {channel.fileno(): index for index, channel in tuple(self._takers.channels.items())}
        if isinstance(self._takers, ProcessTakers):
            self._listening[self._takers.template.fileno()] = -1
        # Created each time, because a closed descriptor may have been reused.
        poller = select.poll()
        for descriptor in (self._woken.fileno(), *self._listening):
            if descriptor >= 0:
                poller.register(descriptor, select.POLLIN)
        return [descriptor for descriptor, _ in poller.poll(math.ceil(seconds * 1000))]

    def _hear(self, descriptor: int) -> None:
        if descriptor == self._woken.fileno():
            with contextlib.suppress(BlockingIOError):
                self._woken.recv(4096)
            return
        index = self._listening.get(descriptor)
        if index is None:
            return
        if index < 0:
            if self._succession is not None:
                self._succession.hear_template()
            return
        for message in self._takers.hear(index):
            self._obey(index, message)

    def _obey(self, index: int, message: JsonObject) -> None:
        if "idle" in message:
            self._takers.on_idle(index)
        elif "ready" in message:
            self._takers.on_ready(index)
        elif "soon" in message:
            self._endings.memory.expect()
        elif "beat" in message:
            self._beat_at = 0.0
        elif "counts" in message:
            _count(message["counts"])
        elif "event" in message:
            self.send_event(message["event"], message["uuid"], message["fields"])
        elif "look" in message:
            self._takers.answer(index, looked=self._state.files.look_for(*message["look"]))

    # -- Redis

    def _speak_with_redis(self, now: float, busy: bool) -> None:
        if now >= self._renew_at:
            self._renew()
        if busy and now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._endings.terminate(self._ledger.terminating())
            if self._autoscales:
                self.waiting = 0 if self._takers.idle else self._ledger.rings(self._state.queues)
        if now >= self._beat_at:
            self._beat()

    def _renew(self) -> None:
        # The claim of a run that is just beginning may be created slightly later.
        held = {shown.held for _, shown in self._board.running()}
        self._endings.suspect(held.intersection(self._claims.renew(self._board.tokens())))
        self._claims.hand_back_late()
        self._renew_at = time.monotonic() + self._claims.lease / 3

    def _beat(self) -> None:
        self._dead.look()
        self._claims.hand_back_left()
        worker = self._shared.worker
        beat = self._ledger.beat(
            worker=worker,
            keep=WORKER_RECORD_SECONDS,
            lease=self._claims.lease,
            # Includes the time of the beat, which shows the doctor how far this clock is off.
            record={**self._record, **self._changing_fields(), "clock": round(time.time() * 1000)},
        )
        self._state.listed.set()
        self._endings.terminate(beat.terminating)
        more = beat.more
        hooks = beat.hooks
        if beat.before < LOOKERS:
            hooks += self._silences.look(self._ledger, self._shared.app.catalog)
        for _ in range(min(beat.waiting, self._takers.idle)):
            self._takers.wake()
        # Redis may be reachable even if RabbitMQ is not.
        if hooks and (self._state.connected or self._ledger.hints):
            more |= fire_hooks(self._ledger, self._shared.app.catalog, by=worker) == MOST_HOOKS
        pause = beat.turn
        if beat.next_due is not None:
            pause = min(pause, max(BEAT_LEAST, beat.next_due + 0.001 + beat.before * TURN_SHARE))
        self._beat_at = time.monotonic() + (0.0 if more else pause)

    def _changing_fields(self) -> dict[str, str | int]:
        """Return the fields of the worker's record that change while it runs."""
        return {
            "concurrency": self._takers.count,
            "running": len(self._board.running()),
            "queues": ",".join(self._state.queues),
            "state": "stopping" if self._drain.draining else "running",
            **self._state.files.record(),
        }


def _count(counts: dict[str, int]) -> None:
    """Count runs for ``inspect stats`` and heartbeats."""
    celery_state.total_count.update(counts)
    celery_state.all_total_count[0] += sum(counts.values())
