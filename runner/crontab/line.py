"""The lines of a crontab that call the runner, and what such a line cannot say."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from runner.crontab.fields import Fields, Inexpressible
from runner.host.text import has_control
from runner.model.schedule import Schedule

LONGEST = 990
"""Characters of a command that every cron takes (Debian's refuses 1,000)."""

KEY = '"$(date -u +%FT%H:%MZ)"'
"""The minute is the slot: the same on all hosts, and once only in an hour that the clock shows twice."""

BOOT_PATIENCE = "10m"
"""How long the worker of :func:`boot_line` waits for Redis."""

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_LOOK_AHEAD = timedelta(days=2 * 366)


def tick_line(program: Sequence[str], project: str, environment: str | None = None) -> str:
    """Return the line that calls ``runner tick`` every minute, with ``RUNNER_ENV`` if there is an ``environment``.

    Raises:
        Inexpressible: the paths have what a crontab cannot hold.
    """
    return _line("* * * * *", program, shlex.join([*program, "--project", project, "tick"]), project, environment)


def boot_line(program: Sequence[str], project: str, environment: str | None = None) -> str:
    """Return the line that starts a worker when the host does. It waits for a Redis that starts more slowly.

    Raises:
        Inexpressible: see :func:`tick_line`.
    """
    words = [*program, "--project", project, "up", "-d", "--await", BOOT_PATIENCE, "--quiet"]
    return _line("@reboot", program, shlex.join(words), project, environment)


def job_line(program: Sequence[str], project: str, job: str, when: str, environment: str | None = None) -> str:
    """Return the line that submits a job at the slots of ``when``, and waits for the end of the run.

    Raises:
        Inexpressible: see :func:`tick_line`.
    """
    command = shlex.join([*program, "--project", project, "submit", job, "--wait", "--quiet", "--key"])
    return _line(when, program, f"{command} {KEY}", project, environment)


def _line(when: str, program: Sequence[str], command: str, project: str, environment: str | None) -> str:
    for path in (*program, project):
        if "\\" in path or has_control(path):
            raise Inexpressible(
                f"{path!r} has a backslash or a control character, which crons read differently; rename it"
            )
    # Variables of the one command alone; PATH does not depend on who installs.
    folder = program[0].rpartition("/")[0]
    path = ":".join(dict.fromkeys([folder, "/usr/local/bin", "/usr/bin", "/bin"]))
    named = [f"RUNNER_ENV={environment}"] if environment else []
    settings = shlex.join(["/usr/bin/env", "SHELL=/bin/sh", f"PATH={path}", *named])
    text = f"{settings} {command}".replace("%", r"\%")
    if len(text.encode("utf-8", "surrogateescape")) > LONGEST:
        raise Inexpressible(f"the command would be longer than {LONGEST} characters, which crons refuse")
    return f"{when} {text}"


def cron_time(schedule: Schedule, timezone: str, host: str, now: datetime) -> str:
    """Return the time fields of a crontab that have the slots of a schedule.

    Args:
        schedule: of a job.
        timezone: of the project.
        host: the zone in which cron reads its tables.
        now: whence it has to hold.

    Raises:
        Inexpressible: no line of a crontab has these slots.
    """
    if schedule.start is not None or schedule.end is not None:
        raise Inexpressible("start and end: a line of a crontab has neither beginning nor end")
    if schedule.excepted or schedule.only:
        raise Inexpressible("except and only: a line of a crontab knows no calendar")
    if schedule.jitter:
        raise Inexpressible("jitter: cron starts all at the full minute")
    if schedule.every is not None:
        return _every(schedule.every, host, now)
    assert schedule.cron is not None
    zone = schedule.timezone or timezone
    if not same_zone(zone, host, now):
        raise Inexpressible(f"its times are in {zone}, and cron reads its tables in the zone of the host, {host}")
    fields = Fields.of(schedule.cron)
    if fields.texts[0] != "0":
        raise Inexpressible("seconds: cron knows full minutes only")
    odd = fields.odd()
    if odd is not None:
        raise Inexpressible(f"{odd}: cron does not know it")
    return " ".join(fields.texts[1:])


def _every(seconds: float, host: str, now: datetime) -> str:
    if seconds % _MINUTE:
        raise Inexpressible("every: cron knows full minutes only")
    offsets = _offsets(host, now)
    if seconds <= _HOUR and _HOUR % seconds == 0 and all(offset % seconds == 0 for offset in offsets):
        step = int(seconds) // _MINUTE
        return {1: "* * * * *", 60: "0 * * * *"}.get(step, f"*/{step} * * * *")
    if seconds <= _DAY and _DAY % seconds == 0 and seconds % _HOUR == 0:
        if len(offsets) > 1:
            raise Inexpressible(f"every: it is counted in UTC, and {host} has summer time")
        [offset] = offsets
        step, first = int(seconds) // _HOUR, offset % int(seconds)
        hours = "*" if step == 1 else ",".join(str(hour) for hour in range(first // _HOUR, 24, step))
        return f"{first % _HOUR // _MINUTE} {hours} * * *"
    raise Inexpressible("every: it does not divide the hour or the day, so that no line has its slots")


def same_zone(one: str, other: str, now: datetime) -> bool:
    """Return whether two zones have the same time, for two years."""
    if one == other:
        return True
    try:
        first, second = ZoneInfo(one), ZoneInfo(other)
    except (KeyError, ValueError, OSError) as error:
        raise Inexpressible(f"this host does not know the zone {one} or {other}") from error
    return all(
        moment.astimezone(first).utcoffset() == moment.astimezone(second).utcoffset() for moment in _moments(now)
    )


def _offsets(zone: str, now: datetime) -> set[int]:
    info = ZoneInfo(zone)
    found = set()
    for moment in _moments(now):
        offset = moment.astimezone(info).utcoffset()
        assert offset is not None
        found.add(round(offset.total_seconds()))
    return found


def _moments(now: datetime) -> list[datetime]:
    start = now.astimezone(UTC)
    return [start + timedelta(days=day) for day in range(_LOOK_AHEAD.days)]
