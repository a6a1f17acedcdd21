"""Wait for runs for all idle takers of a worker, so that they need not poll.

Each message rings once (``lua/shared/queues.lua``), and Redis gives the ring to the worker that has waited longest.
This worker wakes one taker, which asks for a run. If a ring is lost with a connection, the next beat of any worker
rings again.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Sequence

import redis
from celery.utils.log import get_logger
from redis.connection import Connection

from runner.errors import RunnerError
from runner.ledger.keys import Keys
from runner.worker.takers import Takers

log = get_logger(__name__)

BLOCK_SECONDS = 5
"""Seconds that Redis blocks a wait; repeating it detects a dead connection."""

ANSWER_SECONDS = 5.0
"""Additional seconds until the answer must arrive."""

AWAY_PAUSE = 1.0
"""Seconds until the next try while Redis is unreachable."""


class Bell:
    """Waits for a ring on lists in Redis.

    Args:
        connect: returns a client.
        keys: returns the lists.
    """

    def __init__(self, connect: Callable[[], redis.Redis], keys: Callable[[], Sequence[str]]) -> None:
        self._connect, self._keys = connect, keys
        self._client: redis.Redis | None = None
        self._connection: Connection | None = None

    @property
    def is_connected(self) -> bool:
        """Return whether it is connected, so that no ring is missed."""
        return self._connection is not None

    def connect(self) -> None:
        """Connect unless it is connected.

        Raises:
            redis.RedisError, RunnerError, OSError: Redis cannot be reached.
        """
        if self._connection is None:
            self._client = self._client or self._connect()
            self._connection = self._client.connection_pool.get_connection()

    def wait(self) -> bool:
        """Wait a few seconds for a ring; return whether there was one.

        Raises:
            redis.RedisError, RunnerError, OSError: Redis cannot be reached.
        """
        self.connect()
        connection = self._connection
        assert connection is not None
        try:
            connection.send_command("BLPOP", *self._keys(), BLOCK_SECONDS)
            if not connection.can_read(BLOCK_SECONDS + ANSWER_SECONDS):
                raise redis.TimeoutError("Redis does not answer")
            return connection.read_response() is not None
        except BaseException:
            self.disconnect()
            raise

    def disconnect(self) -> None:
        """Close the connection; the next wait opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None and self._client is not None:
            connection.disconnect()
            self._client.connection_pool.release(connection)

    def interrupt(self) -> None:
        """Abort a wait in another thread."""
        # Shut down, not closed: the thread may be reading from it and then sees the end.
        sock = getattr(self._connection, "_sock", None)
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the client."""
        self.disconnect()
        if self._client is not None:
            self._client.close()


class Waiter(threading.Thread):
    """The waiter of one worker.

    Args:
        connect: returns a client.
        namespace: the namespace of the project.
        queues: returns the queues that are consumed now.
        takers: the takers to wake.
    """

    def __init__(
        self, connect: Callable[[], redis.Redis], namespace: str, queues: Callable[[], Sequence[str]], takers: Takers
    ) -> None:
        super().__init__(name="runner-waiter", daemon=True)
        keys = Keys(namespace)
        self._bell = Bell(connect, lambda: [keys.ring(queue) for queue in queues()])
        self._takers = takers
        self._ended = threading.Event()

    def run(self) -> None:
        """Wait for rings and wake takers until the worker ends."""
        while not self._ended.is_set():
            if not self._takers.wait_for_idle(AWAY_PAUSE):
                continue
            try:
                if not self._bell.is_connected:
                    self._bell.connect()
                    # Runs that came while nobody listened have rung, unless the connection was lost at that moment.
                    self._takers.wake()
                elif self._bell.wait():
                    self._takers.wake()
            except (redis.RedisError, RunnerError, OSError) as error:
                if not self._ended.is_set():
                    log.debug("cannot wait for work: %s", error)
                    self._ended.wait(AWAY_PAUSE)
        self._bell.close()

    def renew(self) -> None:
        """Listen to other queues from now on."""
        self._bell.interrupt()

    def end(self) -> None:
        """End the thread."""
        self._ended.set()
        self.renew()
