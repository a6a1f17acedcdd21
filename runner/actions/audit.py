"""Who did what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.ledger.audit import Act, read_acts

if TYPE_CHECKING:
    from runner.actions.project import Project


def acts(
    project: Project,
    *,
    limit: int = 20,
    act: str | None = None,
    job: str | None = None,
    by: str | None = None,
    run_id: str | None = None,
    since: float | None = None,
) -> list[Act]:
    """Return acts that fit, newest first, as :func:`runner.ledger.audit.read_acts` does.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    return read_acts(project.ledger, limit=limit, act=act, job=job, by=by, run_id=run_id, since=since)
