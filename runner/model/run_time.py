"""How long a run took as a whole: from the start of its first attempt to the end of its last one."""

from __future__ import annotations

from runner.model.run import Run, to_datetime


def first_start(run: Run) -> str | None:
    """Return the time at which the first attempt started; None if no attempt has started.

    A run keeps the times of its last 20 attempts that ended without ending it. If there were more, it is the start of
    the first of those.
    """
    starts = [attempt["started_at"] for attempt in run.past_attempts if attempt.get("started_at")]
    return min([*starts, *([run.started_at] if run.started_at else [])], default=None)


def total_seconds(run: Run) -> float | None:
    """Return the seconds from the first start to the end, with the time between attempts; None if it has neither."""
    start = first_start(run)
    if start is None or run.finished_at is None:
        return None
    return max(0.0, (to_datetime(run.finished_at) - to_datetime(start)).total_seconds())


def duration_text(seconds: float) -> str:
    """Return a duration for people: ``340 ms``, ``12.3 s``, ``3m 20s``, ``2h 05m``."""
    if round(seconds * 1000) < 1000:
        return f"{round(seconds * 1000)} ms"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02}m" if hours else f"{minutes}m {rest:02}s"


def total_text(run: Run) -> str:
    """Return the duration of a run, with its attempts if several: ``12.3 s, 4 attempts``; or an empty text."""
    seconds = total_seconds(run)
    if seconds is None:
        return ""
    return duration_text(seconds) + (f", {run.attempts} attempts" if run.attempts > 1 else "")
