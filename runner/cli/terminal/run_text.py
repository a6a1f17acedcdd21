"""A run in words: one line for a list, a block for one, a report for a failure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from runner.cli.terminal.moments import show_moment, show_seconds
from runner.cli.terminal.output import printable
from runner.model.pause import ALL, Pause
from runner.model.run import Run, State, to_datetime
from runner.model.step_run import step_name

TRACEBACK_LINES = 10
"""How many of a traceback's last lines a failure report shows."""

STOCK_TASKS = "runner.tasks."
"""What the errors of stock tasks begin with; where in the runner they were raised helps nobody."""

LONGEST_CELL = 60


def state_text(run: Run) -> str:
    """Return the state and what qualifies it: ``FAILURE (timeout)``."""
    told = f"{run.state} ({run.reason})" if run.reason else str(run.state)
    told += ", overran" if run.overran_at else ""
    return f"{told}, damaged" if run.damaged else told


def took(run: Run) -> str:
    """Return the duration of a finished run since its last start, or an empty text."""
    if run.started_at is None or run.finished_at is None:
        return ""
    return show_seconds((to_datetime(run.finished_at) - to_datetime(run.started_at)).total_seconds())


def change_line(run: Run) -> str:
    """Return the line that says what became of a run while it is waited for."""
    parts = [f"{run.state:<8}", run.job, run.id]
    if run.state is State.STARTED:
        parts.append(f"attempt {run.attempts}" + (f" on {run.worker}" if run.worker else ""))
        parts.append("takes longer than its overrun" if run.overran_at else "")
    elif run.state is State.RETRY:
        parts.append(f"{run.detail or ''}{_cause(run)}".strip())
    elif run.state is State.PENDING:
        parts.append(run.detail or "")
    else:
        parts.append(" ".join(part for part in (run.reason, f"after {took(run)}" if took(run) else "") if part))
    return one_line("  ".join(part for part in parts if part))


def _cause(run: Run) -> str:
    return f" after {run.error['type']}: {run.error['message']}" if run.error else ""


def one_line(text: str, longest: int = 300) -> str:
    """Return ``text`` on one line, cut where it is long."""
    flat = printable(text).replace("\n", " ").replace("\t", " ")
    return flat if len(flat) <= longest else flat[: longest - 1] + "…"


def params_text(params: dict[str, Any]) -> str:
    """Return params as they would be given: ``day=2026-11-23 limit=5``."""
    return " ".join(f"{name}={_value(value)}" for name, value in params.items())


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def block(run: Run, *, utc: bool, steps: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Return all that is known of a run as names and texts; what says nothing is left out.

    Args:
        run: the run.
        utc: show times in UTC.
        steps: the lines that tell of its steps.
    """
    error = run.error or {}
    progress = run.progress or {}
    fraction = progress.get("fraction")
    told = [f"{fraction:.0%}" if fraction is not None else "", progress.get("message") or ""]
    counts = [f"{run.attempts}", f"{run.retries} retries" if run.retries else ""]
    counts.append(f"{run.losses} lost" if run.losses else "")
    revocation = run.revocation or {}
    spent = took(run)
    rows = [
        ("id", run.id),
        ("job", run.job),
        ("state", state_text(run)),
        ("detail", run.detail or ""),
        ("params", params_text(run.params)),
        ("result", _result(run)),
        ("error", f"{error['type']}: {error['message']}" if error else ""),
        ("progress", " ".join(part for part in told if part)),
        ("steps", "\n".join(steps)),
        ("attempts", ", ".join(part for part in counts if part)),
        ("retry at", show_moment(run.retry_at, utc=utc)),
        ("queue", f"{run.queue}, priority {run.priority}"),
        ("worker", run.worker or ""),
        ("submitted", f"{show_moment(run.submitted_at, utc=utc)} by {run.submitted_by or '?'} ({run.trigger})"),
        ("slot", _slot(run, utc=utc)),
        ("key", run.key or ""),
        ("flow", run.flow or ""),
        ("step", step_name(run.step, run.item) if run.step else ""),
        ("reused from", run.reused_from or ""),
        ("rerun of", run.rerun_of or ""),
        ("eta", show_moment(run.eta, utc=utc)),
        ("expires", show_moment(run.expires_at, utc=utc)),
        ("started", show_moment(run.started_at, utc=utc)),
        ("overran", show_moment(run.overran_at, utc=utc)),
        ("finished", show_moment(run.finished_at, utc=utc) + (f", after {spent}" if spent else "")),
        ("revoked", _revoked(revocation, utc=utc)),
        ("tags", ", ".join(run.tags)),
        ("kept in", "the archive" if run.archived else ""),
        ("traceback", (error.get("traceback") or "").rstrip()),
    ]
    return [(name, printable(text)) for name, text in rows if text]


def _result(run: Run) -> str:
    if run.state is not State.SUCCESS:
        return ""
    return "(expired)" if run.result_expired else json.dumps(run.result, ensure_ascii=False)


def _slot(run: Run, *, utc: bool) -> str:
    """Return the slot of a scheduled run, and how late it was submitted."""
    if run.slot is None or run.submitted_at is None:
        return ""
    late = (to_datetime(run.submitted_at) - to_datetime(run.slot)).total_seconds()
    return show_moment(run.slot, utc=utc) + (f", submitted {show_seconds(late)} late" if late >= 1 else "")


def _revoked(revocation: dict[str, Any], *, utc: bool) -> str:
    if not revocation:
        return ""
    comment = f": {revocation['comment']}" if revocation.get("comment") else ""
    return f"{show_moment(revocation['at'], utc=utc)} by {revocation.get('by') or '?'}{comment}"


def failure_report(
    run: Run, command: str, log_command: str = "", log: Sequence[str] = (), steps: Sequence[str] = ()
) -> str:
    """Return a report about a run that did not succeed.

    Args:
        run: the run.
        command: that shows more.
        log_command: that shows all it wrote.
        log: the last lines of that, if it wrote any.
        steps: the lines that tell of its steps, if it is a flow.
    """
    rows = [("run", run.id)]
    if run.params:
        rows.append(("params", params_text(run.params)))
    error = run.error or {}
    if error:
        rows.append(("error", f"{error['type']}: {error['message']}"))
    if run.detail:
        rows.append(("detail", run.detail))
    if steps:
        rows.append(("steps", "\n".join(steps)))
    if run.revocation:
        rows.append(("revoked", _revoked(run.revocation, utc=False)))
    told = aligned([*rows, *([("log", log_command)] if log else [])], indent="  ")
    where_log_is = [told.pop()] if log else []
    # The error of a shell job quotes its last lines already.
    quoted = set(log) <= set(str(error.get("message", "")).splitlines())
    lines = [
        f"{run.job}: {state_text(run)}" + (f" after {took(run)}" if took(run) else ""),
        *told,
        *(f"  | {printable(line)}" for line in _last_frames(error)),
        *where_log_is,
        *(f"  > {printable(line)}" for line in log if not quoted),
    ]
    return "\n".join([*lines, f"more: {command}"])


def _last_frames(error: dict[str, Any]) -> list[str]:
    """Return the end of a traceback, without the error at its end and without what is no code of the user's."""
    if str(error.get("type", "")).startswith(STOCK_TASKS):
        return []
    traceback = (error.get("traceback") or "").rstrip()
    told = f"{error.get('type')}: {error.get('message')}".rstrip()
    return str(traceback.removesuffix(told)).rstrip().splitlines()[-TRACEBACK_LINES:]


def pause_text(pause: Pause, *, utc: bool) -> str:
    """Return the line that says who paused a job."""
    told = pause.document()
    until = f" until {show_moment(told['until'], utc=utc)}" if told["until"] else ""
    why = f": {one_line(pause.comment)}" if pause.comment else ""
    whom = "all jobs" if pause.job == ALL else pause.job
    return f"paused: {whom}, by {one_line(pause.by)} since {show_moment(told['since'], utc=utc)}{until}{why}"


def aligned(rows: list[tuple[str, str]], indent: str = "") -> list[str]:
    """Return names and texts in two columns; lines that follow the first are indented to the second."""
    width = max(len(name) for name, _ in rows)
    lines = []
    for name, text in rows:
        first, *rest = printable(text).split("\n")
        lines.append(f"{indent}{name:<{width}}  {first}".rstrip())
        lines += [f"{indent}{'':<{width}}  {line}".rstrip() for line in rest]
    return lines
