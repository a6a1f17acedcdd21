"""``runner down``."""

from __future__ import annotations

from runner.cli.terminal.group import verb
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.output import Output


@verb(example="runner down")
def command() -> int:
    """Stop the worker that `up -d` started, gracefully, and the embedded server. All runs and results are kept."""
    from runner.actions.detached import stop_detached  # start-up time: --help reads no settings

    project = open_project()
    out = Output()
    down = stop_detached(
        project,
        lambda pid, grace: out.note(f"stopping worker {pid}; runs in progress have {grace:g} s to end"),
    )
    if down.killed:
        out.warn(f"worker {down.pid} did not end in time and was killed; its runs start again elsewhere")
    if down.server:
        out.note("the embedded server is stopped; its data is kept")
    if down.pid is None and not down.server:
        out.note("nothing was running")
    return 0
