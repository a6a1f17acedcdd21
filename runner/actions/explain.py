"""Explain from the facts about a run what it waits for, or why it ended. Pure: it reads nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from runner._dataclass import dataclass
from runner.actions.explain_flow import (
    OpenStep,
    explain_flow,
    explain_step,
    failed_steps,
    steps_not_run,
    waits_for_approval,
)
from runner.model.duration import format_duration
from runner.model.pause import ALL, Pause
from runner.model.plural import things
from runner.model.run import Run, State, to_timestamp
from runner.model.run_error import error_text
from runner.model.run_time import duration_text, total_seconds
from runner.model.step_run import step_name
from runner.model.template import as_text

ENDS = {
    "exception": "the job raised an error that is not retried, or not any more",
    "timeout": "it ran longer than its timeout, or did not catch SoftTimeLimitExceeded, and was killed",
    "out_of_memory": "its processes held more memory than its job allows, and were killed",
    "worker_lost": "the process that ran it died, and it could not be started again",
    "poisoned": "the process that ran it died max_deliveries times in a row",
    "invalid_params": "its params do not fit what the job declares in the worker's files",
    "unknown_job": "no worker knew the job for five minutes",
    "import_error": "the worker could not import what the job names",
    "missing_secret": "an environment variable or a secret that the job needs is missing",
    "step_failed": "a step of it failed",
    "rejected": "its approval was rejected",
    "cancelled": "it was revoked",
    "terminated": "it was revoked with --terminate while it ran",
    "expired": "it had not started before the time that expires sets",
    "skipped": "another run of its job was active when it was submitted",
    "replaced": "a newer run replaced it",
    "upstream_failed": "a step that it needs failed",
}
"""The meaning of each reason."""

STEP_ENDS = {
    **ENDS,
    "skipped": "its `if` or its `when` did not hold",
    "cancelled": "it was revoked, or its flow ended before it started",
    "expired": "it had not started, or nobody had approved it, in time",
}
"""The meaning of each reason for a step run."""


IN_BACKFILL = "waiting for its turn in a backfill"
"""The detail that ``lua/shared/waiting.lua`` sets while a run waits for its backfill's ``--at-once``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The facts about a run. Times are Unix ms by Redis' clock."""

    run: Run
    now: int
    note: str | None = None
    """The detail of its record. If there is none, ``run.detail`` says where the run is."""
    due: int | None = None
    """The time until which it is in the delayed set."""
    ahead: int | None = None
    """Messages of the same priority ahead of its own in its queue."""
    higher: int = 0
    """Messages in its queue of a higher priority."""
    behind: int | None = None
    """The number of messages that were not examined; set if its own message was not found."""
    holder: str | None = None
    """The worker that has claimed it."""
    lease: int | None = None
    """The time at which that claim ends unless it is renewed."""
    refused_since: int | None = None
    pause: Pause | None = None
    """The pause that holds its job."""
    before: int | None = None
    """The number of runs ahead of it that also wait for another job, the rate, a slot, or the end of a pause."""
    holders: Sequence[str] | None = None
    """At most ten of the runs that hold the slots it waits for."""
    required: str | None = None
    """The job whose success it waits for."""
    required_within: int = 0
    """The largest age of that success, in milliseconds."""
    succeeded: int | None = None
    """The time of that job's last success."""
    required_stands: str | None = None
    """The reason why that job does not run: it is not declared, disabled, or paused."""
    rate_limit: int = 0
    rate_per: int = 0
    """The period of the rate, in milliseconds."""
    rate_free: int | None = None
    """The earliest time at which its rate lets it start."""
    workers: int = 0
    """The number of live workers."""
    takers: Sequence[str] = ()
    """The names of live workers that take runs from its queue."""
    declared: bool = True
    """Whether the job is in this project's files."""
    enabled: bool = True
    changed: bool = False
    """Whether the job was changed since the run was submitted."""
    left_out: Sequence[Mapping[str, str]] = ()
    """Slots around now that the job's schedule leaves out by ``except`` or ``only``, as documents; only for @JOB."""
    broker: str | None = None
    """The reason why RabbitMQ cannot notify workers of it. They find it within seconds anyway."""
    log: Sequence[str] = ()
    flow: Run | None = None
    """The flow of a step run."""
    failed_step: Run | None = None
    """The first step run that failed, of a flow that failed because of it."""
    open_steps: Sequence[OpenStep] = ()
    """Of a flow that has started: its steps that wait or run."""
    show: Callable[[str], str] = str
    """Formats a time of a run document for the reader."""

    def moment(self, milliseconds: int | None) -> str:
        """Return a time in Unix ms as text for the reader."""
        return self.show(to_timestamp(milliseconds) or "")

    def left(self, milliseconds: int) -> str:
        """Return the time from now until then, as text."""
        return str(timedelta(seconds=max(1, round((milliseconds - self.now) / 1000))))

    def document(self) -> dict[str, Any]:
        """Return the facts as a JSON document."""
        return {
            "due": to_timestamp(self.due),
            "ahead": self.ahead,
            "higher_priority_ahead": self.higher,
            "holder": self.holder,
            "lease_ends": to_timestamp(self.lease),
            "refused_since": to_timestamp(self.refused_since),
            "pause": self.pause.document() if self.pause is not None else None,
            "put_aside_before": self.before,
            "slot_holders": list(self.holders) if self.holders is not None else None,
            "rate_free": to_timestamp(self.rate_free),
            "required_job": self.required,
            "required_job_succeeded": to_timestamp(self.succeeded),
            "workers": self.workers,
            "takers": list(self.takers),
            "declared": self.declared,
            "enabled": self.enabled,
            "changed_since_submission": self.changed,
            "left_out": list(self.left_out),
            "broker": self.broker,
            "open_steps": [step.document() for step in self.open_steps],
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """A sentence, the facts behind it, and commands that help, as arguments of ``runner``.

    ``state`` is the beginning of the sentence that only names state and reason; empty if it has none.
    """

    summary: str
    because: list[str]
    commands: list[tuple[str, ...]]
    state: str = ""

    @property
    def beyond_state(self) -> str:
        """The sentence without state and reason, for readers who have just been shown them."""
        return self.summary.removeprefix(self.state)

    def document(self, facts: Facts, commands: Sequence[str]) -> dict[str, Any]:
        """Return the JSON document with ``facts``; ``commands`` are the commands as lines to paste."""
        run = facts.run
        return {
            "id": run.id,
            "job": run.job,
            "state": run.state,
            "reason": run.reason,
            "summary": self.summary,
            "because": self.because,
            "commands": list(commands),
            "log": list(facts.log),
            "facts": facts.document(),
        }


def explain(facts: Facts) -> Explanation:
    """Return the explanation of a run."""
    run = facts.run
    commands: list[tuple[str, ...]] = []
    ending = ""
    if run.damaged:
        return Explanation(f"its record is damaged: {run.damaged}", list(_history(facts)), [("doctor", "--repair")])
    if run.final:
        ending, summary, because = _ended(facts)
        if run.state is State.FAILURE:
            commands = _after_failure(run)
    elif run.state is State.STARTED and run.steps is not None:
        held = _paused(facts, facts.pause) if facts.pause is not None else None
        summary, because, commands = explain_flow(run, facts.open_steps, paused=held, workers=facts.workers)
    elif run.state is State.STARTED:
        summary, because = _runs(facts)
        commands = [("logs", run.id, "--follow")]
        if facts.lease is not None and facts.lease <= facts.now and not facts.workers:
            commands = [("worker",)]
    else:
        summary, because, commands = _waits(facts)
    facts_behind = [*because, *_broker(facts), *_slot(facts), *_history(facts), *_spec(facts)]
    return Explanation(ending + summary, list(dict.fromkeys(facts_behind)), commands, ending)


def _broker(facts: Facts) -> list[str]:
    return (
        [f"{facts.broker}; workers look for runs within seconds meanwhile (up to 8 s in a large fleet)"]
        if facts.broker
        else []
    )


def _after_failure(run: Run) -> list[tuple[str, ...]]:
    """Return the commands that help after a failure."""
    if run.flow is not None:
        return [("logs", run.id), ("rerun", run.flow, "--from-failed")]
    if run.steps is not None:
        return [("status", run.id), ("logs", run.id), ("rerun", run.id, "--from-failed")]
    return [("logs", run.id), ("rerun", run.id)]


def _ended(facts: Facts) -> tuple[str, str, list[str]]:
    """Return state and reason, what they mean for this run, and the facts behind that."""
    run = facts.run
    if run.state is State.SUCCESS:
        seconds = total_seconds(run)
        return "", "it succeeded" + (f" after {duration_text(seconds)}" if seconds is not None else ""), []
    ending = f"it ended in {run.state}, {run.reason}: "
    failed, because = list(failed_steps(run)), [*_step_error(facts), *steps_not_run(run)]
    if run.reason == "step_failed" and len(failed) == 1:
        return ending, failed[0], because
    because = [*failed, *because]
    if run.reason in ("cancelled", "terminated") and run.revocation:
        while_running = ", with --terminate while it ran" if run.reason == "terminated" else ""
        return ending, f"{_revoked(facts, run.revocation)}{while_running}", because
    if run.revocation:
        because.append(_revoked(facts, run.revocation))
    if run.reason == "expired" and run.expires_at and not run.attempts:
        approved = ", and nobody had approved it," if run.flow is not None else ""
        return ending, f"it had not started{approved} by {facts.show(run.expires_at)}", because
    ends = ENDS if run.flow is None else STEP_ENDS
    return ending, ends.get(run.reason or "", "nothing more is known"), because


def _step_error(facts: Facts) -> Iterator[str]:
    step = facts.failed_step
    if step is not None and step.error:
        yield f"error of step {step_name(step.step or '?', step.item)}: {error_text(step.error)}"


def _revoked(facts: Facts, revocation: Mapping[str, Any]) -> str:
    comment = f": {revocation['comment']}" if revocation.get("comment") else ""
    return f"revoked by {revocation.get('by') or 'somebody'} at {facts.show(revocation['at'])}{comment}"


def _runs(facts: Facts) -> tuple[str, list[str]]:
    run = facts.run
    summary = f"it runs: attempt {run.attempts} on {run.worker}, since {facts.show(run.started_at or '')}"
    because = []
    if facts.lease is not None and facts.lease <= facts.now:
        summary = f"its worker {run.worker} has not been heard of since its lease ended, {_ago(facts, facts.lease)}"
        nobody = "there is no live worker to start it again"
        because.append("any live worker starts it again, or ends it" if facts.workers else nobody)
    elif facts.lease is not None:
        because.append(f"the lease is renewed: it holds for {(facts.lease - facts.now) / 1000:.0f} s more")
    if run.progress:
        fraction = run.progress.get("fraction")
        parts = [f"{fraction:.0%}" if fraction is not None else "", run.progress.get("message") or ""]
        because.append(f"progress: {' '.join(part for part in parts if part)}")
    if run.detail:
        because.append(run.detail)
    return summary, because


def _waits(facts: Facts) -> tuple[str, list[str], list[tuple[str, ...]]]:
    run = facts.run
    if waits_for_approval(run):
        until = f" until {facts.show(run.expires_at)}" if run.expires_at else ""
        return f"it waits for approval{until}", [], [("approve", run.id), ("reject", run.id)]
    served = bool(facts.takers)
    start: list[tuple[str, ...]] = [("worker",) if run.queue == "default" else ("worker", "-Q", run.queue)]
    unserved = [] if served else [f"no live worker takes runs from queue {run.queue}"]
    if facts.pause is not None:
        return _held(facts, facts.pause)
    if facts.before is not None and facts.holders is not None:
        because = [f"held by run {holder}" for holder in facts.holders]
        because += [f"{_count(facts.before)} waiting before it"] if facts.before else ["it is the next one to get it"]
        if facts.run.backfill and facts.note == IN_BACKFILL:
            commands: list[tuple[str, ...]] = [("runs", "--backfill", facts.run.backfill)]
            return f"it waits for its turn in backfill {facts.run.backfill}", [*because, *unserved], commands
        return "it waits for a concurrency slot of its job", [*because, *unserved], []
    if facts.required is not None:
        return _requires(facts, facts.required, unserved)
    if facts.before is not None and facts.rate_free is not None:
        rate = f"{things(facts.rate_limit, 'start')} in {format_duration(facts.rate_per / 1000)}"
        summary = f"it waits for its rate limit ({rate}), until {facts.moment(facts.rate_free)}"
        summary += f", in {facts.left(facts.rate_free)}" if facts.rate_free > facts.now else " at the earliest"
        because = [f"{_count(facts.before)} waiting before it"] if facts.before else ["it is the next one to start"]
        return summary, [*because, *unserved], []
    if facts.before is not None:
        return "it was held while its job was paused, and goes into its queue soon", unserved, []
    if facts.due is not None:
        if facts.due > facts.now:
            what = "a retry" if run.state is State.RETRY else "its start"
            summary = f"it waits for {what}, due at {facts.moment(facts.due)}, in {facts.left(facts.due)}"
            return summary, [*_note(facts), *unserved], []
        if not facts.workers:
            return f"it is due since {facts.moment(facts.due)}, and there is no live worker", _note(facts), start
        return "it is due, and goes into its queue within a second", unserved, [] if served else start
    if facts.holder:
        if facts.lease is not None and facts.lease <= facts.now:
            summary = (
                f"worker {facts.holder} had fetched it, and has not been heard of since {_ago(facts, facts.lease)}"
            )
            return summary, ["any live worker puts it back into its queue"], [] if facts.workers else start
        return f"worker {facts.holder} has fetched it, and starts it when a process is free", _note(facts), []
    if not served:
        return unserved[0], [*_ahead(facts), *_note(facts)], start
    if facts.ahead is not None:
        before = facts.ahead + facts.higher
        if before:
            return f"{_count(before)} ahead of it in queue {run.queue}", _ahead(facts, counted=not facts.higher), []
        return f"it is the next one in queue {run.queue}", [f"taken by {', '.join(facts.takers)}"], []
    if facts.note:
        return facts.note, [], []
    if facts.behind:
        return f"it is far behind in queue {run.queue}: more runs are ahead of it than were looked at", [], []
    return (
        "its message was in no queue when it was looked for",
        ["it may have moved meanwhile: ask again"],
        [("doctor",)],
    )


def _held(facts: Facts, pause: Pause) -> tuple[str, list[str], list[tuple[str, ...]]]:
    run, document = facts.run, pause.document()
    summary = _paused(facts, pause)
    because = [
        f"paused by {pause.by} at {facts.show(document['since'])}" + (f": {pause.comment}" if pause.comment else "")
    ]
    return summary, because, [("resume", "--all" if pause.job == ALL else run.job)]


def _paused(facts: Facts, pause: Pause) -> str:
    until = pause.document()["until"]
    whom = "all jobs are" if pause.job == ALL else f"job {pause.job} is"
    return f"{whom} paused" + (f" until {facts.show(until)}" if until else "")


def _requires(facts: Facts, job: str, unserved: Sequence[str]) -> tuple[str, list[str], list[tuple[str, ...]]]:
    run = facts.run
    within = format_duration(facts.required_within / 1000)
    because = [
        f"{job} last succeeded at {facts.moment(facts.succeeded)}" if facts.succeeded else f"{job} never succeeded"
    ]
    if facts.required_stands:
        because.append(f"job {job} is {facts.required_stands}")
    if run.expires_at:
        because.append(f"it waits until {facts.show(run.expires_at)}, when it expires")
    commands: list[tuple[str, ...]] = [("runs", "--job", job), ("submit", job)]
    return (
        f"it waits for job {job} to succeed: {run.job} requires that within {within}",
        [*because, *unserved],
        commands,
    )


def _ahead(facts: Facts, *, counted: bool = False) -> list[str]:
    """Return the runs ahead of a run in its queue, unless they are ``counted`` already, and the queue's workers."""
    found = []
    if facts.ahead and not counted:
        found.append(f"{_count(facts.ahead)} ahead of it with the same priority ({facts.run.priority})")
    if facts.higher:
        found.append(f"{_count(facts.higher)} ahead of it with a higher priority")
    if facts.takers:
        found.append(f"taken by {', '.join(facts.takers)}")
    return found


def _note(facts: Facts) -> list[str]:
    return [facts.note] if facts.note else []


def _slot(facts: Facts) -> Iterator[str]:
    run = facts.run
    if run.slot is not None and run.params:
        params = ", ".join(f"{name}={as_text(value)}" for name, value in run.params.items())
        yield f"it is the run of slot {facts.show(run.slot)}, with {params}"


def _history(facts: Facts) -> Iterator[str]:
    run = facts.run
    if run.flow is not None:
        yield from explain_step(run, facts.flow)
    if run.overran_at:
        yield f"it took longer than its job's overrun at {facts.show(run.overran_at)}"
    if run.error and run.reason != "step_failed":  # its error names the failed steps once more
        yield f"last error: {error_text(run.error)}"
    if run.retries:
        yield f"retried {things(run.retries, 'time')}"
    for death in run.deaths[-3:]:
        how = f"signal {death['signal']}" if death.get("signal") else ""
        how = how or (f"exit code {death['exit_code']}" if death.get("exit_code") is not None else "with its worker")
        how += ", ended by the kernel's OOM killer" if death.get("oom_killed") else ""
        yield f"a process that ran it died at {facts.show(death['at'])} on {death.get('worker') or '?'} ({how})"


def _spec(facts: Facts) -> Iterator[str]:
    if facts.refused_since is not None and not facts.run.final:
        yield f"workers have handed it back since {facts.moment(facts.refused_since)}"
    if not facts.declared:
        yield f"job {facts.run.job} is not declared in this project's files"
    elif not facts.enabled:
        yield f"job {facts.run.job} is disabled now: what was submitted before still runs"
    elif facts.changed:
        yield f"job {facts.run.job} was changed since this run was submitted"
    for slots in facts.left_out:
        begin, end = facts.show(slots["slot"]), facts.show(slots["until"])
        yield f"its schedule leaves out {begin}, until {end}: {slots['reason']}"


def _ago(facts: Facts, moment: int) -> str:
    return f"{max(0, facts.now - moment) / 1000:.0f} s ago"


def _count(number: int) -> str:
    return "1 run is" if number == 1 else f"{number} runs are"
