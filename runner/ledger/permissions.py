"""The permissions (ACL) that a Redis user needs, and the check of the project's user.

This is the smallest set: every command, key, and channel here is used, and no other.
``docs/how-to/redis-permissions.md`` has it as a line to paste.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import redis
from redis.exceptions import NoPermissionError

from runner._dataclass import dataclass
from runner.errors import InvalidSettings
from runner.ledger.inbox import INBOX, PLAIN_CONTROL, PLAIN_REPLIES
from runner.ledger.keys import meta_key
from runner.ledger.reach import reaching
from runner.ledger.store import Store
from runner.ledger.translation import cluster_refused

_KEY = "{key}"
_CHANNEL = "{channel}"
_PATTERN = "{pattern}"

_COMMANDS: tuple[tuple[str, ...], ...] = (
    # Each has the right number of arguments. None is ever executed.
    *(("PING",), ("TIME",), ("INFO", "server"), ("SELECT", "0"), ("MULTI",), ("EXEC",)),
    *(("EVAL", "return 1", "1", _KEY), ("EVALSHA", "0" * 40, "1", _KEY)),
    *(("SCRIPT|LOAD", "return 1"), ("SCRIPT|EXISTS", "0" * 40)),
    *(("GET", _KEY), ("SET", _KEY, "x"), ("DEL", _KEY), ("UNLINK", _KEY), ("EXISTS", _KEY), ("TYPE", _KEY)),
    *(("EXPIRE", _KEY, "1"), ("PEXPIRE", _KEY, "1"), ("SCAN", "0"), ("MEMORY|USAGE", _KEY)),
    *(("STRLEN", _KEY), ("GETRANGE", _KEY, "0", "0"), ("COPY", _KEY, _KEY)),
    *(("SETBIT", _KEY, "0", "0"), ("BITCOUNT", _KEY)),
    *(("HSET", _KEY, "f", "v"), ("HSETNX", _KEY, "f", "v"), ("HGET", _KEY, "f"), ("HMGET", _KEY, "f")),
    *(("HGETALL", _KEY), ("HDEL", _KEY, "f"), ("HEXISTS", _KEY, "f"), ("HINCRBY", _KEY, "f", "1"), ("HLEN", _KEY)),
    *(("HSCAN", _KEY, "0"), ("HRANDFIELD", _KEY)),
    *(
        ("LPUSH", _KEY, "x"),
        ("RPUSH", _KEY, "x"),
        ("RPOP", _KEY),
        ("BLPOP", _KEY, "1"),
        ("BRPOP", _KEY, "1"),
        ("LLEN", _KEY),
    ),
    *(("LINDEX", _KEY, "0"),),
    *(("LRANGE", _KEY, "0", "0"), ("LREM", _KEY, "0", "x"), ("LSET", _KEY, "0", "x"), ("LTRIM", _KEY, "0", "0")),
    *(("SADD", _KEY, "x"), ("SREM", _KEY, "x"), ("SMEMBERS", _KEY), ("SRANDMEMBER", _KEY), ("SSCAN", _KEY, "0")),
    *(("ZADD", _KEY, "1", "x"), ("ZREM", _KEY, "x"), ("ZSCORE", _KEY, "x"), ("ZRANK", _KEY, "x"), ("ZCARD", _KEY)),
    *(("ZCOUNT", _KEY, "0", "1"), ("ZRANGE", _KEY, "0", "0"), ("ZREVRANGE", _KEY, "0", "0"), ("ZPOPMIN", _KEY)),
    *(("SISMEMBER", _KEY, "x"), ("ZRANDMEMBER", _KEY)),
    *(("ZRANGEBYSCORE", _KEY, "0", "1"), ("ZREMRANGEBYSCORE", _KEY, "0", "1"), ("ZSCAN", _KEY, "0")),
    *(("XADD", _KEY, "*", "f", "v"), ("XDEL", _KEY, "0-1"), ("XRANGE", _KEY, "-", "+"), ("XREVRANGE", _KEY, "+", "-")),
    *(("XREAD", "STREAMS", _KEY, "0"),),
    *(("PUBLISH", _CHANNEL, "x"), ("SUBSCRIBE", _CHANNEL), ("UNSUBSCRIBE", _CHANNEL)),
    *(("PSUBSCRIBE", _PATTERN), ("PUNSUBSCRIBE", _PATTERN), ("CLIENT|TRACKING", "ON")),
)
_REPLICATED = (("WAIT", "0", "1"),)
"""Only needed with ``durability: replicated``."""


@dataclass(frozen=True, slots=True)
class Needs:
    """The permissions that a project's user needs. ``keys`` and ``channels`` are patterns of ACL rules."""

    commands: tuple[tuple[str, ...], ...]
    keys: tuple[str, ...]
    channels: tuple[str, ...]

    @classmethod
    def of(cls, namespace: str, database: int = 0, *, replicated: bool = False) -> Needs:
        """Return the needs of a project by its ``namespace``, the database in its URL, and its ``durability``."""
        return cls(
            _COMMANDS + (_REPLICATED if replicated else ()),
            # The inbox of plain clients has a list for each of Kombu's priorities: its name, two bytes, and a digit.
            # Their remote control has a set and reply lists.
            (namespace, f"{namespace}:*", INBOX, f"{INBOX}??[1-9]", meta_key("*"), f"*.{PLAIN_REPLIES}"),
            (
                f"{namespace}:changed:*",
                meta_key("*"),
                # A pattern can be subscribed to only if the rules contain it literally.
                f"/{database}.{namespace}.pidbox",
                f"/{database}.{PLAIN_CONTROL}.pidbox",
                f"/{database}.{namespace}.events/*",
            ),
        )

    def rules(self) -> str:
        """Return the rules for ``ACL SETUSER``, to be put after the user and the password."""
        commands = [f"+{name.lower()}" for name, *_ in self.commands]
        keys, channels = [f"~{key}" for key in self.keys], [f"&{channel}" for channel in self.channels]
        return " ".join([*keys, "resetchannels", *channels, "-@all", *commands])


@dataclass(frozen=True, slots=True)
class Missing:
    """The missing permissions, as the rules that would grant them."""

    rules: tuple[str, ...]

    def __str__(self) -> str:
        return ", ".join(self.rules)


def missing_permissions(store: Store) -> Missing:
    """Return the missing permissions of the project's Redis user. This executes nothing and costs one round trip.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    settings, client = store.settings, store.client
    with reaching(settings):
        connection = client.connection_pool.get_connection()
        try:
            database = int(getattr(connection, "db", 0) or 0)
            needs = Needs.of(settings.namespace, database, replicated=settings.durability == "replicated")
            return Missing(tuple(dict.fromkeys(_ask(connection, needs, store.namespace))))
        finally:
            # The queued commands are dropped with the connection.
            connection.disconnect()
            client.connection_pool.release(connection)


def refuse_missing_permissions(store: Store) -> None:
    """Raise an error if the Redis user lacks a permission, or the server is a node of a Redis Cluster.

    Raises:
        InvalidSettings: a permission is missing; the message lists all of them.
        ClusterRefused: the server is a node of a Redis Cluster, even the only one.
        Unavailable: Redis cannot be reached.
    """
    refuse_cluster(store)
    missing = missing_permissions(store)
    if missing.rules:
        raise InvalidSettings(f"the user of redis_url lacks permissions: {missing}", hint=remedy(missing))


def refuse_cluster(store: Store) -> None:
    """Raise an error for a node of a Redis Cluster, where commands fail once they need keys of two nodes.

    Raises:
        ClusterRefused: the server is a node of a cluster.
        Unavailable: Redis cannot be reached.
    """
    with reaching(store.settings):
        try:
            info = store.client.info("cluster")
        except NoPermissionError:
            return
    if isinstance(info, dict) and info.get("cluster_enabled"):
        raise cluster_refused(store.settings.redis_url, "INFO says cluster_enabled:1")


def remedy(missing: Missing) -> str:
    """Return the advice for the administrator of Redis."""
    return f"ACL SETUSER NAME {' '.join(missing.rules)} (with the name of that user, then ACL SAVE)"


def _ask(connection: Any, needs: Needs, namespace: str) -> Iterator[str]:
    """Queue each command in a transaction that cannot succeed: permissions are checked when a command is queued."""
    [opened] = _answers(connection, [("MULTI",)])
    if isinstance(opened, NoPermissionError):
        # Without MULTI, the following commands would be executed.
        yield "+multi"
        return
    if isinstance(opened, redis.RedisError):
        raise opened
    key, channel, pattern = f"{namespace}:permissions", f"{namespace}:changed:permissions", needs.channels[-1]
    asked: list[tuple[str, tuple[str, ...]]] = []
    for name, *arguments in needs.commands:
        if name not in ("MULTI", "EXEC"):
            command = tuple(argument.format(key=key, channel=channel, pattern=pattern) for argument in arguments)
            asked.append((f"+{name.lower()}", (*name.split("|"), *command)))
    for pattern in needs.keys:
        sample = pattern.replace("*", "permissions").replace("??", "\x06\x16").replace("[1-9]", "3")
        asked += [(f"~{pattern}", ("GET", sample)), (f"~{pattern}", ("SET", sample, "x"))]
    for pattern in needs.channels:
        asked.append((f"&{pattern}", ("PUBLISH", pattern.replace("*", "permissions"), "x")))
        if pattern.startswith("/"):
            asked.append((f"&{pattern}", ("PSUBSCRIBE", pattern)))
    # Too few arguments, so that EXEC fails if it is permitted.
    commands = [("GET",), *(command for _, command in asked), ("EXEC",)]
    _, *answers, executed = _answers(connection, commands)
    if isinstance(executed, NoPermissionError) or "noperm" in str(executed).lower():
        yield "+exec"
    for (rule, _), answer in zip(asked, answers, strict=True):
        if isinstance(answer, NoPermissionError) and _fits(rule, str(answer).lower()):
            yield rule


def _fits(rule: str, refusal: str) -> bool:
    """Return whether a refusal is about the rule itself and not about the command that tested it."""
    what = "key" if "key" in refusal else "channel" if "channel" in refusal else "command"
    return {"~": "key", "&": "channel", "+": "command"}[rule[0]] == what


def _answers(connection: Any, commands: list[tuple[str, ...]]) -> list[Any]:
    connection.send_packed_command(connection.pack_commands(commands))
    answers: list[Any] = []
    for _ in commands:
        try:
            answers.append(connection.read_response())
        except redis.ResponseError as error:
            answers.append(error)
    return answers
