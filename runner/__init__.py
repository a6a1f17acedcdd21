"""A declarative, YAML-driven job runner on Celery and Redis: the Python API.

Importing this costs almost nothing; what a call needs is imported by the call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner._version import __version__

if TYPE_CHECKING:
    from runner.api import RunHandle, get_run, submit
    from runner.current import CurrentRun, current_run

__all__ = ["CurrentRun", "RunHandle", "__version__", "current_run", "get_run", "submit"]

_HOMES = {
    "submit": "runner.api",
    "get_run": "runner.api",
    "RunHandle": "runner.api",
    "current_run": "runner.current",
    "CurrentRun": "runner.current",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'runner' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(home), name)
