"""The progress of a flow and its steps, in the form of the ledger and of a run document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any
from uuid import UUID, uuid5

from runner._dataclass import dataclass
from runner.model.run import State, to_timestamp

STEP_STATES = ("PENDING", "STARTED", "RETRY", "SUCCESS", "FAILURE", "REVOKED", "SKIPPED", "UPSTREAM")
"""The states by which step runs are counted, in the same order as in ``lua/shared/flows.lua``. SKIPPED and UPSTREAM
mean REVOKED with the reasons skipped and upstream_failed."""

_OPEN = STEP_STATES[:3]
_STEP_RUNS = UUID("0d5f6c8e-93a7-5c41-8e2b-7f4b1a6d9c03")
"""The namespace of the ids of step runs (RFC 9562, version 5)."""
_LARGEST = 15
"""The maximum number of digits of a number in a flow's hash."""


def step_run_id(flow: str, step: str, item: int | None = None) -> str:
    """Return the id of the run of a step or of one of its items. It is the same in every process and at every try."""
    return str(uuid5(_STEP_RUNS, f"{flow} {step} {'' if item is None else item}"))


@dataclass(frozen=True, slots=True)
class StepProgress:
    """The runs of one step. Times are Unix ms.

    ``items``: the number of runs of the step; ``made``: how many of them are recorded; ``first``: the ordinal of the
    first one. ``counts``: the number of runs in each of :data:`STEP_STATES`. ``stopped``: how open runs were stopped.
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
    """Whether some of its runs do not reuse the result of another run."""

    @property
    def open(self) -> int:
        """Return the number of runs that have not ended, including those that are not recorded yet or have no bits."""
        return max(0, self.items - sum(self.counts.get(state, 0) for state in STEP_STATES[3:]))

    @property
    def state(self) -> State:
        """Return PENDING until a run starts, STARTED until the last one ends, and then the state of the runs."""
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
    """The progress of a flow: its steps that have runs, and the marks of the processes that advance it."""

    version: str = ""
    news: str = ""
    steps: Mapping[str, StepProgress] = field(default_factory=dict)
    damaged: bool = False
    """Whether its hash has another form than the runner writes."""

    @classmethod
    def of(cls, flat: Sequence[str], counted: Sequence[Sequence[Any]]) -> FlowProgress:
        """Parse the answer of ``lua/shared/stages.lua``."""
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
        lost = any(
            _number(held.get(f"{prefix}:{step}")) is None for step in steps for prefix in ("items", "made", "first")
        )
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
        graph: the options of its job from its record.
        progress: None if it has not begun.
        over: the state of the flow if it has ended. A step without runs then counts as revoked, or as succeeded if
            the flow reused the result of another.
    """
    known = progress.steps if progress is not None else {}
    return [_document(flow, name, step, known.get(name), over) for name, step in graph["steps"].items()]


def _document(
    flow: str, name: str, step: Mapping[str, Any], progress: StepProgress | None, over: State | None
) -> dict[str, Any]:
    kind = next(key for key in ("job", "approval", "task") if key in step or key == "task")
    needs = [str(need) for need in step.get("needs", ())]
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
    """Return ``progress`` of a flow: the fraction of its known step runs that have ended."""
    known = sum(1 if step["items"] is None else step["items"] for step in steps)
    ended = sum(step["counts"].get(state, 0) for step in steps for state in ("SUCCESS", "FAILURE", "REVOKED"))
    over = sum(step["state"] in ("SUCCESS", "FAILURE", "REVOKED") for step in steps)
    fraction = round(min(1.0, ended / known), 4) if known else 1.0
    return {"fraction": fraction, "message": f"{over} of {len(steps)} {'step' if len(steps) == 1 else 'steps'}"}
