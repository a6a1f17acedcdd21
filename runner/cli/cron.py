"""``runner cron``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.terminal.group import verb
from runner.cli.terminal.missing_text import show_missing
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import json_option
from runner.cli.terminal.output import Output, command_line, printable
from runner.errors import UsageError

if TYPE_CHECKING:
    from runner.actions.project import Project

ATTENTION = 1


@verb(
    example="runner cron install --project /srv/reports\n"
    "runner cron check --project /srv/reports\n"
    "runner cron show --systemd"
)
@click.argument("action", type=click.Choice(["show", "install", "remove", "check"]))
@click.option("--per-job", is_flag=True, help="Write a line (or timer) for each schedule, instead of one tick for all.")
@click.option(
    "--worker/--no-worker",
    default=None,
    help="With show and install: add a line that starts a worker at boot, or remove it.",
)
@click.option("--systemd", is_flag=True, help="With show: print systemd units of timers, scheduler, and worker.")
@click.option("--user", is_flag=True, help="With --systemd: units of your user, for systemctl --user.")
@click.option("--into", type=click.Path(), metavar="DIR", help="With --systemd: write the units into DIR.")
@json_option
def command(
    action: str, per_job: bool, worker: bool | None, systemd: bool, user: bool, into: str | None, as_json: bool
) -> int:
    """Let cron or systemd submit the scheduled runs of the project.

    show prints the lines for a crontab, one of which calls runner tick every minute. install adds them to your crontab,
    leaves all other lines as they are, and warns if there is no worker. remove deletes them. check compares your
    crontab with these lines: if they differ, it prints the difference and exits with 1.

    With --worker, another line starts a worker and a scheduler when the host boots (@reboot). Later installs keep that
    line until you give --no-worker.

    With --per-job, each job has its own line. cron cannot express every schedule, so this is refused for a time zone
    other than the host's, seconds, jitter, start, end, L, and intervals that do not divide an hour or a day.
    """
    _check_options(action, per_job=per_job, worker=worker, systemd=systemd, user=user, into=into, as_json=as_json)
    from runner.actions import cron  # start-up time: --help reads no settings

    project = open_project()
    out = Output(as_json=as_json)
    if action == "remove":
        folder = project.settings.project
        out.note(f"removed the lines of {folder}" if cron.remove(project) else f"the crontab has no lines of {folder}")
        return 0
    if action == "check":
        return _check(out, project, per_job=per_job)
    if systemd:
        _show_units(out, project, per_job=per_job, user=user, into=into)
    elif action == "show":
        out.data(printable(cron.block(project, per_job=per_job, worker=bool(worker))).rstrip("\n"))
    else:
        changed = cron.install(project, per_job=per_job, worker=worker)
        out.note("installed; crontab -l shows it" if changed else "installed already, nothing was changed")
    _warn(out, project)
    if action == "install":
        show_missing(out, project)
    return 0


def _check_options(
    action: str,
    *,
    per_job: bool,
    worker: bool | None,
    systemd: bool,
    user: bool,
    into: str | None,
    as_json: bool,
) -> None:
    if worker and per_job:
        raise UsageError(
            "--worker also starts a scheduler, which would submit the same runs as --per-job",
            hint="leave out --per-job, or start a worker yourself: runner worker",
        )
    for given, name, fits in (
        (systemd, "--systemd", action == "show"),
        (user, "--user", systemd),
        (into is not None, "--into", systemd),
        (per_job, "--per-job", action != "remove"),
        (worker is not None, "--worker" if worker else "--no-worker", action in ("install", "show") and not systemd),
        (as_json, "--json", action == "check"),
    ):
        if given and not fits:
            needed = {"--user": "--systemd", "--into": "--systemd"}.get(name)
            raise UsageError(
                f"{name} cannot be used with {action}" + (f" without {needed}" if needed else ""),
                hint="runner cron --help lists the combinations",
            )


def _check(out: Output, project: Project, *, per_job: bool) -> int:
    from runner.actions import cron  # start-up time: --help reads no settings

    found = cron.check(project, per_job=True if per_job else None)
    if out.as_json:
        out.document({"current": found.current, "installed": found.installed, "difference": list(found.difference)})
    elif not found.installed:
        out.data(f"the crontab has no block of {project.settings.project}")
        out.note(f"hint: {command_line(project, 'cron', 'install')}")
    else:
        for line in found.difference:
            out.data(printable(line))
        if found.difference:
            out.note(f"hint: {command_line(project, 'cron', 'install')}{' --per-job' if per_job else ''}")
    return 0 if found.current else ATTENTION


def _show_units(out: Output, project: Project, *, per_job: bool, user: bool, into: str | None) -> None:
    from runner.actions import cron  # start-up time: --help reads no settings
    from runner.host.regular import write_regular

    units = cron.units(project, per_job=per_job, user=user)
    if into is None:
        folder = "~/.config/systemd/user" if user else "/etc/systemd/system"
        out.data("\n".join(f"# {folder}/{name}\n{text}" for name, text in units.items()).rstrip("\n"))
        return
    for name, text in units.items():
        path = Path(into, name)
        try:
            write_regular(path, text.encode())
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}", hint="name another folder") from None
        out.note(f"wrote {path}")


def _warn(out: Output, project: Project) -> None:
    from runner.actions import cron  # start-up time: --help reads no settings

    lost = cron.lost_variables()
    if lost:
        out.warn(f"{', '.join(lost)}: set here, but not under cron or systemd; write settings into runner.yaml")
    if not project.settings.schedules:
        out.warn("runner.yaml says schedules: false, so nothing is submitted")
