"""The steps of a flow as text: a tree of lines, and a line for each change."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runner.cli.terminal.run_text import change_line, one_line, short_id
from runner.model.plural import things
from runner.model.run import FINAL, Run, State, to_datetime
from runner.model.run_error import error_text
from runner.model.run_time import duration_text
from runner.model.step_run import ended, step_name

if TYPE_CHECKING:
    from runner.actions.step_tree import Branch

_LONGEST = 120
"""Characters of the note beside a step."""


def counts_text(items: int, counts: Mapping[str, int]) -> str:
    """Return the progress of a step that has a run for each item: ``12 of 50, 8 running, 2 failed``."""
    done = ended(counts)
    parts = [f"{done} of {items}"]
    for what, number in (
        ("running", counts.get(State.STARTED, 0)),
        ("waiting for a retry", counts.get(State.RETRY, 0)),
        ("failed", counts.get(State.FAILURE, 0)),
        ("revoked", done - counts.get(State.SUCCESS, 0) - counts.get(State.FAILURE, 0)),
    ):
        if number:
            parts.append(f"{number} {what}")
    return ", ".join(parts)


def tree_lines(branches: Sequence[Branch], *, short: bool = False) -> list[str]:
    """Return a line for each step of a flow: names in the first column, indented by level.

    Args:
        branches: the steps.
        short: show short ids.
    """
    rows = list(_rows(branches, 0, short_id if short else str))
    names = max((len(name) for name, _, _ in rows), default=0)
    states = max((len(state) for _, state, _ in rows), default=0)
    return [f"{name:<{names}}  {state:<{states}}  {text}".rstrip() for name, state, text in rows]


def _rows(branches: Sequence[Branch], level: int, show_id: Callable[[str], str]) -> Iterator[tuple[str, str, str]]:
    for branch in branches:
        yield "  " * level + branch.name, _state(branch.state, branch.reason), _text(branch, show_id)
        for run in branch.failed:
            name = step_name(branch.name, run.item)
            text = one_line(f"{show_id(run.id)}{_error(run)}", _LONGEST)
            yield "  " * (level + 1) + name, _state(run.state, run.reason), text
        hidden = branch.counts.get(State.FAILURE, 0) - len(branch.failed)
        if branch.failed and hidden > 0:
            yield "  " * (level + 1) + "…", "", f"{hidden} more failed"
        yield from _rows(branch.branches, level + 1, show_id)


def _state(state: State, reason: str | None) -> str:
    return f"{state} ({reason})" if reason else str(state)


def _text(branch: Branch, show_id: Callable[[str], str]) -> str:
    run = branch.run
    parts = []
    if run is None and branch.items is None:
        parts.append(f"needs {', '.join(branch.needs)}" if branch.needs and branch.state is State.PENDING else "")
    elif run is None:
        parts.append(counts_text(branch.items or 0, branch.counts))
    else:
        parts.append(_run_text(run, show_id))
    parts.append(_spent(branch.state, branch.started_at, branch.finished_at))
    if run is not None:
        parts.append(show_id(run.id))
    return one_line(", ".join(part for part in parts if part), _LONGEST)


def _run_text(run: Run, show_id: Callable[[str], str]) -> str:
    if run.reused_from is not None:
        return f"reused from {show_id(run.reused_from)}"
    if run.state is State.SUCCESS and isinstance(run.result, dict) and run.result.get("approved_by"):
        comment = run.result.get("comment")
        return f"approved by {run.result['approved_by']}" + (f": {comment}" if comment else "")
    if run.state is State.FAILURE:
        return _error(run).removeprefix("  ")
    if run.state is State.STARTED:
        progress = run.progress or {}
        fraction = progress.get("fraction")
        percent = f"{fraction:.0%}" if fraction is not None else ""
        parts = [percent, progress.get("message") or "", f"on {run.worker}" if run.worker else ""]
        return ", ".join(part for part in parts if part)
    return "" if run.final else run.detail or ""


def _error(run: Run) -> str:
    return f"  {error_text(run.error)}" if run.error else ""


def _spent(state: State, started: str | None, finished: str | None) -> str:
    if started is None:
        return ""
    if state in FINAL:
        if finished is None:
            return ""
        return f"after {duration_text((to_datetime(finished) - to_datetime(started)).total_seconds())}"
    return f"for {duration_text(max(0.0, time.time() - to_datetime(started).timestamp()))}"


class StepChanges:
    """Yields a line for each change of state of the steps of flows since they were last seen."""

    def __init__(self, *, short: bool = False) -> None:
        self._short = short
        self._seen: dict[tuple[str, str], tuple[Any, ...]] = {}

    def lines(self, run: Run) -> Iterator[tuple[State, str]]:
        """Yield the state and the line of each step that changed; steps that have not started are left out."""
        for step in run.steps or ():
            waits = waits_for_approval(step)
            key, now = (run.id, step["name"]), (step["state"], step.get("reason"), waits)
            if self._seen.get(key) != now and (key in self._seen or step["state"] != State.PENDING or waits):
                yield State(step["state"]), step_line(run, step, short=self._short)
            self._seen[key] = now


def waits_for_approval(step: Mapping[str, Any]) -> bool:
    """Whether a step of a flow waits until somebody approves or rejects it."""
    return step.get("kind") == "approval" and step["state"] == State.PENDING and bool(step.get("run"))


def step_line(flow: Run, step: Mapping[str, Any], *, short: bool = False) -> str:
    """Return the line for a change of state of a step; ``short``: with a short id."""
    run_id = step.get("run") or ""
    spent = _spent(State(step["state"]), step.get("started_at"), step.get("finished_at"))
    items = step.get("items")
    parts = [
        f"{step['state']:<8}",
        f"{flow.job}/{step['name']}",
        (short_id(run_id) if short else run_id)
        or (counts_text(items, step.get("counts") or {}) if items is not None else ""),
        "waits for approval" if waits_for_approval(step) else "",
        " ".join(part for part in (step.get("reason"), spent if step["state"] in FINAL else "") if part),
    ]
    return one_line("  ".join(part for part in parts if part))


def flow_line(run: Run, *, short: bool = False) -> str:
    """Return the line for a change of state of a flow or of any other run; ``short``: with a short id."""
    if run.steps is None or run.state is not State.STARTED:
        return change_line(run, short=short)
    run_id = short_id(run.id) if short else run.id
    return one_line(f"{run.state:<8}  {run.job}  {run_id}  {things(len(run.steps), 'step')}")
