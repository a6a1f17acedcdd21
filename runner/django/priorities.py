"""Priorities of Django's tasks (-100 to 100) as those of runs (0 to 9), and back. In both, the highest is first."""

from __future__ import annotations

_LOWEST, _SPAN, _STEPS = -100, 200, 9
_MIDDLE = 5
"""The priority of a job that names none; 0 in Django."""


def to_run(priority: int) -> int | None:
    """Return the priority of a run; None for 0, Django's default, which leaves it to the job."""
    return None if priority == 0 else int((priority - _LOWEST) * _STEPS / _SPAN + 0.5)


def to_task(priority: int) -> int:
    """Return the priority of a task whose run has ``priority``."""
    return 0 if priority == _MIDDLE else round(priority * _SPAN / _STEPS) + _LOWEST
