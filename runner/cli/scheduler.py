"""``runner scheduler``."""

from __future__ import annotations

import click

from runner.cli.terminal.group import verb
from runner.cli.terminal.interrupts import Terminated
from runner.cli.terminal.log_line import log_line
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import log_format_option
from runner.cli.terminal.output import Output, warn_of_problems


@verb(example="runner scheduler --project /srv/reports")
@click.option("--parent", type=int, hidden=True, help="Stop when this process is no longer the parent.")
@log_format_option
def command(parent: int | None, log_format: str) -> int:
    """Submit scheduled runs when they are due, until SIGTERM or Ctrl-C. The log goes to stderr.

    The scheduler reloads changed files, and waits while Redis cannot be reached. You can run any number of schedulers
    and ticks on any number of hosts: each slot of a schedule gets only one run.
    """
    from runner.actions.scheduler import Scheduler  # start-up time: --help reads no settings
    from runner.process.systemd import notify

    project = open_project()
    out = Output()
    warn_of_problems(out, project)
    try:
        Scheduler(project, lambda text: out.note(log_line("scheduler", text, log_format))).run(parent)
    except (Terminated, KeyboardInterrupt):
        notify("STOPPING=1")
    return 0
