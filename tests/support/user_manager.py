"""A real systemd: the manager of a user, private to a test.

systemd runs a user's manager only on a host that it has booted, which it tells by a folder in ``/run``. So the manager
has mounts of its own, with that folder. That needs root, and cgroups that systemd may change. No test talks to a
manager that was there before.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.deadline import wait_until
from tests.support.need import need
from tests.support.running import Running

HIERARCHIES = [Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")]
"""Where systemd keeps its groups; the first two if the host has version 1 as well."""
MANAGER = "/lib/systemd/systemd"
BOOTED = """\
set -e
mount -t tmpfs none /run
mkdir -p /run/systemd/system
for hierarchy in {hierarchies}; do
  if [ -e "$hierarchy/cgroup.procs" ]; then
    mkdir "$hierarchy/{group}"
    echo $$ > "$hierarchy/{group}/cgroup.procs"
  fi
done
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
    # Two managers in one group would end each other's services.
    group = f"runner-test-{uuid.uuid4().hex[:10]}"
    script = BOOTED.format(manager=MANAGER, hierarchies=" ".join(map(str, HIERARCHIES)), group=group)
    words = [unshare, "--mount", "--propagation", "private", "/bin/sh", "-c", script]
    try:
        yield from _running(words, environment)
    finally:
        for hierarchy in HIERARCHIES:
            _remove_groups(hierarchy / group)


def _running(words: list[str], environment: dict[str, str]) -> Iterator[dict[str, str] | None]:
    with Running(words, cwd=Path("/"), env={**os.environ, **environment}) as manager:
        private = Path(environment["XDG_RUNTIME_DIR"], "systemd", "private")
        wait_until(
            lambda: private.exists() or manager.process.poll() is not None, 20.0, "systemd listens, or has ended"
        )
        yield environment if private.exists() else None


def _remove_groups(group: Path) -> None:
    """Remove a cgroup and those in it: folders without processes, whose files are not removed."""
    if group.is_dir():
        for inner in group.iterdir():
            if inner.is_dir():
                _remove_groups(inner)
        with suppress(OSError):  # a process in it is still ending; an empty group does no harm
            group.rmdir()
