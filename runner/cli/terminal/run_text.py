"""A run as text: a line for each change, a block with all details, a report about a failure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from runner.cli.terminal.moments import show_moment, show_seconds
from runner.cli.terminal.output import printable
from runner.model.pause import ALL, Pause
from runner.model.run import Run, State, to_datetime
from runner.model.run_error import error_text, traceback_of, unquoted
from runner.model.run_time import duration_text, total_seconds, total_text
from runner.model.step_run import step_name

TRACEBACK_LINES = 10
"""How many of a traceback's last lines a failure report shows."""

LONGEST_CELL = 60
"""Characters of a cell of a table."""

_SHELL_RESULT = {"exit_status", "output", "output_truncated"}
"""The fields of the result of a shell job."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def short_id(run_id: str) -> str:
    """Return the first 8 characters of a UUID, which every command accepts; other ids are returned unchanged."""
    return run_id[:8] if _UUID.fullmatch(run_id) else run_id


def state_text(run: Run) -> str:
    """Return the state with its reason: ``FAILURE (timeout)``."""
    text = f"{run.state} ({run.reason})" if run.reason else str(run.state)
    text += ", overran" if run.overran_at else ""
    return f"{text}, damaged" if run.damaged else text


def took(run: Run) -> str:
    """Return the whole duration of a finished run: ``12.3 s, 4 attempts``; empty if it never started."""
    return total_text(run)


def change_line(run: Run, *, short: bool = False) -> str:
    """Return the line for a change of state of a run that somebody waits for; ``short``: with a short id."""
    parts = [f"{run.state:<8}", run.job, short_id(run.id) if short else run.id]
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
    return f" after {error_text(run.error)}" if run.error else ""


def one_line(text: str, longest: int = 300) -> str:
    """Return ``text`` on one line, cut where it is long."""
    flat = printable(text).replace("\n", " ").replace("\t", " ")
    return flat if len(flat) <= longest else flat[: longest - 1] + "…"


def params_text(params: dict[str, Any]) -> str:
    """Return params as options of ``submit`` give them: ``day=2026-11-23 limit=5``."""
    return " ".join(f"{name}={_value(value)}" for name, value in params.items())


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def block(run: Run, *, utc: bool, steps: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Return the details of a run as names and texts, without the empty ones.

    Args:
        run: the run.
        utc: show times in UTC.
        steps: the lines about its steps.
    """
    error = run.error or {}
    progress = run.progress or {}
    fraction = progress.get("fraction")
    progress_parts = [f"{fraction:.0%}" if fraction is not None else "", progress.get("message") or ""]
    counts = [f"{run.attempts}", f"{run.retries} retries" if run.retries else ""]
    counts.append(f"{run.losses} lost" if run.losses else "")
    revocation = run.revocation or {}
    spent = total_seconds(run)
    rows = [
        ("id", run.id),
        ("job", run.job),
        ("state", state_text(run)),
        ("detail", run.detail or ""),
        ("params", params_text(run.params)),
        ("result", _result(run)),
        ("error", error_text(error) if error else ""),
        ("progress", " ".join(part for part in progress_parts if part)),
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
        (
            "finished",
            show_moment(run.finished_at, utc=utc) + (f", after {duration_text(spent)}" if spent is not None else ""),
        ),
        ("revoked", _revoked(revocation, utc=utc)),
        ("tags", ", ".join(run.tags)),
        ("kept in", "the archive" if run.archived else ""),
        ("traceback", traceback_of(error)),
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
        command: the command that shows its details.
        log_command: the command that shows its whole log.
        log: the last lines of its log, if there are any.
        steps: the lines about its steps, if it is a flow.
    """
    rows = [("run", run.id)]
    if run.params:
        rows.append(("params", params_text(run.params)))
    error = run.error or {}
    if error:
        rows.append(("error", error_text(error)))
    if run.detail:
        rows.append(("detail", run.detail))
    if steps:
        rows.append(("steps", "\n".join(steps)))
    if run.revocation:
        rows.append(("revoked", _revoked(run.revocation, utc=False)))
    details = aligned([*rows, *([("log", log_command)] if log else [])], indent="  ")
    log_row = [details.pop()] if log else []
    lines = [
        f"{run.job}: {state_text(run)}" + (f" after {took(run)}" if took(run) else ""),
        *details,
        *(f"  | {printable(line)}" for line in _last_frames(error)),
        *log_row,
        *(f"  > {printable(line)}" for line in unquoted(log, error)),
    ]
    return "\n".join([*lines, f"more: {command}"])


def _last_frames(error: dict[str, Any]) -> list[str]:
    """Return the last frames of a traceback, without the error at its end, which is shown already."""
    message = f"{error.get('type')}: {error.get('message')}".rstrip()
    return traceback_of(error).removesuffix(message).rstrip().splitlines()[-TRACEBACK_LINES:]


def pause_text(pause: Pause, *, utc: bool) -> str:
    """Return the line that says who paused a job."""
    document = pause.document()
    until = f" until {show_moment(document['until'], utc=utc)}" if document["until"] else ""
    comment = f": {one_line(pause.comment)}" if pause.comment else ""
    jobs = "all jobs" if pause.job == ALL else pause.job
    return f"paused: {jobs}, by {one_line(pause.by)} since {show_moment(document['since'], utc=utc)}{until}{comment}"


def result_text(result: Any) -> str:
    """Return a result on one line, as JSON; of a shell job its exit code and the last line of its output."""
    if isinstance(result, dict) and result.keys() == _SHELL_RESULT:
        lines = str(result["output"]).splitlines()
        return f"exit code {result['exit_status']}" + (f", last line: {lines[-1]}" if lines else ", no output")
    return json.dumps(result, ensure_ascii=False)


def aligned(rows: list[tuple[str, str]], indent: str = "") -> list[str]:
    """Return names and texts in two columns; a text of several lines is indented to its column."""
    width = max(len(name) for name, _ in rows)
    lines = []
    for name, text in rows:
        first, *rest = printable(text).split("\n")
        lines.append(f"{indent}{name:<{width}}  {first}".rstrip())
        lines += [f"{indent}{'':<{width}}  {line}".rstrip() for line in rest]
    return lines
