"""How Redis is reached: one place makes clients, and turns what can go wrong into one error with a remedy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.retry import Retry

from runner import embedded
from runner.errors import InvalidSettings, Unavailable
from runner.ledger.packer import PACKER
from runner.settings import Settings
from runner.settings.redis_url import EMBEDDED, BadUrl, canonical, mask, read_sentinel

__all__ = ["connect", "kombu_url", "mask", "reaching", "resolve_url", "sentinel_pool", "translate"]

CONNECT_TIMEOUT = 5.0
"""Seconds to wait for a connection."""
ANSWER_TIMEOUT = 10.0
"""Seconds to wait for an answer."""
LOOK_TIMEOUT = 2.0
"""Seconds to wait for an answer where one was missed already."""
SENTINEL_TIMEOUT = 1.0
"""Seconds to wait for each Sentinel; the next one is asked then."""
_RETRIES = 1

_NO_PRIMARY = "no Sentinel knows a primary of that name now: a failover may be under way, else correct redis_url"
_REFUSAL_HINTS = (
    # (part of the error's class or text, what it means to a person); the first that fits
    ("loading the dataset", "Redis is loading its data, try again in a moment"),
    ("NOAUTH", "Redis wants a password: write it into redis_url (redis://:PASSWORD@HOST), env:NAME or file:PATH"),
    ("WRONGPASS", "user or password is wrong: correct redis_url"),
    ("invalid username-password", "user or password is wrong: correct redis_url"),
    (
        "Authentication",
        "Redis wants a password: write it into redis_url (redis://:PASSWORD@HOST), env:NAME or file:PATH",
    ),
    ("AUTH", "user or password is wrong, or Redis has none: correct redis_url"),
    ("NOPERM", "the user of redis_url lacks a permission (ACL): allow it all commands on the namespace's keys"),
    ("DB index is out of range", "that server has fewer databases: use a lower number at the end of redis_url"),
    ("invalid DB index", "that server has fewer databases: use a lower number at the end of redis_url"),
    ("READONLY", "that is a replica: write the primary's address into redis_url"),
    ("read only", "that is a replica: write the primary's address into redis_url"),
    ("OutOfMemory", "Redis is out of memory: raise its maxmemory, or keep less (retention)"),
    ("MISCONF", "Redis can not write to its disk: free space there, its log says more"),
    (
        "MasterNotFound",
        "no Sentinel knows a primary of that name now: a failover may be under way, else correct redis_url",
    ),
    (
        "No master found",
        "no Sentinel knows a primary of that name now: a failover may be under way, else correct redis_url",
    ),
    ("NOREPLICAS", "Redis has too few replicas in reach to accept writes"),
    ("MASTERDOWN", "that is a replica without its primary: write the primary's address into redis_url"),
    ("CLUSTERDOWN", "Redis Cluster is not supported, write the URL of one server into redis_url"),
    ("MOVED", "Redis Cluster is not supported, write the URL of one server into redis_url"),
    ("CROSSSLOT", "Redis Cluster is not supported, write the URL of one server into redis_url"),
    ("cluster mode", "Redis Cluster is not supported, write the URL of one server into redis_url"),
    ("unknown command", "the runner needs Redis 7.0 or Valkey 8, or newer, with all its commands allowed"),
    ("max number of clients", "Redis has too many clients: raise its maxclients"),
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted: add ?ssl_ca_certs=FILE to redis_url"),
    ("WRONG_VERSION_NUMBER", "that port does not speak TLS: write redis:// instead of rediss://"),
    ("SSL", "TLS failed: is that port for rediss://, and its certificate sound?"),
    ("Protocol Error", "does that port speak Redis? With TLS, write rediss://"),
    ("Connection closed by server", "the server hung up: is it Redis, and does that port want TLS (rediss://)?"),
    ("reset by peer", "the server hung up: is it Redis, and does that port want TLS (rediss://)?"),
    ("Name or service not known", "that host name is unknown: correct redis_url"),
    ("nodename nor servname", "that host name is unknown: correct redis_url"),
    ("Temporary failure in name resolution", "the host name can not be looked up now: check redis_url and the network"),
    ("Permission denied", "this user may not open the socket: add it to the group that may"),
    ("No such file", "there is no such socket: is Redis running, and does it have unixsocket set?"),
    ("refused", "is Redis running there, and is the port right?"),
    ("Timeout", "no answer in time: check host, port and firewall"),
    ("timed out", "no answer in time: check host, port and firewall"),
    ("unreachable", "there is no way to that host: check the network"),
)


def resolve_url(settings: Settings, *, start: bool = True) -> str:
    """Return the URL of the project's Redis, in the form that redis-py reads.

    Args:
        start: whether an embedded server that does not run is started.

    Raises:
        Unavailable: the embedded server does not run and can not, or shall not, be started.
        InvalidSettings: the URL is none.
    """
    if settings.redis_url == EMBEDDED:
        if start:
            return embedded.serve(settings)
        server = embedded.running(settings)
        if server is None:
            raise Unavailable(
                "the embedded server is not running", hint=f"runner --project {settings.project} up starts it"
            )
        return server.url
    try:
        return canonical(settings.redis_url)
    except BadUrl as bad:
        raise InvalidSettings(f"redis_url: {bad}") from bad


def kombu_url(url: str) -> str:
    """Return ``url`` as Kombu's own transport writes it: ``redis+socket://`` for ``unix://``."""
    if not url.startswith("unix://"):
        return url
    path, mark, query = url.removeprefix("unix://").partition("?")
    options = ["virtual_host=" + each[3:] if each.startswith("db=") else each for each in query.split("&")]
    return f"redis+socket://{path}{mark}{'&'.join(options)}"


def connect(settings: Settings, *, start: bool = True, patience: float = ANSWER_TIMEOUT) -> redis.Redis:
    """Return a client; it connects with its first command, once, and gives text instead of bytes.

    Args:
        settings: of the project.
        start: whether an embedded server that does not run is started.
        patience: seconds to wait for an answer.

    Raises:
        Unavailable: see :func:`resolve_url`.
        InvalidSettings: the URL has an option that redis-py does not know.
    """
    url = resolve_url(settings, start=start)
    options: dict[str, Any] = {
        "decode_responses": True,
        # RESP2 and no CLIENT SETINFO: each of the others is a round trip before the first command.
        "protocol": 2,
        "command_packer": PACKER,
        **_no_client_info(),
        "socket_connect_timeout": min(CONNECT_TIMEOUT, patience),
        "socket_timeout": patience,
        "retry": Retry(ExponentialBackoff(cap=0.5, base=0.05), _RETRIES),
        "health_check_interval": 0,
    }
    if not url.startswith("unix://"):
        options["socket_keepalive"] = True
    if url.startswith("sentinel://"):
        return redis.Redis.from_pool(sentinel_pool(url, options))
    try:
        pool = redis.ConnectionPool.from_url(url, **options)
        pool.connection_class(**pool.connection_kwargs)  # refuses unknown options now, and opens nothing
    except (TypeError, ValueError, redis.RedisError) as error:
        raise InvalidSettings(f"redis_url: {mask(url)}: {mask(str(error))}", hint="correct the part after ?") from error
    return redis.Redis.from_pool(pool)


def sentinel_pool(url: str, options: Mapping[str, Any]) -> redis.ConnectionPool:
    """Return a pool of connections to the primary that Sentinels name; each connection asks them anew.

    Args:
        url: ``sentinel://…``.
        options: of the connections, beside those of the URL.

    Raises:
        InvalidSettings: the URL has an option that redis-py does not know.
    """
    from redis.sentinel import Sentinel, SentinelConnectionPool  # start-up time: most projects have none

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
        manager = Sentinel(list(said.sentinels), sentinel_kwargs=asking)  # type: ignore[no-untyped-call]
        # A connection that finds a replica where the primary was is closed, and the next one asks again.
        return SentinelConnectionPool(said.master, manager, is_master=True, **{**options, **said.options})  # type: ignore[no-untyped-call]
    except (TypeError, ValueError, redis.RedisError) as error:
        raise InvalidSettings(f"redis_url: {mask(url)}: {mask(str(error))}", hint="correct the part after ?") from error


def _no_client_info() -> dict[str, None]:
    # Its name changed with redis-py 7.2; the old one warns there.
    return {"driver_info": None} if hasattr(redis, "driver_info") else {"lib_name": None, "lib_version": None}


def translate(error: BaseException, url: str) -> Unavailable:
    """Return the error that a person gets for one of redis-py's: what failed, where (no password), what to do."""
    text = str(error) or type(error).__name__
    where = "the embedded server" if url == EMBEDDED else mask(url)
    # redis-py takes the first word of Redis' answer (OOM, READONLY, …) away and makes a class of it.
    searched = f"{type(error).__name__} {text}".lower()
    hint = next((hint for part, hint in _REFUSAL_HINTS if part.lower() in searched), None)
    if hint is not None and url.startswith("rediss://") and "timed out" in searched.replace("timeout", "timed out"):
        hint += "; does that port speak TLS? Without it, write redis://"
    if url == EMBEDDED and (hint is None or isinstance(error, redis.ConnectionError | redis.TimeoutError)):
        hint = "try again: the next command starts it; its log is .runner/log/server.log"
    told = mask(text).splitlines()[0].rstrip(".")
    return Unavailable(f"Redis at {where}: {told}", hint=hint or "check redis_url and the server's log")


@contextmanager
def reaching(settings: Settings) -> Iterator[None]:
    """Turn every error of redis-py inside the block into :class:`~runner.errors.Unavailable`."""
    try:
        yield
    except redis.RedisError as error:
        raise translate(error, settings.redis_url) from error


def exists_now(settings: Settings, key: str) -> bool | None:
    """Return whether a key exists, by a connection of its own and within some seconds; None if nobody answers."""
    try:
        client = connect(settings, start=False, patience=LOOK_TIMEOUT)
        try:
            return bool(client.exists(key))
        finally:
            client.close()
    except (redis.RedisError, Unavailable, InvalidSettings):
        return None
