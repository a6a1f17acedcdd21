"""``runner up``."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from runner.cli.terminal.group import verb
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import POSITIVE_DURATION, quiet_option, worker_options
from runner.cli.terminal.output import Output, command_line, table, warn_of_problems
from runner.errors import UsageError

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.actions.services import Service
    from runner.actions.systemctl import Manager

ATTENTION = 1
_OF_A_WORKER = ("concurrency", "queues", "pool", "log_level", "log_format", "no_wait")


@verb(
    example="runner up -d && runner submit hello --wait && runner down\n"
    "sudo runner up --systemd --project /srv/reports\n"
    "runner up --systemd status --project /srv/reports"
)
@click.option("--detach", "-d", is_flag=True, help="Run in the background; return when the worker is ready.")
@click.option(
    "--await",
    "patience",
    type=POSITIVE_DURATION,
    metavar="DURATION",
    help="With -d: if Redis is down, wait this long for it.",
)
@click.option(
    "--systemd",
    "service",
    is_flag=False,
    flag_value="enable",
    type=click.Choice(["enable", "status", "remove"]),
    metavar="[enable|status|remove]",
    help="Run worker and scheduler as systemd services: enable (the default), show, or remove them.",
)
@click.option(
    "--user", "of", flag_value="user", help="With --systemd: services of your user; the default, except for root."
)
@click.option("--system", "of", flag_value="system", help="With --systemd: services of the host; the default for root.")
@quiet_option
@worker_options
def command(
    detach: bool,
    patience: float | None,
    service: str | None,
    of: str | None,
    quiet: bool,
    concurrency: int | None,
    queues: tuple[str, ...],
    pool: str,
    log_level: str,
    log_format: str,
    no_wait: bool,
) -> int:
    """Start a worker and a scheduler, and the embedded server if the project uses it.

    They run in the foreground until Ctrl-C. With -d, they run in the background and log to .runner/log/worker.log;
    `runner down` stops them. If Redis is down, the foreground command waits for it; with -d, add --await to wait.

    With --systemd, they run as services: enable writes and starts their units, now and at each boot; status exits with
    0 if they run as they should, and with 1 otherwise. Services of the host run as the owner of the project.
    """
    _check_options(detach=detach, patience=patience, service=service, of=of, quiet=quiet)
    project = open_project()
    out = Output(quiet=quiet)
    if service is not None:
        return _systemd(out, project, service, of)
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
    # start-up time: --help reads no settings
    from runner.actions.await_server import await_server
    from runner.actions.detached import start_detached

    arguments = ["--with-scheduler", "--pool", pool, "--log-level", log_level]
    arguments += ["--log-format", log_format]
    arguments += ["--concurrency", str(concurrency)] if concurrency else []
    for queue in queues:
        arguments += ["--queue", queue]
    if patience is not None:
        await_server(project, out.note, patience)
    up = start_detached(project, arguments)
    if up.started:
        out.note(f"up: worker {up.pid} takes runs; its log is {up.log}; to stop it: {command_line(project, 'down')}")
        return out.finish(0)
    out.note(f"up already: worker {up.pid}; its log is {up.log}")
    ignored = [name for name in _given() if _values(name, arguments) != _values(name, up.arguments or ())]
    if ignored:
        out.warn(
            f"the worker runs without your {' and '.join(ignored)}; "
            f"to restart it: {command_line(project, 'down')}, then the same command again"
        )
    return out.finish(0)


def _given() -> list[str]:
    """Return the options of a worker that are on the command line, by their long names."""
    ctx = click.get_current_context()
    names = {param.name: param.opts[0] for param in ctx.command.params}
    return [names[name] for name in _OF_A_WORKER if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT]


def _values(option: str, arguments: Sequence[str]) -> list[str]:
    """Return the values of an option in the arguments of a worker."""
    return sorted(value for name, value in itertools.pairwise(arguments) if name == option)


def _check_options(*, detach: bool, patience: float | None, service: str | None, of: str | None, quiet: bool) -> None:
    if service is None:
        if of is not None:
            raise UsageError(f"--{of} needs --systemd", hint="add --systemd")
        if patience is not None and not detach:
            raise UsageError("--await needs -d: in the foreground, up waits for Redis anyway", hint="leave it out")
        if quiet and not detach:
            raise UsageError("--quiet needs -d: in the foreground, up prints the log", hint="use --log-level WARNING")
        return
    if detach or patience is not None or quiet:
        raise UsageError("-d, --await, and --quiet cannot be used with --systemd", hint="leave them out")
    given = _given()
    if given:
        raise UsageError(
            f"{given[0]} cannot be used with --systemd, because a service reads runner.yaml",
            hint="write worker.concurrency and worker.queues into runner.yaml, or edit the service: systemctl edit",
        )


def _systemd(out: Output, project: Project, service: str, of: str | None) -> int:
    # start-up time: --help reads no settings
    from runner.actions.services import enable, remove
    from runner.actions.systemctl import Manager, lingers

    manager = Manager(user=of == "user" or (of is None and os.geteuid() != 0))
    if service == "status":
        return _status(out, project, manager)
    if service == "remove":
        removed = remove(project, manager)
        out.note(f"removed {', '.join(removed)}" if removed else "there was nothing to remove")
        return 0
    warn_of_problems(out, project)
    done = enable(project, manager)
    for path in done.written:
        out.note(f"wrote {path}")
    out.note(f"up: {' and '.join(done.services)} run as {done.user}, and start with the host")
    if manager.user and not lingers(done.user):
        out.warn(f"they end when you log out; to keep them running: loginctl enable-linger {done.user}")
    if not project.settings.schedules:
        out.warn("runner.yaml says schedules: false, so there is no scheduler")
    return 0


def _status(out: Output, project: Project, manager: Manager) -> int:
    from runner.actions.services import services  # start-up time: --help reads no settings

    found = services(project, manager)
    headings = ("SERVICE", "STATE", "AT START", "PROCESS", "UNIT")
    table(out, headings, [_row(service) for service in found], {"active": "green", "failed": "red", "not": "yellow"})
    if all(service.well for service in found):
        return 0
    whose = "--user" if manager.user else "--system"
    out.note(f"hint: {command_line(project, 'up', '--systemd', 'enable', whose)}")
    for service in found:
        if service.installed and service.active != "active":
            out.note(f"hint: its log: journalctl {'--user ' if manager.user else ''}-n 30 -u {service.name}")
    return ATTENTION


def _row(service: Service) -> tuple[str, ...]:
    unit = "current" if service.current else "differs from what it should be" if service.installed else "not installed"
    state = f"{service.active} ({service.sub})"
    return (service.name, state, service.enabled, str(service.pid) if service.pid else "", unit)
