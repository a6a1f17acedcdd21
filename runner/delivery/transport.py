"""A Kombu transport whose messages are claimed, not popped.

A subclass of Kombu's Redis transport. What is replaced: taking a message (one script instead of BRPOP, ZADD and
HSET), the store of unacknowledged messages (claims with a lease instead), the order of
priorities (9 first, ten steps), the names of keys (all begin with the namespace). What stays: the
event loop, connections, fanout for remote control and events, reply queues.

Each part of Kombu that is overridden has a test in ``tests/contract`` that names it.
"""

from __future__ import annotations

import secrets
from queue import Empty
from typing import Any

from kombu.transport import redis as stock
from kombu.transport import virtual
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads
from redis.connection import parse_url
from redis.exceptions import NoScriptError, ResponseError
from redis.sentinel import SentinelManagedConnection

from runner.delivery.claims import PACKAGE, milliseconds
from runner.delivery.envelope import UnreadableError, read_envelope
from runner.errors import Unavailable
from runner.ledger.connection import sentinel_pool
from runner.ledger.message import MARK
from runner.ledger.packer import PACKER
from runner.ledger.scripts import digest, source
from runner.settings.redis_url import read_sentinel

SENTINEL = "sentinel://"

INBOX = "celery"
"""The queue that plain Celery clients publish to; its keys are Kombu's own and carry no namespace."""

MARKED_ARGUMENT = "x-runner"
"""A queue declared with this argument holds runs, and is claimed from."""

LONGEST_BLOCK = 1.0
"""Seconds to wait for a bell: the longest that a message of a plain client, which rings none, may lie there."""


class QoS(virtual.QoS):
    """Bookkeeping of what is held. Redis is told by the claims, not by acknowledgements."""

    restore_at_shutdown = True

    def ack(self, delivery_tag: str) -> None:
        self.channel.release(delivery_tag)
        super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        self.channel.release(delivery_tag, requeue=requeue)
        super().ack(delivery_tag)

    def let_go(self, delivery_tag: str) -> None:
        """Free the place that the message takes here; its claim stays ours."""
        super().ack(delivery_tag)

    def settled(self, delivery_tag: str) -> None:
        """The claim is gone already: forget the message without a word to Redis."""
        self.channel.claims.forget(delivery_tag)
        super().ack(delivery_tag)

    def restore_unacked(self, client: Any = None) -> None:
        # On a lost connection or a closed channel. What runs stays claimed and renewed; what waits in this
        # process is given back. (Kombu's own version fails here once the connection is collected.)
        self._flush()
        self.channel.hand_back_waiting(list(self._delivered))
        self._delivered.clear()

    def restore_visible(self, *args: Any, **kwargs: Any) -> None:
        # Dead workers' claims are put back by the beat.
        return None


class Channel(stock.Channel):
    """A channel that claims from queues of runs, and behaves as Kombu's for all others."""

    QoS = QoS
    from_transport_options = (*stock.Channel.from_transport_options, "namespace", "claims", "worker_name", "is_running")

    namespace = "runner"
    claims: Any = None
    worker_name = ""
    is_running: Any = None
    """Tells whether a token's run is in the pool; given by the worker."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._run_queues: set[str] = set()
        self._bells: list[str] | None = None
        self._blocking = False
        self._token = ""
        super().__init__(*args, **kwargs)
        self.keyprefix_queue = f"{self.namespace}:binding:%s"
        self.keyprefix_binding_permanent = f"{self.namespace}:binding-permanent:%s"
        self.keyprefix_binding_deadlines = f"{self.namespace}:binding-deadlines"

    # -- names and connections

    def _q_for_pri(self, queue: str, pri: int) -> str:
        if queue in self._run_queues:
            return f"{self.namespace}:queue:{queue}:{pri}"
        return f"{self._reply_prefix}{super()._q_for_pri(queue, pri)}"

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        # The URL is read by redis-py, so that every form it takes works for the broker as it does for the ledger.
        url = str(self.connection.client.hostname)
        if url.startswith(SENTINEL):
            params: dict[str, Any] = dict(read_sentinel(url).options)
            params["connection_class"] = SentinelManagedConnection
        else:
            params = dict(parse_url(url))
        params["health_check_interval"] = self.health_check_interval
        params["socket_timeout"] = self.socket_timeout
        params["command_packer"] = PACKER
        params.setdefault("db", 0)
        base: Any = params.get("connection_class") or self.connection_class
        if "path" not in params:
            params["socket_connect_timeout"] = self.socket_connect_timeout
        if asynchronous:
            base = type("Connection", (_Watched, base), {"channel": self})
        params["connection_class"] = base
        return params

    def _get_pool(self, asynchronous: bool = False) -> Any:
        url = str(self.connection.client.hostname)
        if not url.startswith(SENTINEL):
            return super()._get_pool(asynchronous)
        params = self._connparams(asynchronous)
        self.keyprefix_fanout: str = self.keyprefix_fanout.format(db=params["db"])
        return sentinel_pool(url, params)

    def conn_or_acquire(self, client: Any = None) -> Any:
        # Kombu makes a new client for every command; one is kept instead.
        return _Lent(client or self._kept_client())

    def _kept_client(self) -> Any:
        kept = getattr(self, "_kept", None)
        if kept is None or kept.connection_pool is not self.pool:
            kept = self._kept = self._create_client()
        return kept

    @property
    def _reply_prefix(self) -> str:
        return f"{self.namespace}:reply:"

    # -- which queues hold runs

    def _new_queue(self, queue: str, auto_delete: bool = False, **kwargs: Any) -> None:
        if (kwargs.get("arguments") or {}).get(MARKED_ARGUMENT):
            self._run_queues.add(queue)
        super()._new_queue(queue, auto_delete, **kwargs)

    # -- taking messages

    def _claiming(self) -> bool:
        return bool(self._run_queues) and self._run_queues.issuperset(self.active_queues)

    def _brpop_start(self, timeout: float | None = None) -> None:
        if not self._claiming():
            super()._brpop_start(timeout)
            return
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues:
            return
        connection = self._in_poll = self.client.connection
        self._brpop_sent_at = stock.monotonic()
        self._asked = queues
        self._blocking = self._bells is not None
        if self._blocking:
            bells = [f"{self.namespace}:bell:{queue}" for queue in queues]
            connection.send_command(
                "XREAD", "BLOCK", milliseconds(LONGEST_BLOCK), "STREAMS", *bells, *(self._bells or ())
            )
            return
        self._token = secrets.token_hex(16)
        connection.send_command(
            "EVALSHA",
            digest(PACKAGE, "claim"),
            1,
            self.namespace,
            self._token,
            milliseconds(self.claims.lease),
            self.worker_name,
            *queues,
        )

    def _brpop_read(self, **options: Any) -> bool:
        try:
            try:
                if not self._claiming():
                    return self._read_reply(**options)
                answer = self.client.connection.read_response()
            except self.connection_errors:
                self._bells = None
                self.client.connection.disconnect()
                raise
            except NoScriptError:
                self._bells = None
                self._kept_client().script_load(source(PACKAGE, "claim"))
                raise Empty from None
            except ResponseError as error:
                # Out of memory, a replica since a failover, a disk that is full: Redis answers, and refuses.
                stock.warning("Redis refuses to hand out work, will ask again: %s", error)
                self._bells = ["$"] * len(self._asked)
                raise Empty from None
            if self._blocking:
                self._bells = None
                raise Empty
            if len(answer) == 1:
                self._bells = [bytes_to_str(last) for last in answer[0]]
                raise Empty
            queue, raw = bytes_to_str(answer[0]), answer[1]
            self._queue_cycle.rotate(queue)
            self._deliver(queue, raw)
            return True
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()

    def _read_reply(self, **options: Any) -> bool:
        """Kombu's own reading, for queues that hold no runs; it knows nothing of the prefix."""
        answer = self.client.parse_response(self.client.connection, "BRPOP", **options)
        if not answer:
            raise Empty
        key, item = answer
        queue = bytes_to_str(key).rsplit(self.sep, 1)[0].removeprefix(self._reply_prefix)
        self._queue_cycle.rotate(queue)
        self.connection._deliver(loads(bytes_to_str(item)), queue)
        return True

    def _deliver(self, queue: str, raw: bytes) -> None:
        if queue not in self._active_queues:
            # Asked for before the consumer was cancelled, answered after.
            self.claims.take(self._token)
            self.claims.hand_back([self._token])
            return
        self.claims.take(self._token)
        run_id = None
        try:
            envelope = read_envelope(raw, self._token)
            run_id = envelope["headers"]["id"] if MARK in envelope["headers"] else None
            self.connection._deliver(envelope, queue)
        except UnreadableError as error:
            self.bury(self._token, raw, str(error), error.run_id)
        except self.connection_errors:
            raise
        except Unavailable as error:
            # Nothing is wrong with the message: whoever takes it next may be luckier.
            stock.warning("a message is left for later, Redis is away: %s", error)
            self.qos.reject(self._token, requeue=True)
        except Exception as error:  # noqa: BLE001 - see below
            # Nothing that a message contains may end the worker, and then the next one that takes it.
            stock.crit("a message broke its handling: %r", error, exc_info=True)
            self.bury(self._token, raw, f"it broke its handling: {error!r}", run_id)
            self.qos.let_go(self._token)

    def bury(self, token: str, raw: bytes, why: str, run_id: str | None) -> None:
        """Put a message that nobody can act on to the dead letters, and end its run."""
        stock.crit("a message is put to the dead letters: %s", why)
        try:
            self.claims.bury(token, raw, why, run_id)
        except Unavailable as error:
            stock.warning("could not bury a message, its lease will run out: %s", error)

    def close(self) -> None:
        """Close; a wait for a bell is broken off, an answer to a claim is read first."""
        if self._in_poll and self._blocking:
            self._in_poll.disconnect()
            self._in_poll = None
        super().close()

    # -- giving them back

    def release(self, token: str, *, requeue: bool = False) -> None:
        """End a claim that no script has ended."""
        if self.claims is None or not self.claims.holds(token):
            return
        try:
            if requeue:
                self.claims.hand_back([token])
            else:
                self.claims.drop(token)
        except Unavailable as error:
            stock.warning("could not release a claim, its lease will run out: %s", error)

    def hand_back_waiting(self, tokens: list[str]) -> None:
        """Give back what this process holds and does not run."""
        if self.claims is None:
            return
        running = self.is_running or (lambda _token: False)
        waiting = [token for token in tokens if self.claims.holds(token) and not running(token)]
        try:
            self.claims.hand_back(waiting)
        except Unavailable as error:
            # The beat of any worker puts them back.
            stock.warning("could not hand back %d messages, their leases will run out: %s", len(waiting), error)


class _Watched:
    """A connection whose end the channel is told of; mixed into redis-py's own classes."""

    channel: Any

    def disconnect(self, *args: Any, **kwargs: Any) -> None:
        super().disconnect(*args, **kwargs)  # type: ignore[misc]
        if self.channel._registered:
            self.channel._on_connection_disconnect(self)


class _Lent:
    """A context manager that lends a client and keeps it open."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __enter__(self) -> Any:
        return self._client

    def __exit__(self, *_: object) -> None:
        return None


class Transport(stock.Transport):
    """Kombu's Redis transport with claiming channels."""

    Channel = Channel
    can_parse_url = True
    """redis-py reads the URL, see ``Channel._connparams``."""
