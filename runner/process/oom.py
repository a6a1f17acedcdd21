"""Tell whether the kernel's OOM killer ended a process, by its counter, which rises before the victim dies.

The counter belongs to the cgroup of this process, which is also that of its container; without a cgroup, the counter of
the whole host is used.
"""

from __future__ import annotations

import re
import time
from collections import deque
from pathlib import Path

PATIENCE = 10.0
"""Maximum number of seconds between a rise of the counter and the death that it explains."""

_COUNTER = re.compile(r"^oom_kill ([0-9]+)$", re.MULTILINE)
_ROOT = Path("/")


class OomKiller:
    """The OOM kills that have not been matched with a death yet, from the counter in a file (None: no counter)."""

    def __init__(self, counter: Path | None) -> None:
        self._file = counter
        self._count = self._read(otherwise=0)
        self._victims: deque[float] = deque()
        """When each OOM kill was noticed."""

    def look(self) -> None:
        """Record the OOM kills since the last call. Call it regularly, so that each gets its time."""
        count = self._read(otherwise=self._count)
        self._victims.extend([time.monotonic()] * (count - self._count))
        self._count = count

    def blame(self) -> bool:
        """Return whether the OOM killer explains a death by a SIGKILL of unknown origin."""
        self.look()
        while self._victims and time.monotonic() - self._victims[0] > PATIENCE:
            self._victims.popleft()
        if not self._victims:
            return False
        self._victims.popleft()
        return True

    def _read(self, otherwise: int) -> int:
        found = None if self._file is None else _count_in(self._file)
        return otherwise if found is None else found


def counter_file(root: Path = _ROOT) -> Path | None:
    """Return the file with the OOM killer's counter; None on other systems than Linux, and before Linux 4.13."""
    return next((file for file in _candidates(root) if _count_in(file) is not None), None)


def _candidates(root: Path) -> list[Path]:
    found = []
    mounted = root / "sys/fs/cgroup"
    for controllers, path in own_cgroups(root):
        if controllers == "":
            # Next to version 1, version 2 is mounted one folder deeper. A container may see its own cgroup as the root.
            mounts, name = [mounted, mounted / "unified"], "memory.events"
        elif "memory" in controllers.split(","):
            mounts, name = [mounted / "memory"], "memory.oom_control"
        else:
            continue
        found += [mount / path / name for mount in mounts] + [mount / name for mount in mounts]
    return [*found, root / "proc/vmstat"]


def own_cgroups(root: Path = _ROOT) -> list[tuple[str, str]]:
    """Return the cgroups of this process: the controllers of each hierarchy (none: version 2) and its relative path."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        found.append((controllers, path.lstrip("/")))
    return found


def _count_in(file: Path) -> int | None:
    try:
        found = _COUNTER.search(file.read_text())
    except OSError:
        return None
    return int(found[1]) if found else None
