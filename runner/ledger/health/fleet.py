"""Checks of workers, their queues, and the dead letters."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from redis.exceptions import NoPermissionError

from runner.host.state import state_folder
from runner.ledger.fleet import SILENT_SECONDS, brokers, clock_skews, consumed_queues, live_workers
from runner.ledger.health.finding import EXAMPLES, Finding, Level, named, ok, problem, warning
from runner.ledger.health.server import SKEW_SECONDS
from runner.ledger.inbox import INBOX_KEYS, UNREAD_KEYS
from runner.ledger.pauses import read_pauses
from runner.ledger.reach import reaching
from runner.ledger.store import Store
from runner.model.pause import ALL
from runner.model.plural import things
from runner.model.run import to_datetime
from runner.model.worker import Worker

UNFIRED_SECONDS = 60
"""Seconds after which unfired hooks are reported; live workers fire hooks within a second."""
_PORTION = 100


def check_workers(store: Store, versions: Mapping[str, str]) -> Iterator[Finding]:
    """Yield findings about the workers: missing workers, beats, clocks, versions, and brokers.

    Args:
        store: the ledger's store.
        versions: the versions in this installation, by distribution.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    workers, client = live_workers(store), _client(store)
    with reaching(store.settings):
        indexes = [key(state) for state in ("PENDING", "RETRY") for key in (store.keys.state, store.keys.step_state)]
        waiting = sum(int(client.zcard(key)) for key in indexes)
        seconds, micros = client.time()
    now = seconds + micros / 1e6
    if workers:
        yield ok("workers", f"{things(len(workers), 'worker')}: {', '.join(worker.name for worker in workers)}")
    elif waiting:
        yield problem(
            "workers", f"{things(waiting, 'run')} waiting, and no worker is alive", "start one: runner worker"
        )
    else:
        yield ok("workers", "no worker is alive, and nothing waits")
    silent = [worker.name for worker in workers if now - to_datetime(worker.seen_at).timestamp() > SILENT_SECONDS]
    if silent:
        yield warning(
            "beats",
            f"not heard of for {SILENT_SECONDS:g} s: {', '.join(silent)}",
            "see their logs; their runs start elsewhere when the leases run out",
        )
    yield from _catalogs(workers)
    yield from _clocks(clock_skews(store))
    yield from _versions(workers, versions)
    yield from _brokers(brokers(store), "rabbitmq" if store.settings.on_amqp else "redis")


def _catalogs(workers: list[Worker]) -> Iterator[Finding]:
    """Yield findings about problems in the job files of workers, and about workers with different jobs."""
    faulty = [worker for worker in workers if worker.problems.count]
    if faulty:
        descriptions = [
            f"{worker.name} has {things(worker.problems.count, 'problem')}: {worker.problems.first[0]}"
            + (f" (an earlier state of {', '.join(worker.kept)} is in force)" if worker.kept else "")
            for worker in faulty
        ]
        yield warning(
            "catalogs",
            f"in files of jobs: {'; '.join(descriptions)}",
            "correct them where that worker runs: runner validate",
        )
    elif len({worker.catalog for worker in workers if worker.catalog}) > 1:
        yield warning("catalogs", "workers run different jobs", "bring them all up to date; runner plan tells who is")


def _clocks(skews: Mapping[str, float]) -> Iterator[Finding]:
    off = [f"{name} by {abs(skew):.1f} s" for name, skew in skews.items() if abs(skew) > SKEW_SECONDS]
    if off:
        yield warning("worker-clocks", f"clocks differ from Redis': {', '.join(off)}", "run NTP on those hosts")


def _versions(workers: list[Worker], versions: Mapping[str, str]) -> Iterator[Finding]:
    summary = ", ".join(f"{name} {version}" for name, version in versions.items())
    mine = versions["runner"]
    other = sorted(
        {f"{worker.name} has {worker.version or 'an older one'}" for worker in workers if worker.version != mine}
    )
    if other:
        yield warning(
            "versions", f"{summary}; {', '.join(other)}", "install the same version everywhere, restart workers"
        )
    else:
        yield ok("versions", summary)


def _brokers(brokers_of: Mapping[str, str], mine: str) -> Iterator[Finding]:
    """Yield a finding about workers with another broker, which a submission from here does not wake."""
    other = sorted(name for name, broker in brokers_of.items() if broker != mine)
    if other:
        here, there = ("RabbitMQ", "Redis") if mine == "rabbitmq" else ("Redis", "RabbitMQ")
        yield warning(
            "brokers",
            f"the broker is {here} here, but {there} for {', '.join(other)}, where runs start only with the next beat",
            "set the same broker_url wherever this namespace is used, and restart the workers",
        )


def check_served(store: Store, queues: Mapping[str, Sequence[str]], scheduled: Sequence[str]) -> Iterator[Finding]:
    """Yield a finding for each queue of jobs that no live worker consumes, even if it has no waiting runs.

    Without workers, there is one finding, and only if a schedule will submit runs.

    Args:
        store: the ledger's store.
        queues: the names of the enabled jobs of each queue.
        scheduled: the names of the enabled jobs with a schedule.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    consumed = consumed_queues(store)
    if not consumed:
        if scheduled:
            what = f"no worker is alive, so that nothing performs {things(len(scheduled), 'job')} with a schedule"
            yield warning("served", f"{what}: {named(scheduled)}", "runner up --systemd, or runner up -d")
        return
    unserved = {queue: jobs for queue, jobs in queues.items() if queue not in consumed}
    for queue, jobs in sorted(unserved.items()):
        yield warning(
            "served",
            f"no worker takes from queue {queue} of {things(len(jobs), 'job')}: {named(jobs)}",
            f"start one that does: runner worker -Q {queue}",
        )
    if not unserved:
        yield ok("served", "workers take from the queues of all jobs")


def check_queues(store: Store) -> Iterator[Finding]:
    """Yield a finding for each queue with waiting runs that no worker consumes.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    consumed, client = consumed_queues(store), _client(store)
    prefix = store.keys.named("queue:")
    waiting: dict[str, int] = {}
    with reaching(store.settings):
        for key in client.scan_iter(match=f"{prefix}*", count=200):
            queue = str(key).removeprefix(prefix).rpartition(":")[0]
            waiting[queue] = waiting.get(queue, 0) + int(client.llen(key))
        inbox = sum(int(client.llen(key)) for key in INBOX_KEYS)
    if inbox and not consumed:
        yield warning("queues", f"{things(inbox, 'message')} of plain Celery clients wait", "start a worker")
    unserved = {queue: count for queue, count in waiting.items() if count and queue not in consumed}
    for queue, count in sorted(unserved.items()):
        yield warning(
            "queues",
            f"{things(count, 'message')} in queue {queue}, and no worker takes from it",
            f"start one that does: runner worker -Q {queue}",
        )
    if not unserved:
        total = sum(waiting.values())
        yield ok("queues", f"{things(total, 'message')} in {things(sum(map(bool, waiting.values())), 'queue')}")


def check_plain_queues(store: Store, queues: Iterable[str]) -> Iterator[Finding]:
    """Yield findings about messages of plain Celery clients that no worker reads.

    They were sent to a queue of the runner by name, or with priority steps that only the client has.

    Args:
        store: the ledger's store.
        queues: the names of the queues of jobs and workers.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    client = _client(store)
    found: dict[str, int] = {}
    # Those lists have no namespace, so a user with few permissions may not read them. Then they are empty.
    with reaching(store.settings), suppress(NoPermissionError):
        for queue in queues:
            keys = (queue, *(f"{queue}\x06\x16{step}" for step in (3, 6, 9)))
            if queue not in INBOX_KEYS:
                found[queue] = _messages_in(client, keys)
    total = sum(found.values())
    if total:
        names = ", ".join(sorted(queue for queue, count in found.items() if count))
        yield warning(
            "plain-queues",
            f"{things(total, 'message')} of plain Celery clients in {names}, which no worker reads",
            "have them send to the queue celery: without queue=",
        )
    with reaching(store.settings), suppress(NoPermissionError):
        if unread := _messages_in(client, UNREAD_KEYS):
            yield warning(
                "plain-queues",
                f"{things(unread, 'message')} of plain Celery clients with priority_steps of their own, "
                "which no worker reads",
                "remove priority_steps from broker_transport_options of the client",
            )


def _messages_in(client: Any, keys: Iterable[str]) -> int:
    return sum(int(client.llen(key)) for key in keys if client.type(key) == "list")


def check_dead_letters(store: Store) -> Finding:
    """Return the number of dead letters, and the newest ones.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    key, client = store.keys.dead_letters, _client(store)
    with reaching(store.settings):
        count = int(client.llen(key))
        newest = client.lrange(key, 0, EXAMPLES - 1)
    if not count:
        return ok("dead-letters", "none")
    return Finding(
        name="dead-letters",
        level=Level.WARNING,
        what=f"{things(count, 'message')} that no worker could act on",
        remedy="runner doctor --repair: write them to a file in .runner and remove them from Redis",
        repairable=True,
        count=count,
        examples=tuple(_letter(letter) for letter in newest),
    )


def _client(store: Store) -> Any:
    return store.client


def _letter(letter: str) -> str:
    """Return a short description of a dead letter."""
    head, _, rest = letter.partition("\n")
    try:
        details = json.loads(head)
    except ValueError:
        return letter[:80]
    if not isinstance(details, dict):
        return letter[:80]
    why = details.get("why") or f"cannot be read, from queue {details.get('queue')}"
    headers = details.get("headers")
    task = headers.get("task") if isinstance(headers, dict) else None
    return f"{why}: {str(task or rest)[:60]}" if task or rest else str(why)


def archive_dead_letters(store: Store, folder: Path) -> Path | None:
    """Move all dead letters to a file with one JSON text per line; return its path, or None if there were none.

    A letter is removed from Redis after it was written to disk, so an interruption can duplicate letters but not lose
    them.

    Raises:
        Unavailable: Redis cannot be reached.
        OSError, InvalidSettings: the file cannot be written.
    """
    key, client = store.keys.dead_letters, _client(store)
    with reaching(store.settings):
        if not client.llen(key):
            return None
        path = folder / f"dead-letters-{time.strftime('%Y%m%d-%H%M%S')}.jsonl"
        with (
            state_folder(folder) as state,
            os.fdopen(state.open(path.name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "a", encoding="utf-8") as file,
        ):
            while letters := client.lrange(key, -_PORTION, -1):
                for letter in reversed(letters):
                    file.write(json.dumps(letter) + "\n")
                file.flush()
                for letter in reversed(letters):
                    client.lrem(key, -1, letter)
    return path


def check_hooks(store: Store) -> Iterator[Finding]:
    """Yield a finding about the outbox: hooks that no process fires.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    client: Any = _client(store)
    key = store.keys.outbox
    with reaching(store.settings):
        seconds, _ = client.time()
        late = int(client.zcount(key, "-inf", (seconds - UNFIRED_SECONDS) * 1000))
        waiting = int(client.zcard(key))
    if late:
        yield problem(
            "hooks",
            f"{things(late, 'outcome')} whose hooks should have been fired more than {UNFIRED_SECONDS} s ago",
            "start a worker: runner worker",
        )
    else:
        yield ok("hooks", f"{things(waiting, 'outcome')} to fire hooks for")


def check_pauses(store: Store) -> Iterator[Finding]:
    """Yield a finding about paused jobs: by whom, since when, and until when.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    pauses = [pause.document() for pause in read_pauses(store).values()]
    if not pauses:
        yield ok("pauses", "no job is paused")
        return
    descriptions = [
        f"{'all jobs' if pause['job'] == ALL else pause['job']} by {pause['by']} since {pause['since']}"
        + (f" until {pause['until']}" if pause["until"] else "")
        for pause in pauses
    ]
    yield warning("pauses", f"paused: {'; '.join(descriptions)}", "runner resume JOB, or --all, lets them go on")
