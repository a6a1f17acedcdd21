"""Copy finished runs to the archive, and show the state of copying."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from runner._dataclass import dataclass
from runner.archive.behind import reader_of
from runner.archive.store import Archive
from runner.errors import AmbiguousId, ArchiveUnavailable, UnknownRun, UsageError
from runner.ledger.ledger import SHORTEST_PREFIX, Ledger
from runner.ledger.refusals import belongs_to_flow
from runner.ledger.unarchived import Backlog, read_backlog
from runner.model.run import to_timestamp
from runner.process.systemd import Watchdog, notify

if TYPE_CHECKING:
    from runner.actions.project import Project

LOOK_SECONDS = 1.0
"""Seconds until a following process notices that its parent is gone."""


@dataclass(frozen=True, slots=True)
class Copied:
    """The outcome of ``runner archive``. ``refused``: the database's errors for runs that it refuses, by id."""

    runs: int
    removed: int
    refused: dict[str, str]


@dataclass(frozen=True, slots=True)
class ArchiveStatus:
    """The state of the archive. ``version`` is 0 before the first copy; ``copied_at`` is RFC 3339."""

    name: str
    version: int
    current: int
    copied: int
    copied_at: str | None
    backlog: Backlog
    other: bool
    """Whether the ledger is copied to another database."""
    other_ledger: bool = False
    """Whether the database has the runs of another ledger with this namespace."""

    def document(self) -> dict[str, Any]:
        """Return it as the JSON object that ``--json`` prints."""
        first = self.backlog
        waits = {
            "finished_at": _moment(first.ended),
            "result_until": _moment(first.loses_result),
            "run_until": _moment(first.loses_run),
        }
        return {
            "archive": self.name,
            "schema": self.version,
            "copied": self.copied,
            "copied_at": self.copied_at,
            "waiting": first.runs,
            "lag_seconds": round(first.lag, 3),
            "next": waits if first.runs else None,
            "copier": first.copier,
            "other_archive": self.other,
            "other_ledger": self.other_ledger,
        }


def open_archive(project: Project) -> Archive:
    """Return the archive of a project, without connecting.

    Raises:
        UsageError: the project has no archive, or a package is missing.
    """
    url = project.settings.archive_url
    if url is None:
        raise UsageError(
            "this project has no archive", hint="write archive_url: sqlite:///runner.db into runner.yaml; see the docs"
        )
    return Archive.open(url)


def copy_once(project: Project, *, again: bool = False) -> Copied:
    """Copy all finished runs that are not in the archive; with ``again``, also those that are.

    Raises:
        UsageError: see :func:`open_archive`.
        ArchiveMismatch: the schema is newer, or the ledger is copied to another database.
        ArchiveUnavailable: the database cannot be reached, or refuses a statement.
        Unavailable: Redis cannot be reached.
    """
    from runner.archive.copier import Copier  # start-up time: most commands copy nothing

    archive = open_archive(project)
    try:
        copier = Copier(project.ledger, archive)
        copier.begin(again=again)
        copied = copier.copy()
        return Copied(copied.runs, copied.removed, copied.refused)
    finally:
        archive.close()


def follow(project: Project, say: Callable[[str], None], parent: int | None = None) -> None:
    """Copy until an exception ends it (such as that of SIGTERM). Errors are logged, and copying is tried again.

    Args:
        project: whose runs.
        say: takes a line for the log.
        parent: the process id of the parent; copying ends when it is no longer the parent.

    Raises:
        UsageError: see :func:`open_archive`.
    """
    open_archive(project).close()
    from runner.archive.follow import Follower  # start-up time: as above

    name = f"archive-{os.getpid()}@{socket.gethostname()}"
    follower = Follower(lambda: Ledger.open(project.settings), name, say)
    watchdog = Watchdog()
    notify("READY=1")
    try:
        while parent is None or os.getppid() == parent:
            end = time.monotonic() + follower.step()
            while (left := end - time.monotonic()) > 0 and (parent is None or os.getppid() == parent):
                watchdog.pet()
                time.sleep(min(left, LOOK_SECONDS))
    finally:
        follower.close()


def read_status(project: Project) -> ArchiveStatus:
    """Return how far the archive is.

    Raises:
        UsageError: see :func:`open_archive`.
        ArchiveUnavailable: the database cannot be reached, or refuses a statement.
        Unavailable: Redis cannot be reached.
    """
    from runner.archive.migrations import VERSION  # start-up time: as above

    archive = open_archive(project)
    try:
        version = archive.version() if archive.exists() else 0
        copied = reader_of(archive, project.settings.namespace).copied()
        backlog = read_backlog(project.ledger, lambda job: _keeps_result(project, job))
        other = backlog.identity is not None and backlog.identity != copied.identity
        other_ledger = copied.ledger is not None and copied.ledger != backlog.ledger
        at = to_timestamp(round(copied.at.timestamp() * 1000)) if copied.at is not None else None
        return ArchiveStatus(archive.name, version, VERSION, copied.runs, at, backlog, other, other_ledger)
    finally:
        archive.close()


def remove_archived(project: Project, run_id: str) -> None:
    """Remove a forgotten run from the archive. If that fails, a copier does so later."""
    try:
        archive = open_archive(project)
    except UsageError:
        return  # a package is missing here
    try:
        archive.remove(project.settings.namespace, [run_id])
    except ArchiveUnavailable:
        return
    finally:
        archive.close()


def forget_archived(project: Project, reference: str, by: str, unknown: UnknownRun) -> str:
    """Remove a run that only the archive has; return its full id.

    Raises:
        UnknownRun: ``unknown``, if the archive does not have it either.
        AmbiguousId: several runs match, or the prefix is too short.
        BelongsToFlow: it is a step run.
        ArchiveUnavailable: the archive cannot be reached.
    """
    archive = open_archive(project)
    try:
        reader = reader_of(archive, project.settings.namespace)
        found = reader.find(reference)
        run_id = reference if reference in found else next(iter(found), None)
        run = reader.get(run_id) if run_id is not None else None
        if run is None:
            raise unknown
        if run.id != reference and (len(found) > 1 or len(reference) < SHORTEST_PREFIX):
            raise AmbiguousId(f"{reference!r} fits more than one run, or is too short", hint="give more characters")
        if run.flow is not None:
            raise belongs_to_flow(run.id, run.flow)
        # Recorded first, so that a copier that is writing it now removes it again.
        project.ledger.script("forget_archived", run.id, by, run.job)
        archive.remove(project.settings.namespace, [run.id])
        return run.id
    finally:
        archive.close()


def _keeps_result(project: Project, job: str) -> float:
    declared = project.catalog.jobs.get(job)
    kept = declared.retention.result if declared is not None else None
    return project.settings.retention.result if kept is None else kept


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else to_timestamp(round(seconds * 1000))
