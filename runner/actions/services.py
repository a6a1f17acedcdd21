"""Manage the worker and scheduler of a project as systemd services."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from runner._dataclass import dataclass
from runner.actions.cron import program
from runner.actions.systemctl import Manager
from runner.crontab.fields import Inexpressible
from runner.crontab.unit import Host, scheduler_units, worker_units
from runner.errors import SystemdError
from runner.host.regular import read_regular, write_regular
from runner.host.users import account

if TYPE_CHECKING:
    from runner.actions.project import Project

_LARGEST = 1024**2
"""The maximum size of a unit file (bytes)."""
_PROPERTIES = ("Id", "ActiveState", "SubState", "UnitFileState", "MainPID", "Result")


@dataclass(frozen=True, slots=True)
class Service:
    """A service: its state in systemd, and whether its unit file is current."""

    name: str
    active: str
    sub: str
    enabled: str
    pid: int
    result: str
    installed: bool
    current: bool

    @property
    def well(self) -> bool:
        """Return whether it is running, starts with the host, and is current."""
        return self.active == "active" and self.enabled == "enabled" and self.current


@dataclass(frozen=True, slots=True)
class Enabled:
    """The result of :func:`enable`: the written files, all services, and their user."""

    written: tuple[Path, ...]
    services: tuple[str, ...]
    user: str


def wanted_units(project: Project, *, user: bool) -> dict[str, str]:
    """Return the units of the worker and the scheduler by file name.

    System units run as the owner of the project, who need not be the user that installs them.

    Raises:
        SystemdError: a unit cannot hold a name or a path.
    """
    settings = project.settings
    host = Host(program(), str(settings.project), None if user else owner(project), settings.environment)
    try:
        found = worker_units(host, settings.worker.shutdown_grace)
        return found | (scheduler_units(host) if settings.schedules else {})
    except Inexpressible as wrong:
        raise SystemdError(str(wrong), hint="rename it") from None


def owner(project: Project) -> str:
    """Return the owner of the project's folder."""
    return account(project.settings.project.stat().st_uid)


def enable(project: Project, manager: Manager) -> Enabled:
    """Write the units, start them, and enable them. Current units are left alone.

    A service whose unit has changed is restarted; its runs have their grace period.

    Raises:
        SystemdError: a unit cannot be written, or systemd refuses.
    """
    units = wanted_units(project, user=manager.user)
    changed = [name for name, text in units.items() if not _is_current(manager.folder / name, text)]
    for name in changed:
        path = manager.folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_regular(path, units[name].encode())
        except OSError as error:
            raise SystemdError(f"{path} cannot be written: {error.strerror}", hint=_WHOSE) from None
    manager.command("daemon-reload")
    manager.command("enable", *units)
    if changed:
        manager.command("restart", *changed)
    manager.command("start", *units)
    user = account(os.geteuid()) if manager.user else owner(project)
    return Enabled(tuple(manager.folder / name for name in changed), tuple(units), user)


_WHOSE = "units of the host are for root: sudo runner up --systemd; or add --user"


def services(project: Project, manager: Manager) -> list[Service]:
    """Return the current services of a project.

    Raises:
        SystemdError: systemd does not answer.
    """
    units = wanted_units(project, user=manager.user)
    properties = manager.show(list(units), _PROPERTIES)
    return [
        _service(name, values, manager.folder / name, text)
        for (name, text), values in zip(units.items(), properties, strict=True)
    ]


def remove(project: Project, manager: Manager) -> list[str]:
    """Stop the services of a project and remove their units; return their names.

    Raises:
        SystemdError: systemd refuses, or a unit cannot be removed.
    """
    host = Host(program(), str(project.settings.project), None)
    names = [*worker_units(host, 0.0), *scheduler_units(host)]  # including those that `schedules: false` leaves out now
    found = [name for name in names if os.path.lexists(manager.folder / name)]
    if found:
        manager.command("disable", "--now", *found)
        for name in found:
            try:
                (manager.folder / name).unlink(missing_ok=True)
            except OSError as error:
                raise SystemdError(f"{error.filename} cannot be removed: {error.strerror}", hint=_WHOSE) from None
        manager.command("daemon-reload")
        manager.command("reset-failed")
    return found


def _service(name: str, properties: Mapping[str, str], path: Path, text: str) -> Service:
    return Service(
        name=name,
        active=properties.get("ActiveState", "?"),
        sub=properties.get("SubState", "?"),
        enabled=properties.get("UnitFileState", "") or "not installed",
        pid=int(properties.get("MainPID") or 0),
        result=properties.get("Result", ""),
        installed=os.path.lexists(path),
        current=_is_current(path, text),
    )


def _is_current(path: Path, text: str) -> bool:
    try:
        return read_regular(path, _LARGEST) == text.encode()
    except OSError:
        return False
