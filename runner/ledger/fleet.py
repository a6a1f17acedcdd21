"""List workers and queues from their records, without asking any worker."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Literal

from runner._dataclass import dataclass
from runner.ledger.inbox import INBOX, INBOX_KEYS
from runner.ledger.keys import Keys
from runner.ledger.reach import reaching
from runner.ledger.record import LATEST, pairs
from runner.ledger.store import Store
from runner.model.queue import Queue
from runner.model.run import to_datetime, to_timestamp
from runner.model.worker import Problems, Worker

MOST_DELAYED = 10_000
"""The maximum number of delayed runs that are counted, next due first, and of held runs."""

SILENT_SECONDS = 10.0
"""Seconds of silence after which a worker is in trouble; in a large fleet it beats every 7.4 s, see ``beat.lua``."""

_PRIORITIES = 10
_STATES: Mapping[str, Literal["running", "stopping"]] = {"running": "running", "stopping": "stopping"}


def read_workers(store: Store) -> list[Worker]:
    """Return the live workers, and those that were lost within the last day.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    return [_worker(name, record, lost=lost) for name, record, lost in _records(store)]


def live_workers(store: Store) -> list[Worker]:
    """Return the live workers.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    return [worker for worker in read_workers(store) if not worker.lost]


def consumed_queues(store: Store) -> set[str]:
    """Return the queues that a live worker takes runs from.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    return {queue for worker in live_workers(store) for queue in (*worker.queues, INBOX)}


def clock_skews(store: Store) -> dict[str, float]:
    """Return the seconds by which the clock of each live worker's host is ahead of Redis' clock, by the worker's name.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    skews = {}
    for name, record, lost in _records(store):
        with suppress(ValueError, ArithmeticError):
            clock, seen = int(record.get("clock") or 0), int(record.get("seen_at") or 0)
            if clock and not lost:
                skews[name] = (clock - seen) / 1000
    return skews


def brokers(store: Store) -> dict[str, str]:
    """Return the broker of each live worker, redis or rabbitmq, by the worker's name.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    return {name: record["broker"] for name, record, lost in _records(store) if not lost and record.get("broker")}


@dataclass(frozen=True, slots=True)
class Local:
    """A worker on one host, with the data that tells whether its process still lives."""

    worker: Worker
    process: str
    """The start of its process (see :func:`runner.host.process.started_at`); empty from an older version."""
    silent: float
    """Seconds since its last beat."""


def workers_of_host(store: Store, host: str) -> list[Local]:
    """Return the workers whose host is ``host``, by their records.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    now, found = store.script("workers", host)
    listed = []
    for name, until, flat in found:
        record = pairs(flat)
        worker = _worker(name, record, lost=float(until) <= now)
        silent = now / 1000 - to_datetime(worker.seen_at).timestamp()
        listed.append(Local(worker, record.get("process", ""), silent))
    return listed


def _records(store: Store) -> list[tuple[str, Mapping[str, str], bool]]:
    """Return the name and the record of each listed worker, and whether it is lost."""
    now, found = store.script("workers")
    return [
        (name, pairs(record), float(until) <= now)
        for name, until, record in sorted(found, key=lambda entry: str(entry[0]))
        if record
    ]


def _worker(name: str, record: Mapping[str, str], *, lost: bool) -> Worker:
    """Return a worker. If its record is damaged, its problems say so; its next beat repairs the record."""
    try:
        return _read_worker(name, record, lost=lost)
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError):
        damaged = {"problems": json.dumps({"count": 1, "first": ["its record is damaged"]})}
        defaults = {"host": "?", "pool": "?", "queues": "", "pid": "0", "concurrency": "0"}
        return _read_worker(name, {**defaults, "started_at": "0", "seen_at": "0", **damaged}, lost=lost)


def _read_worker(name: str, record: Mapping[str, str], *, lost: bool) -> Worker:
    problems = json.loads(record.get("problems") or '{"count": 0, "first": []}')
    kept = json.loads(record.get("kept") or "[]")
    count, first = problems["count"], problems["first"]
    if type(count) is not int or not _are_texts(first) or not _are_texts(kept) or bool(count) != bool(first):
        raise TypeError
    return Worker(
        name=name,
        state="lost" if lost else _STATES[record.get("state", "running")],
        host=record["host"],
        pid=int(record["pid"]),
        pool=record["pool"],
        version=record.get("version"),
        queues=record["queues"].split(",") if record["queues"] else [],
        concurrency=int(record["concurrency"]),
        running=0 if lost else int(record.get("running", 0)),
        jobs=int(record.get("jobs", 0)),
        catalog=record.get("catalog") or None,
        catalog_since=_moment(record.get("catalog_since", record["started_at"])),
        problems=Problems(count=count, first=first),
        kept=kept,
        started_at=_moment(record["started_at"]),
        seen_at=_moment(record["seen_at"]),
    )


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _moment(text: str) -> str:
    if not 0 <= (moment := int(text)) <= LATEST:
        raise ValueError(text)
    return to_timestamp(moment) or ""


def read_queues(store: Store) -> list[Queue]:
    """Return the queues that workers consume or that have waiting runs.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    client = store.client
    workers = live_workers(store)
    with reaching(store.settings):
        used: set[str] = set(client.smembers(store.keys.queues))  # type: ignore[arg-type]
        names = sorted(used | {queue for worker in workers for queue in worker.queues} | {INBOX})
        keys = [(name, priority, key) for name in names for priority, key in _lists(store.keys, name)]
        with client.pipeline(transaction=False) as pipe:
            pipe.time()
            for _, _, key in keys:
                pipe.llen(key)
                pipe.lindex(key, -1)
            (seconds, micros), *found = pipe.execute()
        delayed, held = _delayed(store), _held(store)
        waiting: dict[str, dict[int, int]] = {name: {} for name in names}
        heads: dict[str, list[str]] = {name: [] for name in names}
        for (name, priority, _), length, head in zip(keys, found[::2], found[1::2], strict=True):
            if length:
                waiting[name][priority] = waiting[name].get(priority, 0) + int(length)
                heads[name] += _id_of(head)
        submitted = _submitted(store, [run_id for ids in heads.values() for run_id in ids])
    now = seconds * 1000 + micros // 1000
    shown = []
    for name in [*names, *sorted((delayed.keys() | held.keys()) - set(names))]:
        named = [worker for worker in workers if name in worker.queues]
        takers = workers if name == INBOX else named
        ages = [now - submitted[run_id] for run_id in heads.get(name, ()) if run_id in submitted]
        counts = waiting.get(name, {})
        if not (named or counts or delayed.get(name) or held.get(name)):
            continue
        shown.append(
            Queue(
                name=name,
                waiting=sum(counts.values()),
                priorities={str(priority): counts[priority] for priority in sorted(counts, reverse=True)},
                delayed=delayed.get(name, 0),
                held=held.get(name, 0),
                workers=len(takers),
                concurrency=sum(worker.concurrency for worker in takers),
                running=sum(worker.running for worker in takers),
                oldest=round(max(ages) / 1000, 3) if ages else None,
            )
        )
    return shown


def _lists(keys: Keys, queue: str) -> Iterable[tuple[int, str]]:
    """Yield the priorities and keys of a queue, including the keys of messages for the queue of plain clients."""
    lists = [(priority, keys.queue(queue, priority)) for priority in range(_PRIORITIES)]
    return [*lists, *zip((0, 3, 6, 9), INBOX_KEYS, strict=True)] if queue == INBOX else lists


def _id_of(message: str | None) -> list[str]:
    try:
        found = json.loads(message or "")["headers"]["id"]
    except (ValueError, KeyError, TypeError):
        return []
    return [found] if isinstance(found, str) else []


def _submitted(store: Store, ids: list[str]) -> dict[str, int]:
    with store.client.pipeline(transaction=False) as pipe:
        for run_id in ids:
            pipe.hget(store.keys.run(run_id), "submitted_at")
        found = zip(ids, pipe.execute(raise_on_error=False), strict=True)
        return {run_id: int(at) for run_id, at in found if isinstance(at, str) and at.isascii() and at.isdigit()}


def _delayed(store: Store) -> dict[str, int]:
    """Count the delayed runs of each queue."""
    return _by_queue(store, store.client.zrange(store.keys.delayed, 0, MOST_DELAYED - 1))  # type: ignore[arg-type]


def _held(store: Store) -> dict[str, int]:
    """Count the held runs of each queue."""
    client, keys = store.client, store.keys
    with client.pipeline(transaction=False) as pipe:
        pipe.hgetall(keys.limits)
        pipe.zrange(keys.rates, 0, MOST_DELAYED - 1)
        pipe.smembers(keys.parked)
        pipe.smembers(keys.required)
        groups, rated, parked, required = pipe.execute()
    sets = [*map(keys.waiting, groups), *map(keys.rated, rated), *(f"{keys.parked}:{job}" for job in parked)]
    sets += [keys.requiring(*name.rpartition(":")[::2]) for name in required]
    ids: list[str] = []
    for first in range(0, len(sets), 100):
        with client.pipeline(transaction=False) as pipe:
            for key in sets[first : first + 100]:
                pipe.zrange(key, 0, MOST_DELAYED - len(ids) - 1)
            # The doctor reports damaged records.
            found = [answer for answer in pipe.execute(raise_on_error=False) if isinstance(answer, list)]
        ids += [run_id for answer in found for run_id in answer]
        if len(ids) >= MOST_DELAYED:
            break
    return _by_queue(store, ids[:MOST_DELAYED])


def _by_queue(store: Store, ids: list[str]) -> dict[str, int]:
    """Count the runs with these ids by their queue."""
    with store.client.pipeline(transaction=False) as pipe:
        for run_id in ids:
            pipe.hget(store.keys.run(run_id), "queue")
        queues = pipe.execute(raise_on_error=False)
    counts: dict[str, int] = {}
    for queue in queues:
        if queue and isinstance(queue, str):
            counts[queue] = counts.get(queue, 0) + 1
    return counts
