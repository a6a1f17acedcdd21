"""Check the archive: whether it answers, has the schema of this version, and is about to lose runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from runner.actions.archive import ArchiveStatus, read_status
from runner.archive.store import OTHER_LEDGER
from runner.errors import ArchiveUnavailable, UsageError
from runner.ledger.health.finding import Finding, ok, problem, warning
from runner.ledger.unarchived import Backlog
from runner.model.duration import format_duration
from runner.model.plural import things

if TYPE_CHECKING:
    from runner.actions.project import Project

NAME = "archive"

LATE_SECONDS = 60.0
"""Seconds after the end of a run within which it should be copied."""
CLOSE = 0.5
"""The share of its retention after which an uncopied run counts as about to be lost."""

_REMEDY = "start a worker, or runner archive --follow; runner archive copies them now"


def check_archive(project: Project) -> Iterator[Finding]:
    """Yield the finding about the archive, if the project has one.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    if project.settings.archive_url is None:
        return
    try:
        status = read_status(project)
    except (ArchiveUnavailable, UsageError) as error:
        yield problem(NAME, error.message, error.hint or "runner archive --status tells more")
        return
    yield judge(status)


def judge(status: ArchiveStatus) -> Finding:
    """Return the finding about a database that answers."""
    if status.version > status.current:
        schema = f"version {status.version} of the archive's schema"
        return problem(NAME, f"{status.name} has {schema}, and this runner knows {status.current}", "update the runner")
    if status.other:
        return problem(
            NAME,
            f"the runs of this project are copied to another database than {status.name}",
            "correct archive_url; or, if this database takes its place: runner archive --again",
        )
    if status.other_ledger:
        return problem(NAME, f"{status.name} has the runs of this namespace from another Redis", OTHER_LEDGER)
    backlog = status.backlog
    waiting = f"{things(backlog.runs, 'finished run')} not in the archive"
    lost = _close_to_loss(backlog)
    if lost is not None:
        return problem(NAME, f"{waiting}, and {lost}", _REMEDY)
    if backlog.runs and backlog.lag > LATE_SECONDS:
        ended = format_duration(round(backlog.lag))
        busy = f"{backlog.copier} copies" if backlog.copier else "nobody copies"
        return warning(NAME, f"{waiting}, the first one since {ended}: {busy}", _REMEDY)
    return ok(
        NAME, f"{status.name} answers, {things(status.copied, 'run')} copied, {things(backlog.runs, 'run')} to copy"
    )


def _close_to_loss(backlog: Backlog) -> str | None:
    """Return a description of the loss that is near or has happened, or None."""
    if backlog.ended is None:
        return None
    for what, until in (("the result", backlog.loses_result), ("the record", backlog.loses_run)):
        if until is None:
            continue
        left = until - backlog.now
        if backlog.lag <= LATE_SECONDS:
            continue
        if left <= 0:
            return f"{what} of the first one is lost: its retention has ended"
        if backlog.lag >= CLOSE * (until - backlog.ended):
            return f"{what} of the first one is lost in {format_duration(max(1, round(left)))}"
    return None
