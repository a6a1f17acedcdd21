"""Units of systemd that tick, submit, schedule and work."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from runner._dataclass import dataclass
from runner.crontab.fields import Inexpressible
from runner.crontab.line import KEY
from runner.host.text import has_control

LONGEST_NAME = 120

STOP_MARGIN_SECONDS = 30
"""Seconds beyond ``worker.shutdown_grace`` that a worker may need to hand back and write what has not ended."""


@dataclass(frozen=True, slots=True)
class Host:
    """The values that all units of a project share. ``user`` None: units of a user's own manager.

    ``environment`` is what ``RUNNER_ENV`` says, if it is set.
    """

    program: Sequence[str]
    project: str
    user: str | None
    environment: str | None = None


def unit_name(project: str, role: str) -> str:
    """Return the name of a project's unit without its ending; two projects never share one."""
    name = re.sub(r"[^A-Za-z0-9_.]+", "-", project.strip("/")) or "root"
    if "/" + name.replace("-", "/") != project or len(name) > LONGEST_NAME:
        # What was replaced, or cut off, made another name of it.
        name = f"{name[-LONGEST_NAME:].lstrip('-.')}-{hashlib.sha256(project.encode()).hexdigest()[:6]}"
    return f"runner-{name}-{role}"


def tick_units(host: Host) -> dict[str, str]:
    """Return service and timer of ``runner tick``, every minute."""
    name = unit_name(host.project, "tick")
    return {
        f"{name}.service": _service(host, "Scheduled runs", _quote_all([*_call(host), "tick"]), ["Type=oneshot"]),
        f"{name}.timer": _timer(f"Scheduled runs of {host.project}", ["*-*-* *:*:00"], persistent=False),
    }


def job_units(host: Host, job: str, calendar: Sequence[str], *, catch_up: bool) -> dict[str, str]:
    """Return service and timer that submit a job and wait for the end of the run."""
    name = unit_name(host.project, f"job-{job}")
    # The shell quotes nothing that needs it: a job's name is plain, and the rest comes as its arguments.
    script = f'exec "$@" --key {KEY}'
    words = ["/bin/sh", "-c", script, "sh", *_call(host), "submit", job, "--wait", "--quiet"]
    return {
        f"{name}.service": _service(host, f"Job {job}", _quote_all(words), ["Type=oneshot"]),
        f"{name}.timer": _timer(f"Job {job} of {host.project}", calendar, persistent=catch_up),
    }


def worker_units(host: Host, grace: float) -> dict[str, str]:
    """Return the service of a worker; ``grace`` is ``worker.shutdown_grace`` in seconds."""
    more = [
        "Type=notify",
        "WatchdogSec=90",
        "Restart=always",
        "RestartSec=2",
        "# To the worker alone; it ends its other processes itself.",
        "KillMode=mixed",
        "# Longer than worker.shutdown_grace.",
        f"TimeoutStopSec={round(grace) + STOP_MARGIN_SECONDS}",
    ]
    text = _service(host, "Worker", _quote_all([*_call(host), "worker"]), more, install=True)
    return {f"{unit_name(host.project, 'worker')}.service": text}


def scheduler_units(host: Host) -> dict[str, str]:
    """Return the service of a scheduler, which needs no tick beside it."""
    more = ["Type=notify", "Restart=always", "RestartSec=2"]
    text = _service(host, "Scheduler", _quote_all([*_call(host), "scheduler"]), more, install=True)
    return {f"{unit_name(host.project, 'scheduler')}.service": text}


def _call(host: Host) -> list[str]:
    return [*host.program, "--project", host.project]


def _service(host: Host, what: str, command: str, more: Sequence[str], *, install: bool = False) -> str:
    target = "default.target" if host.user is None else "multi-user.target"
    lines = [
        "[Unit]",
        f"Description={what} of {_plain(host.project)}",
        *(["Wants=network-online.target", "After=network-online.target"] if host.user is not None else []),
        "",
        "[Service]",
        *([f"User={_plain(host.user)}"] if host.user is not None else []),
        *([f"Environment=RUNNER_ENV={_plain(host.environment)}"] if host.environment else []),
        f"ExecStart={command}",
        *more,
        *(["", "[Install]", f"WantedBy={target}"] if install else []),
    ]
    return "\n".join(lines) + "\n"


def _timer(what: str, calendar: Sequence[str], *, persistent: bool) -> str:
    lines = [
        "[Unit]",
        f"Description={_plain(what)}",
        "",
        "[Timer]",
        *(f"OnCalendar={expression}" for expression in calendar),
        "AccuracySec=1s",
        *(["Persistent=true"] if persistent else []),
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    if has_control(text):
        raise Inexpressible(f"{text!r} has a control character, which would be a line of the unit")
    return text.replace("%", "%%")


def _quote_all(words: Sequence[str]) -> str:
    """Quote a command line by systemd.service(5)."""
    return " ".join(_quote(word) for word in words)


def _quote(word: str) -> str:
    text = _plain(word).replace("$", "$$")
    if re.fullmatch(r"[A-Za-z0-9_./:@%=+,$-]+", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
