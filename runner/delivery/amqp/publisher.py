"""Publish hints to RabbitMQ: mandatory, with publisher confirms and timeouts."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from amqp import Channel, Connection

from runner.delivery.amqp import queues
from runner.delivery.amqp.connection import FAILURES, close_quietly, open_connection, unavailable
from runner.delivery.amqp.hints import Hint, write_hint
from runner.errors import RunnerError
from runner.settings import Settings

PUBLISH_SECONDS = 5.0
"""Timeout of connecting, and of the confirms after that (seconds)."""

IDLE_SECONDS = 60.0
"""A connection that was idle for this long is replaced: a firewall on the way may have dropped it."""

FEW = 10
"""The maximum number of hints of one queue that may be returned because the queue does not exist."""

PORTION = 500
"""The number of hints that are sent before waiting for their confirms."""


class HintPublisher:
    """Publishes hints over one connection, which is opened when needed. Can be used by all threads of a process."""

    def __init__(self, settings: Settings, seconds: float = PUBLISH_SECONDS) -> None:
        self._settings = settings
        self._seconds = seconds
        self._mutex = threading.Lock()
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._process = os.getpid()
        self._used_at = 0.0
        self._tag = 0
        """The delivery tag of the last message on the channel."""
        self._sent: dict[int, Hint] = {}
        self._refused: list[Hint] = []
        self._known: set[str] = set()
        """The hint queues that this process knows to exist."""
        self._unroutable: set[Hint] = set()
        self._blocked = ""
        self.trouble = ""
        """The reason why hints were not confirmed the last time; empty if all were confirmed."""

    def publish(self, hints: Sequence[Hint]) -> list[Hint]:
        """Publish hints; return those that RabbitMQ did not confirm in time. :attr:`trouble` has the reason."""
        # Computed before locking, so that the wait for other threads counts.
        deadline = time.monotonic() + self._seconds
        with self._mutex:
            self.trouble = ""
            left = list(hints)
            while left:
                portion, left = left[:PORTION], left[PORTION:]
                unconfirmed = self._publish(portion, deadline)
                if unconfirmed:
                    return [*unconfirmed, *left]
                deadline = time.monotonic() + self._seconds
            return []

    def close(self) -> None:
        """Close the connection."""
        with self._mutex:
            self._drop()

    def _publish(self, hints: list[Hint], deadline: float) -> list[Hint]:
        left, fresh = hints, False
        while True:
            fresh = self._channel is None
            try:
                before = self._connection
                channel = self._open(deadline)
                if self._connection is not before:
                    # Servers that did not answer have used some of the time.
                    deadline = time.monotonic() + self._seconds
                self._declare_for_many(left)
                left = self._send(channel, left, deadline)
                if not self._unroutable:
                    return left
                unroutable, self._unroutable = self._unroutable, set()
                if self._channel is None:
                    return [*left, *unroutable]
                return left + self._declare_and_send(unroutable, deadline)
            except RunnerError as error:
                self.trouble = error.message
                self._drop()
                return left
            except FAILURES as error:
                self._drop()
                self.trouble = self._blocked or unavailable(self._settings, error).message
                # A kept connection may have been closed long ago. Sending a hint twice is harmless.
                if fresh or isinstance(error, TimeoutError) or time.monotonic() >= deadline:
                    return left

    def _open(self, deadline: float) -> Channel:
        now = time.monotonic()
        if self._process != os.getpid():
            # It belongs to the parent, whose end of the connection stays open.
            self._connection = self._channel = None
            self._process = os.getpid()
        if self._channel is not None and now - self._used_at > IDLE_SECONDS:
            self._drop()
        self._used_at = now
        if self._channel is not None:
            return self._channel
        self._blocked = ""
        seconds = max(0.1, deadline - now)
        self._connection = open_connection(
            self._settings, seconds=seconds, on_blocked=self._on_blocked, on_unblocked=self._on_unblocked
        )
        channel: Channel = self._connection.channel()
        channel.confirm_select()
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)
        self._tag = 0
        self._sent.clear()
        self._channel = channel
        return channel

    def _drop(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        self._sent.clear()
        if self._process == os.getpid():
            close_quietly(connection)

    def _send(self, channel: Channel, hints: Sequence[Hint], deadline: float) -> list[Hint]:
        """Publish hints and wait for the confirms; return the hints that were not confirmed."""
        assert self._connection is not None
        self._refused.clear()
        self._unroutable.clear()
        for hint in hints:
            self._tag += 1
            self._sent[self._tag] = hint
            routing_key = queues.queue_name(self._settings.namespace, hint.queue)
            channel.basic_publish(write_hint(hint), exchange="", routing_key=routing_key, mandatory=True)
        while self._sent and (seconds := deadline - time.monotonic()) > 0:
            try:
                self._connection.drain_events(timeout=seconds)
            except TimeoutError:
                break
        unconfirmed = [*self._sent.values(), *self._refused]
        if self._sent:
            self.trouble = self._blocked or f"RabbitMQ did not confirm within {self._seconds:g} s"
            # Late confirms would be mistaken for later ones.
            self._drop()
        elif self._refused:
            self.trouble = "RabbitMQ refused a hint: its queue is full, or has no primary"
        return [hint for hint in unconfirmed if hint not in self._unroutable]

    def _declare_for_many(self, hints: Sequence[Hint]) -> None:
        """Declare the queues of many hints, because otherwise each of the hints would be returned."""
        assert self._connection is not None
        counted = Counter(hint.queue for hint in hints)
        for queue in sorted(queue for queue, number in counted.items() if number > FEW and queue not in self._known):
            # Hints for queues that this user may not declare are returned and reported then.
            with contextlib.suppress(queues.NoQueue):
                queues.declare(self._connection, self._settings, queue)
                self._known.add(queue)

    def _declare_and_send(self, hints: set[Hint], deadline: float) -> list[Hint]:
        """Declare the queues of returned hints, and publish the hints again."""
        refused: set[str] = set()
        trouble = ""
        for queue in sorted({hint.queue for hint in hints}):
            try:
                assert self._connection is not None
                queues.declare(self._connection, self._settings, queue)
            except queues.NoQueue as error:
                trouble = f"{error.message}; {error.hint}"
                refused.add(queue)
        unconfirmed = [hint for hint in hints if hint.queue in refused]
        again = [hint for hint in hints if hint.queue not in refused]
        if again and self._channel is not None:
            unconfirmed += self._send(self._channel, again, deadline)
            if self._unroutable:
                trouble = trouble or "RabbitMQ has lost a queue of hints at this moment"
                unconfirmed += self._unroutable
                self._unroutable = set()
        self.trouble = trouble or self.trouble
        return unconfirmed

    # -- answers of RabbitMQ

    def _confirmed(self, tag: int, multiple: bool) -> list[Hint]:
        tags = [delivery_tag for delivery_tag in self._sent if delivery_tag <= tag] if multiple else [tag]
        return [self._sent.pop(delivery_tag) for delivery_tag in tags if delivery_tag in self._sent]

    def _on_ack(self, tag: int, multiple: bool) -> None:
        self._confirmed(tag, multiple)

    def _on_nack(self, tag: int, multiple: bool) -> None:
        self._refused += self._confirmed(tag, multiple)

    def _on_return(self, _error: Exception, _exchange: str, _routing_key: str, message: Any) -> None:
        hint = Hint.read(message.body)
        if hint is not None:
            self._unroutable.add(hint)

    def _on_blocked(self, _reason: str) -> None:
        self._blocked = "RabbitMQ takes no messages now: it is short of memory or disk (rabbitmqctl status tells)"

    def _on_unblocked(self) -> None:
        self._blocked = ""
