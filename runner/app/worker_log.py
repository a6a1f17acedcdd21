"""The worker's own log: each line that tells of a run names its job, its id and, where it is known, the attempt."""

from __future__ import annotations

import json
import logging
from typing import Any

from celery import current_task


def about(run_id: str, job: str, attempt: int | None = None) -> dict[str, Any]:
    """Return what a call of logging is given as ``extra``, so that its line names the run; Celery's lines do so too."""
    return {"data": {"id": run_id, "name": job, "attempt": attempt}}


class JsonFormatter(logging.Formatter):
    """Writes ``at`` (Unix seconds), ``level``, ``logger``, ``message``; and ``job``, ``run``, ``attempt`` if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        value: dict[str, Any] = {
            "at": round(record.created, 3),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        value |= _run_of(record)
        if record.exc_info:
            value["traceback"] = self.formatException(record.exc_info)
        return json.dumps(value, ensure_ascii=False, default=str)


class NameRun(logging.Filter):
    """Puts the run in the place of the process: what it wrote itself has it there too."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        if told := _run_of(record):
            attempt = told.get("attempt")
            record.processName = f"{told['job']} {told['run'][:8]}" + (f"#{attempt}" if attempt else "")
        return True


def _run_of(record: logging.LogRecord) -> dict[str, Any]:
    request = getattr(current_task, "request", None)
    run_id = getattr(request, "id", None)
    attempt = getattr(getattr(request, "attempt", None), "attempt", None)
    # Celery's own lines about a task carry what they are about.
    data = getattr(record, "data", None)
    if isinstance(data, dict) and isinstance(data.get("id"), str):
        attempt = data.get("attempt") or (attempt if data["id"] == run_id else None)
        return {"job": data.get("name"), "run": data["id"], "attempt": attempt}
    return {} if run_id is None else {"job": current_task.name, "run": run_id, "attempt": attempt}


def use_json(logger: logging.Logger, **_: Any) -> None:
    """Have a logger's handlers write JSON (a receiver of Celery's ``after_setup_logger``)."""
    for handler in logger.handlers:
        handler.setFormatter(JsonFormatter())


def use_text(logger: logging.Logger, **_: Any) -> None:
    """Have a logger's handlers name runs (as above)."""
    for handler in logger.handlers:
        if not any(isinstance(each, NameRun) for each in handler.filters):
            handler.addFilter(NameRun())
