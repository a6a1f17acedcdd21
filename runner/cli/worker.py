"""``runner worker``."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from runner.cli.terminal.group import verb
from runner.cli.terminal.interrupts import Terminated, release
from runner.cli.terminal.log_line import log_line
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import worker_options
from runner.cli.terminal.output import Output, warn_of_problems

if TYPE_CHECKING:
    from runner.actions.project import Project


_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC


@verb(example="runner worker -c 8 -Q default -Q reports")
@worker_options
@click.option(
    "--name",
    "-n",
    metavar="NAME",
    help="The worker's name in lists and logs, such as reports@%h (%h is the host); unique by default.",
)
@click.option("--reload-code", is_flag=True, help="Restart when Python files change, for development.")
@click.option("--plain", is_flag=True, hidden=True, help="Pass on the output of runs unchanged.")
@click.option("--hold", type=int, hidden=True, help="The file descriptor of a lock that this process holds.")
@click.option("--with-scheduler", is_flag=True, hidden=True, help="Also run a scheduler, as up does.")
def command(
    concurrency: int | None,
    queues: tuple[str, ...],
    pool: str,
    log_level: str,
    log_format: str,
    name: str | None,
    no_wait: bool,
    reload_code: bool,
    plain: bool,
    hold: int | None,
    with_scheduler: bool,
) -> int:
    """Start a worker in the foreground. Its log goes to stderr.

    Changes in job files take effect within a second. Runs in progress are not affected.

    If Redis is down, the worker waits for it, at the start and later. SIGTERM or Ctrl-C stops it: it takes no new runs,
    and gives runs in progress the time of worker.shutdown_grace to finish.
    """
    if hold is not None:
        # This process and its pool hold the lock. A program that a job starts must not inherit it.
        os.set_inheritable(hold, False)
    project = open_project()
    warn_of_problems(Output(), project)
    return start(
        project,
        concurrency=concurrency,
        queues=queues,
        pool=pool,
        log_level=log_level,
        log_form="plain" if plain else log_format,
        name=name,
        with_scheduler=with_scheduler,
        reload_code=reload_code,
        wait=not no_wait,
    )


def start(
    project: Project,
    *,
    concurrency: int | None,
    queues: tuple[str, ...],
    pool: str,
    log_level: str,
    log_form: str,
    name: str | None = None,
    with_scheduler: bool = False,
    reload_code: bool = False,
    wait: bool = True,
) -> int:
    """Run a worker of ``project`` in this process until it stops; return its exit code.

    With ``wait``, it waits for Redis if that is down at the start.
    """
    # start-up time: no other command imports Celery
    from runner.actions.await_server import await_server
    from runner.actions.worker_process import scheduler_beside
    from runner.ledger.permissions import refuse_missing_permissions
    from runner.process.systemd import notify
    from runner.worker.start import run_worker

    if wait:
        out = Output()
        try:
            await_server(project, lambda text: out.note(log_line("worker", text, log_form)))
        except (Terminated, KeyboardInterrupt):
            # A worker that is stopped while it waits for Redis later exits with 0, too.
            notify("STOPPING=1")
            return 0
    else:
        refuse_missing_permissions(project.ledger)
    settings = project.settings
    # A worker that restarts reads its command line again, and its paths are relative to this folder.
    came_from = os.open(".", _FOLDER) if reload_code else None
    # Relative paths in jobs are relative to the project, wherever the worker was started.
    os.chdir(settings.project)
    with scheduler_beside(settings, log_form) if with_scheduler else nullcontext():
        release()  # from here on, the worker handles signals
        code = run_worker(
            settings,
            project.catalog,
            concurrency=concurrency,
            queues=queues,
            pool=pool,
            loglevel=log_level.upper(),
            log_form=log_form,
            hostname=name,
            reload_code=reload_code,
        )
    if code is None:
        # Execute the interpreter again: the process id stays, and no imported module is left.
        if came_from is not None:
            os.fchdir(came_from)
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606
    return code
