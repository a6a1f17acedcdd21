"""``runner up``."""

from __future__ import annotations

import click

from runner.cli.frame.group import verb
from runner.cli.frame.opening import open_project
from runner.cli.frame.options import worker_options
from runner.cli.frame.output import Output, command_line, warn_of_problems


@verb(example="runner up -d && runner submit hello --wait && runner down")
@click.option("--detach", "-d", is_flag=True, help="Go to the background when the worker is ready.")
@worker_options
def command(
    detach: bool,
    concurrency: int | None,
    queues: tuple[str, ...],
    pool: str,
    log_level: str,
    log_format: str,
    no_wait: bool,
) -> int:
    """Start a worker and a scheduler, and the embedded server if the project uses it.

    They run in the foreground until Ctrl-C. With -d, they run in the background, log to .runner/log/worker.log, and
    stop with `runner down`. If Redis is down, the foreground command waits for it; -d does not.
    """
    project = open_project()
    out = Output()
    warn_of_problems(out, project)
    if not detach:
        from runner.cli.worker import start  # start-up time: -d starts the worker in another process

        return start(
            project,
            concurrency=concurrency,
            queues=queues,
            pool=pool,
            log_level=log_level,
            log_form=log_format,
            with_scheduler=True,
            wait=not no_wait,
        )
    from runner.actions.detached import start_detached  # start-up time: --help reads no settings

    arguments = ["--with-scheduler", "--pool", pool, "--log-level", log_level]
    arguments += ["--log-format", log_format]
    arguments += ["--concurrency", str(concurrency)] if concurrency else []
    for queue in queues:
        arguments += ["--queue", queue]
    up = start_detached(project, arguments)
    if up.started:
        out.note(f"up: worker {up.pid} takes runs; its log is {up.log}; to stop it: {command_line(project, 'down')}")
    else:
        out.note(f"up already: worker {up.pid}; its log is {up.log}")
    return 0
