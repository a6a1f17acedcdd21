"""The steps of a flow as the rows of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from runner._dataclass import dataclass
from runner.model.plural import things
from runner.model.run import Run, State, to_datetime
from runner.model.step import Step
from runner.web.moments import span

MOST_ROWS = 40
"""Steps that a page shows of a larger flow, so that it stays small."""

OPEN = (State.PENDING, State.STARTED, State.RETRY)
_FAILING = ("FAILURE", "REVOKED")
WAITS = "waits for approval"
_FIRST_SHOWN = ("FAILURE", "STARTED", "RETRY")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """A step of a flow. Times are Unix milliseconds; ``ended`` is None until it has ended."""

    name: str
    kind: str
    """``task``, ``job``, or ``approval``."""
    state: str
    reason: str | None
    done: tuple[int, int] | None
    """Of an ``each`` step: how many runs have ended, or have failed once all have ended; and the number of all runs."""
    counts: str
    """The number of runs of an ``each`` step in each state, as text; empty for other steps."""
    began: int | None
    ended: int | None
    began_at: str | None
    ended_at: str | None
    href: str | None
    """The address of its only run, or of the list of its runs; None before it has any."""
    run: str | None
    waits: bool
    """Whether it is an approval that nobody has given yet."""

    def seconds(self, now: int) -> float | None:
        """Return the duration, up to now if it is still running."""
        if self.began is None:
            return None
        return max(0, (now if self.ended is None else self.ended) - self.began) / 1000

    def line(self, now: int) -> str:
        """Return state, reason, items, and duration."""
        texts = [WAITS if self.waits else f"{self.state} {self.reason}" if self.reason else self.state]
        if self.done is not None:
            some, every = self.done
            failed = " failed" if some and self.state not in OPEN else ""
            texts.append(f"{some:,} of {every:,}{failed}" if some or self.state in OPEN else things(every, "item"))
        return ", ".join([*texts, *self._took(now)])

    def short(self, now: int) -> str:
        """Return the part of :meth:`line` that fits into a box."""
        texts = [WAITS if self.waits else self.state]
        if self.done is not None:
            some, every = self.done
            texts.append(f"{some}/{every}" if some or self.state in OPEN else f"×{every}")
        return " ".join([*texts, *([] if self.waits else self._took(now))])

    def _took(self, now: int) -> list[str]:
        seconds = self.seconds(now)
        return [span(seconds)] if seconds is not None and (self.waits or self.state != State.PENDING) else []


def step_rows(flow: Run, graph: Mapping[str, Step]) -> list[StepRow]:
    """Return the rows of a flow's steps, in the order of its graph.

    Args:
        flow: the run, whose document has ``steps``.
        graph: the steps as they were when it was submitted; a missing step is shown as a task without items.
    """
    steps = flow.steps or []
    ended = {str(step["name"]): step["finished_at"] for step in steps}
    return [_row(flow, step, graph.get(str(step["name"])), ended) for step in steps]


def _row(flow: Run, step: Mapping[str, Any], planned: Step | None, ended: Mapping[str, str | None]) -> StepRow:
    name, state = str(step["name"]), str(step["state"])
    kind = "task" if planned is None else planned.kind
    needed = [] if planned is None else [ended.get(need) for need in planned.needs]
    items: int | None = step["items"]
    counts: dict[str, int] = {key: count for key, count in (step["counts"] or {}).items() if count}
    began_at, ended_at = step["started_at"], step["finished_at"]
    if kind == "approval" and began_at is None and items and state != State.REVOKED:
        began_at = max((at for at in needed if at is not None), default=flow.started_at)
    # The id is known before the run exists.
    run_id = step["run"] if items else None
    many = items is not None and (items > 1 or (planned is not None and planned.each is not None))
    job = f"{flow.job}/{name}" if planned is None or planned.job is None else planned.job
    return StepRow(
        name=name,
        kind=kind,
        state=state,
        reason=step["reason"],
        done=_done(state, items, counts) if many and items is not None else None,
        counts=_counts_text(counts) if many else "",
        began=_milliseconds(began_at),
        ended=_milliseconds(ended_at) if state not in OPEN else None,
        began_at=began_at,
        ended_at=ended_at,
        run=run_id,
        href=f"/runs/{quote(str(run_id))}" if run_id else items_href(flow.id, job) if many and items else None,
        waits=kind == "approval" and state == State.PENDING and items is not None,
    )


def items_href(flow_id: str, job: str) -> str:
    """Return the address of the list of a step's runs. ``job`` is the name of the job or, for a task, ``FLOW/STEP``."""
    return "/runs?" + urlencode({"flow": flow_id, "job": job})


def _done(state: str, items: int, counts: Mapping[str, int]) -> tuple[int, int]:
    if state in OPEN:
        return sum(count for key, count in counts.items() if key not in OPEN), items
    return 0 if state == State.SUCCESS else sum(count for key, count in counts.items() if key in _FAILING), items


def _counts_text(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {key}" for key, count in counts.items())


def _milliseconds(timestamp: str | None) -> int | None:
    return None if timestamp is None else round(to_datetime(timestamp).timestamp() * 1000)


def shown_rows(rows: Sequence[StepRow], *, whole: bool) -> list[StepRow]:
    """Return the rows to show, in their order. Of a large flow, these are failed, running, and waiting steps first."""
    if whole or len(rows) <= MOST_ROWS:
        return list(rows)
    ranks = [(_rank(row), number) for number, row in enumerate(rows)]
    chosen = {number for _, number in sorted(ranks)[:MOST_ROWS]}
    return [row for number, row in enumerate(rows) if number in chosen]


def _rank(row: StepRow) -> int:
    if row.waits or row.state in _FIRST_SHOWN:
        return 0
    return 1 if row.state == State.REVOKED else 2
