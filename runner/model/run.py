"""A run: its states, the reasons for its end, and its document.

The same document is printed by ``--json``, passed to hooks, and returned by the Python API. Fields are added, but never
removed.
"""

from __future__ import annotations

from dataclasses import field, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

from runner._dataclass import dataclass


class State(StrEnum):
    """The states, with Celery's names. The comments say what repairs each state after a crash."""

    PENDING = "PENDING"
    # Its message is in a queue, in the delayed set, or claimed by a worker. A worker's sweep puts messages with an
    # expired lease back into their queue. After `expires_at`, the sweep or a reader of the run makes it REVOKED.
    STARTED = "STARTED"
    # A worker holds its claim. When the lease expires, a worker's sweep counts a loss and puts the message back.
    RETRY = "RETRY"
    # Its message is in the delayed set until `retry_at`, and then in its queue; it is repaired like PENDING.
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    REVOKED = "REVOKED"
    # Final states. There is nothing to repair, because a single script ends a run.


FINAL: frozenset[State] = frozenset({State.SUCCESS, State.FAILURE, State.REVOKED})

TRANSITIONS: dict[State, frozenset[State]] = {
    State.PENDING: frozenset({State.STARTED, State.REVOKED, State.FAILURE}),
    State.STARTED: frozenset({State.SUCCESS, State.FAILURE, State.REVOKED, State.RETRY}),
    State.RETRY: frozenset({State.STARTED, State.REVOKED, State.FAILURE}),
    State.SUCCESS: frozenset(),
    State.FAILURE: frozenset(),
    State.REVOKED: frozenset(),
}
"""The allowed transitions, as in the Lua scripts of the ledger; tests compare the two."""


class FailureReason(StrEnum):
    """The reason why a run ended in FAILURE."""

    EXCEPTION = "exception"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    WORKER_LOST = "worker_lost"
    POISONED = "poisoned"
    INVALID_PARAMS = "invalid_params"
    UNKNOWN_JOB = "unknown_job"
    IMPORT_ERROR = "import_error"
    MISSING_SECRET = "missing_secret"  # noqa: S105
    STEP_FAILED = "step_failed"


class RevokedReason(StrEnum):
    """The reason why a run ended in REVOKED."""

    CANCELLED = "cancelled"
    TERMINATED = "terminated"
    EXPIRED = "expired"
    SKIPPED = "skipped"
    REPLACED = "replaced"
    UPSTREAM_FAILED = "upstream_failed"
    REJECTED = "rejected"


Trigger = Literal[
    "cli", "schedule", "cron", "api", "web", "hook", "rerun", "backfill", "celery", "watch", "webhook", "flow"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One submission of a job, as it was when it was read from the ledger.

    Times are RFC 3339 in UTC with milliseconds (``2026-11-23T02:00:00.000Z``) or None;
    ``error`` is ``{"type", "message", "traceback"}``, ``progress`` ``{"fraction", "message"}``,
    ``revocation`` ``{"by", "comment", "at"}``; a death is ``{"at", "worker", "signal",
    "exit_code", "max_rss", "oom_killed"}``. A past attempt, after which the run went on, is ``{"attempt",
    "worker", "started_at", "ended_at", "outcome", "error"}``. ``steps`` of a flow are ``{"name", "kind", "needs",
    "state", "reason", "items", "counts", "started_at", "finished_at", "run"}``.
    """

    id: str
    job: str
    state: State
    reason: str | None = None
    detail: str | None = None
    tags: list[str] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)
    result: Any = None
    result_expired: bool = False
    error: dict[str, Any] | None = None
    attempts: int = 0
    retries: int = 0
    losses: int = 0
    retry_at: str | None = None
    deaths: list[dict[str, Any]] = field(default_factory=list)
    progress: dict[str, Any] | None = None
    queue: str = "default"
    priority: int = 5
    worker: str | None = None
    trigger: str = "cli"
    submitted_by: str | None = None
    key: str | None = None
    slot: str | None = None
    rerun_of: str | None = None
    hook_of: str | None = None
    backfill: str | None = None
    flow: str | None = None
    """The id of the flow, if this is the run of a step."""
    step: str | None = None
    item: int | None = None
    """The index of the item, if this is the run of a step with items."""
    reused_from: str | None = None
    """The run whose result is reused instead of running the step again."""
    revocation: dict[str, Any] | None = None
    spec_digest: str | None = None
    submitted_at: str | None = None
    eta: str | None = None
    expires_at: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    past_attempts: list[dict[str, Any]] = field(default_factory=list)
    overran_at: str | None = None
    failures_in_row: int | None = None
    """The number of failures in a row, this run included; for a SUCCESS, the number that it ended. None if no option of
    the job needs it."""
    steps: list[dict[str, Any]] | None = None
    """The steps of a flow, in the order of the file."""
    archived: bool = False
    """Whether the run was read from the archive, because Redis no longer has it."""

    @property
    def final(self) -> bool:
        """Whether the state is final."""
        return self.state in FINAL

    @property
    def damaged(self) -> str | None:
        """The unreadable parts of the run's record, for a message; None if the record is valid."""
        return None

    def document(self) -> dict[str, Any]:
        """Return the run document as JSON, with its fields in the documented order."""
        return {name: getattr(self, name) for name in FIELDS}


FIELDS: tuple[str, ...] = tuple(item.name for item in fields(Run))


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedRun(Run):
    """A run whose record is partly unreadable, because another program wrote to it.

    Unreadable fields have their defaults. An unreadable state is FAILURE, so that nobody waits for the run.
    """

    faults: str

    @classmethod
    def of(cls, run: Run, faults: str) -> DamagedRun:
        """Return ``run`` as a damaged run."""
        values = {name: getattr(run, name) for name in FIELDS}
        values["detail"] = f"its record is damaged: {faults}"
        if run.state is State.FAILURE and run.error is None:
            values["error"] = {"type": "DamagedRecord", "message": values["detail"], "traceback": None}
        return cls(**values, faults=faults)

    @property
    def damaged(self) -> str | None:
        """The unreadable parts, for a message."""
        return self.faults

    def document(self) -> dict[str, Any]:
        """Return the run document with the field ``damaged``: the unreadable parts."""
        return {**{name: getattr(self, name) for name in FIELDS}, "damaged": self.faults}


def to_timestamp(milliseconds: int | None) -> str | None:
    """Return a Unix time in milliseconds as RFC 3339 in UTC."""
    if milliseconds is None:
        return None
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{milliseconds % 1000:03d}Z"


def to_datetime(timestamp: str) -> datetime:
    """Return a time of a run document as an aware datetime in UTC."""
    return datetime.fromisoformat(timestamp)
