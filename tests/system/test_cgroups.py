"""Cgroups that a worker makes, and the kernel's OOM killer, both real.

They need root on a host with cgroups of version 2 whose root has the controller ``memory``. ``make test-kernel`` gives
them a kernel of their own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.deadline import wait_until
from tests.support.project import write_project
from tests.support.servers import Server
from tests.support.work import Work

MOUNTED = Path("/sys/fs/cgroup")
REPOSITORY = Path(__file__).parents[2]


pytestmark = pytest.mark.cgroups

BEGIN = """
import os, signal, subprocess, sys, time
from pathlib import Path
from runner.process.cgroup import MemoryCgroups
from runner.process.oom import OomKiller, counter_file
own = Path(sys.argv[1])
(own / "cgroup.procs").write_text(str(os.getpid()))

def allocate(mib):
    return bytearray(b"x") * (mib << 20)

def perform(work):
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    return pid, os.waitpid(pid, 0)[1]
"""


@pytest.fixture
def service() -> Iterator[Path]:
    """A cgroup as systemd makes it for a service with Delegate=memory."""
    folder = MOUNTED / f"runner-test-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    os.setxattr(folder, "user.delegate", b"1")
    yield folder
    for path in sorted(folder.glob("**/"), reverse=True):
        path.rmdir()


@pytest.fixture
def tell(service: Path) -> Callable[..., list[str]]:
    """Run code in the service; return the words that it prints."""

    def run(code: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", BEGIN + textwrap.dedent(code), str(service)],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    return run


def test_the_kernel_ends_what_needs_more_than_its_limit(tell: Callable[..., list[str]]) -> None:
    signum, peak, below, after = tell(
        """
        cgroups = MemoryCgroups.delegated()
        def work(mib):
            with cgroups.holding(100 << 20):
                allocate(mib)
        pid, status = perform(lambda: work(200))
        print(os.WTERMSIG(status), cgroups.exceeded(pid))
        cgroups.remove(pid)
        pid, status = perform(lambda: work(50))
        print(status, cgroups.exceeded(pid))
        cgroups.remove(pid)
        assert not list(own.glob("taker-*"))
        """
    )
    assert int(signum) == signal.SIGKILL
    assert 99 << 20 < int(peak) <= 100 << 20
    assert (below, after) == ("0", "None")


def test_it_ends_all_that_the_process_has_started(tell: Callable[..., list[str]]) -> None:
    """As for a job that runs a program: the program is what needs the memory."""
    code = "import sys; x = bytearray(b'x') * (200 << 20)"
    signum, exceeded = tell(
        f"""
        cgroups = MemoryCgroups.delegated()
        def work():
            with cgroups.holding(100 << 20):
                subprocess.run([sys.executable, "-c", {code!r}], start_new_session=True)
                time.sleep(60)
        pid, status = perform(work)
        print(os.WTERMSIG(status), cgroups.exceeded(pid) is not None)
        """
    )
    assert (int(signum), exceeded) == (signal.SIGKILL, "True")


def test_a_limit_ends_with_its_run(tell: Callable[..., list[str]]) -> None:
    status, exceeded = tell(
        """
        cgroups = MemoryCgroups.delegated()
        def work():
            with cgroups.holding(100 << 20):
                pass
            allocate(200)
        pid, status = perform(work)
        print(status, cgroups.exceeded(pid))
        """
    )
    assert (status, exceeded) == ("0", "None")


def test_a_worker_that_starts_itself_anew_finds_its_cgroup(tell: Callable[..., list[str]]) -> None:
    (again,) = tell(
        """
        first = MemoryCgroups.delegated()
        pid, _ = perform(lambda: first.holding(100 << 20).__enter__())
        second = MemoryCgroups.delegated()
        assert second._folder == first._folder == own
        print(len(list(own.glob("taker-*"))))
        """
    )
    assert again == "0"


@pytest.mark.parametrize(
    "before",
    [
        'os.removexattr(own, "user.delegate")',
        'other = subprocess.Popen(["sleep", "60"])',
        "os.setgid(65534); os.setuid(65534)",
    ],
    ids=["not delegated", "not alone", "another user"],
)
def test_a_cgroup_that_is_not_ours_alone_is_left_alone(tell: Callable[..., list[str]], before: str) -> None:
    found, inside, folders = tell(
        f"""
        other = None
        {before}
        print(MemoryCgroups.delegated(), Path("/proc/self/cgroup").read_text().strip() == "0::/" + own.name)
        print(len([each for each in own.iterdir() if each.is_dir()]))
        if other:
            other.kill()
            other.wait()
        """
    )
    assert (found, inside, folders) == ("None", "True", "0")


def test_a_death_by_the_oom_killer_is_told_from_one_by_hand(tell: Callable[..., list[str]]) -> None:
    """Here the limit is that of the whole service, or container."""
    lines = tell(
        """
        killer = OomKiller(counter_file())
        (own / "memory.max").write_text(str(200 << 20))
        def by_hand():
            os.kill(os.getpid(), signal.SIGKILL)
        for work in (by_hand, lambda: allocate(300), by_hand):
            # The largest is the victim.
            pid, status = perform(work)
            print(os.WTERMSIG(status), killer.blame())
        """
    )
    assert lines == ["9", "False", "9", "True", "9", "False"]


def test_the_counter_is_that_of_the_service_also_in_its_own_cgroup(tell: Callable[..., list[str]]) -> None:
    lines = tell(
        """
        cgroups = MemoryCgroups.delegated()
        killer = OomKiller(cgroups.events)
        def work():
            with cgroups.holding(100 << 20):
                allocate(200)
        print(perform(work)[1], killer.blame())
        """
    )
    assert lines == ["9", "True"]


def test_a_command_that_the_oom_killer_ended_says_so(tell: Callable[..., list[str]]) -> None:
    code = "x = bytearray(b'x') * (300 << 20)"
    lines = tell(
        f"""
        from runner.tasks.shell import ShellError, run
        (own / "memory.max").write_text(str(200 << 20))
        try:
            run(command=[sys.executable, "-c", {code!r}], cwd="/")
        except ShellError as error:
            print(error)
        """
    )
    assert " ".join(lines).endswith("was ended by SIGKILL, sent by the kernel's OOM killer, and wrote nothing")


# -- a worker

MODULE = """
import mmap, os, time

def allocates(mib):
    held = bytearray(b"x") * (mib << 20)
    return os.getpid()

def grabs(mib):
    '''As fast as it goes, and gone at once: nobody has time to look.'''
    with mmap.mmap(-1, mib << 20) as held:
        held.madvise(23)  # MADV_POPULATE_WRITE
    return os.getpid()
"""
MIB = {"mib": {"type": "integer"}}
JOBS = {
    "bounded": {"task": "memory:grabs", "memory": "100MiB", "params": MIB},
    "apart": {"task": "memory:grabs", "memory": "100MiB", "isolation": "process", "params": MIB},
    "unbounded": {"task": "memory:allocates", "max_deliveries": 1, "params": MIB},
}


@pytest.fixture
def work(service: Path, tmp_path: Path, redis_server: Server) -> Iterator[Work]:
    namespace = f"t{uuid.uuid4().hex[:10]}"
    project = write_project(tmp_path / "p", redis_server.url, JOBS, {"memory.py": MODULE}, {}, namespace)
    with project.worker(concurrency=1, ready=False) as worker:
        (service / "cgroup.procs").write_text(str(worker.pid))
        worker.wait_for("the kernel holds runs to the memory of their jobs: cgroup", 60.0)
        worker.wait_for("runner worker ready", 60.0)
        yield Work(project)


@pytest.mark.parametrize("job", ["bounded", "apart"])
def test_the_kernel_ends_a_run_that_needs_more_than_its_memory(work: Work, service: Path, job: str) -> None:
    run = work.run(job, mib=300)
    assert (run.state, run.reason, run.losses) == ("FAILURE", "out_of_memory", 0)
    assert run.error is not None
    assert run.error["message"] == "the run needed more than its memory of 100MiB: its processes held 100 MiB"
    assert work.run(job, mib=50).state == "SUCCESS"
    assert work.run("unbounded", mib=300).state == "SUCCESS"
    wait_until(lambda: len(list(service.glob("taker-*"))) <= 1, 20.0, "the cgroup of the dead is removed")


def test_a_loss_by_the_oom_killer_says_so(work: Work, service: Path) -> None:
    (service / "memory.max").write_text(str(400 << 20))
    run = work.run("unbounded", mib=600)
    assert (run.state, run.reason) == ("FAILURE", "poisoned")
    assert [(death["signal"], death["oom_killed"]) for death in run.deaths] == [("SIGKILL", True)]
    assert "ended by the kernel's OOM killer" in work.project.cli("why", run.id).check().stdout
