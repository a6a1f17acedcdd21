"""A declarative, YAML-driven job runner on Celery and Redis: the Python API.

Importing this costs almost nothing; what a call needs is imported by the call.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from runner._version import __version__

if TYPE_CHECKING:
    from runner.api import RunHandle, RunPage, StepHandle, get_run, get_runs, submit, submit_many
    from runner.current import CurrentRun, FlowRef, current_run

__all__ = [
    "CurrentRun",
    "FlowRef",
    "RunHandle",
    "RunPage",
    "StepHandle",
    "__version__",
    "current_run",
    "get_run",
    "get_runs",
    "submit",
    "submit_many",
]

_HOMES = {
    "submit": "runner.api",
    "submit_many": "runner.api",
    "get_run": "runner.api",
    "get_runs": "runner.api",
    "RunHandle": "runner.api",
    "RunPage": "runner.api",
    "StepHandle": "runner.api",
    "current_run": "runner.current",
    "CurrentRun": "runner.current",
    "FlowRef": "runner.current",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'runner' has no attribute {name!r}")
    found = getattr(import_module(home), name)
    globals()[name] = found  # asked once: it takes as long as half of what a submission does here
    return found
