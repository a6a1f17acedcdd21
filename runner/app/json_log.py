"""The worker's log for machines: a JSON object a line (``runner worker --log-format json``)."""

from __future__ import annotations

import json
import logging
from typing import Any

from celery import current_task


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


def _run_of(record: logging.LogRecord) -> dict[str, Any]:
    # Celery's own lines about a task carry what they are about.
    data = getattr(record, "data", None)
    if isinstance(data, dict) and isinstance(data.get("id"), str):
        return {"job": data.get("name"), "run": data["id"]}
    request = getattr(current_task, "request", None)
    run_id = getattr(request, "id", None)
    if run_id is None:
        return {}
    attempt = getattr(getattr(request, "attempt", None), "attempt", None)
    return {"job": current_task.name, "run": run_id, "attempt": attempt}


def use_json(logger: logging.Logger, **_: Any) -> None:
    """Have a logger's handlers write JSON (a receiver of Celery's ``after_setup_logger``)."""
    for handler in logger.handlers:
        handler.setFormatter(JsonFormatter())
