"""Explain a flow by its steps, and a step run by its flow. Pure: asks nothing of anybody."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from runner._dataclass import dataclass
from runner.model.plural import things
from runner.model.run import FINAL, Run, State
from runner.model.step_run import ended, step_name

WAITS_FOR_APPROVAL = "waits for approval"
"""The detail of a step run that somebody has to approve."""

MOST_BLOCKING = 5
"""Steps of a flow that are named."""


@dataclass(frozen=True, slots=True)
class OpenStep:
    """A step of a flow that was admitted and has not ended; ``run`` is the one of its runs that waits longest."""

    step: Mapping[str, Any]
    run: Run
    summary: str
    because: Sequence[str]
    commands: Sequence[tuple[str, ...]]

    @property
    def name(self) -> str:
        """The name of the step, with the item that is meant."""
        return step_name(str(self.step["name"]), self.run.item)

    @property
    def waits(self) -> bool:
        """Whether it waits, that is, does not run."""
        return self.run.state is not State.STARTED

    def document(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        return {
            "step": self.step["name"],
            "item": self.run.item,
            "id": self.run.id,
            "state": str(self.run.state),
            "summary": self.summary,
        }


def waits_for_approval(run: Run) -> bool:
    """Whether a step run waits until somebody approves or rejects it."""
    return run.flow is not None and run.state is State.PENDING and (run.detail or "").startswith(WAITS_FOR_APPROVAL)


def explain_flow(
    flow: Run, open_steps: Sequence[OpenStep], *, paused: str | None, workers: int
) -> tuple[str, list[str], list[tuple[str, ...]]]:
    """Return a sentence about a flow that has started, what is behind it, and commands to go on with.

    Args:
        flow: the flow.
        open_steps: its steps that were admitted and have not ended.
        paused: says that the job is paused, if it is.
        workers: how many live.
    """
    because = list(_progress(flow))
    waiting = [each for each in open_steps if each.waits]
    running = [each for each in open_steps if not each.waits]
    told = [*running, *waiting] if running else waiting
    if paused is not None and not running:
        return f"{paused}: none of its steps starts", because, [("resume", flow.job)]
    if not told:
        summary = "its next step is about to start"
        return summary, [*because, *([] if workers else ["no live worker is there to see to it"])], []
    first, *others = told
    summary = f"step {first.name} {'runs' if running else 'blocks it'}: {first.summary}"
    because += [f"step {first.name}: {text}" for text in first.because]
    because += [f"step {each.name}: {each.summary}" for each in others]
    if paused is not None:
        because.append(f"{paused}: no more of its steps start")
    commands = [words for each in told for words in each.commands]
    return summary, because, list(dict.fromkeys(commands))


def _progress(flow: Run) -> Iterator[str]:
    steps = flow.steps or []
    done = [each for each in steps if each["state"] in FINAL]
    yield f"{len(done)} of {things(len(steps), 'step')} ended"
    for each in steps:
        counts, items = each.get("counts") or {}, each.get("items")
        if each["state"] == State.STARTED and items is not None and not each.get("run"):
            yield f"step {each['name']}: {ended(counts)} of {items} items ended, {counts.get(State.STARTED, 0)} running"
    yield from failed_steps(flow)
    yield from steps_not_run(flow)


def failed_steps(flow: Run) -> Iterator[str]:
    """Yield a line for each step that failed or was revoked."""
    steps = flow.steps or []
    for each in steps:
        counts = each.get("counts") or {}
        failures = counts.get(State.FAILURE, 0)
        if each["state"] == State.FAILURE or failures:
            items = each.get("items")
            of = f" ({failures} of {items} items)" if items is not None and not each.get("run") else ""
            yield f"step {each['name']} failed{of}"
        elif each["state"] == State.REVOKED and each.get("reason") not in ("upstream_failed", "skipped"):
            yield f"step {each['name']} was revoked, {each.get('reason')}"


def steps_not_run(flow: Run) -> Iterator[str]:
    """Yield a line with the steps that need one that failed, and a line with the skipped ones."""
    for reason, text in (("upstream_failed", "not run, because a step that they need failed"), ("skipped", "skipped")):
        names = [str(step["name"]) for step in flow.steps or () if step.get("reason") == reason]
        if names:
            yield f"{text}: {', '.join(names)}"


def explain_step(run: Run, flow: Run | None) -> Iterator[str]:
    """Yield what a flow has to do with one of its step runs."""
    name = step_name(run.step or "?", run.item)
    if flow is None:
        yield f"it is step {name} of flow {run.flow}"
        return
    yield f"it is step {name} of flow {flow.id} ({flow.job}, {flow.state})"
    if run.reason == "upstream_failed":
        failed = [str(each["name"]) for each in flow.steps or () if each["state"] == State.FAILURE]
        if failed:
            yield f"failed in that flow: {', '.join(failed)}"
    if run.reused_from is not None:
        yield f"its result is that of run {run.reused_from}"
