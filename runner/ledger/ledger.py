"""The ledger's interface: what can be asked of runs, and done to them, from outside of a worker."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from runner.errors import AmbiguousId, JobPaused, KeyConflict, NotFinished, Unconfirmed, UnknownRun
from runner.ledger.connection import connect, reaching
from runner.ledger.fleet import read_workers
from runner.ledger.pauses import read_pause
from runner.ledger.record import pairs, read_record
from runner.ledger.scripts import run_confirmed, run_script
from runner.ledger.submission import Submission, Submitted, arguments_of, milliseconds
from runner.ledger.watch import Watch
from runner.model.pause import Pause
from runner.model.run import Run, State, to_timestamp
from runner.settings import Settings

if TYPE_CHECKING:
    import redis

SHORTEST_PREFIX = 8
"""Characters of an id that a prefix must have at least."""

CONFIRM_MILLISECONDS = 5000
"""How long ``durability: replicated`` waits for a replica."""

WORKER_RECORD_SECONDS = 15.0
"""A worker that has not been heard of for this long is not listed."""

PRUNED_AT_ONCE = 5
"""Runs that one script removes, so that Redis is not kept for long: half a millisecond among a million."""

PRUNINGS = 20
"""Such scripts after one beat, at most."""


class Ledger:
    """The record of every run.

    Every method raises :class:`~runner.errors.Unavailable` if Redis cannot be reached in a bounded time.
    """

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self.client = client
        self.settings = settings
        self.namespace = settings.namespace

    @classmethod
    def open(cls, settings: Settings, *, start: bool = True) -> Self:
        """Connect; ``start`` says whether an embedded server is started if it does not run."""
        return cls(connect(settings, start=start), settings)

    def close(self) -> None:
        """Close all connections."""
        self.client.close()

    def now(self) -> float:
        """Return the Unix time in seconds by Redis' clock, which all times of runs are by.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        with reaching(self.settings):
            seconds, micros = self.client.time()
        return float(seconds) + micros / 1e6

    def script(self, name: str, *args: Any) -> Any:
        """Run one of the ledger's scripts.

        Raises:
            Unavailable: Redis cannot be reached, or refuses to write.
        """
        with reaching(self.settings):
            return run_script(self.client, self.namespace, name, *args)

    def confirmed(self, name: str, *args: Any) -> tuple[Any, bool]:
        """Run one of the ledger's scripts; with ``durability: replicated``, wait until a replica has what it wrote.

        Returns:
            What the script answers, and whether that is as durable as was asked for.

        Raises:
            Unavailable: Redis cannot be reached, or refuses to write.
        """
        if self.settings.durability == "local":
            return self.script(name, *args), True
        with reaching(self.settings):
            wait = CONFIRM_MILLISECONDS
            answer, confirmed = run_confirmed(self.client, self.namespace, name, *args, milliseconds=wait)
        return answer, confirmed

    def submit(self, submission: Submission) -> Submitted:
        """Record a run and put its message into the queue, in one step.

        Submitting the same id, or the same key of a job, again returns the run that exists.

        Raises:
            KeyConflict: the key was used with other params.
            JobPaused: the job is paused, and ``forced`` is not set.
            Unconfirmed: it was accepted, and no replica has it yet (``durability: replicated``).
        """
        job = submission.job
        told, confirmed = self.confirmed("submit", *arguments_of(submission, self.settings))
        if told[0] == "paused":
            raise _paused(job.name, read_pause(job.name, told[1]))
        answer, run_id, record, meta = told
        if answer == "conflict":
            raise KeyConflict(
                f"key {submission.key!r} of {submission.job.name} was used with other params, by run {run_id}",
                hint="use another key, or submit with the same params",
            )
        if not confirmed:
            raise _unconfirmed(f"run {run_id} of {job.name}", run_id)
        run = read_record(run_id, pairs(record), meta or None) if record else None
        return Submitted(run_id, run, duplicate=answer == "known")

    def read(self, ids: Sequence[str]) -> list[Run]:
        """Return those of ``ids`` that are known, in that order; overdue ones are settled first."""
        if not ids:
            return []
        answer = self.script("read", *ids)
        return [
            read_record(run_id, pairs(found[0]), found[1] or None)
            for run_id, found in zip(ids, answer, strict=True)
            if found
        ]

    def get(self, run_id: str) -> Run:
        """Return a run by its full id.

        Raises:
            UnknownRun: it was never submitted, was forgotten, or was pruned.
        """
        found = self.read([run_id])
        if not found:
            raise unknown_run(run_id)
        return found[0]

    def get_many(self, ids: Sequence[str]) -> list[Run]:
        """Return all runs of ``ids``.

        Raises:
            UnknownRun: for the first that is not known.
        """
        found = self.read(ids)
        known = {run.id for run in found}
        for run_id in ids:
            if run_id not in known:
                raise unknown_run(run_id)
        return found

    def resolve(self, reference: str) -> str:
        """Return the full id that ``reference`` means: an id, a unique prefix of it, or ``@JOB`` for the latest run.

        Raises:
            UnknownRun: nothing fits.
            AmbiguousId: more than one run fits, or the prefix is too short.
        """
        if reference.startswith("@"):
            latest = self.runs(job=reference[1:], limit=1)
            if not latest:
                raise UnknownRun(
                    f"job {reference[1:]} has no runs", hint=f"submit one with: runner submit {reference[1:]}"
                )
            return latest[0].id
        with reaching(self.settings):
            found: list[str] = self.client.zrange(  # type: ignore[assignment]
                f"{self.namespace}:ids", f"[{reference}", f"[{reference}\xff", bylex=True, offset=0, num=3
            )
        if reference in found:
            return reference
        if not found:
            raise unknown_run(reference)
        if len(reference) < SHORTEST_PREFIX:
            raise AmbiguousId(
                f"{reference!r} is too short for an id", hint=f"give at least {SHORTEST_PREFIX} characters"
            )
        if len(found) > 1:
            raise AmbiguousId(f"{reference!r} fits more than one run: {', '.join(found)}", hint="give more characters")
        return str(found[0])

    def runs(
        self,
        *,
        job: str | None = None,
        states: Sequence[State] = (),
        since: float | None = None,
        limit: int = 20,
    ) -> list[Run]:
        """Return runs, newest submission first.

        The cost depends on ``limit`` and not on how many runs there are: every state has an index by time.

        Args:
            job: only of this job.
            states: only in these states; all by default.
            since: only submitted at or after this Unix time in seconds.
            limit: how many at most.
        """
        oldest = "-inf" if since is None else milliseconds(since)
        prefix = f"{self.namespace}:job:{job}" if job is not None else f"{self.namespace}:state"
        with reaching(self.settings), self.client.pipeline(transaction=False) as pipe:
            for state in states or tuple(State):
                pipe.zrange(
                    f"{prefix}:{state}",
                    "+inf",
                    oldest,
                    desc=True,
                    byscore=True,
                    offset=0,
                    num=limit,
                    withscores=True,
                )
            found = pipe.execute()
        newest = sorted(
            ((score, run_id) for entries in found for run_id, score in entries),
            reverse=True,
        )
        return self.read(list(dict.fromkeys(run_id for _, run_id in newest[:limit])))

    def revoke(
        self,
        run_id: str,
        *,
        by: str | None,
        comment: str | None = None,
        terminate: bool = False,
        signal: str = "TERM",
    ) -> tuple[Run, bool]:
        """Revoke a run; return it, and whether anything was left to revoke.

        One that waits is REVOKED at once. One that runs goes on, and nothing follows it; with
        ``terminate`` its worker ends it with ``signal``, and with SIGKILL a little later.

        Raises:
            UnknownRun: there is no such run.
            Unconfirmed: it was accepted, and no replica has it yet (``durability: replicated``).
        """
        words = (run_id, by or "", comment or "", "1" if terminate else "", signal)
        answer, confirmed = self.confirmed("revoke", *words)
        if answer == "unknown":
            raise unknown_run(run_id)
        if not confirmed:
            raise _unconfirmed(f"the revocation of run {run_id}", run_id)
        return self.get(run_id), answer != "final"

    def forget(self, run_id: str, *, by: str | None = None) -> None:
        """Remove all that is known of a finished run; that ``by`` did it is kept.

        Raises:
            UnknownRun: there is no such run.
            NotFinished: it is not in a final state.
        """
        answer = self.script("forget", run_id, by or "")
        if answer == "unknown":
            raise unknown_run(run_id)
        if answer != "forgotten":
            raise NotFinished(
                f"run {run_id} is {answer}, only a finished run can be forgotten",
                hint=f"revoke it first: runner revoke {run_id}",
            )

    def workers(self) -> list[dict[str, Any]]:
        """Return the live workers, each as :func:`runner.ledger.fleet.read_workers` describes it."""
        return [worker for worker in read_workers(self) if worker["state"] != "lost"]

    def consumed_queues(self) -> set[str]:
        """Return the queues that a live worker takes runs from."""
        return {queue for worker in self.workers() for queue in worker["queues"]}

    def remove_worker(self, name: str) -> None:
        """Take a worker that ends off the list."""
        with reaching(self.settings), self.client.pipeline() as pipe:
            pipe.zrem(f"{self.namespace}:workers", name)
            pipe.delete(f"{self.namespace}:worker:{name}")
            pipe.execute()

    def remove_queue(self, name: str) -> None:
        """Take a queue that nobody takes from any more off all lists, unless something waits in it."""
        with reaching(self.settings):
            run_script(self.client, self.namespace, "queue_names", "1", name, package="runner.ledger.health")

    def beat(
        self, *, worker: str, keep: float, lease: float, record: Mapping[str, str | int]
    ) -> tuple[float | None, dict[str, str], bool, int]:
        """Do what every worker does for all: see ``beat.lua``; then prune, if there is something to prune.

        Returns:
            Seconds until the next delayed run is due (None: there is none), the ids to terminate with the name of
            the signal, whether there is more to do at once, and how many entries of the outbox are due.
        """
        flat = [part for pair in record.items() for part in pair]
        next_due, terminating, more, hooks, prunable = self.script(
            "beat", worker, milliseconds(keep), milliseconds(lease), *flat
        )
        left = self._prune() if prunable else False
        return (float(next_due) / 1000 if next_due else None), pairs(terminating), bool(more) or left, int(hooks)

    def sweep(self, patience: float) -> int:
        """Do what a worker does for all, where there may be none; return how many entries of the outbox are due.

        What a dead worker held is taken back only once sweeps have gone on for a lease, so that live ones can renew
        theirs first: if there is any, this goes on for so long, up to ``patience`` seconds.
        """
        lease = self.settings.worker.lease
        deadline = time.monotonic() + patience
        while True:
            *_, more, hooks = self.beat(worker="", keep=0.0, lease=lease, record={})
            if time.monotonic() >= deadline:
                # Also whoever sweeps often, and asks nothing more.
                return hooks
            if more:
                continue
            now = milliseconds(self.now())
            with reaching(self.settings):
                overdue = self.client.zcount(f"{self.namespace}:leases", "-inf", f"({now}")
            if not overdue:
                return hooks
            time.sleep(min(0.25, lease / 4))

    def _prune(self) -> bool:
        """Remove runs that retention no longer keeps, some; return whether there may be more."""
        return all(int(self.script("prune", PRUNED_AT_ONCE)) == PRUNED_AT_ONCE for _ in range(PRUNINGS))

    def outbox(self, most: int, lend: float, done: Sequence[str] = ()) -> list[str]:
        """Take entries of the outbox: runs with hooks to fire, as ``ID OUTCOME ATTEMPT``.

        Args:
            most: how many at most.
            lend: seconds after which somebody else may take them, if they are not done with by then.
            done: entries that are.
        """
        return [str(entry) for entry in self.script("outbox", most, milliseconds(lend), *done)]

    def bury(self, letter: str) -> None:
        """Keep a message that nobody can act on; the newest 10,000 are kept."""
        with reaching(self.settings), self.client.pipeline() as pipe:
            pipe.lpush(f"{self.namespace}:dead-letters", letter)
            pipe.ltrim(f"{self.namespace}:dead-letters", 0, 9999)
            pipe.execute()

    def refused_for(self, run_id: str) -> float | None:
        """Return for how many seconds workers have handed this run back, by Redis' clock, or None."""
        with reaching(self.settings), self.client.pipeline(transaction=False) as pipe:
            pipe.hget(f"{self.namespace}:run:{run_id}", "refused_since")
            pipe.time()
            since, (seconds, micros) = pipe.execute()
        return seconds + micros / 1e6 - float(since) / 1000 if since else None

    def watch(self, ids: Sequence[str]) -> Watch:
        """Return a context manager that follows runs as they change."""
        return Watch(self, ids)


def unknown_run(run_id: str) -> UnknownRun:
    """Return the error for an id that the ledger does not know."""
    return UnknownRun(
        f"no run {run_id}: it was never submitted, was forgotten, or is older than its retention",
        hint="runner runs lists what is known",
    )


def _unconfirmed(what: str, run_id: str) -> Unconfirmed:
    return Unconfirmed(
        f"accepted, not confirmed: no replica has {what} after {CONFIRM_MILLISECONDS / 1000:g} s",
        hint=f"a failover now could lose it; runner status {run_id} tells, and runner doctor tells of replicas",
    )


def _paused(job: str, pause: Pause) -> JobPaused:
    until = f" until {to_timestamp(pause.ends)}" if pause.ends is not None else ""
    why = f": {pause.comment}" if pause.comment else ""
    return JobPaused(
        f"job {job} was paused by {pause.by} at {to_timestamp(pause.since)}{until}{why}",
        hint=f"runner resume {job} (or --all) ends it; submit --force runs it all the same",
    )
