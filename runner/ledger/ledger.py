"""The interface of the ledger for processes that are not workers: read and change runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from runner.errors import AmbiguousId, CannotTerminate, NotFinished, UnknownRun
from runner.ledger.audit import BY_PEOPLE, log_act
from runner.ledger.fleet import consumed_queues, live_workers
from runner.ledger.hint import Hint
from runner.ledger.pauses import read_pause
from runner.ledger.reach import reaching
from runner.ledger.reading import get_run, get_runs, read_runs, unknown_run
from runner.ledger.refusals import belongs_to_flow, conflict, not_handed_over, paused, unconfirmed
from runner.ledger.store import Store
from runner.ledger.submission import Submission, Submitted, arguments_of
from runner.ledger.watch import Watch, nowhere
from runner.model.duration import milliseconds
from runner.model.run import Run, State
from runner.model.worker import Worker

if TYPE_CHECKING:
    from runner.ledger.beat import Beat

SHORTEST_PREFIX = 8
"""The minimum length of a prefix of an id."""

MOST_FOUND = 3
"""The maximum number of ids that the error for an ambiguous prefix names."""

WORKER_RECORD_SECONDS = 15.0
"""Seconds without a beat after which a worker is not listed."""


class Ledger(Store):
    """The record of every run.

    Every method raises :class:`~runner.errors.Unavailable` if Redis does not answer within a timeout.
    """

    def submit(self, submission: Submission) -> Submitted:
        """Record a run and put its message into the queue, in one step.

        Submitting the same id, or the same key of a job, again returns the run that exists.

        Raises:
            KeyConflict: the key was used with other params.
            JobPaused: the job is paused, and ``forced`` is not set.
            Unconfirmed: the run was recorded, but no replica has it yet (``durability: replicated``).
            NotHandedOver: the run was recorded, but RabbitMQ did not confirm its hint in time.
        """
        job = submission.job
        reply, confirmed = self.confirmed("submit", *arguments_of(submission, self.settings))
        if reply[0] == "paused":
            raise paused(job.name, read_pause(job.name, reply[1]))
        answer, run_id, record, meta = reply
        if answer == "conflict":
            raise conflict(job.name, submission.key, run_id)
        if answer == "new" and submission.trigger in BY_PEOPLE:
            log_act(BY_PEOPLE[submission.trigger], submission.submitted_by, job=job.name, run_id=run_id)
        if not confirmed:
            raise unconfirmed(f"run {run_id} of {job.name}", run_id)
        # A held run has its message in its record.
        if self.courier is not None and answer == "new" and meta == "" and "message" not in record[::2]:
            hint = Hint(run_id, submission.queue, submission.priority)
            if self.hand_over([hint]):
                raise not_handed_over(f"run {run_id} of {job.name} is", [run_id], self.courier.trouble)
        return Submitted(run_id, answer == "known", (record, meta or None))

    def read(self, ids: Sequence[str]) -> list[Run]:
        """Return the known runs among ``ids``, in the same order, after expiring overdue ones."""
        return read_runs(self, ids)

    def get(self, run_id: str) -> Run:
        """Return a run by its full id.

        Raises:
            UnknownRun: it was never submitted, was forgotten, or was pruned.
        """
        return get_run(self, run_id)

    def get_many(self, ids: Sequence[str]) -> list[Run]:
        """Return all runs of ``ids``.

        Raises:
            UnknownRun: one of them is unknown; the error names the first.
        """
        return get_runs(self, ids)

    def resolve(self, reference: str) -> str:
        """Return the full id for ``reference``: an id, a unique prefix, or ``@JOB`` for the latest run.

        Raises:
            UnknownRun: no run matches.
            AmbiguousId: several runs match, or the prefix is too short.
        """
        if reference.startswith("@"):
            latest = self.runs(job=reference[1:], limit=1)
            if not latest:
                raise UnknownRun(
                    f"job {reference[1:]} has no runs", hint=f"submit one with: runner submit {reference[1:]}"
                )
            return latest[0].id
        return choose(reference, self.find_ids(reference))

    def find_ids(self, prefix: str) -> list[str]:
        """Return the first ids that begin with ``prefix``, :data:`MOST_FOUND` at most, in order."""
        with reaching(self.settings):
            found: list[str] = self.client.zrange(  # type: ignore[assignment]
                self.keys.ids, f"[{prefix}", f"[{prefix}\xff", bylex=True, offset=0, num=MOST_FOUND
            )
        return found

    def runs(
        self,
        *,
        job: str | None = None,
        states: Sequence[State] = (),
        since: float | None = None,
        limit: int = 20,
    ) -> list[Run]:
        """Return runs, newest submission first.

        The cost depends on ``limit`` and not on the number of runs, because every state has an index by time.

        Args:
            job: only runs of this job.
            states: only runs in these states; all by default.
            since: only runs submitted at or after this Unix time (seconds).
            limit: the maximum number of runs.
        """
        oldest = "-inf" if since is None else milliseconds(since)
        with reaching(self.settings), self.client.pipeline(transaction=False) as pipe:
            for state in states or tuple(State):
                pipe.zrange(
                    self.keys.state(state) if job is None else self.keys.job(job, state),
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
        """Revoke a run; return it, and whether there was anything left to revoke.

        A waiting run is REVOKED at once. An active run goes on without further retries; with ``terminate``,
        its worker sends it ``signal``, and SIGKILL a little later.

        Raises:
            UnknownRun: the run does not exist.
            CannotTerminate: its pool cannot end it; it goes on without further retries.
            Unconfirmed: it was recorded, but no replica has it yet (``durability: replicated``).
        """
        arguments = (run_id, by or "", comment or "", "1" if terminate else "", signal)
        (answer, *pools), confirmed = self.confirmed("revoke", *arguments)
        if answer == "unknown":
            raise unknown_run(run_id)
        pool = "".join(pools)  # the worker that cannot end it
        if answer in ("revoked", "asked"):
            log_act("terminate" if terminate and not pool else "revoke", by, run_id=run_id, comment=comment)
        if not confirmed:
            raise unconfirmed(f"the revocation of run {run_id}", run_id)
        if pool:
            raise _cannot_terminate(run_id, pool)
        return self.get(run_id), answer != "final"

    def forget(self, run_id: str, *, by: str | None = None) -> None:
        """Remove all data of a finished run; the audit log records that ``by`` did so.

        Raises:
            UnknownRun: the run does not exist.
            NotFinished: the run is not in a final state.
            BelongsToFlow: the run is a step run.
        """
        answer = str(self.script("forget", run_id, by or "", "1" if self.settings.archive_url is not None else ""))
        if answer == "unknown":
            raise unknown_run(run_id)
        if answer.startswith("FLOW "):
            raise belongs_to_flow(run_id, answer.removeprefix("FLOW "))
        if answer != "forgotten":
            raise NotFinished(
                f"run {run_id} is {answer}, only a finished run can be forgotten",
                hint=f"revoke it first: runner revoke {run_id}",
            )
        log_act("forget", by, run_id=run_id)

    def workers(self) -> list[Worker]:
        """Return the live workers."""
        return live_workers(self)

    def consumed_queues(self) -> set[str]:
        """Return the queues that live workers consume."""
        return consumed_queues(self)

    def remove_worker(self, name: str) -> None:
        """Remove a worker that ends from the list."""
        with reaching(self.settings), self.client.pipeline() as pipe:
            pipe.zrem(self.keys.workers, name)
            pipe.delete(self.keys.worker(name))
            pipe.execute()

    def remove_queue(self, name: str) -> None:
        """Remove a queue without consumers from all lists, unless it has waiting runs."""
        from runner.ledger.health.queue_names import remove_queue_name  # start-up time: people seldom do this

        remove_queue_name(self, name)

    def beat(self, *, worker: str, keep: float, lease: float, record: Mapping[str, str | int]) -> Beat:
        """Do the maintenance of the fleet; see :func:`runner.ledger.beat.beat`."""
        from runner.ledger.beat import beat  # start-up time: only workers do this

        return beat(self, worker=worker, keep=keep, lease=lease, record=record)

    def terminating(self) -> dict[str, str]:
        """Return the ids of the runs to terminate, with the names of the signals.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        with reaching(self.settings):
            found: dict[str, str] = self.client.hgetall(self.keys.terminating)  # type: ignore[assignment]
        return found

    def rings(self, queues: Sequence[str]) -> int:
        """Return the number of unanswered rings for these queues, at most a thousand for each.

        With RabbitMQ as broker, return the number of waiting runs instead.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        with reaching(self.settings), self.client.pipeline(transaction=False) as pipe:
            for queue in queues:
                if not self.hints:
                    pipe.llen(self.keys.ring(queue))
                for priority in range(10 if self.hints else 0):
                    pipe.llen(self.keys.queue(queue, priority))
            return sum(pipe.execute())

    def sweep(self, patience: float) -> int:
        """Do the maintenance of the fleet from a process that is not a worker; see :func:`runner.ledger.beat.sweep`."""
        from runner.ledger.beat import sweep  # start-up time: few commands do this

        return sweep(self, patience)

    def outbox(self, most: int, lend: float, done: Sequence[str] = ()) -> list[str]:
        """Take entries of the outbox: runs with hooks to fire, as ``ID OUTCOME ATTEMPT``.

        Args:
            most: the maximum number of entries.
            lend: seconds after which another process may take unfinished entries.
            done: entries that are finished.
        """
        return [str(entry) for entry in self.script("outbox", most, milliseconds(lend), *done)]

    def return_to_outbox(self, entries: Sequence[str]) -> None:
        """Make unfinished entries due at once; entries that were removed meanwhile stay removed."""
        # Rounded down, as in scripts: rounded up, it would be due in a millisecond.
        now = int(self.now() * 1000)
        with reaching(self.settings):
            self.client.zadd(self.keys.outbox, dict.fromkeys(entries, now), xx=True, lt=True)

    def bury(self, letter: str) -> None:
        """Move a message that cannot be processed to the dead letters; the newest 10,000 are kept."""
        self.script("bury", letter)

    def refused_for(self, run_id: str) -> float | None:
        """Return for how long workers have been handing this run back (seconds, by Redis' clock), or None."""
        with reaching(self.settings), self.client.pipeline(transaction=False) as pipe:
            pipe.hget(self.keys.run(run_id), "refused_since")
            pipe.time()
            since, (seconds, micros) = pipe.execute()
        return seconds + micros / 1e6 - float(since) / 1000 if since and since.isascii() and since.isdigit() else None

    def watch(self, ids: Sequence[str], elsewhere: Callable[[Sequence[str]], list[Run]] = nowhere) -> Watch:
        """Return a context manager that follows runs as they change.

        Args:
            ids: full ids.
            elsewhere: returns the runs that the ledger does not know but another store does.
        """
        return Watch(self, ids, elsewhere)


def choose(reference: str, found: Sequence[str]) -> str:
    """Return the id for ``reference`` among the ids that begin with it.

    Raises:
        UnknownRun: no id matches.
        AmbiguousId: several ids match, or the prefix is too short.
    """
    if reference in found:
        return reference
    if not found:
        raise unknown_run(reference)
    if len(reference) < SHORTEST_PREFIX:
        raise AmbiguousId(f"{reference!r} is too short for an id", hint=f"give at least {SHORTEST_PREFIX} characters")
    if len(found) > 1:
        raise AmbiguousId(f"{reference!r} fits more than one run: {', '.join(found)}", hint="give more characters")
    return found[0]


def _cannot_terminate(run_id: str, pool: str) -> CannotTerminate:
    return CannotTerminate(
        f"run {run_id} is running in a {pool} pool, which cannot end a running job: it goes on, and no retry or "
        "redelivery will follow it",
        hint="only workers with the prefork pool can end a running job: runner worker -P prefork",
    )
