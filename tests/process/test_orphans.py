"""A worker that inherits orphans, as process 1 of a container does, reaps them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.deadline import wait_until
from tests.support.project import COMMAND, Project, clean_environment
from tests.support.running import Running

MODULE = '''
import os, subprocess


def leaves(how):
    """Leave a process behind whose parent is gone, and which ends at once."""
    if how == "shell":
        return int(subprocess.run(["sh", "-c", "sleep 0.1 > /dev/null & echo $!"], capture_output=True).stdout)
    if how == "session":
        script = "setsid sleep 0.1 > /dev/null & echo $!"
        return int(subprocess.run(["sh", "-c", script], capture_output=True).stdout)
    reading, writing = os.pipe()
    first = os.fork()
    if first == 0:
        second = os.fork()
        if second:
            os.write(writing, b"%d" % second)
        os._exit(0)
    os.waitpid(first, 0)
    return int(os.read(reading, 16))


def dies():
    os.kill(os.getpid(), 9)


def zombies():
    """The process ids of all that nobody has reaped, but for those of a parent that is about to do so."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                state, parent = file.read().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state == "Z" and int(parent) == os.getppid():
            found.append(int(name))
    return found


def processes(names):
    return [name for name in names if os.path.exists(f"/proc/{name}")]
'''

JOBS = {
    "leaves": {"task": "orphans:leaves", "params": {"how": {"type": "string"}}},
    "dies": {"task": "orphans:dies", "max_deliveries": 1},
    "zombies": {"task": "orphans:zombies"},
    "processes": {"task": "orphans:processes", "params": {"names": {"type": "array"}}},
}

SUBREAPER = """
import ctypes, os, sys
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""

INIT = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]

WAYS = {"subreaper": [sys.executable, "-c", SUBREAPER]}
if os.getuid() == 0 and subprocess.run([*INIT, "true"], check=False, capture_output=True).returncode == 0:
    WAYS["init"] = INIT


@pytest.mark.parametrize("way", WAYS)
def test_orphans_are_reaped(make_project: Callable[..., Project], way: str) -> None:
    project = make_project(JOBS, {"orphans.py": MODULE})
    command = [*WAYS[way], *COMMAND, "worker", "-c", "1"]
    with Running(command, cwd=Path(project.path), env=clean_environment(project.environment)) as worker:
        worker.wait_for("runner worker ready")
        left = []
        for how in ("shell", "session", "fork"):
            run_id = project.submit("leaves", "-p", f"how={how}")
            left.append(project.wait_for_state(run_id, "SUCCESS")["result"])
        # The supervisor of a pool child is an orphan too, once that is dead.
        project.wait_for_state(project.submit("dies"), "FAILURE")

        def unreaped() -> list[int]:
            found = [project.submit("zombies"), project.submit("processes", "-p", f"names={left}")]
            return [pid for run_id in found for pid in project.wait_for_state(run_id, "SUCCESS")["result"]]

        wait_until(lambda: unreaped() == [], 60.0, "all orphans are reaped")
        # Pool children are none of them.
        project.wait_for_state(project.submit("dies"), "FAILURE")
        wait_until(lambda: unreaped() == [], 60.0, "and those of another pool child")
