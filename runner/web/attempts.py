"""The attempts of a run as bars on one time axis, with the waits between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from runner._dataclass import dataclass
from runner.model.run import Run, State, to_datetime
from runner.model.run_error import error_text
from runner.model.run_time import first_start, total_seconds
from runner.web.axis import Tick, TimeAxis
from runner.web.gantt import span_of

LEAST_WIDTH = 2.0
"""Of a bar: the chart is narrow."""

_OUTCOMES = {
    "retry": ("FAILURE", "failed"),
    "lost": ("FAILURE", "lost with its worker process"),
    "handed_back": ("REVOKED", "handed back by its worker"),
}
"""The color and the text of a past attempt, by its outcome in the run document."""
_ENDS = {
    State.SUCCESS: "succeeded",
    State.FAILURE: "failed",
    State.REVOKED: "ended",
    State.STARTED: "running",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An attempt of a run. ``x`` and ``width`` of its bar, and ``wait_x`` of the wait before it, are percentages."""

    number: int
    state: str
    outcome: str
    worker: str | None
    started_at: str
    ended_at: str | None
    seconds: float
    waited: float | None
    """Seconds between the attempt before it, or the submission, and its start; None if that is not known."""
    error: str | None
    death: str | None
    """The signal or exit code that ended its process."""
    x: float
    width: float
    wait_x: float
    """The left end of the wait, which goes up to ``x``; equal to ``x`` for the first attempt."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """All attempts that are known, the first one first."""

    attempts: list[Attempt]
    ticks: list[Tick]
    missing: int
    """How many attempts before these the record no longer has."""


def seconds_until(run: Run, now: int) -> float | None:
    """Return the seconds from the first start of a run to its end, or to ``now``; None if it has not started.

    Args:
        run: the run.
        now: Unix milliseconds.
    """
    begin = first_start(run)
    if begin is None or run.finished_at is not None:
        return total_seconds(run)
    return max(0, now - _milliseconds(begin)) / 1000


def timeline(run: Run, now: int, zone: ZoneInfo) -> Timeline | None:
    """Return the attempts of a run; None if it has not started.

    Args:
        run: the run.
        now: the end of the bar of an attempt that is still running, in Unix milliseconds.
        zone: the time zone of the axis.
    """
    begin = first_start(run)
    if begin is None:
        return None
    past = run.past_attempts
    current = run.started_at if not past or past[-1]["attempt"] < run.attempts else None
    ends = [_milliseconds(attempt["ended_at"]) for attempt in past]
    if current is not None:
        ends.append(now if run.finished_at is None else _milliseconds(run.finished_at))
    start = _milliseconds(begin)
    axis = TimeAxis(start, max([start + 1, *ends]))
    found: list[Attempt] = []
    before = run.submitted_at if not past or past[0]["attempt"] == 1 else None
    for attempt in past:
        found.append(_past_attempt(run, attempt, before, axis))
        before = attempt["ended_at"]
    if current is not None:
        found.append(_last_attempt(run, current, before, ends[-1], axis))
    return Timeline(found, axis.ticks(zone, 3), found[0].number - 1)


def _past_attempt(run: Run, attempt: Mapping[str, Any], before: str | None, axis: TimeAxis) -> Attempt:
    state, outcome = _OUTCOMES.get(attempt["outcome"], ("PENDING", str(attempt["outcome"])))
    return _attempt(
        axis,
        before,
        _milliseconds(attempt["ended_at"]),
        number=attempt["attempt"],
        state=state,
        outcome=outcome,
        worker=attempt["worker"],
        started_at=attempt["started_at"],
        ended_at=attempt["ended_at"],
        error=attempt["error"],
        death=_death(run, attempt["ended_at"]),
    )


def _last_attempt(run: Run, started_at: str, before: str | None, end: int, axis: TimeAxis) -> Attempt:
    error = error_text(run.error) if run.error is not None and run.final else None
    return _attempt(
        axis,
        before,
        end,
        number=max(1, run.attempts),
        state=str(run.state),
        outcome=_ENDS.get(run.state, "ended"),
        worker=run.worker,
        started_at=started_at,
        ended_at=run.finished_at,
        error=error,
        death=_death(run, run.finished_at),
    )


def _attempt(axis: TimeAxis, before: str | None, end: int, *, started_at: str, **values: Any) -> Attempt:
    start = _milliseconds(started_at)
    x, width = span_of(axis, start, end, LEAST_WIDTH)
    waits_since = None if before is None else _milliseconds(before)
    return Attempt(
        started_at=started_at,
        seconds=max(0, end - start) / 1000,
        waited=None if waits_since is None else max(0, start - waits_since) / 1000,
        x=x,
        width=width,
        wait_x=x if waits_since is None else min(x, axis.position(waits_since)),
        **values,
    )


def _death(run: Run, ended_at: str | None) -> str | None:
    for death in run.deaths:
        if death["at"] == ended_at and (death["signal"] or death["exit_code"] is not None):
            text = death["signal"] or f"exit code {death['exit_code']}"
            return f"{text}, ended by the kernel's OOM killer" if death["oom_killed"] else str(text)
    return None


def _milliseconds(timestamp: str) -> int:
    return round(to_datetime(timestamp).timestamp() * 1000)
