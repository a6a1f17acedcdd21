"""Read the finished runs that are not in the archive yet, and mark them as archived.

``NS:prunable`` has every ended run, ordered by the time of its removal. Copied runs move to ``NS:archived``. So no run
is missed, whatever ended it, whatever the clock does, and however long nobody copied; and the run that would be removed
next is copied next.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from runner._dataclass import dataclass
from runner.ledger.flow_progress import FlowProgress
from runner.ledger.reach import reaching
from runner.ledger.record import pairs, read_record
from runner.ledger.run_log import read_chunks
from runner.ledger.scripts import digest, source
from runner.ledger.store import Store
from runner.model.log_line import LogLine
from runner.model.run import Run, State

_READ_AT_ONCE = 50
"""The number of runs per round trip. Each is a separate command, so that Redis serves others in between."""
_NOTED_AT_ONCE = 100
_CHUNKS = 20
"""The number of log chunks that are read with a run; most logs are not longer."""
_MOVED_AT_ONCE = 500
_FORGOTTEN_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Finished:
    """A run with the last lines of its log; ``bytes`` is the approximate size."""

    run: Run
    log: Sequence[LogLine]
    bytes: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """The state of copying. Times are Unix times in seconds.

    For the waiting run that is removed next, ``ended`` is its end, ``loses_result`` the removal of its result, and
    ``loses_run`` its removal. ``archived``: the number of copied runs in the ledger. ``identity``: the id of the
    archive; ``ledger``: the archive's id for the ledger; ``copier``: the name of the active copier.
    """

    runs: int
    archived: int
    now: float
    ended: float | None = None
    loses_result: float | None = None
    loses_run: float | None = None
    identity: str | None = None
    ledger: str | None = None
    copier: str | None = None

    @property
    def lag(self) -> float:
        """Return the seconds since the end of the waiting run that is removed next; 0 if none waits."""
        return 0.0 if self.ended is None else max(0.0, self.now - self.ended)


def next_ids(store: Store, count: int, skip: int = 0) -> list[str]:
    """Return the ids of runs that wait to be copied, in the order of their removal.

    Args:
        store: the ledger's store.
        count: the maximum number of ids.
        skip: the number of ids to skip.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    with reaching(store.settings):
        found: list[str] = store.client.zrange(store.keys.prunable, skip, skip + count - 1)  # type: ignore[assignment]
    return found


def step_ids(store: Store, flow: str, first: int, count: int) -> list[str]:
    """Return the ids of the step runs of a flow from an ordinal on.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    with reaching(store.settings):
        found: list[str] = store.client.lrange(store.keys.flow_runs(flow), first, first + count - 1)  # type: ignore[assignment]
    return found


def read_finished(store: Store, ids: Sequence[str], log_bytes: int) -> Iterator[Finished]:
    """Yield the ended runs among ``ids``, with the last ``log_bytes`` or a little more of their logs.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    for first in range(0, len(ids), _READ_AT_ONCE):
        portion = ids[first : first + _READ_AT_ONCE]
        with reaching(store.settings), store.client.pipeline(transaction=False) as pipe:
            # Loading is cheap, and saves checking whether the server knows the script.
            pipe.script_load(source("runner.ledger", "read"))
            for run_id in portion:
                pipe.evalsha(digest("runner.ledger", "read"), 1, store.namespace, run_id)
                pipe.xrevrange(store.keys.log(run_id), count=_CHUNKS)
            answers = pipe.execute(raise_on_error=False)[1:]
        for run_id, answer, chunks in zip(portion, answers[::2], answers[1::2], strict=True):
            _refuse(answer)
            if not answer[0]:
                continue
            flat, meta, *progress = answer[0]
            run = read_record(run_id, pairs(flat), meta or None, FlowProgress.of(*progress) if progress else None)
            if not run.final:
                continue
            # A key of another type is not a log.
            log = [] if isinstance(chunks, Exception) else _last_chunks(store, run_id, chunks, log_bytes)
            yield Finished(run, read_chunks(log), sum(map(len, flat)) + len(meta or "") + _size(log))


def _refuse(answer: object) -> None:
    if isinstance(answer, Exception):
        raise answer


def _last_chunks(store: Store, run_id: str, newest: list[Any], most: int) -> list[dict[str, str]]:
    """Return the last chunks of a log, oldest first, with at least ``most`` bytes in total if there are that many."""
    chunks = [*newest]
    while newest and len(newest) == _CHUNKS and _size([fields for _, fields in chunks]) < most:
        with reaching(store.settings):
            newest = store.client.xrevrange(store.keys.log(run_id), max=f"({newest[-1][0]}", count=_CHUNKS)  # type: ignore[assignment]
        chunks += newest
    return [fields for _, fields in reversed(chunks)]


def _size(chunks: Sequence[dict[str, str]]) -> int:
    return sum(len(chunk.get("t", "")) for chunk in chunks)


def note_archived(store: Store, identity: str, ids: Sequence[str]) -> list[str]:
    """Mark runs as archived; return those that were forgotten meanwhile and must be removed from the archive.

    Raises:
        OtherArchive: the ledger is copied to another archive.
        Unavailable: Redis cannot be reached.
    """
    forgotten: list[str] = []
    for first in range(0, len(ids), _NOTED_AT_ONCE):
        answer = store.script("archived", identity, *ids[first : first + _NOTED_AT_ONCE])
        if answer is None:
            raise OtherArchive
        forgotten += answer
    return forgotten


class OtherArchive(Exception):
    """The ledger is copied to another archive."""


def ledger_id(store: Store) -> str:
    """Return the id of this ledger for archives, creating it at the first call.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    with reaching(store.settings), store.client.pipeline() as pipe:
        pipe.hsetnx(store.keys.archive, "ledger", uuid.uuid4().hex)
        pipe.hget(store.keys.archive, "ledger")
        return str(pipe.execute()[1])


def begin_copying(store: Store, identity: str, *, again: bool = False) -> None:
    """Record the archive of the ledger; ``again``: copy all runs again.

    Raises:
        OtherArchive: the ledger is copied to another archive, and ``again`` is not set.
        Unavailable: Redis cannot be reached.
    """
    while (answer := store.script("archive_begins", identity, "1" if again else "", _MOVED_AT_ONCE)) == "more":
        pass
    if answer == "other":
        raise OtherArchive


def may_copy(store: Store, copier: str, seconds: float) -> bool:
    """Take or renew the copier's turn for some seconds (0 ends it). Return whether this copier has it.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    return bool(store.script("archiver", copier, round(seconds * 1000)))


def forgotten_ids(store: Store, *, after: float = 0.0, until: float | None = None) -> list[tuple[str, float]]:
    """Return some ids of runs that were forgotten within a period, with the times (Unix ms).

    Raises:
        Unavailable: Redis cannot be reached.
    """
    with reaching(store.settings):
        found: Any = store.client.zrange(
            store.keys.forgotten,
            f"({after}",
            "+inf" if until is None else until,
            byscore=True,
            offset=0,
            num=_FORGOTTEN_AT_ONCE,
            withscores=True,
        )
    return [(run_id, float(at)) for run_id, at in found]


def copy_again(store: Store, ids: Sequence[str]) -> None:
    """Mark ``ids`` as not copied, so that they are copied again.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    store.script("archive_lacks", *ids)


def drop_forgotten(store: Store, ids: Sequence[str]) -> None:
    """Delete the records of these forgotten runs.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    with reaching(store.settings):
        store.client.zrem(store.keys.forgotten, *ids)


def read_backlog(store: Store, keeps_result: Callable[[str], float] | None = None) -> Backlog:
    """Return the state of copying.

    Args:
        store: the ledger's store.
        keeps_result: returns for how many seconds a job's results are kept; by default the project's setting.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    keys = store.keys
    with reaching(store.settings), store.client.pipeline(transaction=False) as pipe:
        pipe.zcard(keys.prunable)
        pipe.zcard(keys.archived)
        pipe.zrange(keys.prunable, 0, 0, withscores=True)
        pipe.hmget(keys.archive, "identity", "ledger")
        pipe.get(keys.archiver)
        runs, archived, first, (identity, ledger), copier = pipe.execute()
    backlog = Backlog(runs, archived, store.now(), identity=identity, ledger=ledger, copier=copier)
    if not first:
        return backlog
    run_id, due = first[0]
    with reaching(store.settings):
        held: Any = store.client.hmget(keys.run(run_id), "job", "state", "finished_at")
    job, state, ended = held
    ended_at = _seconds(ended)
    result_until = None
    if state == State.SUCCESS and ended_at is not None:
        kept = keeps_result(job) if keeps_result is not None and job else store.settings.retention.result
        result_until = ended_at + kept
    return replace(backlog, ended=ended_at, loses_result=result_until, loses_run=float(due) / 1000)


def _seconds(text: str | None) -> float | None:
    return int(text) / 1000 if text and text.isascii() and text.isdigit() and len(text) < 16 else None
