"""The run that ``why`` and ``logs`` explain and show if the user names none: the latest failure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from runner.cli.terminal.moments import show_age
from runner.cli.terminal.output import Output
from runner.model.run import to_datetime

if TYPE_CHECKING:
    from runner.actions.project import Project


def named_or_latest_failure(project: Project, out: Output, reference: str | None, *, archived: bool) -> str:
    """Return ``reference``, or if it is None the id of the latest failure, which is then named on stderr.

    Raises:
        UnknownRun: none is given, and no run has failed.
        Unavailable, ArchiveUnavailable: Redis or the archive cannot be reached.
    """
    if reference is not None:
        return reference
    from runner.actions.find import latest_failure  # start-up time: most callers name the run

    run = latest_failure(project, archived=archived)
    ago = ""
    if run.finished_at is not None:
        # At least 1 s: the clock of this host may be behind that of Redis.
        later = max(time.time(), to_datetime(run.finished_at).timestamp() + 1)
        ago = f", {show_age(run.finished_at, now=later)}"
    out.note(f"the latest failure: run {run.id} of {run.job}{ago}")
    return run.id
