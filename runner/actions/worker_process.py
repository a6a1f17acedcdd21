"""Start the runner's own long-lived commands as processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from runner.host.places import check_for_children
from runner.settings.discovery import project_variables

if TYPE_CHECKING:
    from runner.settings import Settings

_LONGEST_BACK_OFF = 30.0
_GRACE = 10.0


def start_worker(settings: Settings, arguments: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start ``runner worker`` for a project and return its process.

    Args:
        settings: the settings of the project.
        arguments: the arguments of ``runner worker``.
        options: options of ``subprocess.Popen``.

    Raises:
        InvalidSettings: a worker cannot run on this host.
    """
    if "--pool" not in arguments or "prefork" in arguments:
        check_for_children()
    return _start(settings, ["worker", *arguments], **options)


@contextmanager
def scheduler_beside(settings: Settings, log_form: str = "text") -> Iterator[None]:
    """Run ``runner scheduler`` as a child of this process, restarting it if it ends; stop it afterwards.

    It ends by itself within seconds when this process is killed. Nothing is run with ``schedules: false``.
    """
    if not settings.schedules:
        yield
        return
    keeper = _Keeper(settings, log_form)
    keeper.start()
    try:
        yield
    finally:
        keeper.stop()


class _Keeper(threading.Thread):
    def __init__(self, settings: Settings, log_form: str) -> None:
        super().__init__(name="scheduler-keeper", daemon=True)
        self._settings = settings
        self._arguments = ["--log-format", "json" if log_form == "json" else "text"]
        self._stopping = threading.Event()
        self._process = self._begin()

    def _begin(self) -> subprocess.Popen[bytes]:
        return _start(self._settings, ["scheduler", "--parent", str(os.getpid()), *self._arguments])

    def run(self) -> None:
        pause = 1.0
        while True:
            began = time.monotonic()
            self._process.wait()
            if time.monotonic() - began > _LONGEST_BACK_OFF:
                pause = 1.0
            if self._stopping.wait(pause):
                return
            pause = min(2 * pause, _LONGEST_BACK_OFF)
            self._process = self._begin()

    def stop(self) -> None:
        self._stopping.set()
        self._process.terminate()
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self.join(_GRACE)


def _start(settings: Settings, arguments: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    # -P: `python -m` would put the working folder in front of sys.path, and a runner.py there in front of the runner.
    command = [sys.executable, "-P", "-m", "runner", arguments[0], "--project", str(settings.project), *arguments[1:]]
    environment = {**os.environ, **project_variables(settings.project, found=settings.found)}
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=settings.project, env=environment, **options)
