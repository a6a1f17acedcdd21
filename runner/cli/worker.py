"""``runner worker``."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from runner.cli.frame.group import verb
from runner.cli.frame.interrupts import release
from runner.cli.frame.opening import open_project
from runner.cli.frame.options import worker_options
from runner.cli.frame.output import Output, warn_of_problems

if TYPE_CHECKING:
    from runner.actions.project import Project


@verb(example="runner worker -c 8 -Q default -Q reports")
@worker_options
@click.option("--reload-code", is_flag=True, help="Start anew when Python files change; for development.")
@click.option("--plain", is_flag=True, hidden=True, help="What runs write is passed on as it is.")
@click.option("--hold", type=int, hidden=True, help="A descriptor whose lock this process holds.")
@click.option("--with-scheduler", is_flag=True, hidden=True, help="Run a scheduler beside it, as up does.")
def command(
    concurrency: int | None,
    queues: tuple[str, ...],
    pool: str,
    log_level: str,
    log_format: str,
    reload_code: bool,
    plain: bool,
    hold: int | None,
    with_scheduler: bool,
) -> int:
    """Start a worker in the foreground; its log goes to stderr.

    Changes in files of jobs take effect within a second, and what runs goes on as it started.

    SIGTERM or Ctrl-C ends it: it takes no new runs, and those that run have worker.shutdown_grace to end.
    """
    if hold is not None:
        # The lock is this process's and its pool's: what a job starts must not keep it.
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
        with_scheduler=with_scheduler,
        reload_code=reload_code,
    )


def start(
    project: Project,
    *,
    concurrency: int | None,
    queues: tuple[str, ...],
    pool: str,
    log_level: str,
    log_form: str,
    with_scheduler: bool = False,
    reload_code: bool = False,
) -> int:
    """Run a worker of ``project`` in this process until it ends; return its exit code."""
    from runner.actions.worker_process import scheduler_beside
    from runner.app.worker import run_worker  # start-up time: no other command imports Celery

    project.ledger.workers()  # an unreachable Redis is told before the worker waits for it
    settings = project.settings
    # Jobs find the project's files by relative paths wherever the worker was started.
    os.chdir(settings.project)
    with scheduler_beside(settings, log_form) if with_scheduler else nullcontext():
        release()  # the worker's own handling begins from here
        code = run_worker(
            settings,
            project.catalog,
            concurrency=concurrency,
            queues=queues,
            pool=pool,
            loglevel=log_level.upper(),
            log_form=log_form,
            reload_code=reload_code,
        )
    if code is None:
        # The interpreter anew: of what it imported, nothing is left. The process stays the same.
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606
    return code
