"""The service manager of this host or of this user, through the program ``systemctl``."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from runner.actions.crontab import PLACES
from runner.errors import SystemdError

BOOTED = Path("/run/systemd/system")
"""Exists if systemd runs the host (sd_booted(3))."""
SYSTEM_UNITS = Path("/etc/systemd/system")
_LINGERING = Path("/var/lib/systemd/linger")
_REMEDY = "have cron start it: runner cron install --worker; or keep runner up in a terminal"


class Manager:
    """systemd's manager of the host, or of this user (``user``).

    Raises:
        SystemdError: this host is not run by systemd.
    """

    def __init__(self, *, user: bool) -> None:
        program = shutil.which("systemctl", path=os.pathsep.join([os.environ.get("PATH") or os.defpath, PLACES]))
        if program is None or not (is_running() or (user and _runs_for_me())):
            raise SystemdError("systemd does not run this host", hint=_REMEDY)
        self.user = user
        self._program = [program, *(["--user"] if user else [])]

    @property
    def folder(self) -> Path:
        """Return the folder of the administrator's or of this user's units."""
        if not self.user:
            return SYSTEM_UNITS
        config = os.environ.get("XDG_CONFIG_HOME", "")
        return (Path(config) if config.startswith("/") else Path.home() / ".config") / "systemd" / "user"

    def command(self, *arguments: str) -> None:
        """Call ``systemctl``.

        Raises:
            SystemdError: it fails; the message is its error.
        """
        done = self._call(arguments)
        if done.returncode != 0:
            raise SystemdError(f"{self.named(*arguments)}: {_error_of(done)}", hint=self._remedy(arguments))

    def show(self, units: Sequence[str], names: Sequence[str]) -> list[Mapping[str, str]]:
        """Return properties of units.

        Raises:
            SystemdError: the manager does not answer.
        """
        arguments = ("show", "--property", ",".join(names), *units)
        done = self._call(arguments)
        if done.returncode != 0:
            raise SystemdError(f"{self.named('show')}: {_error_of(done)}", hint=self._remedy(arguments))
        blocks = done.stdout.strip().split("\n\n")
        return [dict(line.partition("=")[::2] for line in block.splitlines()) for block in blocks]

    def named(self, *arguments: str) -> str:
        """Return a ``systemctl`` command in the form that people type."""
        return " ".join(["systemctl", *(["--user"] if self.user else []), *arguments])

    def _remedy(self, arguments: Sequence[str]) -> str:
        if arguments[0] in ("start", "restart"):
            whose, units = "--user " if self.user else "", " ".join(f"-u {argument}" for argument in arguments[1:])
            return f"its log: journalctl {whose}-n 30 {units}"
        if self.user:
            return "log in as this user, not by su or sudo; or make units of the host: sudo runner up --systemd"
        return "units of the host are for root: sudo runner up --systemd; or add --user"

    def _call(self, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [*self._program, "--no-ask-password", "--no-pager", *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                env={**os.environ, "LC_ALL": "C", "SYSTEMD_COLORS": "0"},
                check=False,
            )
        except OSError as error:
            raise SystemdError(f"{self._program[0]} cannot be run: {error.strerror}", hint=_REMEDY) from error


def is_running() -> bool:
    """Return whether systemd runs this host."""
    return BOOTED.is_dir()


def _runs_for_me() -> bool:
    """Return whether this user has a manager, even if systemd does not run the host, as in a container."""
    folder = os.environ.get("XDG_RUNTIME_DIR", "")
    return folder.startswith("/") and Path(folder, "systemd", "private").exists()


def lingers(user: str) -> bool:
    """Return whether the manager of a user keeps running while the user is not logged in."""
    return (_LINGERING / user).exists()


def _error_of(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines()]
    return "; ".join(line for line in lines if line) or f"it ended with {done.returncode}"
