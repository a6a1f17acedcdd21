"""Generate and install the crontab lines and systemd units that call the runner for a project."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from runner._dataclass import dataclass
from runner.actions import crontab
from runner.authoring.init import host_timezone
from runner.crontab.block import BrokenBlock, lines_of, put_in, setting_above, take_out, written
from runner.crontab.calendar import on_calendar
from runner.crontab.fields import Inexpressible
from runner.crontab.line import boot_line, cron_time, job_line, same_zone, tick_line
from runner.crontab.unit import Host, job_units, scheduler_units, tick_units, worker_units
from runner.errors import CrontabError, InvalidSpec
from runner.host.users import current_user
from runner.settings.discovery import FOUND_VARIABLE

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.model.job import JobSpec

_TICK_INSTEAD = "leave out --per-job: runner tick knows all schedules"
_OF_PROJECT = ("RUNNER_PROJECT", FOUND_VARIABLE)
_POSIX = ("sh", "dash", "bash", "ksh", "zsh", "ash", "mksh")


@dataclass(frozen=True, slots=True)
class Installed:
    """The state of the crontab. ``difference`` holds the lines of a diff, none if the crontab is current."""

    installed: bool
    difference: tuple[str, ...]

    @property
    def current(self) -> bool:
        """Return whether the installed block is current."""
        return self.installed and not self.difference


def program() -> list[str]:
    """Return the command for this runner with absolute paths, which works in every folder."""
    folder = Path(sys.executable).parent
    script = folder / "runner"
    return [str(script)] if os.access(script, os.X_OK) else [sys.executable, "-m", "runner"]


def lines(project: Project, *, per_job: bool, worker: bool = False) -> list[str]:
    """Return the lines of the project's block: one for the tick, or one for each schedule of an enabled job.

    Args:
        project: the project.
        per_job: a line for each schedule instead of the tick.
        worker: add a line that starts a worker with the host; not with ``per_job``, because a scheduler would
            submit the jobs a second time.

    Raises:
        CrontabError: a crontab cannot express it; the message has the reason.
        InvalidSpec: with ``per_job``, some jobs could not be read.
    """
    folder = str(project.settings.project)
    try:
        if not per_job:
            made = [tick_line] + ([boot_line] if worker else [])
            return [make(program(), folder, project.settings.environment) for make in made]
        return list(_job_lines(project, folder))
    except Inexpressible as wrong:
        raise CrontabError(str(wrong), hint="move the project to another folder") from None


def block(project: Project, *, per_job: bool, worker: bool = False) -> str:
    """Return the project's block as text. Arguments and errors are those of :func:`lines`."""
    return os.fsdecode(written(str(project.settings.project), lines(project, per_job=per_job, worker=worker)))


def install(project: Project, *, per_job: bool, worker: bool | None = None) -> bool:
    """Install the project's block in the crontab of this user; return whether that changed it.

    Args:
        project: the project.
        per_job: as for :func:`lines`.
        worker: as for :func:`lines`; None: as in the installed block.

    Raises:
        CrontabError, InvalidSpec: as :func:`lines`; also if the crontab cannot be read or written.
    """
    folder = str(project.settings.project)
    with_worker = lines(project, per_job=per_job, worker=True)
    without = lines(project, per_job=per_job)

    def edit(text: bytes) -> bytes:
        if per_job:
            _check_settings(text, folder)
        wanted = _boots(lines_of(text, folder)) if worker is None else worker
        return put_in(text, folder, with_worker if wanted else without)

    return _guarded(edit)


def remove(project: Project) -> bool:
    """Remove the project's block from the crontab; return whether there was one.

    Raises:
        CrontabError: the crontab cannot be read or written.
    """
    return _guarded(lambda text: take_out(text, str(project.settings.project)))


def check(project: Project, *, per_job: bool | None = None) -> Installed:
    """Compare the installed block with the current one.

    Args:
        project: the project.
        per_job: the expected type of block; None: the installed type.

    Raises:
        CrontabError: the crontab cannot be read.
    """
    try:
        found = lines_of(crontab.read() or b"", str(project.settings.project))
    except BrokenBlock as broken:
        raise _broken(broken) from None
    if per_job is None:
        # The line of the tick ends with this word; that of a job ends with its key.
        per_job = found is not None and not any(line.rstrip().endswith(" tick") for line in found)
    try:
        wanted = lines(project, per_job=per_job, worker=_boots(found))
    except (CrontabError, InvalidSpec) as error:
        if found is None:
            raise
        return Installed(True, (error.message,))
    difference = difflib.unified_diff(found or [], wanted, "installed", "should be", lineterm="", n=0)
    return Installed(found is not None, tuple(difference))


def _boots(found: Sequence[str] | None) -> bool:
    """Return whether a block has the line that starts a worker."""
    return any(line.startswith("@reboot ") for line in found or ())


def units(project: Project, *, per_job: bool, user: bool) -> dict[str, str]:
    """Return systemd units by file name: timers that tick or submit, a scheduler, and a worker.

    Args:
        project: the project.
        per_job: a timer for each scheduled job instead of the tick.
        user: for the user's own manager (``systemctl --user``).

    Raises:
        CrontabError: a timer cannot express the schedule of a job, or a unit cannot hold a name or a path.
        InvalidSpec: with ``per_job``, some jobs could not be read.
    """
    try:
        return _units(project, per_job=per_job, user=user)
    except Inexpressible as wrong:
        raise CrontabError(str(wrong), hint="rename it") from None


def _units(project: Project, *, per_job: bool, user: bool) -> dict[str, str]:
    settings = project.settings
    host = Host(program(), str(settings.project), None if user else current_user(), settings.environment)
    found: dict[str, str] = {}
    if per_job:
        for job in _scheduled(project):
            _check_params(job)
            calendar = []
            for schedule in job.schedule or ():
                try:
                    calendar += on_calendar(schedule, project.settings.timezone)
                except Inexpressible as wrong:
                    raise CrontabError(f"{job.name}: {wrong}", hint=_TICK_INSTEAD) from None
            catch_up = any(schedule.catchup != "none" for schedule in job.schedule or ())
            found |= job_units(host, job.name, calendar, catch_up=catch_up)
    else:
        found |= tick_units(host) | scheduler_units(host)
    return found | worker_units(host, project.settings.worker.shutdown_grace)


def lost_variables() -> list[str]:
    """Return the names of environment variables that matter here but are not set under cron and systemd."""
    return sorted(
        name
        for name in os.environ
        if name.startswith("RUNNER_") and not name.startswith("RUNNER_TEST_") and name not in _OF_PROJECT
    )


def _scheduled(project: Project) -> Iterator[JobSpec]:
    catalog = project.catalog
    if catalog.problems:
        raise InvalidSpec(
            f"jobs that cannot be read would have no line: {len(catalog.problems)} problems",
            hint="runner validate lists them",
        )
    if project.settings.schedules:
        for name in sorted(catalog.jobs):
            job = catalog.jobs[name]
            if job.enabled and job.schedule:
                yield job


def _check_params(job: JobSpec) -> None:
    """Refuse schedules whose params a separate line could not pass."""
    if any(schedule.params for schedule in job.schedule):
        raise CrontabError(f"{job.name}: its schedule gives params, which cron and systemd cannot", hint=_TICK_INSTEAD)


def _job_lines(project: Project, folder: str) -> Iterator[str]:
    zone, now = host_timezone(), datetime.now(UTC)
    for job in _scheduled(project):
        _check_params(job)
        for schedule in job.schedule or ():
            try:
                when = cron_time(schedule, project.settings.timezone, zone, now)
            except Inexpressible as wrong:
                raise CrontabError(f"{job.name}: {wrong}", hint=_TICK_INSTEAD) from None
            yield job_line(program(), folder, job.name, when, project.settings.environment)


def _check_settings(text: bytes, folder: str) -> None:
    """Refuse lines per job with crontab settings that change their meaning."""
    shell = setting_above(text, folder, "SHELL")
    if shell and shell.rpartition("/")[2] not in _POSIX:
        raise CrontabError(f"the crontab sets SHELL={shell}, which does not read the lines of jobs", hint=_TICK_INSTEAD)
    zone = setting_above(text, folder, "CRON_TZ")
    if zone and not same_zone(zone, host_timezone(), datetime.now(UTC)):
        raise CrontabError(f"the crontab sets CRON_TZ={zone}, which is not the zone of the host", hint=_TICK_INSTEAD)


def _guarded(edit: crontab.Edit) -> bool:
    try:
        return crontab.change(edit)
    except BrokenBlock as broken:
        raise _broken(broken) from None


def _broken(broken: BrokenBlock) -> CrontabError:
    return CrontabError(f"the runner's marks in the crontab do not match: {broken}", hint="correct them: crontab -e")
