"""Between the record in Redis (a hash of strings) and the run document."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from runner.model.run import FINAL, Run, State, to_timestamp

_TEXT = ("reason", "detail", "worker", "submitted_by", "key", "rerun_of", "hook_of", "spec_digest")
_TIMES = ("retry_at", "slot", "submitted_at", "eta", "expires_at", "started_at", "finished_at")
_COUNTS = ("attempts", "retries", "losses")


_DIGEST = "sha256:"
_PACKED = 43
"""Characters of 32 bytes in base64, without what fills it up."""


def pack_digest(digest: str) -> str:
    """Return a spec's digest as records hold it: in base64, a third shorter, for there may be a million of them."""
    try:
        return urlsafe_b64encode(bytes.fromhex(digest.removeprefix(_DIGEST))).decode().rstrip("=")
    except ValueError:
        return digest


def unpack_digest(held: str | None) -> str | None:
    """Return the digest that a record holds."""
    if not held or len(held) != _PACKED:
        return held
    return _DIGEST + urlsafe_b64decode(held + "=").hex()


def pairs(flat: Sequence[str]) -> dict[str, str]:
    """Return the mapping that Redis sent as a flat list."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def read_record(run_id: str, record: Mapping[str, str], meta: str | None) -> Run:
    """Return the run of a record; ``meta`` is its result in Celery's format, if that is still kept."""
    state = State(record["state"])
    fields: dict[str, Any] = {name: record.get(name) or None for name in _TEXT}
    fields["spec_digest"] = unpack_digest(fields["spec_digest"])
    fields |= {name: to_timestamp(int(float(record[name]))) for name in _TIMES if record.get(name)}
    fields |= {name: int(record.get(name, 0)) for name in _COUNTS}
    if state is State.SUCCESS:
        if meta:
            fields["result"] = json.loads(meta)["result"]
        else:
            fields["result_expired"] = True
    if state not in FINAL and not fields["detail"]:
        fields["detail"] = _where(state, record)
    return Run(
        id=run_id,
        job=record["job"],
        state=state,
        tags=json.loads(record.get("tags") or "[]"),
        params=json.loads(record.get("params") or "{}"),
        error=_error(record.get("error")) if state is not State.SUCCESS else None,
        deaths=[_death(each) for each in json.loads(record.get("deaths") or "[]")],
        past_attempts=[_attempt(each) for each in json.loads(record.get("past") or "[]")],
        progress=json.loads(record["progress"]) if record.get("progress") else None,
        revocation=_revocation(json.loads(record["revocation"])) if record.get("revocation") else None,
        queue=record["queue"],
        priority=int(record["priority"]),
        trigger=record.get("trigger", "cli"),
        **fields,
    )


def _error(text: str | None) -> dict[str, Any] | None:
    if not text:
        return None
    held = json.loads(text)
    return {name: held.get(name) for name in ("type", "message", "traceback")}


def _revocation(mapping: dict[str, Any]) -> dict[str, Any]:
    # Lua wrote it, whose tables have no order.
    return _timed({name: mapping.get(name) for name in ("by", "comment", "at")})


def _timed(mapping: dict[str, Any]) -> dict[str, Any]:
    return {**mapping, "at": to_timestamp(int(mapping["at"]))}


def _death(mapping: dict[str, Any]) -> dict[str, Any]:
    return _timed({name: mapping.get(name) for name in ("at", "worker", "signal", "exit_code", "max_rss")})


def _attempt(mapping: dict[str, Any]) -> dict[str, Any]:
    times = {name: to_timestamp(int(mapping[name])) for name in ("started_at", "ended_at")}
    return {
        "attempt": int(mapping["attempt"]),
        "worker": mapping.get("worker"),
        **times,
        "outcome": mapping["outcome"],
        "error": mapping.get("error"),
    }


def _where(state: State, record: Mapping[str, str]) -> str | None:
    if state is State.PENDING and record.get("message"):
        return f"scheduled for {to_timestamp(int(float(record['eta'])))}" if record.get("eta") else "scheduled"
    if state is State.PENDING:
        return f"waiting in queue {record['queue']}"
    return None


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
    rest = json.dumps(
        {
            "status": state,
            "traceback": traceback,
            "children": [],
            "date_done": date_done,
            "task_id": run_id,
        }
    )
    # The result is spliced in as it is: it may be large, and was checked when it was written.
    return f'{rest[:-1]}, "result": {result}}}'
