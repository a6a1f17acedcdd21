"""The worker's log: each line about a run names its job, its id, and the attempt if it is known."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

from celery._state import get_current_task

from runner.app.celery_types import JsonObject
from runner.model.printable import printable, printable_json

AttemptOf = Callable[[], int | None]


def about(run_id: str, job: str, attempt: int | None = None) -> JsonObject:
    """Return the ``extra`` for a logging call, so that its line names the run, as Celery's lines do."""
    return {"data": {"id": run_id, "name": job, "attempt": attempt}}


class JsonFormatter(logging.Formatter):
    """Writes ``at`` (Unix seconds), ``level``, ``logger``, ``message``; and ``job``, ``run``, ``attempt`` if any.

    Args:
        attempt_of: returns the number of the attempt that logs, if known.
    """

    def __init__(self, attempt_of: AttemptOf) -> None:
        super().__init__()
        self._attempt_of = attempt_of

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for a record."""
        value: JsonObject = {
            "at": round(record.created, 3),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        value |= _run_of(record, self._attempt_of)
        if record.exc_info or record.exc_text:
            # Only the text of an outcome is logged, because it has a limit.
            value["traceback"] = record.exc_text or self.formatException(record.exc_info)  # type: ignore[arg-type]
        return printable_json(json.dumps(value, ensure_ascii=False, default=str))


class NameRun(logging.Filter):
    """Shows the run in place of the process, as in the lines of the run itself. Takes the same arguments as above."""

    def __init__(self, attempt_of: AttemptOf) -> None:
        super().__init__()
        self._attempt_of = attempt_of

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        if fields := _run_of(record, self._attempt_of):
            attempt = fields.get("attempt")
            record.processName = f"{fields['job']} {fields['run'][:8]}" + (f"#{attempt}" if attempt else "")
        _make_printable(record)
        return True


def _make_printable(record: logging.LogRecord) -> None:
    """Escape control characters in a record, which may contain text of a job. The formatter adds colors later."""
    try:
        text = record.getMessage()
    except Exception:  # noqa: BLE001 - the handler tells of a call that does not fit its arguments
        return
    if not text.isprintable() and (shown := printable(text)) != text:
        record.msg, record.args = shown, None
    if record.exc_info and not record.exc_text:
        record.exc_text = logging.Formatter().formatException(record.exc_info)
    if record.exc_text:
        record.exc_text = printable(record.exc_text)


def _run_of(record: logging.LogRecord, attempt_of: AttemptOf) -> JsonObject:
    task = get_current_task()
    request = None if task is None else task.request
    run_id = getattr(request, "id", None)
    attempt = None if run_id is None else attempt_of()
    # Celery's own lines about a task have its data.
    data = getattr(record, "data", None)
    if isinstance(data, dict) and isinstance(data.get("id"), str):
        attempt = data.get("attempt") or (attempt if data["id"] == run_id else None)
        return {"job": data.get("name"), "run": data["id"], "attempt": attempt}
    return {} if run_id is None else {"job": task.name, "run": run_id, "attempt": attempt}


def _nobody() -> None:
    return None


def use_json(logger: logging.Logger, attempt_of: AttemptOf = _nobody, **_: object) -> None:
    """Make a logger's handlers write JSON (a receiver of Celery's ``after_setup_logger``)."""
    for handler in logger.handlers:
        handler.setFormatter(JsonFormatter(attempt_of))


def use_text(logger: logging.Logger, attempt_of: AttemptOf = _nobody, **_: object) -> None:
    """Make a logger's handlers name runs (as above)."""
    for handler in logger.handlers:
        if not any(isinstance(log_filter, NameRun) for log_filter in handler.filters):
            handler.addFilter(NameRun(attempt_of))
