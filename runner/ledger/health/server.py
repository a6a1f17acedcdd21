"""Checks of the Redis server: version, memory, durability, role, and clock. Read-only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import redis

from runner._dataclass import dataclass
from runner.ledger.health.finding import Finding, ok, problem, warning
from runner.ledger.reach import reaching
from runner.ledger.store import Store
from runner.model.plural import things

OLDEST = {"redis": (7, 0), "valkey": (8, 0)}
SLOW_SECONDS = 0.1
"""The round-trip time (seconds) above which starts and ends of runs become slow."""
SKEW_SECONDS = 2.0
"""The clock difference (seconds) above which ``--at``, expiries, and logs become confusing."""
NEARLY_FULL = 0.9
_CONFIGURED = ("maxmemory-policy", "appendonly", "appendfsync", "save", "min-replicas-to-write")


@dataclass(frozen=True, slots=True)
class Server:
    """A server's description of itself. ``config`` lacks values that this user may not read (managed servers)."""

    info: Mapping[str, Any]
    config: Mapping[str, str]
    round_trip: float
    """The shortest of three round trips (seconds)."""
    skew: float
    """How far this host's clock is ahead of the server's (seconds)."""
    replicated: bool = False
    """Whether submissions wait for a replica (``durability: replicated``)."""

    def __getitem__(self, name: str) -> Any:
        return self.info.get(name)

    @property
    def appends(self) -> bool:
        """Return whether the append-only file is on."""
        return bool(self["aof_enabled"])

    @property
    def policy(self) -> str:
        """Return ``maxmemory-policy``."""
        return str(self["maxmemory_policy"] or self.config.get("maxmemory-policy", "noeviction"))


def ask(client: redis.Redis, *, replicated: bool = False) -> Server:
    """Read a server's description; ``replicated``: whether the project has ``durability: replicated``.

    Raises:
        redis.RedisError: the server cannot be reached.
    """
    info: Mapping[str, Any] = client.info("everything")
    config: Any = {}
    # A managed server forbids it, but INFO has most of the values.
    with suppress(redis.ResponseError):
        config = client.config_get(*_CONFIGURED)
    trips = []
    for _ in range(3):
        asked = time.time()
        seconds, micros = client.time()
        answered = time.time()
        trips.append((answered - asked, (asked + answered) / 2 - (seconds + micros / 1e6)))
    trip, skew = min(trips)
    return Server(info, config, trip, skew, replicated)


def _version(server: Server) -> Finding:
    name = str(server["server_name"] or "redis")
    text = str(server["valkey_version"] if name == "valkey" else server["redis_version"])
    oldest = OLDEST.get(name, OLDEST["redis"])
    parts = tuple(int(part) if part.isdigit() else 0 for part in text.split(".")[:2])
    shown = f"{name.capitalize()} {text}"
    if parts < oldest:
        return problem("version", f"{shown} is too old", "use Redis 7.0 or Valkey 8, or newer")
    return ok("version", shown)


def _round_trip(server: Server) -> Finding:
    duration = f"{server.round_trip * 1000:.1f} ms"
    if server.round_trip > SLOW_SECONDS:
        return warning("round-trip", f"a round trip takes {duration}", "run the workers nearer to Redis")
    return ok("round-trip", duration)


def _memory(server: Server) -> Finding:
    used, most = int(server["used_memory"] or 0), int(server["maxmemory"] or 0)
    usage = f"{size_text(used)} used"
    if not most:
        return ok("memory", f"{usage}, no maxmemory")
    usage += f" of {size_text(most)}, maxmemory-policy {server.policy}"
    if server.policy != "noeviction":
        return problem(
            "memory",
            f"{usage}: when memory is full, Redis deletes records of runs",
            "set maxmemory-policy noeviction",
        )
    if used > NEARLY_FULL * most:
        return problem("memory", f"{usage}: soon nothing can be submitted", "raise maxmemory, or keep less (retention)")
    return ok("memory", usage)


def _durability(server: Server) -> Finding:
    saves = server.config.get("save")
    fsync = server.config.get("appendfsync", "")
    if not server.appends:
        remedy = "set appendonly yes"
        if saves == "":
            return problem("durability", "appendonly no, and no save: a restart of Redis loses every run", remedy)
        points = f" (save {saves})" if saves else ""
        return warning(
            "durability", f"appendonly no: a restart of Redis loses all since its last snapshot{points}", remedy
        )
    if fsync == "always":
        return ok("durability", "appendfsync always: what was acknowledged survives a kill and a loss of power")
    if fsync == "no":
        return warning(
            "durability",
            "appendfsync no: a loss of power loses what the system has not written, 30 s or so",
            "set appendfsync everysec, or always",
        )
    if not fsync:
        return ok("durability", "appendonly yes; this user may not ask for appendfsync")
    return ok("durability", "appendfsync everysec: a loss of power or of the host can lose the last second")


def _writes(server: Server) -> Finding:
    if server["loading"]:
        return problem("disk-writes", "Redis is loading its data", "wait until it is done")
    bad = [
        message
        for field, message in (
            ("aof_last_write_status", "the last write to the append-only file failed"),
            ("aof_last_bgrewrite_status", "the last rewrite of the append-only file failed"),
            ("rdb_last_bgsave_status", "the last snapshot failed"),
        )
        if server[field] not in (None, "ok")
    ]
    if bad:
        return problem("disk-writes", "; ".join(bad), "free space on Redis' disk; its log says more")
    return ok("disk-writes", "the last writes to disk went well")


def _replication(server: Server) -> Finding:
    if server["cluster_enabled"]:
        return problem("replication", "this is Redis Cluster, which is not supported", "use a server that is not part")
    if server["role"] not in (None, "master"):
        return problem("replication", "this is a replica, which takes no writes", "write the primary into redis_url")
    replicas = int(server["connected_slaves"] or 0)
    least = int(server.config.get("min-replicas-to-write") or 0)
    if least > replicas:
        return problem(
            "replication",
            f"min-replicas-to-write is {least}, and {replicas} are connected: writes are refused",
            "start the replicas, or lower min-replicas-to-write",
        )
    if server.replicated and not replicas:
        return problem(
            "replication",
            "durability is replicated, and no replica is connected: what is submitted is not confirmed",
            "start a replica, or set durability: local",
        )
    return ok("replication", f"primary, {things(replicas, 'replica')}")


def _clock(server: Server) -> Finding:
    message = f"this machine's clock is {abs(server.skew):.1f} s {'ahead of' if server.skew > 0 else 'behind'} Redis'"
    if abs(server.skew) > SKEW_SECONDS:
        return warning("clock", message, "run NTP on both; delays and expiries follow Redis' clock")
    return ok("clock", message)


CHECKS: tuple[Callable[[Server], Finding], ...] = (
    _version,
    _round_trip,
    _memory,
    _durability,
    _writes,
    _replication,
    _clock,
)


def check_server(store: Store) -> Iterator[Finding]:
    """Yield the findings about the server.

    Raises:
        Unavailable: the server cannot be reached.
    """
    with reaching(store.settings):
        server = ask(store.client, replicated=store.settings.durability == "replicated")
    for check in CHECKS:
        yield check(server)


def losing_settings(store: Store) -> list[Finding]:
    """Return the findings about settings of the server that lose data.

    Raises:
        Unavailable: the server cannot be reached.
    """
    with reaching(store.settings):
        server = ask(store.client)
    return [found for found in (_memory(server), _durability(server)) if found.remedy]


def size_text(count: int) -> str:
    """Return a size for people, such as ``1.5 GiB``."""
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
