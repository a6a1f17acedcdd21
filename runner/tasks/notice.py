"""The content of a notice about a run: a title, facts, and the last lines of its log."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from runner.model.plural import things

LINES = 20
"""The maximum number of log lines in a notice."""

_EVENTS = {"start": "start", "success": "success", "recovered": "success", "failure": "failure", "silent": "failure"}
_EVENTS_OF_STATES = {"SUCCESS": "success", "FAILURE": "failure"}


def event(run: Mapping[str, Any]) -> str:
    """Return the event of a notice: start, success, failure, or log for anything else."""
    hook = run.get("hook")
    return _EVENTS.get(hook, "log") if hook else _EVENTS_OF_STATES.get(str(run.get("state")), "log")


def title(run: Mapping[str, Any]) -> str:
    """Return a one-line summary of a run: what happened, the job, and the reason."""
    job = run.get("job") or "a run"
    match run.get("hook"):
        case "start":
            return f"STARTED: {job}"
        case "overrun":
            return f"OVERRUN: {job} takes longer than its overrun"
        case "recovered":
            return f"RECOVERED: {job} after {things(run.get('failures_in_row') or 1, 'failure')}"
        case "silent":
            last = run.get("last_success_at")
            return f"SILENT: {job} " + (f"has not succeeded since {last}" if last else "has never succeeded")
    return f"{run.get('state') or 'UNKNOWN'}: {job}{_because(run)}"


def facts(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the facts about a run for people, as names and texts."""
    error = run.get("error") or {}
    in_row = run.get("failures_in_row")
    pairs = [
        ("run", run.get("id")),
        ("state", f"{run.get('state') or 'UNKNOWN'}{_because(run)}"),
        ("error", f"{error.get('type')}: {error.get('message')}" if error else None),
        ("failures", f"{in_row} in a row" if in_row and run.get("state") == "FAILURE" else None),
        ("params", ", ".join(f"{name}={value!r}" for name, value in (run.get("params") or {}).items())),
        ("attempts", run.get("attempts")),
        ("worker", run.get("worker")),
        ("submitted", run.get("submitted_at")),
        ("overran", run.get("overran_at")),
        ("finished", run.get("finished_at")),
    ]
    return [(name, str(value)) for name, value in pairs if value]


def last_lines(run: Mapping[str, Any]) -> list[str]:
    """Return the last log lines of a run."""
    return [str(line) for line in run.get("log") or ()][-LINES:]


def message_text(run: Mapping[str, Any]) -> str:
    """Return the facts, the last lines, and the commands for more information."""
    lines = [f"{name + ':':<11}{value}" for name, value in facts(run)]
    log = last_lines(run)
    if log:
        lines += ["", "its last lines:", *(f"  {line}" for line in log)]
    if run.get("id"):
        lines += ["", "to go on:", *(f"  {line}" for line in commands(str(run["id"])))]
    return "\n".join(lines)


def commands(run_id: str) -> Iterator[str]:
    """Yield the commands that show more of a run."""
    project = os.environ.get("RUNNER_PROJECT")
    option = f" --project {shlex.quote(project)}" if project else ""
    for verb in ("why", "logs", "rerun"):
        yield f"runner {verb} {shlex.quote(run_id)}{option}"


def _because(run: Mapping[str, Any]) -> str:
    return f" ({run['reason']})" if run.get("reason") else ""
