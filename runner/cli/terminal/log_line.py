"""Lines that long-lived commands write to their log, in the form of a worker's."""

from __future__ import annotations

import time
from datetime import datetime

from runner.cli.terminal.output import to_json


def log_line(name: str, text: str, form: str) -> str:
    """Return a line of the log of ``name``.

    Args:
        name: scheduler or worker.
        text: what it says.
        form: json (an object a line), or anything else for text.
    """
    if form == "json":
        # As the worker's lines are: the two may go to one place.
        return to_json({"at": round(time.time(), 3), "level": "INFO", "logger": f"runner.{name}", "message": text})
    return f"[{datetime.now().astimezone().isoformat(' ', 'milliseconds')}] {name}: {text}"
