"""A taker requests a run, performs it, and requests the next. The same code works in processes, threads, and the main
loop.

Between two runs there is one request (``ledger/take.py``): it settles the last run and starts the next. An idle taker
sends nothing until its worker's parent wakes it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from celery.utils.log import get_logger

from runner._dataclass import dataclass
from runner.app.celery_types import DeclaredTask
from runner.attempt.channel import Channel
from runner.attempt.flows import Flows
from runner.attempt.held import HeldMessages, JobsChanged, Looked
from runner.attempt.limits import Limits, is_full
from runner.attempt.perform import give_up, perform
from runner.attempt.reports import Reports
from runner.attempt.slot import NOTHING, Head, Shown, Slot, TakerState
from runner.attempt.state import Attempt, Settlement, SharedState
from runner.current import FlowRef
from runner.delivery.claims import Claims
from runner.errors import Unavailable, WriteRefused
from runner.ledger.attempt import Attempts, Settled
from runner.ledger.outcome import ResultNotKept, describe_exception
from runner.ledger.take import Ask, Held, Success, Taken, Takes
from runner.model.duration import milliseconds
from runner.process.cgroup import held_to

log = get_logger(__name__)

LOOKED_SECONDS = 5.0
"""Seconds that a taker waits until its parent has read the job files."""

REFUSED_PAUSE = 5.0
"""Seconds until a taker repeats a request that Redis refused."""

SILENCE_SHARE = 0.5
"""The share of a lease that the parent may be silent before takers stop, because nobody would renew their leases."""

LATE_SHARE = 0.5
"""The share of a lease after which the answer to a request is late: its run may have another holder by then."""


@dataclass(frozen=True, slots=True)
class Place:
    """The slot of a taker, with the head of the board and the channel to the parent."""

    head: Head
    slot: Slot
    channel: Channel


class Taker:
    """One taker.

    Args:
        shared: the shared state; in a taker process, prepared for runs.
        place: its slot and channel.
        enforced: whether its parent enforces time limits, which needs a process of its own.
        limits: the limits of the taker and its runs.
        is_spent: returns whether it shall exit for another reason.
    """

    def __init__(
        self,
        shared: SharedState,
        place: Place,
        *,
        enforced: bool,
        limits: Limits | None = None,
        is_spent: Callable[[], bool] = lambda: False,
    ) -> None:
        self._shared = shared
        self._head, self._slot, self._channel = place.head, place.slot, place.channel
        self._enforced = enforced
        self._limits, self._is_spent = limits or Limits(), is_spent
        self._lease: float = shared.settings.worker.lease
        ledger = shared.ledger if enforced else shared.app.open_ledger()
        self._attempts = Attempts(ledger, lambda: not shared.ends)
        self._takes = Takes(self._attempts, self._refused)
        self._flows = Flows(shared, ledger, self._attempts)
        self._claims = Claims(lambda: ledger, self._lease)
        self._held = HeldMessages(shared, self._claims, self._look)
        self._reports = Reports(shared.worker, place.head, place.channel)
        self._may_wait = shared.settings.durability == "local"
        self._version = -1
        self._queues: deque[str] = deque()
        self._known = ""
        self._last: Success | None = None
        self._last_flow: FlowRef | None = None
        """The flow of the run in :attr:`_last`."""
        self._passed_on = ""
        self._performed = 0
        self.performing = False
        """Whether a run is active."""

    # -- the life of a taker

    def run(self) -> None:
        """Take runs until the worker no longer needs this taker."""
        self.begin()
        while "go" not in (self._channel.hear() or {}):
            pass
        while self.wanted():
            if not self.step():
                self.wait()
        self.leave()

    def begin(self) -> None:
        """Take over the run that the former taker in this slot has left, and wait for the permission to start."""
        former = self._slot.read()
        self._passed_on = former.asked if former.state is TakerState.PASSING else ""
        state = TakerState.PASSING if self._passed_on else TakerState.STARTING
        self._slot.show(NOTHING._replace(state=state, pid=os.getpid(), asked=self._passed_on))
        self._read_head()
        self._channel.send(ready=True)

    def wanted(self) -> bool:
        """Return whether this taker shall take another run."""
        if self._head.draining or self._slot.dismissed or self._slot.ending or self._is_behind():
            return False
        if self._channel.fileno() < 0:
            return False
        return not (self._limits.are_reached(self._performed) or self._is_spent())

    def step(self) -> bool:
        """Settle the last run, take the next, and perform it; return False if no run waits."""
        if self._head.silence > self._lease * SILENCE_SHARE:
            # The parent is stopped, for example by a debugger, and would not renew the lease of a new run.
            self._settle()
            return False
        try:
            found: Taken | Held | bool | None = self._take()
            if isinstance(found, Held):
                found = self._decide(found)
        except WriteRefused as refused:
            # Another worker may be permitted to start it, or this one later.
            log.error("Redis refuses to hand out work, will ask again: %s", refused)
            self._show(TakerState.STARTING)
            self._channel.hear(REFUSED_PAUSE)
            return True
        if isinstance(found, Taken):
            self._live(found)
            return True
        return found is not None

    def wait(self) -> None:
        """Wait until there may be a run to take."""
        self.be_idle()
        stopped = self._head.silence > self._lease * SILENCE_SHARE
        self._channel.hear(1.0 if stopped else None)

    def be_idle(self) -> None:
        """Show that this taker waits to be woken."""
        self._reports.counts()
        self._show(TakerState.IDLE)
        self._channel.send(idle=True)

    def leave(self) -> None:
        """Settle the last run. A run for the next taker stays in the slot."""
        self._settle()
        self._reports.counts()
        if self._slot.shown.state is not TakerState.PASSING:
            self._slot.show(NOTHING._replace(pid=os.getpid()))

    @property
    def may_be_interrupted(self) -> bool:
        """Return whether a signal of the parent is for the active run: it may have been for the one before."""
        soft = self._slot.shown.soft
        return self.performing and (self._slot.ending or 0.0 < soft <= time.monotonic())

    # -- its parts

    def _take(self) -> Taken | Held | bool | None:
        """Return the next run; None if no run waits, True if none was requested."""
        token = self._passed_on or secrets.token_hex(16)
        self._show(TakerState.ASKING, asked=token)
        # Only then: the parent writes this before it checks the last run, so one of the two sees the other.
        if self._slot.ending:
            self._show(TakerState.PASSING if self._passed_on else TakerState.STARTING, asked=self._passed_on)
            return True
        self._passed_on = ""
        # The jobs of this process, even if its parent has read newer ones.
        known = self._shared.known.digest if self._enforced else self._known
        ask = Ask(token, milliseconds(self._lease), self._shared.worker, known, tuple(self._queues))
        last, self._last = self._last, None
        advanced = False
        try:
            found = self._takes.take(last, ask)
        finally:
            if last is not None:
                advanced = self._advance_after(self._takes.settled)
        if isinstance(found, Taken | Held) and found.queue in self._queues:
            # Queues with the same priority take turns, so this one comes last now.
            self._queues.rotate(-1 - self._queues.index(found.queue))
        # There may be a run now.
        return True if found is None and advanced else found

    def _decide(self, held: Held) -> Taken | bool:
        """Return the run for a message that the script did not start; True if there is none."""

        def decide() -> Taken | None:
            # Redis may become unreachable here.
            found: Taken | None = self._attempts.persist(lambda: self._held.decide(held))
            return found

        self._held.settled = Settled.DONE
        try:
            found = decide()
        except JobsChanged:
            if self._enforced:
                self._pass_on(held.token)
            # In the worker's own process, the jobs are already the new ones.
            found = decide()
        if self._held.settled is Settled.ADVANCES:
            # The next beat advances the flow.
            self._channel.send(beat=True)
        return found or True

    def _pass_on(self, token: str) -> None:
        """Leave the run of a claim to the next taker in this slot."""
        self._slot.show(NOTHING._replace(state=TakerState.PASSING, pid=os.getpid(), asked=token))
        raise SystemExit(0)

    def _live(self, taken: Taken) -> None:
        """Perform one attempt, from the started run to the report of its outcome; begin a flow."""
        if taken.is_flow:
            self._flows.begin(taken)
            return
        task = self._task_of(taken)
        if task.job.is_flow:
            self._flows.refuse(taken)
            return
        if not self._may_wait and task.job.delivery == "at_most_once" and not self._is_confirmed(taken):
            return
        if not self._is_held(taken):
            return
        attempt = Attempt(taken, self._shared, Settlement(may_wait=self._may_wait))
        shown = self._shown(task, taken)
        self._slot.show(shown)
        self._reports.begun(taken, task.job, shown)
        with self._performing(task):
            report = perform(task, attempt)
        self._last, self._last_flow = attempt.settlement.success, taken.flow
        self._reports.ended(taken, report)
        if taken.flow is None:
            return
        if self._last is None and report.advances:
            self._show(TakerState.STARTING)
            self._advance_after(Settled.ADVANCES)
        elif self._last is not None and taken.flow.item is None:
            # Take nothing until the flow is advanced: a run that is claimed before would have to wait for that.
            self._show(TakerState.STARTING)
            self._settle()

    def _is_confirmed(self, taken: Taken) -> bool:
        """Wait until a replica has a start that must not happen twice; return False if the run must not be performed.

        A primary that takes over without this start would start the run again.
        """
        warned = False
        while True:
            held, confirmed = self._takes.confirm(taken.token)
            if held and confirmed:
                return True
            if not held:
                log.warning("run %s is not performed here: its start was lost in a failover", taken.run_id)
                return False
            if not self.wanted():
                self._attempts.persist(
                    lambda: self._claims.hand_back([taken.token], detail="no replica had its start", untouched=True)
                )
                return False
            if not warned:
                log.warning("run %s may start once only, and waits until a replica has its start", taken.run_id)
                warned = True

    def _is_held(self, taken: Taken) -> bool:
        """Return whether this taker still holds a run that it is about to perform.

        If the network or this process was stopped, the answer may be older than the lease that it grants.
        """
        asked_at = self._takes.asked_at
        while time.monotonic() - asked_at > self._lease * LATE_SHARE:
            asked_at = time.monotonic()
            if self._attempts.persist(lambda: self._claims.renew([taken.token])):
                log.warning("run %s is not performed here: its lease expired before the answer came", taken.run_id)
                return False
        return True

    def _task_of(self, taken: Taken) -> DeclaredTask:
        """Return the job of a run. A run that needs an unused process is passed on."""
        task = self._shared.app.job_task(taken.job)
        if task is None:
            raise LookupError(f"job {taken.job} was removed while a run of it was started")
        process = self._shared.process
        if process is not None and process.state.used and not process.state.apart:
            job = task.job
            if job.isolation is not None or is_full(job):
                self._pass_on(taken.token)
        return task

    def _shown(self, task: DeclaredTask, taken: Taken) -> Shown:
        started = time.monotonic()
        soft, hard = self._limits.times_of(task) if self._enforced else (None, None)
        return Shown(
            state=TakerState.RUNNING,
            pid=os.getpid(),
            started=started,
            soft=started + soft if soft else 0.0,
            hard=started + hard if hard else 0.0,
            held=taken.token,
            asked="",
            run_id=taken.run_id,
            job=taken.job,
        )

    @contextmanager
    def _performing(self, task: DeclaredTask) -> Iterator[None]:
        """Accept signals of the parent and enforce the job's memory limit in the block."""
        process, memory = self._shared.process, task.job.memory
        if process is not None:
            process.state.soft_limit.begin()
        self.performing = True
        try:
            with contextlib.nullcontext() if memory is None else held_to(self._shared.cgroups, memory):
                yield
        finally:
            self.performing = False
        self._performed += 1
        if not self._channel.is_whole():
            self._channel.break_off()

    def _settle(self) -> None:
        last, self._last = self._last, None
        if last is None:
            return
        with contextlib.suppress(Unavailable):
            self._takes.settle(last)
            self._advance_after(self._takes.settled)

    def _advance_after(self, settled: Settled) -> bool:
        """Advance the flow of the last run if that run was a step with news for it; return whether it was."""
        flow, self._last_flow = self._last_flow, None
        if flow is None or settled is not Settled.ADVANCES:
            return False
        self._flows.advance(flow.id)
        return True

    def _refused(self, last: Success, refused: WriteRefused) -> None:
        """Fail a run whose result Redis refuses to store."""
        error = ResultNotKept(f"the job ran, but Redis refuses to store its result: {refused.message}")
        failure = describe_exception(error, self._shared.settings.limits.traceback)
        try:
            self._takes.settled = self._attempts.fail(last.run_id, last.token, "exception", failure)
        except WriteRefused as again:
            log.error("run %s: its outcome cannot be written: %s", last.run_id, again)
            # The parent counts this as a loss.
            give_up(self._shared)

    def _show(self, state: TakerState, asked: str = "") -> None:
        """Show a state between two runs, while the last run is held until it is settled."""
        last = self._last
        self._slot.show(
            NOTHING._replace(
                state=state,
                pid=os.getpid(),
                held=last.token if last else "",
                run_id=last.run_id if last else "",
                job=self._slot.shown.job if last else "",
                asked=asked,
            )
        )

    def _is_behind(self) -> bool:
        """Return whether the worker has reloaded its files since this process was forked."""
        if self._head.version != self._version:
            self._read_head()
        return self._enforced and self._known != self._shared.known.digest

    def _look(self, name: str, digest: object) -> Looked:
        if self._is_behind():
            return Looked.CHANGED
        self._channel.send(look=[name, digest if isinstance(digest, str) else None])
        deadline = time.monotonic() + LOOKED_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            answer = self._channel.hear(left) or {}
            if "looked" in answer:
                # It checks once per digest, and may have done so for another taker.
                return Looked.CHANGED if self._is_behind() else Looked(answer["looked"])
        return Looked.CHANGED if self._is_behind() else Looked.SAME

    def _read_head(self) -> None:
        self._version, queues, self._known = self._head.read_queues()
        self._queues = deque(queues)
