"""Wait for hints from RabbitMQ for all idle takers of a worker. With AMQP, this replaces ``waiter.py``.

A worker accepts as many hints as it has takers, and only while one of them is idle. A hint wakes one taker and is
acknowledged as soon as this taker has asked the ledger: from then on the lease of its run counts, however long the run
takes. A hint without an idle taker goes back to RabbitMQ, for another worker. While RabbitMQ is unreachable, each beat
of this worker wakes takers for waiting runs.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from amqp import Channel, Connection
from amqp.exceptions import ChannelError
from celery.utils.log import get_logger

from runner.delivery.amqp import queues
from runner.delivery.amqp.connection import FAILURES, close_quietly, open_connection, unavailable
from runner.errors import RunnerError
from runner.model.private_queue import is_private
from runner.settings import Settings
from runner.worker.takers import Takers, Woken

log = get_logger(__name__)

LOOK_SECONDS = 1.0
"""Seconds to wait for hints or for an idle taker before checking anything else."""

ASK_SECONDS = 0.01
"""Seconds between two checks whether a woken taker has asked."""

LONGEST_ASK = 5.0
"""Seconds after which a hint goes back if its taker has not asked."""

AWAY_PAUSE = 1.0
"""Seconds until the next try while RabbitMQ is unreachable."""

REFUSED_PAUSE = 30.0
"""Seconds until the next try of a queue that this user may not use."""

HEARTBEAT = 20.0
"""The heartbeat (seconds); RabbitMQ redelivers the messages of a silent connection after twice this time."""

MOST_PREFETCHED = 1000


class HintWaiter(threading.Thread):
    """The waiter of one worker.

    Args:
        settings: the settings of the project.
        taken: returns the queues that are consumed now.
        takers: the takers to wake.
    """

    def __init__(self, settings: Settings, taken: Callable[[], Sequence[str]], takers: Takers) -> None:
        super().__init__(name="runner-hint-waiter", daemon=True)
        self._settings, self._taken, self._takers = settings, taken, takers
        self._ended = threading.Event()
        self._renewed = False
        self._away = False
        self._refused: dict[str, float] = {}
        """The queues that this user may not use, with the times of the next try (monotonic)."""
        self._connection: Connection | None = None

    def run(self) -> None:
        """Wait for hints and wake takers until the worker ends."""
        while not self._ended.is_set():
            if not self._takers.wait_for_idle(LOOK_SECONDS):
                continue
            try:
                self._listen()
            except (RunnerError, *FAILURES) as error:
                self._say_away(error)
            except Exception:
                # Meanwhile, beats wake takers.
                log.exception("the wait for hints failed, will try again")
            self._ended.wait(AWAY_PAUSE)

    def _say_away(self, error: BaseException) -> None:
        if self._ended.is_set():
            return
        message = error.message if isinstance(error, RunnerError) else unavailable(self._settings, error).message
        (log.debug if self._away else log.warning)("%s; runs may wait for the next beat", message)
        self._away = True

    def _listen(self) -> None:
        connection = self._connection = open_connection(self._settings, heartbeat=HEARTBEAT)
        listener = _Listener(connection, self._settings, self._takers, self._refused)
        if self._away:
            log.info("RabbitMQ is back")
        self._away = False
        try:
            # Hints that came while nobody listened may have expired.
            self._takers.wake_all()
            while not self._ended.is_set():
                if self._renewed:
                    self._renewed = False
                    listener.quiet()
                if self._takers.idle:
                    listener.consume(self._taken())
                    listener.drain(LOOK_SECONDS)
                else:
                    listener.quiet()
                    self._takers.wait_for_idle(LOOK_SECONDS)
                    listener.drain(0.0)
        finally:
            self._connection = None
            close_quietly(connection)

    def renew(self) -> None:
        """Consume other queues from now on."""
        self._renewed = True

    def end(self) -> None:
        """End the thread."""
        self._ended.set()
        # Shut down, not closed: the thread may be reading from it and then sees the end.
        with contextlib.suppress(OSError, AttributeError):
            self._connection.transport.sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]


class _Heard:
    """A hint whose taker was woken."""

    __slots__ = ("since", "tag", "woken")

    def __init__(self, tag: int, woken: Woken) -> None:
        self.tag, self.woken, self.since = tag, woken, time.monotonic()


class _Listener:
    """The consumers of one connection, and what they have received."""

    def __init__(self, connection: Connection, settings: Settings, takers: Takers, refused: dict[str, float]) -> None:
        self._connection, self._settings, self._takers, self._refused = connection, settings, takers, refused
        self._channel: Channel | None = None
        self._numbers = itertools.count(1)
        self._tags: dict[str, str] = {}
        """The consumer of each queue."""
        self._declared: set[str] = set()
        self._heard: deque[_Heard] = deque()
        self._surplus: list[int] = []
        """The hints without an idle taker."""

    def consume(self, taken: Sequence[str]) -> None:
        """Consume the hints of these queues."""
        for queue in taken:
            if queue not in self._tags and not is_private(queue) and self._may_use(queue):
                try:
                    self._consume(queue)
                except queues.NoQueue as error:
                    self._refuse(queue, error)
                except ChannelError as error:
                    self._refuse(queue, queues.no_permission(self._settings, queue, error))
                    # The channel and its consumers are gone; unacknowledged hints are in RabbitMQ again.
                    self._channel = None
                    self._tags.clear()
                    self._heard.clear()
                    self._surplus.clear()

    def _consume(self, queue: str) -> None:
        first = queue not in self._declared
        if first:
            queues.declare(self._connection, self._settings, queue)
        if self._channel is None:
            self._channel = self._connection.channel()
            self._channel.basic_qos(0, min(self._takers.count, MOST_PREFETCHED), False)
        tag = f"{queue}.{next(self._numbers)}"
        self._tags[queue] = tag
        # Wait for the answer the first time, because it may be a refusal.
        self._channel.basic_consume(
            queues.queue_name(self._settings.namespace, queue),
            consumer_tag=tag,
            callback=self._on_hint,
            nowait=not first,
        )
        self._declared.add(queue)

    def _may_use(self, queue: str) -> bool:
        return self._refused.get(queue, 0.0) <= time.monotonic()

    def _refuse(self, queue: str, error: queues.NoQueue) -> None:
        first = queue not in self._refused
        (log.warning if first else log.debug)("%s; %s; its runs wait for the next beat", error.message, error.hint)
        self._refused[queue] = time.monotonic() + REFUSED_PAUSE

    def quiet(self) -> None:
        """Stop consuming, and return the hints without a woken taker."""
        channel = self._channel
        if channel is None:
            return
        for queue, consumer in list(self._tags.items()):
            # Hints on their way come before the answer.
            channel.basic_cancel(consumer)
            self._tags.pop(queue, None)
        for tag in self._surplus:
            channel.basic_reject(tag, requeue=True)
        self._surplus.clear()

    def drain(self, seconds: float) -> None:
        """Receive hints for at most this time, and acknowledge those whose takers have asked.

        Raises:
            amqp.AMQPError, OSError: the connection fails.
        """
        self._connection.heartbeat_tick()
        wait = ASK_SECONDS if self._heard else seconds
        with contextlib.suppress(TimeoutError, BlockingIOError):
            while True:
                self._connection.drain_events(timeout=wait)
                # More hints may have come with it.
                wait = 0.0
        if self._surplus:
            if self._takers.idle:
                for tag in self._take_surplus():
                    self._hear(tag)
            if self._surplus:
                self.quiet()
        self._acknowledge()

    def _take_surplus(self) -> Iterator[int]:
        surplus, self._surplus = self._surplus, []
        yield from surplus

    def _on_hint(self, message: Any) -> None:
        self._hear(int(message.delivery_tag))

    def _hear(self, tag: int) -> None:
        woken = self._takers.wake_one()
        if woken is None:
            self._surplus.append(tag)
        else:
            self._heard.append(_Heard(tag, woken))

    def _acknowledge(self) -> None:
        now = time.monotonic()
        waiting: deque[_Heard] = deque()
        for heard in self._heard:
            assert self._channel is not None
            if heard.woken.has_asked:
                self._channel.basic_ack(heard.tag)
            elif now - heard.since > LONGEST_ASK:
                self._channel.basic_reject(heard.tag, requeue=True)
            else:
                waiting.append(heard)
        self._heard = waiting
