"""Make clients of Redis; no other module does."""

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
"""Seconds to wait for an answer where one was missed already."""
SENTINEL_TIMEOUT = 1.0
"""Seconds to wait for each Sentinel; the next one is asked then."""
_RETRIES = 1


def connect(
    settings: Settings,
    *,
    start: bool = True,
    patience: float = ANSWER_TIMEOUT,
    retries: int = _RETRIES,
    sparing: bool = False,
) -> redis.Redis:
    """Return a client; it connects with its first command, once, and gives text instead of bytes.

    Args:
        settings: of the project.
        start: whether an embedded server that does not run is started.
        patience: seconds to wait for an answer.
        retries: how often a command is tried again where the connection fails.
        sparing: whether only one connection stays open while no command is sent, however many threads have sent some.

    Raises:
        Unavailable: see :func:`resolve_url`.
        InvalidSettings: the URL has an option that redis-py does not know.
    """
    url = resolve_url(settings, start=start)
    options: dict[str, Any] = {
        "decode_responses": True,
        # What somebody wrote in no UTF-8 must not hide all else in the answer; it is written back as it was.
        "encoding_errors": "surrogateescape",
        # RESP2 and no CLIENT SETINFO: each of the others is a round trip before the first command.
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
        pool.connection_class(**pool.connection_kwargs)  # refuses unknown options now, and opens nothing
    except (TypeError, ValueError, redis.RedisError) as error:
        raise InvalidSettings(f"redis_url: {mask(url)}: {mask(str(error))}", hint="correct the part after ?") from error
    return redis.Redis.from_pool(pool)


class _Sparing:
    """Keeps one idle connection, the one used last; mixed into redis-py's own pools."""

    def release(self, connection: Any) -> None:
        # Threads that use the pool at the same moment have a connection each. All but the last are closed again.
        with self._lock:  # type: ignore[attr-defined]
            self.disconnect(inuse_connections=False)  # type: ignore[attr-defined]
            super().release(connection)  # type: ignore[misc]


class _SparingPool(_Sparing, redis.ConnectionPool):
    pass


def sentinel_pool(url: str, options: Mapping[str, Any], *, sparing: bool = False) -> redis.ConnectionPool:
    """Return a pool of connections to the primary that Sentinels name; each connection asks them anew.

    Args:
        url: ``sentinel://…``.
        options: of the connections, beside those of the URL.
        sparing: see :func:`connect`.

    Raises:
        InvalidSettings: the URL has an option that redis-py does not know.
    """
    from redis.sentinel import Sentinel, SentinelConnectionPool  # start-up time: most projects have none

    kind = type("SparingSentinelPool", (_Sparing, SentinelConnectionPool), {}) if sparing else SentinelConnectionPool

    said = read_sentinel(url)
    asking = {
        "socket_connect_timeout": SENTINEL_TIMEOUT,
        "socket_timeout": SENTINEL_TIMEOUT,
        # The next Sentinel is asked instead.
        "retry": Retry(NoBackoff(), 0),
        **_no_client_info(),
        **said.sentinel_options,
    }
    try:
        manager = Sentinel(list(said.sentinels), sentinel_kwargs=asking)
        # A connection that finds a replica where the primary was is closed, and the next one asks again.
        pool: redis.ConnectionPool = kind(said.master, manager, is_master=True, **{**options, **said.options})
        return pool
    except (TypeError, ValueError, redis.RedisError) as error:
        raise InvalidSettings(f"redis_url: {mask(url)}: {mask(str(error))}", hint="correct the part after ?") from error


def _settle(connection: Any) -> None:
    """Log in on a new TLS connection, and wait for an answer.

    A server of TLS 1.3 sends session tickets behind the handshake. Without a login nothing has read them when redis-py
    looks whether data waits on its new connection, which it takes for a broken one.
    """
    connection.on_connect()
    connection.send_command("PING", check_health=False)
    connection.read_response()


def _no_client_info() -> dict[str, None]:
    # Its name changed with redis-py 7.2; the old one warns there.
    return {"driver_info": None} if hasattr(redis, "driver_info") else {"lib_name": None, "lib_version": None}


def exists_now(settings: Settings, *keys: str) -> bool | None:
    """Return whether any of the keys exists, by a connection of its own and within some seconds.

    None if nobody answers.
    """
    try:
        client = connect(settings, start=False, patience=LOOK_TIMEOUT)
        try:
            return bool(client.exists(*keys))
        finally:
            client.close()
    except (redis.RedisError, Unavailable, InvalidSettings):
        return None
