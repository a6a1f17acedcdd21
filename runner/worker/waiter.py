"""Waits for work on behalf of all idle takers of a worker, so that they need not ask.

Each message rings once (``lua/shared/queues.lua``), and Redis gives a ring to the worker that has waited longest. That
one wakes one taker, which asks. A ring that is lost with a connection is rung again by the next beat of any worker.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Sequence

import redis
from celery.utils.log import get_logger
from redis.connection import AbstractConnection

from runner.errors import RunnerError
from runner.ledger.keys import Keys
from runner.worker.takers import Takers

log = get_logger(__name__)

BLOCK_SECONDS = 5
"""How long Redis holds a question; then it is asked again, by which a dead connection is noticed."""

ANSWER_SECONDS = 5.0
"""How much later than that an answer may come."""

AWAY_PAUSE = 1.0
"""Seconds before the next try while Redis is away."""


class Waiter(threading.Thread):
    """The waiter of one worker.

    Args:
        connect: returns a client.
        namespace: of the project.
        queues: returns the queues that are taken from now.
        takers: whom to wake.
    """

    def __init__(
        self, connect: Callable[[], redis.Redis], namespace: str, queues: Callable[[], Sequence[str]], takers: Takers
    ) -> None:
        super().__init__(name="runner-waiter", daemon=True)
        self._connect = connect
        self._keys = Keys(namespace)
        self._queues = queues
        self._takers = takers
        self._ended = threading.Event()
        self._connection: AbstractConnection | None = None

    def run(self) -> None:
        """Wait and wake until the worker ends."""
        client: redis.Redis | None = None
        while not self._ended.is_set():
            if not self._takers.wait_for_idle(AWAY_PAUSE):
                continue
            try:
                client = client or self._connect()
                self._wait(client)
            except (redis.RedisError, RunnerError, OSError) as error:
                if not self._ended.is_set():
                    log.debug("cannot wait for work: %s", error)
                    self._ended.wait(AWAY_PAUSE)
        if client is not None:
            client.close()

    def _wait(self, client: redis.Redis) -> None:
        connection = self._connection = client.connection_pool.get_connection()
        try:
            # What came while nobody listened has rung, unless the connection was lost in that moment.
            self._takers.wake()
            while not self._ended.is_set():
                if not self._takers.wait_for_idle(AWAY_PAUSE):
                    continue
                rings = [self._keys.ring(queue) for queue in self._queues()]
                connection.send_command("BLPOP", *rings, BLOCK_SECONDS)
                if not connection.can_read(BLOCK_SECONDS + ANSWER_SECONDS):
                    raise redis.TimeoutError("Redis does not answer")
                if connection.read_response() is not None:
                    self._takers.wake()
        finally:
            self._connection = None
            connection.disconnect()
            client.connection_pool.release(connection)

    def renew(self) -> None:
        """Listen to other queues from now on."""
        # Shut down, not closed: the thread may be reading from it, and then sees its end.
        sock = getattr(self._connection, "_sock", None)
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """End the thread."""
        self._ended.set()
        self.renew()
