"""A real systemd: the manager of a user, private to a test.

systemd runs a user's manager only on a host that it has booted, which it tells by a folder in ``/run``. So the manager
has mounts of its own, with that folder. That needs root, and cgroups that systemd may change. No test talks to a
manager that was there before.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deadline import wait_until
from tests.support.need import need
from tests.support.running import Running

MANAGER = "/lib/systemd/systemd"
BOOTED = """\
set -e
mount -t tmpfs none /run
mkdir -p /run/systemd/system
exec {manager} --user --log-target=console --unit=basic.target
"""


@pytest.fixture
def user_manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str] | None]:
    """The environment in which ``systemctl --user`` talks to a manager of the test; None where none can run."""
    need("systemd-analyze")
    # Short, for the sake of its sockets.
    folder = tmp_path_factory.mktemp("sd")
    folder.chmod(0o700)
    environment = {
        "XDG_RUNTIME_DIR": str(folder / "run"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "HOME": str(folder / "home"),
    }
    for path in environment.values():
        Path(path).mkdir(mode=0o700)
    if os.geteuid() != 0:
        yield None
        return
    unshare = shutil.which("unshare") or "/usr/bin/unshare"
    words = [unshare, "--mount", "--propagation", "private", "/bin/sh", "-c", BOOTED.format(manager=MANAGER)]
    with Running(words, cwd=Path("/"), env={**os.environ, **environment}) as manager:
        private = folder / "run" / "systemd" / "private"
        wait_until(
            lambda: private.exists() or manager.process.poll() is not None, 20.0, "systemd listens, or has ended"
        )
        yield environment if private.exists() else None
