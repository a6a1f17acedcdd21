"""Explain a flow from its steps, and a step run from its flow. Pure: it reads nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from runner._dataclass import dataclass
from runner.model.plural import things
from runner.model.run import FINAL, Run, State
from runner.model.step_run import ended, step_name

WAITS_FOR_APPROVAL = "waits for approval"
"""The detail of a step run that waits for an approval."""

MOST_BLOCKING = 5
"""The most open steps of a flow that an explanation names."""


@dataclass(frozen=True, slots=True)
class OpenStep:
    """A step of a flow that waits or runs; ``run`` is its run that has waited longest."""

    step: Mapping[str, Any]
    run: Run
    summary: str
    because: Sequence[str]
    commands: Sequence[tuple[str, ...]]

    @property
    def name(self) -> str:
        """The name of the step, with the number of the item."""
        return step_name(str(self.step["name"]), self.run.item)

    @property
    def waits(self) -> bool:
        """Whether it waits and does not run."""
        return self.run.state is not State.STARTED

    def document(self) -> dict[str, Any]:
        """Return it as a JSON document."""
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
    """Return a sentence about a flow that has started, the facts behind it, and commands that help.

    Args:
        flow: the flow.
        open_steps: its steps that wait or run.
        paused: the sentence that its job is paused; None if it is not.
        workers: the number of live workers.
    """
    because = list(_progress(flow))
    waiting = [open_step for open_step in open_steps if open_step.waits]
    running = [open_step for open_step in open_steps if not open_step.waits]
    named = [*running, *waiting] if running else waiting
    if paused is not None and not running:
        return f"{paused}: none of its steps starts", because, [("resume", flow.job)]
    if not named:
        summary = "its next step is about to start"
        return summary, [*because, *([] if workers else ["there is no live worker to start it"])], []
    first, *others = named
    summary = f"step {first.name} {'runs' if running else 'blocks it'}: {first.summary}"
    because += [f"step {first.name}: {text}" for text in first.because]
    because += [f"step {open_step.name}: {open_step.summary}" for open_step in others]
    if paused is not None:
        because.append(f"{paused}: no more of its steps start")
    commands = [command for open_step in named for command in open_step.commands]
    return summary, because, list(dict.fromkeys(commands))


def _progress(flow: Run) -> Iterator[str]:
    steps = flow.steps or []
    done = [step for step in steps if step["state"] in FINAL]
    yield f"{len(done)} of {things(len(steps), 'step')} ended"
    for step in steps:
        counts, items = step.get("counts") or {}, step.get("items")
        if step["state"] == State.STARTED and items is not None and not step.get("run"):
            yield f"step {step['name']}: {ended(counts)} of {items} items ended, {counts.get(State.STARTED, 0)} running"
    yield from failed_steps(flow)
    yield from steps_not_run(flow)


def failed_steps(flow: Run) -> Iterator[str]:
    """Yield a line for each step that failed or was revoked."""
    steps = flow.steps or []
    for step in steps:
        counts = step.get("counts") or {}
        failures = counts.get(State.FAILURE, 0)
        if step["state"] == State.FAILURE or failures:
            items = step.get("items")
            of = f" ({failures} of {items} items)" if items is not None and not step.get("run") else ""
            yield f"step {step['name']} failed{of}"
        elif step["state"] == State.REVOKED and step.get("reason") not in ("upstream_failed", "skipped"):
            yield f"step {step['name']} was revoked, {step.get('reason')}"


def steps_not_run(flow: Run) -> Iterator[str]:
    """Yield a line with the steps that need one that failed, and a line with the skipped ones."""
    for reason, text in (("upstream_failed", "not run, because a step that they need failed"), ("skipped", "skipped")):
        names = [str(step["name"]) for step in flow.steps or () if step.get("reason") == reason]
        if names:
            yield f"{text}: {', '.join(names)}"


def explain_step(run: Run, flow: Run | None) -> Iterator[str]:
    """Yield the facts about its flow that explain a step run."""
    name = step_name(run.step or "?", run.item)
    if flow is None:
        yield f"it is step {name} of flow {run.flow}"
        return
    yield f"it is step {name} of flow {flow.id} ({flow.job}, {flow.state})"
    if run.reason == "upstream_failed":
        failed = [str(step["name"]) for step in flow.steps or () if step["state"] == State.FAILURE]
        if failed:
            yield f"failed in that flow: {', '.join(failed)}"
    if run.reused_from is not None:
        yield f"its result is that of run {run.reused_from}"
