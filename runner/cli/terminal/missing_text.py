"""Names the queues without a worker, and commands that start one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.cli.terminal.output import Output, command_line

if TYPE_CHECKING:
    from runner.actions.project import Project


def show_missing(out: Output, project: Project) -> None:
    """Print whether a worker is missing, and commands that start one."""
    from runner.actions.missing import missing  # start-up time: --help reads no settings

    found = missing(project)
    offers = found.offers()
    if not offers:
        return
    if found.queues is None:
        out.note("it is not known whether a worker is alive, because Redis cannot be reached. To start one:")
    else:
        out.note(f"still missing: a worker that takes from {' and '.join(found.queues)}. To start one:")
    for arguments, effect in offers:
        out.note(f"  {command_line(project, *arguments)}   # {effect}")
