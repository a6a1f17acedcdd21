"""``runner down``."""

from __future__ import annotations

from runner.cli.terminal.group import verb
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.output import Output, command_line


@verb(example="runner down")
def command() -> int:
    """Stop what `up -d` started: the worker, gracefully, and the embedded server. All runs and results are kept."""
    from runner.actions.detached import stop_detached  # start-up time: --help reads no settings

    project = open_project()
    out = Output()
    down = stop_detached(
        project,
        lambda pid, grace: out.note(f"stopping worker {pid}; runs in progress have {grace:g} s to finish"),
    )
    if down.killed:
        out.warn(f"worker {down.pid} did not stop in time and was killed; its runs will start again")
    if down.server:
        out.note("the embedded server is stopped; its data is kept")
    if down.left is not None:
        out.warn(
            f"the embedded server (process {down.left}) is still running: redis_url does not name it any more; "
            f"to stop it: RUNNER_REDIS_URL=embedded {command_line(project, 'down')}"
        )
    elif down.pid is None and not down.server:
        out.note("nothing was running")
    return 0
