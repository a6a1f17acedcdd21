"""Convert between the record in Redis (a hash of strings) and the run document."""

from __future__ import annotations

import json
import math
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _quoted
from typing import TYPE_CHECKING, Any

from runner.model.hooks import JOB_NAME
from runner.model.option import INVALID, Text, ignore
from runner.model.queue_name import QUEUE_NAME
from runner.model.run import FINAL, DamagedRun, Run, State, to_timestamp
from runner.model.run_id import is_run_id

if TYPE_CHECKING:
    from runner.ledger.flow_progress import FlowProgress

_TEXT = (
    "reason",
    "detail",
    "worker",
    "submitted_by",
    "key",
    "rerun_of",
    "hook_of",
    "backfill",
    "flow",
    "step",
    "reused_from",
)
_TIMES = ("retry_at", "slot", "submitted_at", "eta", "expires_at", "started_at", "finished_at", "overran_at")
_COUNTS = ("attempts", "retries", "losses")
_NUMBER = re.compile(r"[0-9.eE+-]+")
LATEST = 250_000_000_000_000
"""A time in the year 9892 (Unix ms), which every time zone can show. ``lua/shared/records.lua`` has the same bounds."""
_LARGEST = 2**53 - 1


DEFAULTS: Mapping[str, str | int] = {
    "params": "{}",
    "max_deliveries": 3,
    "keep_result": 86_400_000,
    "keep_history": 2_592_000_000,
    "keep_least": 3_600_000,
    "keep_runs": 1000,
}
"""The values of missing fields. Records omit these common values to save memory. The scripts have the same values.
Times are in milliseconds."""

_DIGEST = "sha256:"
_PACKED = 43
"""The length of 32 bytes in base64 without padding (characters)."""


@lru_cache(maxsize=4096)
def pack_digest(digest: str) -> str:
    """Return a spec's digest in the form of records: base64, a third shorter, because there may be a million."""
    try:
        return urlsafe_b64encode(bytes.fromhex(digest.removeprefix(_DIGEST))).decode().rstrip("=")
    except ValueError:
        return digest


def unpack_digest(held: str | None) -> str | None:
    """Return the hexadecimal digest for that of a record."""
    if not held or len(held) != _PACKED:
        return held
    return _DIGEST + urlsafe_b64decode(held + "=").hex()


def pairs(flat: Sequence[str]) -> dict[str, str]:
    """Return the mapping for a flat list from Redis."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def read_record(run_id: str, record: Mapping[str, str], meta: str | None, progress: FlowProgress | None = None) -> Run:
    """Return the run for a record.

    ``meta``: the result in Celery's format, if it is still kept; ``progress``: the progress of a flow that has begun.

    Anybody who can write to Redis may have changed the record. Unreadable fields are left out, and the run is then a
    :class:`~runner.model.run.DamagedRun` that names them.
    """
    fields = _Fields(record)
    state: State = fields.read("state", State, State.FAILURE, required=True)
    values: dict[str, Any] = {name: record.get(name) or None for name in _TEXT}
    values |= {name: fields.read(name, _moment, None) for name in _TIMES}
    values |= {name: fields.read(name, _count, 0) for name in _COUNTS}
    if not record.get("submitted_at"):
        fields.fault("submitted_at is missing")
    if not is_run_id(run_id):
        fields.fault(f"id is {_shown(run_id)}")
    if state is State.SUCCESS:
        values |= {"result": fields.of("result", meta, _result, None)} if meta else {"result_expired": True}
    run = Run(
        id=run_id,
        job=fields.read("job", _job, "?", required=True),
        state=state,
        tags=fields.read("tags", _tags, []),
        params=fields.read("params", _mapping, {}),
        error=fields.read("error", _error, None) if state is not State.SUCCESS else None,
        deaths=fields.read("deaths", lambda text: [_death(death) for death in _list(text)], []),
        item=fields.read("item", _count, None),
        failures_in_row=fields.read("failures_in_row", _count, None),
        past_attempts=fields.read("past", lambda text: [_attempt(attempt) for attempt in _list(text)], []),
        progress=fields.read("progress", _progress, None),
        revocation=fields.read("revocation", _revocation, None),
        spec_digest=fields.read("spec_digest", unpack_digest, None),
        queue=fields.read("queue", _queue, "?", required=True),
        priority=fields.read("priority", _priority, 5, required=True),
        trigger=record.get("trigger", "cli"),
        **values,
    )
    if record.get("graph"):
        from runner.ledger.flow_progress import progress_of, step_documents  # start-up time: most runs are not flows

        over = state if state in FINAL else None
        steps = fields.read("graph", lambda text: step_documents(run_id, _mapping(text), progress, over), None)
        run = replace(run, steps=steps, progress=progress_of(steps) if steps and progress else None)
    if fields.faults:
        return DamagedRun.of(run, "; ".join(fields.faults))
    if state not in FINAL and not run.detail:
        return replace(run, detail=_where(run, record))
    return run


class _Fields:
    """Reads the fields of a record, and records the unreadable ones."""

    def __init__(self, record: Mapping[str, str]) -> None:
        self._record = record
        self.faults: list[str] = []

    def read(self, name: str, read: Callable[[str], Any], otherwise: Any, *, required: bool = False) -> Any:
        """Read a field; return ``otherwise`` if it is empty or damaged."""
        text = self._record.get(name)
        if not text:
            if required:
                self.fault(f"{name} is missing")
            return otherwise
        return self.of(name, text, read, otherwise)

    def of(self, name: str, text: str, read: Callable[[str], Any], otherwise: Any) -> Any:
        """Read ``text``; return ``otherwise`` if it is damaged."""
        try:
            return read(text)
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError):
            self.fault(f"{name} is {_shown(text)}")
            return otherwise

    def fault(self, message: str) -> None:
        """Record a damaged field."""
        self.faults.append(message)


def _shown(text: str) -> str:
    return repr(text) if len(text) <= 40 else repr(text[:39]) + "…"


def _number(text: str, most: int) -> int:
    if not _NUMBER.fullmatch(text) or not 0 <= float(text) <= most:
        raise ValueError(text)
    return int(float(text))


def _moment(text: str) -> str | None:
    return to_timestamp(_number(text, LATEST))


def _count(text: str) -> int:
    return _number(text, _LARGEST)


def _priority(text: str) -> int:
    return _number(text, 9)


def _job(text: str) -> str:
    # The job of a step is named FLOW/STEP.
    for part in text.split("/", 1):
        _fitting(JOB_NAME, part)
    return text


def _queue(text: str) -> str:
    return _fitting(QUEUE_NAME, text)


def _fitting(kind: Text, text: str) -> str:
    if kind.read(text, (), ignore) is INVALID:
        raise ValueError(text)
    return text


def _json(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse, parse_float=_finite)


def _refuse(text: str) -> Any:
    raise ValueError(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _mapping(text: str) -> dict[str, Any]:
    value = _json(text)
    if not isinstance(value, dict):
        raise TypeError(text)
    return value


def _list(text: str) -> list[Any]:
    value = _json(text)
    # Lua writes an empty list as {}.
    if not isinstance(value, list) and value != {}:
        raise TypeError(text)
    return list(value)


def _text_or_none(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(value)
    return value


def _tags(text: str) -> list[str]:
    return [str(_text_or_none(tag) or "") for tag in _list(text)]


def _result(text: str) -> Any:
    return _mapping(text)["result"]


def _error(text: str) -> dict[str, Any]:
    held = _mapping(text)
    if not held.get("type") or held.get("message") is None:
        raise ValueError(text)
    return {name: _text_or_none(held.get(name)) for name in ("type", "message", "traceback")}


def _progress(text: str) -> dict[str, Any]:
    held = _mapping(text)
    fraction = held["fraction"]
    if fraction is not None and (isinstance(fraction, bool) or not 0 <= fraction <= 1):
        raise ValueError(text)
    return {"fraction": fraction, "message": _text_or_none(held["message"])}


def _revocation(text: str) -> dict[str, Any]:
    # Lua wrote it, and its tables have no order.
    mapping = _mapping(text)
    return _timed({name: mapping.get(name) for name in ("by", "comment", "at")})


def _timed(mapping: dict[str, Any]) -> dict[str, Any]:
    return {**mapping, "at": _moment(str(mapping["at"]))}


def _death(mapping: dict[str, Any]) -> dict[str, Any]:
    fields = {name: mapping.get(name) for name in ("at", "worker", "signal", "exit_code", "max_rss")}
    return _timed({**fields, "oom_killed": mapping.get("oom_killed") is True})


def _attempt(mapping: dict[str, Any]) -> dict[str, Any]:
    times = {name: _moment(str(mapping[name])) for name in ("started_at", "ended_at")}
    return {
        "attempt": _count(str(mapping["attempt"])),
        "worker": mapping.get("worker"),
        **times,
        "outcome": mapping["outcome"],
        "error": mapping.get("error"),
    }


def _where(run: Run, record: Mapping[str, str]) -> str | None:
    if run.state is State.PENDING and record.get("message"):
        return f"scheduled for {run.eta}" if run.eta else "scheduled"
    if run.state is State.PENDING:
        return f"waiting in queue {run.queue}"
    return "waiting for a retry" if run.state is State.RETRY else None


def now_text() -> str:
    """Return the time in the shortest form of RFC 3339, because there may be a million results."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def celery_meta(
    *,
    run_id: str,
    state: State,
    result: str,
    traceback: str | None = None,
    date_done: str | None = None,
) -> str:
    """Return a result in Celery's format (``celery.backends.base.Backend._get_result_meta``).

    Args:
        run_id: the run's id.
        state: its new state.
        result: the result as JSON text: the value, or Celery's description of an exception.
        traceback: the traceback of a failure.
        date_done: RFC 3339, or None.
    """
    trace = "null" if traceback is None else _quoted(traceback)
    at = "null" if date_done is None else _quoted(date_done)
    # The result is inserted unchanged: it may be large, and was checked when it was written.
    return (
        f'{{"status":"{state}","traceback":{trace},"children":[],"date_done":{at},'
        f'"task_id":{_quoted(run_id)},"result":{result}}}'
    )
