"""The audit log: actions of people on runs and jobs, and failed logins; the newest ten thousand of each type."""

from __future__ import annotations

import logging
from typing import Any

from runner._dataclass import dataclass
from runner.ledger.reach import reaching
from runner.ledger.store import Store
from runner.model.run import to_timestamp

FAILED_LOGIN = "failed-login"
EDIT = "edit"
BY_PEOPLE = {"cli": "submit", "api": "submit", "web": "submit", "rerun": "rerun"}
"""The act of a submission, by its trigger. Schedules, hooks, and plain Celery clients are not people."""

_KINDS = ("", "-submissions", "-revocations", "-forgotten", "-approvals", "-failures")
_PAGE = 1000
_FAILURES_KEPT = 1000
_ACTS_KEPT, _LONGEST_COMMENT = 10_000, 500
"""The same value as in ``lua/shared/acts.lua``."""

log = logging.getLogger("runner.audit")
"""Logs one line for each act of this process, because people with access to Redis could change the audit log there."""
log.setLevel(logging.WARNING)  # only servers show them; a command prints its own actions


@dataclass(frozen=True, slots=True)
class Act:
    """An action of a person. ``at`` is Unix ms by Redis' clock; ``job`` is ``*`` for all jobs."""

    at: int
    act: str
    by: str | None
    job: str | None
    id: str | None
    comment: str | None

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "at": to_timestamp(self.at),
            "act": self.act,
            "by": self.by,
            "job": self.job,
            "id": self.id,
            "comment": self.comment,
        }


def read_acts(
    store: Store,
    *,
    limit: int,
    act: str | None = None,
    job: str | None = None,
    by: str | None = None,
    run_id: str | None = None,
    since: float | None = None,
) -> list[Act]:
    """Return matching acts, newest first.

    Args:
        store: the ledger's store.
        limit: the maximum number of acts.
        act: one of :data:`runner.model.act.ACTS`.
        job: only acts on this job, or on all jobs.
        by: the name of the person, or the part before the ``@``.
        run_id: only acts on this run.
        since: Unix time in seconds.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    found: list[tuple[str, Act]] = []
    for kind in _KINDS:
        mine = 0
        end = "+"
        while mine < limit:
            with reaching(store.settings):
                page: Any = store.client.xrevrange(
                    store.keys.audit(kind),
                    max=end,
                    min="-" if since is None else str(max(0, round(since * 1000))),
                    count=_PAGE,
                )
            for entry_id, fields in page:
                entry = _act(entry_id, fields)
                if (
                    (act is None or entry.act == act)
                    and (job is None or entry.job in (job, "*"))
                    and (by is None or by in (entry.by, (entry.by or "").partition("@")[0]))
                    and (run_id is None or entry.id == run_id)
                ):
                    found.append((entry_id, entry))
                    mine += 1
            if len(page) < _PAGE:
                break
            end = f"({page[-1][0]}"
    return [entry for _, entry in sorted(found, key=lambda pair: _order(pair[0]), reverse=True)][:limit]


def log_act(
    act: str, by: str | None, *, job: str | None = None, run_id: str | None = None, comment: str | None = None
) -> None:
    """Write an act that the ledger has recorded to the log, too, on one line."""
    if log.isEnabledFor(logging.INFO):
        given = {"by": by, "job": job, "id": run_id, "comment": comment}
        log.info("%s%s", act, "".join(f" {name}={value!r}" for name, value in given.items() if value))


def note_failed_login(store: Store, address: str) -> None:
    """Record that a token from ``address`` was refused.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    with reaching(store.settings):
        store.client.xadd(
            store.keys.audit("-failures"),
            {"act": FAILED_LOGIN, "by": "", "job": "", "id": "", "comment": f"a token from {address} was refused"},
            maxlen=_FAILURES_KEPT,
        )


def note_edit(store: Store, *, by: str, comment: str) -> None:
    """Record that a person edited the job file that ``comment`` names.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    comment = comment[:_LONGEST_COMMENT]
    with reaching(store.settings):
        store.client.xadd(
            store.keys.audit(""),
            {"act": EDIT, "by": by, "job": "", "id": "", "comment": comment},
            maxlen=_ACTS_KEPT,
            approximate=True,
        )
    log_act(EDIT, by, comment=comment)


def _order(entry_id: str) -> tuple[int, int]:
    at, _, number = entry_id.partition("-")
    return int(at), int(number)


def _act(entry_id: str, fields: dict[str, str]) -> Act:
    values = [fields.get(name) or None for name in ("by", "job", "id", "comment")]
    return Act(_order(entry_id)[0], fields.get("act", "?"), *values)
