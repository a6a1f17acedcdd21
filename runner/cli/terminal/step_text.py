"""The steps of a flow in words: a tree of lines, and a line for each change."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runner.cli.terminal.moments import show_seconds
from runner.cli.terminal.run_text import change_line, one_line
from runner.model.plural import things
from runner.model.run import FINAL, Run, State, to_datetime
from runner.model.step_run import ended, step_name

if TYPE_CHECKING:
    from runner.actions.step_tree import Branch

_LONGEST = 120
"""Characters of the note beside a step."""


def counts_text(items: int, counts: Mapping[str, int]) -> str:
    """Return the progress of a step that has a run for each item: ``12 of 50, 8 running, 2 failed``."""
    done = ended(counts)
    told = [f"{done} of {items}"]
    for words, number in (
        ("running", counts.get(State.STARTED, 0)),
        ("waiting for a retry", counts.get(State.RETRY, 0)),
        ("failed", counts.get(State.FAILURE, 0)),
        ("revoked", done - counts.get(State.SUCCESS, 0) - counts.get(State.FAILURE, 0)),
    ):
        if number:
            told.append(f"{number} {words}")
    return ", ".join(told)


def tree_lines(branches: Sequence[Branch]) -> list[str]:
    """Return the steps of a flow, a line each: names in the first column, indented by level."""
    rows = list(_rows(branches, 0))
    names = max((len(name) for name, _, _ in rows), default=0)
    states = max((len(state) for _, state, _ in rows), default=0)
    return [f"{name:<{names}}  {state:<{states}}  {text}".rstrip() for name, state, text in rows]


def _rows(branches: Sequence[Branch], level: int) -> Iterator[tuple[str, str, str]]:
    for branch in branches:
        yield "  " * level + branch.name, _state(branch.state, branch.reason), _text(branch)
        for run in branch.failed:
            name = step_name(branch.name, run.item)
            yield "  " * (level + 1) + name, _state(run.state, run.reason), one_line(f"{run.id}{_error(run)}", _LONGEST)
        hidden = branch.counts.get(State.FAILURE, 0) - len(branch.failed)
        if branch.failed and hidden > 0:
            yield "  " * (level + 1) + "…", "", f"{hidden} more failed"
        yield from _rows(branch.branches, level + 1)


def _state(state: State, reason: str | None) -> str:
    return f"{state} ({reason})" if reason else str(state)


def _text(branch: Branch) -> str:
    run = branch.run
    told = []
    if run is None and branch.items is None:
        told.append(f"needs {', '.join(branch.needs)}" if branch.needs and branch.state is State.PENDING else "")
    elif run is None:
        told.append(counts_text(branch.items or 0, branch.counts))
    else:
        told.append(_run_text(run))
    told.append(_spent(branch.state, branch.started_at, branch.finished_at))
    if run is not None:
        told.append(run.id)
    return one_line(", ".join(part for part in told if part), _LONGEST)


def _run_text(run: Run) -> str:
    if run.reused_from is not None:
        return f"reused from {run.reused_from}"
    if run.state is State.SUCCESS and isinstance(run.result, dict) and run.result.get("approved_by"):
        comment = run.result.get("comment")
        return f"approved by {run.result['approved_by']}" + (f": {comment}" if comment else "")
    if run.state is State.FAILURE:
        return _error(run).removeprefix("  ")
    if run.state is State.STARTED:
        progress = run.progress or {}
        fraction = progress.get("fraction")
        percent = f"{fraction:.0%}" if fraction is not None else ""
        told = [percent, progress.get("message") or "", f"on {run.worker}" if run.worker else ""]
        return ", ".join(part for part in told if part)
    return "" if run.final else run.detail or ""


def _error(run: Run) -> str:
    return f"  {run.error['type']}: {run.error['message']}" if run.error else ""


def _spent(state: State, started: str | None, finished: str | None) -> str:
    if started is None:
        return ""
    if state in FINAL:
        if finished is None:
            return ""
        return f"after {show_seconds((to_datetime(finished) - to_datetime(started)).total_seconds())}"
    return f"for {show_seconds(max(0.0, time.time() - to_datetime(started).timestamp()))}"


class StepChanges:
    """Tells what became of the steps of flows since they were last seen, a line for each change of state."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], tuple[Any, ...]] = {}

    def lines(self, run: Run) -> Iterator[tuple[State, str]]:
        """Yield the state and the line of each step that changed; steps that have not started are left out."""
        for each in run.steps or ():
            waits = waits_for_approval(each)
            key, told = (run.id, each["name"]), (each["state"], each.get("reason"), waits)
            if self._seen.get(key) != told and (key in self._seen or each["state"] != State.PENDING or waits):
                yield State(each["state"]), step_line(run, each)
            self._seen[key] = told


def waits_for_approval(step: Mapping[str, Any]) -> bool:
    """Whether a step of a flow waits until somebody approves or rejects it."""
    return step.get("kind") == "approval" and step["state"] == State.PENDING and bool(step.get("run"))


def step_line(flow: Run, step: Mapping[str, Any]) -> str:
    """Return the line that says what became of a step of a flow that is waited for."""
    spent = _spent(State(step["state"]), step.get("started_at"), step.get("finished_at"))
    items = step.get("items")
    parts = [
        f"{step['state']:<8}",
        f"{flow.job}/{step['name']}",
        step.get("run") or (counts_text(items, step.get("counts") or {}) if items is not None else ""),
        "waits for approval" if waits_for_approval(step) else "",
        " ".join(part for part in (step.get("reason"), spent if step["state"] in FINAL else "") if part),
    ]
    return one_line("  ".join(part for part in parts if part))


def flow_line(run: Run) -> str:
    """Return the line that says what became of a flow, or of any other run, while it is waited for."""
    if run.steps is None or run.state is not State.STARTED:
        return change_line(run)
    return one_line(f"{run.state:<8}  {run.job}  {run.id}  {things(len(run.steps), 'step')}")
