"""How far a flow is: what its steps are at, as the ledger keeps it and as a run document shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any
from uuid import UUID, uuid5

from runner._dataclass import dataclass
from runner.model.run import State, to_timestamp

STEP_STATES = ("PENDING", "STARTED", "RETRY", "SUCCESS", "FAILURE", "REVOKED", "SKIPPED", "UPSTREAM")
"""The states by which step runs are counted; ``lua/shared/flows.lua`` has the same, in this order. SKIPPED and UPSTREAM
are REVOKED for the reasons skipped and upstream_failed."""

_OPEN = STEP_STATES[:3]
_STEP_RUNS = UUID("0d5f6c8e-93a7-5c41-8e2b-7f4b1a6d9c03")
"""The name space of the ids of step runs (RFC 9562, version 5)."""
_LARGEST = 15
"""Digits that a number in a flow's hash may have."""


def step_run_id(flow: str, step: str, item: int | None = None) -> str:
    """Return the id of the run of a step, or of an item of it: whoever makes it, and however often, it is one."""
    return str(uuid5(_STEP_RUNS, f"{flow} {step} {'' if item is None else item}"))


@dataclass(frozen=True, slots=True)
class StepProgress:
    """The runs of one step. Times are Unix ms.

    ``items`` are to be made, ``made`` of them are recorded; ``first`` is the ordinal of the first. ``counts`` has the
    number of runs in each of :data:`STEP_STATES`. ``stopped`` says how the open runs were stopped.
    """

    items: int
    made: int
    first: int
    counts: Mapping[str, int]
    started: int | None = None
    ended: int | None = None
    reason: str | None = None
    stopped: str | None = None
    fresh: bool = False
    """Whether a run of it does not take the result of another."""

    @property
    def open(self) -> int:
        """How many runs have not ended; also those that are yet to be made, or of which the bits say nothing."""
        return max(0, self.items - sum(self.counts.get(state, 0) for state in STEP_STATES[3:]))

    @property
    def state(self) -> State:
        """The state of the step: PENDING until a run starts, STARTED until the last one ends, then that of its runs."""
        if self.open:
            begun = any(number for state, number in self.counts.items() if state != "PENDING")
            return State.STARTED if begun else State.PENDING
        if self.counts.get("FAILURE"):
            return State.FAILURE
        skipped = self.counts.get("SKIPPED") and not self.counts.get("SUCCESS")
        if skipped or self.counts.get("REVOKED") or self.counts.get("UPSTREAM"):
            return State.REVOKED
        return State.SUCCESS


@dataclass(frozen=True, slots=True)
class FlowProgress:
    """How far a flow is: its steps of which runs were made, and the marks of those who advance it."""

    version: str = ""
    news: str = ""
    steps: Mapping[str, StepProgress] = field(default_factory=dict)
    damaged: bool = False
    """Whether its hash is none that the runner wrote."""

    @classmethod
    def of(cls, flat: Sequence[str], counted: Sequence[Sequence[Any]]) -> FlowProgress:
        """Read what ``lua/shared/stages.lua`` gives."""
        held = dict(zip(flat[::2], flat[1::2], strict=True))
        steps = {
            str(step): StepProgress(
                items=_number(held.get(f"items:{step}")) or 0,
                made=_number(held.get(f"made:{step}")) or 0,
                first=_number(held.get(f"first:{step}")) or 0,
                counts=dict(zip(STEP_STATES, map(int, numbers), strict=True)),
                started=_number(held.get(f"started:{step}")),
                ended=_number(held.get(f"ended:{step}")),
                reason=held.get(f"reason:{step}"),
                stopped=held.get(f"stopped:{step}"),
                fresh=f"fresh:{step}" in held,
            )
            for step, *numbers in counted
        }
        lost = any(_number(held.get(f"{each}:{step}")) is None for step in steps for each in ("items", "made", "first"))
        listed = {name.partition(":")[2] for name in held if name.startswith(("items:", "first:", "made:"))}
        version = held.get("version", "")
        return cls(version, held.get("news", ""), steps, lost or listed != set(steps) or _number(version) is None)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= _LARGEST else None


def step_documents(
    flow: str, graph: Mapping[str, Any], progress: FlowProgress | None, over: State | None = None
) -> list[dict[str, Any]]:
    """Return ``steps`` of a run document.

    Args:
        flow: the id of the flow.
        graph: the options of its job, as they stand in its record.
        progress: None if it has not begun.
        over: the state in which the flow has ended, if it has. A step without runs never gets any then: it counts as
            revoked, and in a flow that took the result of another, as succeeded.
    """
    known = progress.steps if progress is not None else {}
    return [_document(flow, name, step, known.get(name), over) for name, step in graph["steps"].items()]


def _document(
    flow: str, name: str, step: Mapping[str, Any], progress: StepProgress | None, over: State | None
) -> dict[str, Any]:
    kind = next(each for each in ("job", "approval", "task") if each in step or each == "task")
    needs = [str(each) for each in step.get("needs", ())]
    if progress is None:
        none = dict.fromkeys(("items", "started_at", "finished_at", "run"))
        state, reason = State.PENDING, None
        if over is not None:
            state, reason = (State.SUCCESS, None) if over is State.SUCCESS else (State.REVOKED, "cancelled")
        return {"name": name, "kind": kind, "needs": needs, "state": state, "reason": reason, **none, "counts": {}}
    reached = progress.state
    counts: dict[str, int] = {}
    for counted, number in progress.counts.items():
        if number:
            shown = "REVOKED" if counted in ("SKIPPED", "UPSTREAM") else counted
            counts[shown] = counts.get(shown, 0) + number
    ended = reached in (State.SUCCESS, State.FAILURE, State.REVOKED)
    return {
        "name": name,
        "kind": kind,
        "needs": needs,
        "state": reached,
        "reason": progress.reason if ended and reached is not State.SUCCESS else None,
        "items": progress.items,
        "counts": counts,
        "started_at": to_timestamp(progress.started),
        "finished_at": to_timestamp(progress.ended) if ended else None,
        "run": step_run_id(flow, name) if "each" not in step else None,
    }


def progress_of(steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return ``progress`` of a flow: the fraction of its step runs that have ended, of those that are known."""
    known = sum(1 if step["items"] is None else step["items"] for step in steps)
    ended = sum(step["counts"].get(state, 0) for step in steps for state in ("SUCCESS", "FAILURE", "REVOKED"))
    over = sum(step["state"] in ("SUCCESS", "FAILURE", "REVOKED") for step in steps)
    fraction = round(min(1.0, ended / known), 4) if known else 1.0
    return {"fraction": fraction, "message": f"{over} of {len(steps)} {'step' if len(steps) == 1 else 'steps'}"}
