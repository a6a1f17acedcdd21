"""Convert between a run, with the end of its log, and its row in the archive."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from runner.model.log_line import LogLine
from runner.model.run import FIELDS, DamagedRun, Run, State, to_datetime

LOG_BYTES = 64 * 1024
"""The maximum size of the archived log (bytes); its end is kept."""

Row = dict[str, Any]
"""A row of ``runner_runs`` by column, without the namespace and the time of archiving."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TEXTS = (
    *("id", "job", "reason", "detail", "queue", "worker", "trigger", "submitted_by", "key"),
    *("flow", "step", "rerun_of", "hook_of", "backfill"),
)
_NUMBERS = ("priority", "item", "attempts", "retries", "losses")


def row_of(run: Run, log: Sequence[LogLine] = ()) -> Row:
    """Return the row for a finished run. ``log``: its last lines; as many as fit are kept."""
    slot, eta, started, finished = map(_moment, (run.slot, run.eta, run.started_at, run.finished_at))
    submitted = _moment(run.submitted_at) or started or finished or _EPOCH
    finished = finished or started or submitted
    took = round((finished - started).total_seconds() * 1000) if started is not None else None
    expired = run.result_expired or (run.state is not State.SUCCESS and run.result is None)
    return {
        **{name: clean(getattr(run, name)) for name in _TEXTS},
        **{name: getattr(run, name) for name in _NUMBERS},
        "state": str(run.state),
        "slot": slot,
        "eta": eta,
        "started_at": started,
        "submitted_at": submitted,
        "finished_at": finished,
        "took_ms": took,
        "tags": _json(run.tags),
        "params": _json(run.params),
        "result": None if expired else _json(run.result),
        "result_expired": run.result_expired,
        "error": None if run.error is None else _json(run.error),
        "log": write_log(log),
        "document": _json(run.document()),
    }


def run_of(document: str | Mapping[str, Any]) -> Run:
    """Return the run for a ``document``, ignoring fields of newer versions."""
    held: Mapping[str, Any] = json.loads(document) if isinstance(document, str) else document
    values = {name: held[name] for name in FIELDS if name in held}
    values["state"] = State(values["state"])
    damaged = held.get("damaged")
    return Run(**values) if damaged is None else DamagedRun(**values, faults=str(damaged))


def write_log(lines: Sequence[LogLine], most: int = LOG_BYTES) -> str:
    """Return the last of ``lines`` in the archive's format, up to ``most`` bytes; the first tells if there were more.

    Each is a JSON list: time (Unix ms), attempt, level, text, and the number of lines left out.
    """
    kept: list[str] = []
    room, left = most, len(lines)
    for line in reversed(lines):
        text = _line(line)
        room -= len(text.encode()) + 1
        if room < 0:
            if not kept:
                kept.append(_line(_shortened(line, most)))
                left -= 1
            break
        kept.append(text)
        left -= 1
    if left:
        first = lines[left]
        cut = sum(line.cut or 1 for line in lines[:left])
        kept.append(_line(LogLine(first.at, first.attempt, None, f"… {cut} lines are not kept …", cut=cut)))
    return "\n".join(reversed(kept))


def read_log(text: str) -> list[LogLine]:
    """Parse the text of :func:`write_log`."""
    return [LogLine(*json.loads(line)) for line in text.split("\n") if line]


def clean(text: str | None) -> str | None:
    """Return ``text`` without NUL and lone surrogates, which databases refuse."""
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _json(value: Any) -> str:
    # Not escaped, so that people and queries find the text.
    return clean(json.dumps(value, ensure_ascii=False, separators=(",", ":"))) or ""


def _line(line: LogLine) -> str:
    return _json([line.at, line.attempt, line.level, line.text, line.cut])


def _shortened(line: LogLine, most: int) -> LogLine:
    """Return a line with only the end of its text, short enough even if JSON needs six bytes per character."""
    return LogLine(line.at, line.attempt, line.level, f"…{line.text[-(most // 8) :]}", line.cut)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else to_datetime(text)
