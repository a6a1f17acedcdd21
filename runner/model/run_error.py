"""The error of a run as people read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

STOCK_TASKS = "runner.tasks."
"""The module of the stock tasks. Their messages say all; the class and the frames are the runner's own."""


def is_of_stock_task(error: Mapping[str, Any]) -> bool:
    """Whether a stock task, such as a shell command, raised the error of a run document."""
    return str(error.get("type", "")).startswith(STOCK_TASKS)


def error_text(error: Mapping[str, Any]) -> str:
    """Return ``type: message``, or only the message of a stock task's error."""
    return str(error["message"]) if is_of_stock_task(error) else f"{error['type']}: {error['message']}"


def traceback_of(error: Mapping[str, Any]) -> str:
    """Return the traceback; empty for a stock task, since none of its frames are the user's code."""
    return "" if is_of_stock_task(error) else (error.get("traceback") or "").rstrip()


def unquoted(log: Sequence[str], error: Mapping[str, Any] | None) -> list[str]:
    """Return the last lines of a log, or nothing if the error quotes all of them, as that of a shell job does."""
    quoted = set(str((error or {}).get("message", "")).splitlines())
    return [] if set(log) <= quoted else list(log)
