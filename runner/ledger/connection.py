"""Create Redis clients; no other module does so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.retry import Retry

from runner.errors import InvalidSettings, Unavailable
from runner.ledger.address import ANSWER_TIMEOUT, CONNECT_TIMEOUT, resolve_url
from runner.ledger.packer import PACKER
from runner.settings import Settings
from runner.settings.redis_url import mask, read_sentinel

LOOK_TIMEOUT = 2.0
"""Timeout of an answer after one was missed already (seconds)."""
SENTINEL_TIMEOUT = 1.0
"""Timeout of each Sentinel before the next one is asked (seconds)."""
_RETRIES = 1


def connect(
    settings: Settings,
    *,
    start: bool = True,
    patience: float = ANSWER_TIMEOUT,
    retries: int = _RETRIES,
    sparing: bool = False,
) -> redis.Redis:
    """Return a client that connects at its first command and returns text instead of bytes.

    Args:
        settings: the settings of the project.
        start: whether to start an embedded server that is not running.
        patience: the timeout of an answer (seconds).
        retries: the number of retries of a command when the connection fails.
        sparing: whether to keep only one idle connection open, however many threads use the client.

    Raises:
        Unavailable: see :func:`resolve_url`.
        InvalidSettings: redis-py does not know an option in the URL.
    """
    url = resolve_url(settings, start=start)
    options: dict[str, Any] = {
        "decode_responses": True,
        # Text that is not UTF-8 must not hide the rest of an answer, and is written back unchanged.
        "encoding_errors": "surrogateescape",
        # RESP2 and no CLIENT SETINFO, because each would cost a round trip before the first command.
        "protocol": 2,
        "command_packer": PACKER,
        **_no_client_info(),
        "socket_connect_timeout": min(CONNECT_TIMEOUT, patience),
        "socket_timeout": patience,
        "retry": Retry(ExponentialBackoff(cap=0.5, base=0.05), retries),
        "health_check_interval": 0,
    }
    if not url.startswith("unix://"):
        options["socket_keepalive"] = True
    if url.startswith("rediss://") or (url.startswith("sentinel://") and read_sentinel(url).options.get("ssl")):
        options["redis_connect_func"] = _settle
    if url.startswith("sentinel://"):
        return redis.Redis.from_pool(sentinel_pool(url, options, sparing=sparing))
    try:
        pool = (_SparingPool if sparing else redis.ConnectionPool).from_url(url, **options)
        pool.connection_class(**pool.connection_kwargs)  # this refuses unknown options now, and opens no connection
    except (TypeError, ValueError, redis.RedisError) as error:
        raise InvalidSettings(f"redis_url: {mask(url)}: {mask(str(error))}", hint="correct the part after ?") from error
    return redis.Redis.from_pool(pool)


class _Sparing:
    """A mixin for redis-py's pools that keeps only the connection that was used last."""

    def release(self, connection: Any) -> None:
        # Threads that use the pool at the same time have a connection each. All but the last are closed afterwards.
        with self._lock:  # type: ignore[attr-defined]
            self.disconnect(inuse_connections=False)  # type: ignore[attr-defined]
            super().release(connection)  # type: ignore[misc]


class _SparingPool(_Sparing, redis.ConnectionPool):
    pass


def sentinel_pool(url: str, options: Mapping[str, Any], *, sparing: bool = False) -> redis.ConnectionPool:
    """Return a pool of connections to the primary; each new connection asks the Sentinels for it.

    Args:
        url: ``sentinel://…``.
        options: options of the connections in addition to those in the URL.
        sparing: see :func:`connect`.

    Raises:
        InvalidSettings: redis-py does not know an option in the URL.
    """
    from redis.sentinel import Sentinel, SentinelConnectionPool  # start-up time: most projects have none

    kind = type("SparingSentinelPool", (_Sparing, SentinelConnectionPool), {}) if sparing else SentinelConnectionPool

    address = read_sentinel(url)
    asking = {
        "socket_connect_timeout": SENTINEL_TIMEOUT,
        "socket_timeout": SENTINEL_TIMEOUT,
        # Ask the next Sentinel instead.
        "retry": Retry(NoBackoff(), 0),
        **_no_client_info(),
        **address.sentinel_options,
    }
    try:
        manager = Sentinel(list(address.sentinels), sentinel_kwargs=asking)
        # A connection to a former primary that is a replica now is closed, and the next one asks again.
        pool: redis.ConnectionPool = kind(address.master, manager, is_master=True, **{**options, **address.options})
        return pool
    except (TypeError, ValueError, redis.RedisError) as error:
        raise InvalidSettings(f"redis_url: {mask(url)}: {mask(str(error))}", hint="correct the part after ?") from error


def _settle(connection: Any) -> None:
    """Log in on a new TLS connection, send a PING, and wait for the answer.

    With TLS 1.3, the server sends session tickets after the handshake. If nothing has read them, redis-py finds unread
    data on its new connection and treats it as broken.
    """
    connection.on_connect()
    connection.send_command("PING", check_health=False)
    connection.read_response()


def _no_client_info() -> dict[str, None]:
    # Its name changed in redis-py 7.2, where the old one warns.
    return {"driver_info": None} if hasattr(redis, "driver_info") else {"lib_name": None, "lib_version": None}


def exists_now(settings: Settings, *keys: str) -> bool | None:
    """Return whether any of the keys exists, through a separate connection with a short timeout.

    None if Redis does not answer.
    """
    try:
        client = connect(settings, start=False, patience=LOOK_TIMEOUT)
        try:
            return bool(client.exists(*keys))
        finally:
            client.close()
    except (redis.RedisError, Unavailable, InvalidSettings):
        return None
