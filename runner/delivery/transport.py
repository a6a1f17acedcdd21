"""A worker's Kombu transport for the inbox of plain Celery clients, remote control, and replies. Takers take the runs.

It is a subclass of Kombu's Redis transport. It claims messages from the inbox with one script (instead of BRPOP, ZADD,
and HSET), keeps claims with a lease (instead of a set of unacknowledged messages), and prefixes keys with the namespace
(except those of the inbox). The event loop, connections, and fanout are Kombu's.

Every part of Kombu that is overridden has a test in ``tests/contract`` that names it.
"""

from __future__ import annotations

import secrets
from queue import Empty
from typing import TYPE_CHECKING, Any

from kombu.exceptions import KombuError
from kombu.transport import redis as stock
from kombu.transport import virtual
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads
from redis.connection import parse_url
from redis.exceptions import NoScriptError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig
from redis.sentinel import SentinelManagedConnection

from runner.delivery.claims import PACKAGE
from runner.delivery.envelope import UnreadableError, read_envelope
from runner.delivery.inbox_watch import InboxWatch, is_news
from runner.delivery.queue_keys import OPTIONS as KEY_OPTIONS
from runner.errors import Refused, Unavailable
from runner.ledger.connection import sentinel_pool
from runner.ledger.inbox import INBOX, PLAIN_REPLIES
from runner.ledger.keys import Keys
from runner.ledger.packer import PACKER
from runner.ledger.scripts import digest, source
from runner.model.duration import milliseconds
from runner.settings.redis_url import read_sentinel

if TYPE_CHECKING:
    from runner.ledger.ledger import Ledger

SENTINEL = "sentinel://"

SCHEMES = ("redis://", "rediss://", "unix://", SENTINEL)
"""The scheme of the URLs that the runner passes to this transport unchanged."""

MARKED_ARGUMENT = "x-runner"
"""A queue declared with this argument holds runs, which only takers take."""

INBOX_ARGUMENT = "x-runner-inbox"
"""A queue declared with this argument is the inbox, and is claimed from."""

LONGEST_BLOCK = 25.0
"""Seconds to wait for a bell while the inbox is tracked. Kombu treats a connection that is silent for 26 s as dead."""

UNWATCHED_BLOCK = 1.0
"""Seconds to wait while it is not tracked: nobody rings for plain clients."""

NO_ANSWER = "$"
"""The id to use for the last ring if Redis has refused to return it."""


class MixedQueuesError(KombuError):
    """A channel consumes from the inbox or from other queues, not from both."""


class QoS(stock.QoS):
    """The record of unacknowledged messages.

    Messages from the inbox are released by their claims instead of acknowledgments. All others are kept, returned, and
    restored by Kombu.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self._claimed: set[str] = set()

    def append(self, message: object, delivery_tag: str) -> None:
        if delivery_tag == self.channel.token:
            self._claimed.add(delivery_tag)
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        if delivery_tag in self._claimed:
            self.channel.release(delivery_tag)
            self.let_go(delivery_tag)
        else:
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        if delivery_tag in self._claimed:
            self.channel.release(delivery_tag, requeue=requeue)
            self.let_go(delivery_tag)
        else:
            super().reject(delivery_tag, requeue=requeue)

    def let_go(self, delivery_tag: str) -> None:
        """Remove a message from this record; this worker keeps its claim."""
        self._claimed.discard(delivery_tag)
        virtual.QoS.ack(self, delivery_tag)

    def restore_unacked(self, client: object = None) -> None:
        # The connection was lost or the channel closed.
        self._flush()
        claimed = [tag for tag in self._delivered if tag in self._claimed]
        for tag in claimed:
            self._delivered.pop(tag)
        self._claimed.clear()
        self.channel.hand_back_waiting(claimed)
        if not self._delivered:
            return
        if self.channel.connection.client is None:
            # Kombu's version fails here because its connection has been garbage-collected.
            stock.warning("%d messages are restored after the visibility timeout", len(self._delivered))
            self._delivered.clear()
            return
        super().restore_unacked(client)

    def restore_visible(self, *args: object, **kwargs: object) -> None:
        # The beat returns the claims of dead workers. A worker does not judge the claims of others.
        # Queues without acknowledgments, such as those for remote-control replies, have nothing to restore.
        channel = self.channel
        queues = set(channel.active_queues)
        if queues and queues <= channel.unacknowledged:
            return
        if channel.claims is None or (queues and not channel.takes_in):
            super().restore_visible(*args, **kwargs)


class Channel(stock.Channel):
    """A channel that claims from the inbox, behaves like Kombu's for other queues, and refuses queues of runs."""

    QoS = QoS
    from_transport_options = (
        *stock.Channel.from_transport_options,
        *("namespace", "claims", "worker_name", "ledger", "inbox_watch"),
    )

    namespace = ""
    """The namespace of the project; without one, queues that hold no runs have Kombu's keys."""
    claims: Any = None
    worker_name = ""
    ledger: Ledger | None = None
    """The claims of the worker, whose connection carries the non-blocking commands of this channel."""
    inbox_watch: InboxWatch | None = None
    """Rings when a plain client has published; set by the worker."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._run_queues: set[str] = set()
        self._inboxes: set[str] = set()
        self.unacknowledged: set[str] = set()
        """The queues that are consumed without acknowledgments."""
        self._heard: str | None = None
        """The last ring of the inbox's bell if the inbox was empty, so that the channel waits for the next one."""
        self._blocking = False
        self._asks_inbox = False
        self._token = ""
        self._kept: tuple[Any, Any] = (None, None)
        transport = args[0] if args else kwargs["connection"]
        if transport.client.transport_options.get("namespace"):
            # What they say of keys is for others.
            self.from_transport_options = tuple(
                name for name in type(self).from_transport_options if name not in KEY_OPTIONS
            )
        super().__init__(*args, **kwargs)
        # It was for checking that Redis is reachable. The blocking connection is opened when it is needed.
        self.__dict__.pop("client", None)
        if self.namespace:
            keys = Keys(self.namespace)
            self.keyprefix_queue = keys.binding("%s")
            self.keyprefix_binding_permanent = keys.permanent_binding("%s")
            self.keyprefix_binding_deadlines = keys.binding_deadlines

    # -- names and connections

    def _q_for_pri(self, queue: str, pri: int) -> str:
        if queue in self._run_queues:
            return Keys(self.namespace).queue(queue, pri)
        if queue in self._inboxes:
            return str(super()._q_for_pri(queue, pri))
        return f"{self._reply_prefix}{super()._q_for_pri(queue, pri)}"

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        # redis-py parses the URL, so that the broker accepts the same forms as the ledger.
        url = str(self.connection.client.hostname)
        if not url.startswith(SCHEMES):
            # Kombu has parsed it already.
            return dict(super()._connparams(asynchronous))
        if url.startswith(SENTINEL):
            params: dict[str, Any] = dict(read_sentinel(url).options)
            params["connection_class"] = SentinelManagedConnection
        else:
            params = dict(parse_url(url))
        params["health_check_interval"] = self.health_check_interval
        params["socket_timeout"] = self.socket_timeout
        params["command_packer"] = PACKER
        params.setdefault("db", 0)
        if asynchronous and self.inbox_watch is not None and self.takes_in:
            # Key notifications need RESP3; maintenance notifications would be mistaken for answers.
            params.setdefault("protocol", 3)
            params["maint_notifications_config"] = MaintNotificationsConfig(enabled=False)
        base: Any = params.get("connection_class") or self.connection_class
        if "path" not in params:
            params["socket_connect_timeout"] = self.socket_connect_timeout
        if asynchronous:
            base = type("Connection", (_Watched, base), {"channel": self})
        params["connection_class"] = base
        return params

    def _get_pool(self, asynchronous: bool = False) -> Any:
        url = str(self.connection.client.hostname)
        shared = self.ledger is not None and not asynchronous
        if not shared and not url.startswith(SENTINEL):
            return super()._get_pool(asynchronous)
        params = self._connparams(asynchronous)
        self.keyprefix_fanout: str = self.keyprefix_fanout.format(db=params["db"])
        return self.ledger.client.connection_pool if self.ledger and shared else sentinel_pool(url, params)

    def _create_client(self, asynchronous: bool = False) -> Any:
        return super()._create_client(asynchronous and self._registered)

    def _disconnect_pools(self) -> None:
        if self.ledger is not None:
            # Others use it.
            self._pool = None
        super()._disconnect_pools()

    def conn_or_acquire(self, client: object = None) -> Any:
        # Kombu creates a new client for every command; one client is kept instead.
        return _Lent(client or self._kept_client())

    def _kept_client(self) -> Any:
        kept, pool = self._kept
        if kept is None or pool is not self.pool:
            kept = self._create_client()
            self._kept = (kept, self.pool)
        return kept

    @property
    def _reply_prefix(self) -> str:
        return Keys(self.namespace).named("reply:") if self.namespace else ""

    # -- types of queues

    @property
    def token(self) -> str:
        """The token of the claim that is being delivered or was requested last."""
        return self._token

    @property
    def takes_in(self) -> bool:
        """Return whether this channel consumes from the inbox."""
        return not self._inboxes.isdisjoint(self._active_queues)

    def _new_queue(self, queue: str, auto_delete: bool = False, **kwargs: Any) -> None:
        arguments = kwargs.get("arguments") or {}
        if arguments.get(MARKED_ARGUMENT):
            self._run_queues.add(queue)
        if arguments.get(INBOX_ARGUMENT):
            self._inboxes.add(queue)
        super()._new_queue(queue, auto_delete, **kwargs)

    def basic_consume(self, queue: str, no_ack: bool, *args: object, **kwargs: object) -> Any:
        """Consume from another queue.

        Raises:
            Refused: the queue holds runs.
            MixedQueuesError: the channel consumes from the inbox and this is another queue, or the reverse. One
                command waits for all queues of a channel, and only messages of the inbox are claimed.
        """
        self._refuse_on_runs(queue, "taken by a consumer")
        others = set(self.active_queues) - {queue}
        if queue not in self._fanout_queues and others and (queue in self._inboxes) != self.takes_in:
            raise MixedQueuesError(
                f"this channel takes from {', '.join(sorted(others))}, and cannot take from {queue} as well, since one "
                "of them is the inbox: use another channel"
            )
        if no_ack:
            self.unacknowledged.add(queue)
        else:
            self.unacknowledged.discard(queue)
        return super().basic_consume(queue, no_ack, *args, **kwargs)

    def _refuse_on_runs(self, queue: str, what: str, hint: str = "revoke them: runner revoke ID") -> None:
        """Refuse operations that would leave runs without messages, or messages without runs."""
        if queue in self._run_queues:
            raise Refused(f"queue {queue} holds runs, which are not {what}", hint=hint)

    def _refuse_without_claim(self, queue: str, what: str) -> None:
        self._refuse_on_runs(queue, what)
        if queue in self._inboxes:
            raise Refused(f"queue {queue} is where plain Celery clients publish, and is not {what}")

    def _get(self, queue: str) -> Any:
        self._refuse_without_claim(queue, "taken from without a claim")
        return super()._get(queue)

    def _purge(self, queue: str) -> Any:
        self._refuse_without_claim(queue, "purged")
        return super()._purge(queue)

    def _delete(self, queue: str, *args: object, **kwargs: object) -> None:
        self._refuse_without_claim(queue, "deleted")
        super()._delete(queue, *args, **kwargs)

    def _put(self, queue: str, message: object, **kwargs: object) -> None:
        self._refuse_on_runs(queue, "published as messages", "submit them: runner submit JOB")
        super()._put(queue, message, **kwargs)

    def _size(self, queue: str) -> int:
        if queue not in self._run_queues:
            return int(super()._size(queue))
        with self.conn_or_acquire() as client, client.pipeline(transaction=False) as pipe:
            for priority in range(self.max_priority + 1):
                pipe.llen(self._q_for_pri(queue, priority))
            return sum(pipe.execute())

    # -- taking messages

    def _brpop_start(self, timeout: float | None = None) -> None:
        # The answer may come after the inbox is no longer consumed.
        self._asks_inbox = self.takes_in
        if not self._asks_inbox:
            super()._brpop_start(timeout)
            return
        connection, watch = self.client.connection, self.inbox_watch
        if self._heard not in (None, NO_ANSWER) and watch is not None and watch.follow(connection):
            # A message was published after the claim that found nothing.
            self._heard = None
        self._blocking = self._heard is not None
        self._brpop_sent_at = stock.monotonic()
        if self._blocking:
            bells = {Keys(self.namespace).bell(INBOX): self._heard}
            if watch is not None:
                bells[watch.bell] = watch.heard
            block = LONGEST_BLOCK if watch is not None and watch.follows else UNWATCHED_BLOCK
            self._in_poll = connection
            connection.send_command("XREAD", "BLOCK", milliseconds(block), "STREAMS", *bells, *bells.values())
            return
        if watch is not None:
            watch.leave(connection)
        self._in_poll = connection
        self._token = secrets.token_hex(16)
        script, lease = digest(PACKAGE, "claim"), milliseconds(self.claims.lease)
        connection.send_command("EVALSHA", script, 1, self.namespace, self._token, lease, self.worker_name)

    def _brpop_read(self, **options: object) -> bool:
        waits = False
        try:
            if not self._asks_inbox:
                return self._read_reply(**options)
            if self._blocking:
                waits = self._hear()
                raise Empty
            answer = self._read_answer()
            if len(answer) == 1:
                self._heard = bytes_to_str(answer[0][0])
                raise Empty
            self._deliver(bytes_to_str(answer[0]), answer[1])
            return True
        finally:
            if not waits:
                self._in_poll = None
                self._flush_brpop_reauth()

    def _read_answer(self, *, news: bool = False) -> Any:
        """Return the answer to the last command, or a key notification that comes first."""
        self._heard = None
        try:
            return self.client.connection.read_response(push_request=news)
        except self.connection_errors:
            self.client.connection.disconnect()
            raise
        except NoScriptError:
            self._kept_client().script_load(source(PACKAGE, "claim"))
            raise Empty from None
        except ResponseError as error:
            # Out of memory, a replica after a failover, or a full disk: Redis answers with a refusal.
            stock.warning("Redis refuses to hand out messages, will ask again: %s", error)
            self._heard = NO_ANSWER
            raise Empty from None

    def _hear(self) -> bool:
        """Read the available data while waiting for a bell; return whether the wait goes on."""
        connection, watch = self.client.connection, self.inbox_watch
        while is_news(answer := self._read_answer(news=True)):
            if watch is not None and not watch.ring(answer):
                # Nothing else ends the wait. The next connection claims at once.
                connection.disconnect()
                return False
            if not connection.can_read(0):
                return True
        if watch is not None:
            watch.hear(answer)
        return False

    def _read_reply(self, **options: object) -> bool:
        """Read with Kombu's code for queues that hold no runs; it does not know the prefix."""
        try:
            answer = self.client.parse_response(self.client.connection, "BRPOP", **options)
        except self.connection_errors:
            self.client.connection.disconnect()
            raise
        if not answer:
            raise Empty
        key, item = answer
        queue = bytes_to_str(key).rsplit(self.sep, 1)[0].removeprefix(self._reply_prefix)
        self._queue_cycle.rotate(queue)
        self.connection._deliver(loads(bytes_to_str(item)), queue)
        return True

    def _deliver(self, queue: str, raw: bytes) -> None:
        self.claims.take(self._token)
        if queue not in self._active_queues:
            # Requested before the consumer was cancelled, answered afterwards.
            self.release(self._token, requeue=True)
            return
        try:
            self.connection._deliver(read_envelope(raw, self._token), queue)
        except UnreadableError as error:
            self.bury(self._token, raw, str(error))
        except self.connection_errors:
            raise
        except Unavailable as error:
            # The message is sound, so the next consumer may succeed.
            stock.warning("a message is left for later, Redis is away: %s", error)
            self.qos.reject(self._token, requeue=True)
        except Exception as error:  # noqa: BLE001 - see below
            # The content of a message must not end this worker and every worker that takes it afterwards.
            stock.crit("a message broke its handling: %r", error, exc_info=True)
            self.bury(self._token, raw, f"it broke its handling: {error!r}")
            self.qos.let_go(self._token)

    def bury(self, token: str, raw: bytes, why: str) -> None:
        """Move a message that cannot be processed to the dead letters. It does not belong to a run."""
        stock.crit("a message is put to the dead letters: %s", why)
        try:
            self.claims.bury(token, raw, why, None)
        except Unavailable as error:
            stock.warning("could not bury a message, its lease will run out: %s", error)

    def close(self) -> None:
        """Close the channel: abort a wait for a bell, but read the answer to a pending claim first."""
        if self._in_poll and self._blocking:
            self._in_poll.disconnect()
            self._in_poll = None
        if not self.closed:
            # Kombu deletes auto-delete queues only if the channel has a client; a blocking connection is none.
            self.__dict__.setdefault("client", self._kept_client())
        super().close()

    # -- returning messages

    def release(self, token: str, *, requeue: bool = False) -> None:
        """Release a claim that no script has released."""
        if self.claims is None or not self.claims.holds(token):
            return
        try:
            if requeue:
                self.claims.hand_back_waiting([token])
            else:
                self.claims.drop(token)
        except Unavailable as error:
            stock.warning("could not release a claim for now: %s", error)

    def hand_back_waiting(self, tokens: list[str]) -> None:
        """Return the messages that this process holds."""
        if self.claims is None:
            return
        waiting = [token for token in tokens if self.claims.holds(token)]
        try:
            self.claims.hand_back_waiting(waiting)
        except Unavailable as error:
            stock.warning("could not hand back %d messages for now: %s", len(waiting), error)


class PlainChannel(Channel):
    """A channel for the remote control of plain Celery clients, whose reply queues have Kombu's keys."""

    def _q_for_pri(self, queue: str, pri: int) -> str:
        if queue.endswith(f".{PLAIN_REPLIES}"):
            return str(stock.Channel._q_for_pri(self, queue, pri))
        return super()._q_for_pri(queue, pri)

    def get_table(self, exchange: str) -> list[tuple[str, ...]]:
        """Return the bindings of clients' reply queues; this channel publishes nothing else."""
        if exchange != PLAIN_REPLIES:
            return []
        own, self.keyprefix_queue = self.keyprefix_queue, stock.Channel.keyprefix_queue
        try:
            return list(super().get_table(exchange))
        finally:
            self.keyprefix_queue = own


class _Watched:
    """A mixin for redis-py connections that tells the channel when the connection is closed."""

    channel: Any

    def disconnect(self, *args: object, **kwargs: object) -> None:
        super().disconnect(*args, **kwargs)  # type: ignore[misc]
        if self.channel._registered:
            self.channel._on_connection_disconnect(self)


class _Lent:
    """A context manager that lends a client and keeps it open."""

    def __init__(self, client: object) -> None:
        self._client = client

    def __enter__(self) -> Any:
        return self._client

    def __exit__(self, *_: object) -> None:
        return None


class Transport(stock.Transport):
    """Kombu's Redis transport with claiming channels."""

    Channel = Channel
    can_parse_url = True
    """redis-py parses the URL, see ``Channel._connparams``."""
