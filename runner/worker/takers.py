"""The takers of one worker: their slots on the board, and the messages between them and the parent.

The three types of takers work in the same way. Takers in processes can be ended; those in threads and the one in the
main loop cannot.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from celery import signals
from celery.utils.log import get_logger

from runner.app.celery_types import JsonObject
from runner.attempt.channel import Channel, ParentGone
from runner.attempt.limits import Limits
from runner.attempt.slot import NOTHING, Slot, TakerState
from runner.attempt.state import SharedState
from runner.attempt.taker import Place, Taker
from runner.attempt.taker_process import Inherited, be_taker
from runner.errors import RunnerError
from runner.ledger.scripts import read_all
from runner.process.group import guard, release
from runner.worker.board import MOST_TAKERS, Board
from runner.worker.celery_types import Hub
from runner.worker.job_changes import take_over
from runner.worker.template import Template

log = get_logger(__name__)

TURN_SECONDS = 0.05
"""Seconds that the taker in the main loop performs runs before the loop goes on."""

FAILED_PAUSE = 1.0
"""Seconds until a taker in the worker's own process restarts after an error."""


class Woken(NamedTuple):
    """A taker that was woken. ``version`` is the board version at which it was idle."""

    slot: Slot
    version: int

    @property
    def has_asked(self) -> bool:
        """Return whether the ledger has answered it since, or it is not asking."""
        shown = (self.slot.version - self.version) & 0xFFFFFFFF
        return shown >= _ASKED_AND_ANSWERED or (shown > 1 and self.slot.state != TakerState.ASKING)


_ASKED_AND_ANSWERED = 4


class Takers:
    """The takers of one worker.

    Args:
        shared: the state of their worker.
        count: the number of takers.
        limits: the limits of each taker.
    """

    enforced = False
    """Whether time limits and terminations are enforced."""

    def __init__(self, shared: SharedState, count: int, limits: Limits | None = None) -> None:
        self._shared = shared
        self.count = count
        self._limits = limits or Limits()
        self.board = Board()
        self.channels: dict[int, Channel] = {}
        self.pids: dict[int, int] = {}
        self.places: set[int] = set()
        """The slots that have or shall get a taker."""
        self.on_new: Callable[[], None] = lambda: None
        """Called when there is a new channel to listen to."""
        self.on_wake: Callable[[], None] = lambda: None
        """Called when an idle taker is woken."""
        self._ready: set[int] = set()
        self._idle: dict[int, None] = {}
        self._begun = False
        self._changed = threading.Condition()

    def start(self) -> None:
        """Create the takers; they begin with :meth:`begin`."""
        for _ in range(self.count):
            self._add()

    def _add(self) -> None:
        index = next((index for index in range(MOST_TAKERS) if index not in self.places), None)
        if index is None:
            raise ValueError(f"a worker has at most {MOST_TAKERS} takers")
        self.places.add(index)
        try:
            self.make(index)
        except BaseException:
            self.places.discard(index)
            raise

    def make(self, index: int) -> None:
        """Create a taker in a slot. It takes over the messages to its predecessor."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.board.slot(index).dismiss(False)
        self.board.slot(index).end(False)
        self.channels[index] = Channel(ours)
        try:
            self._make(index, theirs)
        except BaseException:
            self.channels.pop(index).close()
            raise
        finally:
            self._let_go(theirs)
        self.on_new()

    def _make(self, index: int, end: socket.socket) -> None:
        raise NotImplementedError

    def _let_go(self, end: socket.socket) -> None:
        """Close the taker's end of the channel here if the taker is another process."""

    # -- messages

    def begin(self) -> None:
        """Let the current and future takers take runs."""
        with self._changed:
            self._begun, ready = True, {index for index in self._ready if self._is_guarded(index)}
            self._ready -= ready
        for index in ready:
            self._send(index, go=True)

    def _is_guarded(self, index: int) -> bool:
        """Return whether processes that a taker starts would end with this worker."""
        return True

    def on_ready(self, index: int) -> None:
        """Record that a taker is ready."""
        with self._changed:
            if not (self._begun and self._is_guarded(index)):
                self._ready.add(index)
                return
        self._send(index, go=True)

    def on_idle(self, index: int) -> None:
        """Record that a taker is idle."""
        with self._changed:
            if self.board.head.draining or self.board.slot(index).dismissed:
                self._send(index, wake=True)
                return
            self._idle[index] = None
            self._changed.notify_all()

    def wait_for_idle(self, seconds: float) -> bool:
        """Wait until a taker is idle; return whether there is one."""
        with self._changed:
            return bool(self._changed.wait_for(lambda: self._idle, seconds))

    @property
    def idle(self) -> int:
        """Return the number of idle takers."""
        return len(self._idle)

    def wake(self) -> bool:
        """Wake an idle taker; False if there is none."""
        return self.wake_one() is not None

    def wake_one(self) -> Woken | None:
        """Wake an idle taker, and return an event for when it has asked for work; None if no taker is idle."""
        with self._changed:
            if not self._idle:
                return None
            # The one that became idle last, because its memory is still in the caches.
            index, _ = self._idle.popitem()
        slot = self.board.slot(index)
        woken = Woken(slot, slot.version)
        self._send(index, wake=True)
        self.on_wake()
        return woken

    def wake_all(self) -> None:
        """Wake all idle takers, because there may be runs without a ring."""
        while self.wake():
            pass

    def answer(self, index: int, **message: object) -> None:
        """Answer a taker."""
        self._send(index, **message)

    def _send(self, index: int, **message: object) -> None:
        channel = self.channels.get(index)
        if channel is not None:
            channel.send(**message)

    def hear(self, index: int) -> list[JsonObject]:
        """Return the messages of a taker; an empty list if it is gone."""
        channel = self.channels.get(index)
        if channel is None:
            return []
        try:
            return channel.hear_all()
        except ParentGone:
            self.forget(index)
            return []

    def forget(self, index: int) -> None:
        """Close the channel of a taker that is gone."""
        with self._changed:
            self._idle.pop(index, None)
            self._ready.discard(index)
        channel = self.channels.pop(index, None)
        if channel is not None:
            channel.close()
        if not self.enforced and self.board.slot(index).dismissed:
            self.places.discard(index)

    # -- fewer, more, none

    def grow(self, count: int) -> None:
        """Add ``count`` takers."""
        for _ in range(count):
            self._add()
            self.count += 1

    def shrink(self, count: int) -> None:
        """Remove ``count`` takers; busy ones leave after their run.

        Raises:
            ValueError: there are fewer than ``count``.
        """
        if count >= self.count:
            raise ValueError("a worker keeps at least one taker")
        free = [index for index in self.places if not self.board.slot(index).dismissed]
        for index in sorted(free, key=lambda index: index not in self._idle)[:count]:
            self.board.slot(index).dismiss(True)
            self.count -= 1
        self.wake_all()

    def drain(self) -> None:
        """Ask all takers to exit after their runs."""
        self.board.head.write(draining=True)
        self.begin()
        self.wake_all()

    def stop(self) -> None:
        """End the remaining takers."""
        for index in list(self.channels):
            self.forget(index)


class ProcessTakers(Takers):
    """Takers in processes of their own, forked from a template."""

    enforced = True

    def __init__(
        self, shared: SharedState, count: int, limits: Limits | None = None, inherited: Inherited | None = None
    ) -> None:
        super().__init__(shared, count, limits)
        self._inherited = inherited
        self.template = Template(self._be_taker, self._take_over)

    def start(self) -> None:
        """Fork the template while this process has no threads, and request the takers."""
        read_all(hints=self._shared.settings.on_amqp)
        self.template.start()
        super().start()

    def restart(self) -> None:
        """Fork another template after the former one has died with its takers. All slots are then empty.

        Raises:
            OSError: the fork failed.
        """
        self.template.start()

    def reload(self, changed: JsonObject) -> None:
        """Pass changed jobs to the template, for takers that are forked from now on."""
        with contextlib.suppress(OSError):
            # If the template is gone, the next one is forked from this process, which has all changes.
            self.template.reload(changed)

    def _make(self, index: int, end: socket.socket) -> None:
        signals.worker_before_create_process.send(sender=self)
        self.template.fork(index, end)

    def _let_go(self, end: socket.socket) -> None:
        end.close()

    def born(self, index: int, pid: int) -> None:
        """Record the process of a taker, so that processes that it starts end with this worker."""
        try:
            guard(pid)
        except OSError as error:
            log.error("processes that %s starts may outlive this worker: %s", pid, error)
        self.pids[index] = pid
        with self._changed:
            begins = self._begun and index in self._ready
            self._ready.discard(index)
        if begins:
            self._send(index, go=True)

    def _is_guarded(self, index: int) -> bool:
        return index in self.pids

    def died(self, index: int) -> None:
        """Record that the process of a taker is gone."""
        pid = self.pids.pop(index, None)
        if pid is not None:
            release(pid)
        self.forget(index)
        if self.board.slot(index).dismissed:
            self.places.discard(index)

    def stop(self) -> None:
        """End the template and its takers."""
        super().stop()
        self.template.close()

    # -- in the forks

    def _be_taker(self, index: int, end: socket.socket) -> NoReturn:
        assert self._inherited is not None
        for channel in self.channels.values():
            channel.close()
        place = Place(self.board.head, self.board.writer(index), Channel(end))
        be_taker(self._shared, place, self._limits, self._inherited)

    def _take_over(self, jobs: JsonObject) -> None:
        take_over(self._shared, jobs)


class ThreadTakers(Takers):
    """Takers in threads of the worker's own process."""

    def _make(self, index: int, end: socket.socket) -> None:
        place = Place(self.board.head, self.board.writer(index), Channel(end))
        threading.Thread(target=self._run, args=(place,), name=f"Taker-{index + 1}", daemon=True).start()

    def _run(self, place: Place) -> None:
        try:
            with contextlib.suppress(ParentGone):
                while not self._run_until_it_fails(place):
                    place.channel.hear(FAILED_PAUSE)
        finally:
            place.slot.show(NOTHING)
            place.channel.close()

    def _run_until_it_fails(self, place: Place) -> bool:
        """Return True if the worker no longer needs the taker."""
        try:
            Taker(self._shared, place, enforced=False).run()
        except ParentGone:
            raise
        except BaseException:
            log.exception("a taker failed, and begins anew")
            give_back(self._shared, place)
            return False
        return True


def give_back(shared: SharedState, place: Place) -> None:
    """Return the run that a taker in this process had requested when it failed; no part of it was performed."""
    asked = place.slot.read().asked
    if asked:
        # Otherwise its lease expires.
        with contextlib.suppress(RunnerError):
            shared.claims.hand_back([asked], detail="handed back by a worker that could not start it", untouched=True)
    place.slot.show(NOTHING)


class SoloTaker(Takers):
    """The only taker in the main loop, which is blocked while it performs a run."""

    taker: Taker | None = None
    _joined = False

    def _make(self, index: int, end: socket.socket) -> None:
        self._end = Channel(end)
        self._place = Place(self.board.head, self.board.writer(index), self._end)
        self.taker = Taker(self._shared, self._place, enforced=False)
        self._goes_on, self._going_on = socket.socketpair()
        for sock in (self._goes_on, self._going_on):
            sock.setblocking(False)

    def join(self, hub: Hub) -> None:
        """Register with a main loop; again after a lost connection, when the loop has forgotten its readers."""
        taker = self.taker
        assert taker is not None
        if self._end.fileno() < 0:
            return
        for reader in (self._end, self._goes_on):
            hub.add_reader(reader.fileno(), self._turn_safely, hub)
        if self._joined:
            self._go_on()
            return
        self._joined = True
        taker.begin()

    def turn_without_loop(self, hub: Hub) -> None:
        """Perform waiting runs for one turn; called regularly while the main loop is not running."""
        if self._joined:
            self._turn_safely(hub)

    def _turn_safely(self, hub: Hub) -> None:
        try:
            with contextlib.suppress(ParentGone):
                self._turn(hub)
        except Exception:
            log.exception("the taker failed, and goes on")
            give_back(self._shared, self._place)
            hub.call_later(FAILED_PAUSE, self._turn_safely, hub)

    def _turn(self, hub: Hub) -> None:
        taker = self.taker
        assert taker is not None
        if self._end.fileno() < 0:
            return
        with contextlib.suppress(BlockingIOError):
            self._goes_on.recv(4096)
        self._end.hear_all()
        until = time.monotonic() + TURN_SECONDS
        while taker.wanted():
            if not taker.step():
                taker.be_idle()
                return
            if time.monotonic() > until:
                self._go_on()
                return
        taker.leave()
        for reader in (self._end, self._goes_on):
            hub.remove_reader(reader.fileno())
        self._end.close()

    def _go_on(self) -> None:
        """Wake the main loop, which otherwise runs a new callback only with its next event."""
        with contextlib.suppress(BlockingIOError):
            self._going_on.send(b".")
