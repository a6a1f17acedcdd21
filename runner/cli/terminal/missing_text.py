"""What is still missing before the jobs of a project run, and the commands that bring it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.cli.terminal.output import Output, command_line

if TYPE_CHECKING:
    from runner.actions.project import Project


def tell_missing(out: Output, project: Project) -> None:
    """Say whether a worker is missing, and offer commands that start one."""
    from runner.actions.missing import missing  # start-up time: --help reads no settings

    found = missing(project)
    offers = found.offers()
    if not offers:
        return
    if found.queues is None:
        out.note("whether a worker is alive is not known, because Redis cannot be reached. To start one:")
    else:
        out.note(f"still missing: a worker that takes from {' and '.join(found.queues)}. To start one:")
    for words, told in offers:
        out.note(f"  {command_line(project, *words)}   # {told}")
