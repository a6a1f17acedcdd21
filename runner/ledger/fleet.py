"""Who works, and what waits: workers and queues by their records, without asking any worker."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from runner.ledger.connection import reaching
from runner.model.run import to_timestamp

if TYPE_CHECKING:
    from runner.ledger.ledger import Ledger

MOST_DELAYED = 10_000
"""Delayed runs that are looked at, those that are due first."""

_INBOX = "celery"
_PRIORITIES = 10


def read_workers(ledger: Ledger) -> list[dict[str, Any]]:
    """Return the workers that live, and those that went without a word in the last day.

    Each has name, host, pid, pool, version, state (running, stopping or lost), queues, concurrency, running (how many
    runs it performs now), jobs (how many it knows), catalog (the digest of them all, None until it is told), problems
    (``{"count", "first"}``: of its files of jobs), kept (files with problems, of which an earlier state is in force);
    in Unix ms started_at, catalog_since, seen_at by Redis' clock, and clock, the worker's own at that time.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    namespace = ledger.namespace
    with reaching(ledger.settings):
        with ledger.client.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.zrange(f"{namespace}:workers", 0, -1, withscores=True)
            (seconds, micros), scores = pipe.execute()
        with ledger.client.pipeline(transaction=False) as pipe:
            for name, _ in scores:
                pipe.hgetall(f"{namespace}:worker:{name}")
            records = pipe.execute()
    now = seconds * 1000 + micros // 1000
    return [
        _worker(name, record, lost=until <= now)
        for (name, until), record in sorted(zip(scores, records, strict=True), key=lambda each: str(each[0][0]))
        if record
    ]


def _worker(name: str, record: Mapping[str, str], *, lost: bool) -> dict[str, Any]:
    return {
        "name": name,
        "state": "lost" if lost else record.get("state", "running"),
        "host": record["host"],
        "pid": int(record["pid"]),
        "pool": record["pool"],
        "version": record.get("version"),
        "queues": record["queues"].split(","),
        "concurrency": int(record["concurrency"]),
        "running": 0 if lost else int(record.get("running", 0)),
        "jobs": int(record.get("jobs", 0)),
        "catalog": record.get("catalog") or None,
        "catalog_since": int(record.get("catalog_since", record["started_at"])),
        "problems": json.loads(record.get("problems") or '{"count": 0, "first": []}'),
        "kept": json.loads(record.get("kept") or "[]"),
        "started_at": int(record["started_at"]),
        "seen_at": int(record["seen_at"]),
        "clock": int(record.get("clock", 0)),
    }


def worker_document(worker: Mapping[str, Any]) -> dict[str, Any]:
    """Return a worker of :func:`read_workers` as JSON values."""
    shown = {name: value for name, value in worker.items() if name != "clock"}
    return {**shown, **{name: to_timestamp(worker[name]) for name in ("catalog_since", "started_at", "seen_at")}}


def read_queues(ledger: Ledger) -> list[dict[str, Any]]:
    """Return the queues that workers take from, or in which something waits.

    Each has name, waiting (messages), priorities (how many wait of each priority that does, by its number as text),
    delayed (runs to be put into it later), workers (how many take from it), concurrency (how many runs they perform
    at once, all in all), running (how many they perform now, of whatever queue) and oldest (seconds since the
    submission of the run that is next; None if nothing waits, or that is not known).

    Raises:
        Unavailable: Redis cannot be reached.
    """
    namespace, client = ledger.namespace, ledger.client
    workers = ledger.workers()
    with reaching(ledger.settings):
        used: set[str] = set(client.smembers(f"{namespace}:queues"))  # type: ignore[arg-type]
        names = sorted(used | {queue for worker in workers for queue in worker["queues"]} | {_INBOX})
        keys = [(name, priority, key) for name in names for priority, key in _keys(namespace, name)]
        with client.pipeline(transaction=False) as pipe:
            pipe.time()
            for _, _, key in keys:
                pipe.llen(key)
                pipe.lindex(key, -1)
            (seconds, micros), *found = pipe.execute()
        delayed = _delayed(ledger)
        waiting: dict[str, dict[int, int]] = {name: {} for name in names}
        heads: dict[str, list[str]] = {name: [] for name in names}
        for (name, priority, _), length, head in zip(keys, found[::2], found[1::2], strict=True):
            if length:
                waiting[name][priority] = int(length)
                heads[name] += _id_of(head)
        submitted = _submitted(ledger, [run_id for ids in heads.values() for run_id in ids])
    now = seconds * 1000 + micros // 1000
    shown = []
    for name in [*names, *sorted(set(delayed) - set(names))]:
        named = [worker for worker in workers if name in worker["queues"]]
        # Every worker takes from the inbox, whatever its queues are.
        takers = workers if name == _INBOX else named
        ages = [now - submitted[run_id] for run_id in heads.get(name, ()) if run_id in submitted]
        counts = waiting.get(name, {})
        if not (named or counts or delayed.get(name)):
            continue
        shown.append(
            {
                "name": name,
                "waiting": sum(counts.values()),
                "priorities": {str(priority): counts[priority] for priority in sorted(counts, reverse=True)},
                "delayed": delayed.get(name, 0),
                "workers": len(takers),
                "concurrency": sum(worker["concurrency"] for worker in takers),
                "running": sum(worker["running"] for worker in takers),
                "oldest": round(max(ages) / 1000, 3) if ages else None,
            }
        )
    return shown


def _keys(namespace: str, queue: str) -> Iterable[tuple[int, str]]:
    """Yield the priorities and keys of a queue; Kombu has four steps of priority, and names of its own for them."""
    if queue == _INBOX:
        return [(step, queue if step == 0 else f"{queue}\x06\x16{step}") for step in (0, 3, 6, 9)]
    return [(priority, f"{namespace}:queue:{queue}:{priority}") for priority in range(_PRIORITIES)]


def _id_of(message: str | None) -> list[str]:
    try:
        found = json.loads(message or "")["headers"]["id"]
    except (ValueError, KeyError, TypeError):
        return []
    return [found] if isinstance(found, str) else []


def _submitted(ledger: Ledger, ids: list[str]) -> dict[str, int]:
    with ledger.client.pipeline(transaction=False) as pipe:
        for run_id in ids:
            pipe.hget(f"{ledger.namespace}:run:{run_id}", "submitted_at")
        return {run_id: int(at) for run_id, at in zip(ids, pipe.execute(), strict=True) if at}


def _delayed(ledger: Ledger) -> dict[str, int]:
    """Return how many delayed runs each queue will get."""
    ids: list[str] = ledger.client.zrange(f"{ledger.namespace}:delayed", 0, MOST_DELAYED - 1)  # type: ignore[assignment]
    with ledger.client.pipeline(transaction=False) as pipe:
        for run_id in ids:
            pipe.hget(f"{ledger.namespace}:run:{run_id}", "queue")
        queues = pipe.execute()
    counts: dict[str, int] = {}
    for queue in queues:
        if queue:
            counts[queue] = counts.get(queue, 0) + 1
    return counts
