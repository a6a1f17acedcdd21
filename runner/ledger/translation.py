"""Translate redis-py's errors into errors with a remedy."""

from __future__ import annotations

import redis
from redis.connection import DefaultParser

from runner.errors import ClusterRefused, Unavailable, WriteRefused
from runner.settings.redis_url import EMBEDDED, mask

_TEMPORARY = ("BUSY ", "UNKILLABLE ", "MISCONF ", "NOREPLICAS ", "DENIED ")
"""The first words of temporary errors, which end by themselves or after a repair of the server: a long script, a full
disk, too few replicas, a server that is not set up yet."""

_TEMPORARY_CLASSES = (
    redis.exceptions.ReadOnlyError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.TryAgainError,
    redis.exceptions.NoScriptError,
    # From a server without a password: nothing can be written to it, so it counts as an outage.
    redis.exceptions.AuthenticationWrongNumberOfArgsError,
)
"""The exceptions of redis-py for such answers; redis-py removes the first word."""

_PASSING = ("BUSY ", "UNKILLABLE ", "MISCONF ", "NOREPLICAS ")
_PASSING_CLASSES = (
    redis.exceptions.ReadOnlyError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.MasterDownError,
)
"""The temporary errors during a failover or an emergency, which do not mean a wrong setting."""

_REFUSAL_HINTS = (
    # (part of the error's class or text, its meaning for people); the first match counts
    ("loading the dataset", "Redis is loading its data, try again in a moment"),
    ("NOAUTH", "Redis wants a password: write it into redis_url (redis://:PASSWORD@HOST), env:NAME or file:PATH"),
    ("WRONGPASS", "user or password is wrong: correct redis_url"),
    ("invalid username-password", "user or password is wrong: correct redis_url"),
    (
        "Authentication",
        "Redis wants a password: write it into redis_url (redis://:PASSWORD@HOST), env:NAME or file:PATH",
    ),
    ("AUTH", "user or password is wrong, or Redis has none: correct redis_url"),
    ("NOPERM", "the user of redis_url lacks a permission (ACL); runner doctor names all that are missing"),
    ("NoPermission", "the user of redis_url lacks a permission (ACL); runner doctor names all that are missing"),
    ("ACL failure", "the user of redis_url lacks a permission (ACL); runner doctor names all that are missing"),
    ("DB index is out of range", "that server has fewer databases: use a lower number at the end of redis_url"),
    ("invalid DB index", "that server has fewer databases: use a lower number at the end of redis_url"),
    ("READONLY", "that is a replica: write the primary's address into redis_url"),
    ("read only", "that is a replica: write the primary's address into redis_url"),
    ("OutOfMemory", "Redis is out of memory: raise its maxmemory, or keep less (retention)"),
    ("MISCONF", "Redis cannot write to its disk: free space there, its log says more"),
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
    ("Temporary failure in name resolution", "the host name cannot be looked up now: check redis_url and the network"),
    ("Permission denied", "this user may not open the socket: add it to the group that may"),
    ("No such file", "there is no such socket: is Redis running, and does it have unixsocket set?"),
    ("refused", "is Redis running there, and is the port right?"),
    ("Timeout", "no answer in time: check host, port and firewall"),
    ("timed out", "no answer in time: check host, port and firewall"),
    ("unreachable", "the host is unreachable: check the network"),
)


_CLUSTER_CLASSES = (redis.exceptions.MovedError, redis.exceptions.AskError, redis.exceptions.ClusterCrossSlotError)
_CLUSTER = ("in cluster mode", "in a cluster node", "do not hash to the same slot")
"""Texts that occur only in the errors of a Redis Cluster node."""


def cluster_refused(url: str, reason: str) -> ClusterRefused:
    """Return the error for a ``redis_url`` of a Redis Cluster node, with the server's answer ``reason``."""
    return ClusterRefused(
        f"Redis at {mask(url)} is a node of a Redis Cluster, which is not supported: {reason}",
        hint="write the URL of one server, or of Sentinels, into redis_url; docs/explanation/redis-cluster.md says why",
    )


def translate(error: BaseException, url: str) -> Unavailable | ClusterRefused:
    """Return the runner's error for an error of redis-py: what failed, where (without the password), and what to do."""
    text = str(error) or type(error).__name__
    where = "the embedded server" if url == EMBEDDED else mask(url)
    # redis-py removes the first word of Redis' answer (OOM, READONLY, …) and uses it for the class.
    searched = f"{type(error).__name__} {text}".lower()
    if isinstance(error, _CLUSTER_CLASSES) or (
        isinstance(error, redis.ResponseError) and any(part in searched for part in _CLUSTER)
    ):
        return cluster_refused(url, mask(text).splitlines()[0].rstrip("."))
    hint = next((hint for part, hint in _REFUSAL_HINTS if part.lower() in searched), None)
    if hint is not None and url.startswith("rediss://") and "timed out" in searched.replace("timeout", "timed out"):
        hint += "; does that port speak TLS? Without it, write redis://"
    if url == EMBEDDED and (hint is None or isinstance(error, redis.ConnectionError | redis.TimeoutError)):
        hint = "try again: the next command starts it; its log is .runner/log/server.log"
    message = mask(text).splitlines()[0].rstrip(".")
    cls = WriteRefused if is_permanent(error) else Unavailable
    return cls(f"Redis at {where}: {message}", hint=hint or "check redis_url and the server's log")


def is_permanent(error: BaseException) -> bool:
    """Return whether Redis would always give the same answer, as opposed to an outage."""
    if isinstance(error, redis.ResponseError):
        return not isinstance(error, _TEMPORARY_CLASSES) and not str(error).startswith(_TEMPORARY)
    return isinstance(error, redis.DataError)


def hung_up(error: Unavailable) -> bool:
    """Return whether the server closed or refused the connection, as opposed to a timeout or an error answer."""
    return isinstance(error.__cause__, redis.ConnectionError)


def may_come_back(error: Unavailable) -> bool:
    """Return whether waiting may help.

    It helps without a connection or an answer, while the server loads its data, and while it refuses writes: after a
    failover, without memory or disk space, or during a long script.
    """
    cause = error.__cause__
    if isinstance(cause, redis.AuthenticationError | redis.exceptions.AuthorizationError):
        return False
    if isinstance(cause, redis.ResponseError):
        return isinstance(cause, _PASSING_CLASSES) or str(cause).startswith(_PASSING)
    return isinstance(cause, redis.ConnectionError | redis.TimeoutError)


def error_of(answer: str) -> redis.RedisError:
    """Return the exception that redis-py raises for an error of Redis."""
    error: redis.RedisError = DefaultParser.parse_error(answer)  # type: ignore[no-untyped-call]
    return error
