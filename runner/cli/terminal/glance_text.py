"""A project at a glance, in at most 20 lines."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from runner._dataclass import dataclass
from runner.cli.terminal.hints import with_project
from runner.cli.terminal.moments import show_moment, show_seconds
from runner.cli.terminal.run_text import LONGEST_CELL, one_line, pause_text, short_id, state_text
from runner.model.plural import things
from runner.model.run import Run, State, to_datetime, to_timestamp
from runner.model.run_error import error_text

if TYPE_CHECKING:
    from runner.actions.approvals import Approvals
    from runner.actions.glance import Glance, Waiting
    from runner.actions.upcoming import Upcoming
    from runner.model.worker import Worker

LINES = 20
_LONGEST = 160
"""Characters of an item."""


@dataclass(frozen=True, slots=True)
class Section:
    """A section: it has ``total`` items and shows some of them; ``more`` is the command that lists all."""

    name: str
    head: str
    items: Sequence[str] = ()
    total: int = 0
    more: str = ""


def glance_rows(found: Glance, *, utc: bool) -> list[tuple[str, str]]:
    """Return at most :data:`LINES` rows of name and text. A section that is cut says how many items it leaves out."""
    sections = list(_sections(found, utc=utc))
    rows = []
    for section, lines in zip(
        sections, _shares([section.total for section in sections], LINES - len(sections)), strict=True
    ):
        rows.append((section.name, section.head))
        whole = section.total <= min(lines, len(section.items))
        shown = section.items[: lines if whole else max(0, lines - 1)]
        rows += [("", one_line(item, _LONGEST)) for item in shown]
        if lines and not whole:
            rows.append(("", f"… {section.total - len(shown)} more: {with_project(section.more)}"))
    return rows


def _shares(wanted: Sequence[int], lines: int) -> list[int]:
    """Distribute lines in turns, one at a time, to those that want more."""
    given = [0] * len(wanted)
    while lines and given != list(wanted):
        for index, most in enumerate(wanted):
            if lines and given[index] < most:
                given[index] += 1
                lines -= 1
    return given


def _sections(found: Glance, *, utc: bool) -> Iterator[Section]:
    failing, running = found.failing_jobs, found.states[State.STARTED]
    yield Section(
        "failing",
        things(failing, "job") if failing else "none",
        [_failed(run) for run in found.failing],
        failing,
        "runner runs --state failure",
    )
    problems = found.findings
    yield Section(
        "doctor",
        f"{things(len(problems), 'finding')}, {with_project('see runner doctor')}" if problems else "ok",
        [f"{finding.level}: {finding.what}" for finding in problems],
        len(problems),
        "runner doctor",
    )
    waiting = [_waiting(waiting_job) for waiting_job in found.waiting]
    if found.elsewhere:
        waiting.append(f"{things(found.elsewhere, 'run')} of jobs that this project does not declare")
    jobs = found.waiting_jobs + bool(found.elsewhere)
    head = things(found.waiting_count, "run") if found.waiting_count else "none"
    yield Section("waiting", head, waiting, jobs, "runner runs --state pending --state retry")
    if found.approvals:
        yield Section(
            "approvals",
            f"{found.approvals_count} waiting",
            [_approval(approval) for approval in found.approvals],
            len(found.approvals),
            "runner runs --steps --state pending",
        )
    yield Section(
        "running",
        things(running, "run") if running else "none",
        [_running(run) for run in found.running],
        running,
        "runner runs --state started",
    )
    yield Section("workers", _workers(found.workers))
    slots = [_slot(slot, utc=utc) for slot in found.following]
    yield Section("next", _next(found), slots, len(slots), "runner upcoming")
    pauses = [pause_text(pause, utc=utc).removeprefix("paused: ") for pause in found.pauses]
    yield Section("paused", things(len(pauses), "pause") if pauses else "none", pauses, len(pauses), "runner doctor")


def _ago(timestamp: str | None) -> str:
    if timestamp is None:
        return ""
    return f"{show_seconds(max(0.0, time.time() - to_datetime(timestamp).timestamp()))} ago"


def _failed(run: Run) -> str:
    error = f": {error_text(run.error)}" if run.error else ""
    return f"{run.job}  {state_text(run)} {_ago(run.finished_at)}  {short_id(run.id)}{error}"


def _running(run: Run) -> str:
    since = f"for {_ago(run.started_at).removesuffix(' ago')}" if run.started_at else ""
    progress = run.progress or {}
    fraction = progress.get("fraction")
    text = f"  {fraction:.0%}" if fraction is not None else ""
    if run.steps is not None:
        # A flow is on no worker.
        return f"{run.job}  {since}  {short_id(run.id)}  {progress.get('message') or things(len(run.steps), 'step')}"
    return f"{run.job}  {since} on {run.worker or '?'}  {short_id(run.id)}{text}"


def _waiting(waiting: Waiting) -> str:
    count = things(waiting.count, "run") if waiting.count > 1 else short_id(waiting.oldest)
    return f"{waiting.job}  {count}, since {_ago(to_timestamp(waiting.since)).removesuffix(' ago')}: {waiting.why}"


def _approval(approval: Approvals) -> str:
    count = f"{approval.count} runs" if approval.count > 1 else short_id(approval.oldest)
    since = _ago(to_timestamp(approval.since)).removesuffix(" ago")
    return f"{approval.job}  {count}, since {since}: {with_project(f'runner approve {short_id(approval.oldest)}')}"


def _slot(upcoming: Upcoming, *, utc: bool) -> str:
    marks = f"  {', '.join(upcoming.marks)}" if upcoming.marks else ""
    return f"{show_moment(to_timestamp(upcoming.slot), utc=utc)}  {upcoming.job.name}{marks}"


def _next(found: Glance) -> str:
    if not found.following:
        return "nothing is scheduled"
    away = found.following[0].slot / 1000 - time.time()
    return f"in {show_seconds(away)}" if away > 0 else "due"


def _workers(workers: Sequence[Worker]) -> str:
    live = [worker for worker in workers if not worker.lost]
    lost = len(workers) - len(live)
    text = f"{len(live)} alive" if live else "none"
    if live:
        # Not how many are busy: beats tell that seconds later, and would contradict the line above.
        text += f", {things(sum(worker.concurrency for worker in live), 'process')}"
        text += f": {one_line(', '.join(worker.name for worker in live), LONGEST_CELL)}"
    return f"{text}; {lost} lost" if lost else text
