"""Log lines of long-running commands, in the format of a worker's log."""

from __future__ import annotations

import time
from datetime import datetime

from runner.cli.terminal.output import to_json


def log_line(name: str, text: str, form: str) -> str:
    """Return a line of the log of ``name``.

    Args:
        name: the name of the process, such as scheduler or worker.
        text: the message.
        form: ``json`` for one object per line, anything else for text.
    """
    if form == "json":
        # The same fields as the lines of a worker, because both may go to one log.
        return to_json({"at": round(time.time(), 3), "level": "INFO", "logger": f"runner.{name}", "message": text})
    return f"[{datetime.now().astimezone().isoformat(' ', 'milliseconds')}] {name}: {text}"
