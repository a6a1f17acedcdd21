"""A real systemd: a user manager that is private to a test.

systemd runs a user manager only on a host that it has booted, which it recognizes by a folder in ``/run``. So the
manager gets its own mounts with that folder. That needs root, and cgroups that systemd may change. No test talks to an
existing manager.
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
"""The folders of systemd's cgroups; the first two if the host also has version 1."""
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
    """Yield the environment for ``systemctl --user`` with the test's manager; None if none can run here."""
    need("systemd-analyze")
    # A short path, because of the length limit of its sockets.
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
    # Two managers in one cgroup would end each other's services.
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
    """Remove a cgroup and those in it: folders without processes, whose files cannot be removed."""
    if group.is_dir():
        for inner in group.iterdir():
            if inner.is_dir():
                _remove_groups(inner)
        with suppress(OSError):  # a process in it is still ending; an empty group does no harm
            group.rmdir()
