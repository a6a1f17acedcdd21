"""Tells whether the kernel's OOM killer has ended a process: by its counter, which rises before its victim dies.

The counter is that of the cgroup of this process, which is also that of a container; where there is none, that of the
whole host.
"""

from __future__ import annotations

import re
import time
from collections import deque
from pathlib import Path

PATIENCE = 10.0
"""Seconds between a rise of the counter and the death that it explains, at most."""

_COUNTER = re.compile(r"^oom_kill ([0-9]+)$", re.MULTILINE)
_ROOT = Path("/")


class OomKiller:
    """The victims of the OOM killer that no death has been put down to, by the counter in a file (None: no counter)."""

    def __init__(self, counter: Path | None) -> None:
        self._file = counter
        self._count = self._read(otherwise=0)
        self._victims: deque[float] = deque()
        """When each was noticed."""

    def look(self) -> None:
        """Note how many victims there were since the last look; call it now and then, so that each has its time."""
        count = self._read(otherwise=self._count)
        self._victims.extend([time.monotonic()] * (count - self._count))
        self._count = count

    def blame(self) -> bool:
        """Return whether the OOM killer is to blame for a death by SIGKILL that nobody is known to have sent."""
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
    """Return the file that has the OOM killer's counter, or None: no Linux, or one before 4.13."""
    return next((file for file in _candidates(root) if _count_in(file) is not None), None)


def _candidates(root: Path) -> list[Path]:
    found = []
    mounted = root / "sys/fs/cgroup"
    for controllers, path in own_cgroups(root):
        if controllers == "":
            # Beside version 1, version 2 is mounted one folder deeper. A container may see its own cgroup as the root.
            places, name = [mounted, mounted / "unified"], "memory.events"
        elif "memory" in controllers.split(","):
            places, name = [mounted / "memory"], "memory.oom_control"
        else:
            continue
        found += [place / path / name for place in places] + [place / name for place in places]
    return [*found, root / "proc/vmstat"]


def own_cgroups(root: Path = _ROOT) -> list[tuple[str, str]]:
    """Return the cgroups of this process: the controllers of the hierarchy (none: version 2), and the relative path."""
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
