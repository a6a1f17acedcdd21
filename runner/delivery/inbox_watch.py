"""Wake a worker when a plain Celery client publishes to the inbox, which has no bell.

Redis notifies a connection that has read a key when the key changes (``CLIENT TRACKING``). The connection on which the
channel waits for bells reads the keys of the inbox first. When it is notified, the worker rings its own bell through
another connection, which ends the wait. An idle inbox costs no commands. If tracking fails, the channel polls once a
second.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import redis
from celery.utils.log import get_logger
from kombu.utils.encoding import bytes_to_str

from runner.errors import RunnerError
from runner.ledger.inbox import INBOX_KEYS
from runner.ledger.keys import Keys

if TYPE_CHECKING:
    from runner.ledger.ledger import Ledger

log = get_logger(__name__)

ANSWER_SECONDS = 5.0
"""Timeout of an answer of Redis (seconds)."""

REFUSED_PAUSE = 5.0
"""Seconds until the next try after Redis has refused to track keys."""

BELL_SECONDS = 60
"""How long the worker's own bell is kept after its last ring."""

_NEWS = "invalidate"


class InboxWatch:
    """The bell of one worker for the inbox. One object per worker process, which outlives connections and channels."""

    def __init__(self, ledger: Ledger, worker: str) -> None:
        """Create the bell.

        Args:
            ledger: the ledger of the worker's parent, through which the bell is rung.
            worker: the name of the worker, unique in the namespace.
        """
        self._ledger = ledger
        self.bell = Keys(ledger.namespace).wake(worker)
        self.heard = "0-0"
        """The id of the last ring that the channel has received."""
        self.follows = False
        """Whether Redis tracks changes, so that the channel need not poll."""
        self._refused_until = 0.0
        self._warned = False

    def follow(self, connection: Any) -> bool:
        """Let Redis notify ``connection`` (RESP3) of changes to the inbox; return whether it has a message now.

        Raises:
            redis.RedisError: the connection is lost.
        """
        self.follows = False
        if str(getattr(connection, "protocol", 2)) != "3" or time.monotonic() < self._refused_until:
            return False
        # Otherwise redis-py keeps the notifications for itself.
        connection._parser.set_invalidation_push_handler(lambda news: news)
        connection.send_command("CLIENT", "TRACKING", "ON")
        connection.send_command("EXISTS", *INBOX_KEYS, check_health=False)
        refused: redis.ResponseError | None = None
        lies = 0
        try:
            _answer(connection)
        except redis.ResponseError as error:
            refused = error
        try:
            lies = _answer(connection)
        except redis.ResponseError as error:
            refused = refused or error
        if refused is not None:
            self._refused_until = time.monotonic() + REFUSED_PAUSE
            say = log.debug if self._warned else log.warning
            self._warned = True
            say("messages of plain Celery clients may wait for a second: %s", refused)
            return False
        self.follows = True
        # A notification that is read together with an answer would wake nobody later.
        return bool(lies) or bool(connection.can_read(0))

    def leave(self, connection: Any) -> None:
        """Stop tracking keys that are read from now on, such as those of claims.

        Raises:
            redis.RedisError: the connection is lost.
        """
        if self.follows:
            self.follows = False
            connection.send_command("CLIENT", "TRACKING", "OFF")
            # Refused because permissions were revoked. The additional notifications are then ignored.
            with contextlib.suppress(redis.ResponseError):
                _answer(connection)

    def ring(self, news: list[Any]) -> bool:
        """Ring if a notification is about a key of the inbox; return False if ringing failed."""
        keys = news[1]
        if keys is not None and not any(bytes_to_str(key) in INBOX_KEYS for key in keys):
            return True
        try:
            with self._ledger.client.pipeline(transaction=False) as pipe:
                pipe.xadd(self.bell, {"r": "1"}, maxlen=1, approximate=False)
                pipe.expire(self.bell, BELL_SECONDS)
                pipe.execute()
        except (redis.RedisError, RunnerError, OSError) as error:
            log.debug("cannot ring for messages of plain Celery clients: %s", error)
            return False
        return True

    def hear(self, rings: Any) -> None:
        """Record a ring of this bell in an answer of ``XREAD`` (pairs with RESP2, a mapping with RESP3)."""
        for key, entries in rings.items() if isinstance(rings, dict) else rings or ():
            if bytes_to_str(key) == self.bell:
                self.heard = bytes_to_str(entries[-1][0])


def is_news(answer: Any) -> bool:
    """Return whether an answer is a notification about a key."""
    return isinstance(answer, list) and bool(answer) and answer[0] in (_NEWS, _NEWS.encode())


def _answer(connection: Any) -> Any:
    if not connection.can_read(ANSWER_SECONDS):
        raise redis.TimeoutError("Redis does not answer")
    return connection.read_response()
