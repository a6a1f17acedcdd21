"""Deaths by the kernel's OOM killer are told from others by its counter; the files are as the kernel writes them.

``tests/system/test_cgroups.py`` has real ones, where the machine lets it make cgroups.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from runner.process import oom
from runner.process.oom import OomKiller, counter_file

EVENTS = "low 0\nhigh 0\nmax 70\noom {kills}\noom_kill {kills}\noom_group_kill 0\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n"
VMSTAT = "nr_free_pages 5\noom_kill {kills}\nkswapd_steal 0\n"


def write(root: Path, path: str, text: str) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def of_kills(text: str, kills: int) -> str:
    return text.replace("{kills}", str(kills))


@pytest.mark.parametrize(
    ("cgroup", "place", "text"),
    [
        ("0::/system.slice/runner.service\n", "sys/fs/cgroup/system.slice/runner.service/memory.events", EVENTS),
        ("0::/\n", "sys/fs/cgroup/memory.events", EVENTS),
        ("0::/docker/abc\n", "sys/fs/cgroup/memory.events", EVENTS),
        ("5:memory:/docker/abc\n0::/docker/abc\n", "sys/fs/cgroup/memory/docker/abc/memory.oom_control", CONTROL),
        ("5:cpu,memory:/docker/abc\n0::/\n", "sys/fs/cgroup/memory/memory.oom_control", CONTROL),
        ("1:cpu:/a\n0::/a:b\n", "sys/fs/cgroup/unified/a:b/memory.events", EVENTS),
        ("0::/\n", "proc/vmstat", VMSTAT),
    ],
    ids=["v2", "v2 of a container", "v2 seen from inside", "v1", "v1 seen from inside", "both", "no cgroup"],
)
def test_where_the_counter_is(tmp_path: Path, cgroup: str, place: str, text: str) -> None:
    write(tmp_path, "proc/self/cgroup", cgroup)
    write(tmp_path, "proc/vmstat", of_kills(VMSTAT, 7))
    file = write(tmp_path, place, of_kills(text, 7))
    assert counter_file(tmp_path) == file
    killer = OomKiller(counter_file(tmp_path))
    assert not killer.blame()  # those seven were before
    file.write_text(of_kills(text, 9))
    assert [killer.blame() for _ in range(3)] == [True, True, False]


def test_without_a_counter_nobody_is_blamed(tmp_path: Path) -> None:
    assert counter_file(tmp_path) is None
    assert not OomKiller(counter_file(tmp_path)).blame()


def test_a_counter_that_vanishes_has_not_risen(tmp_path: Path) -> None:
    file = write(tmp_path, "proc/vmstat", of_kills(VMSTAT, 1))
    killer = OomKiller(counter_file(tmp_path))
    file.unlink()
    assert not killer.blame()
    file.write_text(of_kills(VMSTAT, 2))
    assert killer.blame()


def test_a_victim_of_long_ago_explains_no_death(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was another process, such as a program that a job had started."""
    file = write(tmp_path, "proc/vmstat", of_kills(VMSTAT, 0))
    killer = OomKiller(counter_file(tmp_path))
    file.write_text(of_kills(VMSTAT, 1))
    killer.look()
    monkeypatch.setattr(oom, "PATIENCE", 0.0)
    assert not killer.blame()


@pytest.mark.skipif(sys.platform != "linux", reason="told by Linux")
def test_this_host_has_a_counter() -> None:
    assert counter_file() is not None
