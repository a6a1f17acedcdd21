"""Process groups end with the process that started them, however it ended. Real processes, no mocks."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from runner.process import group as process_group
from tests.support.deadline import wait_until
from tests.support.processes import is_dead

REPOSITORY = Path(__file__).parents[2]
DEADLINE = 20.0


class Guarded:
    """A process of its own that runs ``code`` and then waits; its lines can be read one by one."""

    def __init__(self, code: str) -> None:
        body = (
            "import os, signal, subprocess, sys, time\nfrom runner.process import group as process_group\n"
            + textwrap.dedent(code)
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", body],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            cwd=REPOSITORY,
        )
        self.pid = self.process.pid
        self.others: list[int] = []

    def numbers(self) -> list[int]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        numbers = [int(word) for word in line.split()]
        self.others += [number for number in numbers if number > 1]
        return numbers

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def close(self) -> None:
        for pid in (self.pid, *self.others):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def guarded() -> Iterator[Callable[[str], Guarded]]:
    started: list[Guarded] = []

    def start(code: str) -> Guarded:
        started.append(Guarded(code))
        return started[-1]

    yield start
    for process in started:
        process.close()


START = """
def sleeper():
    return subprocess.Popen(["sleep", "600"], start_new_session=True).pid

def supervisor():
    return process_group._state.supervisor.pid

def say(*numbers):
    print(*numbers, flush=True)

def wait():
    sys.stdin.readline()
"""


@pytest.mark.parametrize(
    "ending",
    [
        "os.kill(os.getpid(), signal.SIGKILL)",
        "os.kill(os.getpid(), signal.SIGSEGV)",
        "os._exit(3)",
        "sys.exit()",
        "os.execv('/bin/true', ['true'])",
    ],
)
def test_group_dies_with_its_guard_however_that_died(guarded: Callable[[str], Guarded], ending: str) -> None:
    process = guarded(START + f"a = sleeper()\nprocess_group.guard(a)\nsay(a, supervisor())\nwait()\n{ending}")
    group, supervisor = process.numbers()
    assert not is_dead(group)
    process.go_on()
    wait_until(lambda: is_dead(group), DEADLINE, "the group is killed")
    wait_until(lambda: is_dead(supervisor), DEADLINE, "the supervisor ends")


def test_every_group_is_killed_and_own_group_too(guarded: Callable[[str], Guarded]) -> None:
    process = guarded(
        START
        + """
process_group.guard(os.getpgrp())
groups = [sleeper() for _ in range(5)]
for each in groups: process_group.guard(each)
same_group = subprocess.Popen(["sleep", "600"]).pid
say(*groups, same_group); wait()
"""
    )
    pids = process.numbers()
    os.kill(process.pid, signal.SIGKILL)
    for pid in pids:
        wait_until(partial(is_dead, pid), DEADLINE, f"{pid} is killed")


def test_double_forked_grandchildren_of_the_group_die(guarded: Callable[[str], Guarded]) -> None:
    process = guarded(
        START
        + """
shell = subprocess.Popen(["/bin/sh", "-c", "(sleep 600 & echo $!) & wait"], start_new_session=True,
                         stdout=subprocess.PIPE, text=True)
grandchild = int(shell.stdout.readline())
shell.wait()
process_group.guard(shell.pid)
say(shell.pid, grandchild); wait()
"""
    )
    leader, grandchild = process.numbers()
    assert is_dead(leader)
    assert not is_dead(grandchild)
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: is_dead(grandchild), DEADLINE, "the orphan is killed")


def test_released_group_lives_on(guarded: Callable[[str], Guarded]) -> None:
    process = guarded(
        START
        + "a, b = sleeper(), sleeper()\nprocess_group.guard(a)\nprocess_group.guard(b)\n"
        + "process_group.release(a)\nsay(a, b, supervisor()); wait()"
    )
    released, kept, supervisor = process.numbers()
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: is_dead(kept), DEADLINE, "the guarded group is killed")
    wait_until(lambda: is_dead(supervisor), DEADLINE, "the supervisor ends")
    assert not is_dead(released)


def test_death_is_seen_although_a_forked_child_holds_the_pipe(guarded: Callable[[str], Guarded]) -> None:
    """A child forked by C code inherits the pipe, so that its end never comes."""
    process = guarded(
        START
        + """
a = sleeper()
process_group.guard(a)
os.set_inheritable(process_group._state.supervisor.pipe, True)
holder = subprocess.Popen(["sleep", "600"], close_fds=False, start_new_session=True).pid
say(a, holder, supervisor()); wait()
"""
    )
    group, holder, supervisor = process.numbers()
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: is_dead(group), DEADLINE, "the group is killed")
    wait_until(lambda: is_dead(supervisor), DEADLINE, "the supervisor ends")
    assert not is_dead(holder)


def test_death_is_seen_where_there_is_no_pidfd(tmp_path: Path) -> None:
    """As on macOS: the parent's death shows in who the parent is."""
    without = tmp_path / "without_pidfd.py"
    source = Path(process_group.__file__).with_name("supervisor.py").read_text()
    without.write_text("import os\ndel os.pidfd_open\n" + source.replace("from __future__ import annotations\n", ""))
    body = START + (
        "from pathlib import Path\n"
        f"process_group._SUPERVISOR = Path({str(without)!r})\n"
        "a = sleeper()\nprocess_group.guard(a)\n"
        "os.set_inheritable(process_group._state.supervisor.pipe, True)\n"
        "holder = subprocess.Popen(['sleep', '600'], close_fds=False, start_new_session=True).pid\n"
        "say(a, holder, supervisor()); wait()"
    )
    process = Guarded(body)
    try:
        group, _, supervisor = process.numbers()
        os.kill(process.pid, signal.SIGKILL)
        wait_until(lambda: is_dead(group), DEADLINE, "the group is killed")
        wait_until(lambda: is_dead(supervisor), DEADLINE, "the supervisor ends")
    finally:
        process.close()


def test_forked_child_does_not_hold_the_pipe_and_guards_for_itself(guarded: Callable[[str], Guarded]) -> None:
    process = guarded(
        START
        + """
a = sleeper()
process_group.guard(a)
pipe, mine = process_group._state.supervisor.pipe, supervisor()
child = os.fork()
if child == 0:
    os.setsid()
    try:
        os.fstat(pipe); held = 1
    except OSError:
        held = 0
    b = sleeper()
    process_group.guard(b)
    say(held, os.getpid(), b, supervisor())
    time.sleep(600)
    os._exit(0)
say(a, mine); os.waitpid(child, 0); wait()
"""
    )
    lines = [process.numbers(), process.numbers()]
    (group, supervisor), (held, child, its_group, its_supervisor) = sorted(lines, key=len)
    assert held == 0
    assert its_supervisor != supervisor
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: is_dead(its_group), DEADLINE, "the child's group is killed")
    wait_until(lambda: is_dead(its_supervisor), DEADLINE, "the child's supervisor ends")
    assert not is_dead(group)


@pytest.mark.parametrize("step", ["process_group.guard(b)", "process_group.renew()"])
def test_killed_supervisor_is_replaced_and_knows_all_groups(guarded: Callable[[str], Guarded], step: str) -> None:
    process = guarded(
        START
        + "a, b = sleeper(), sleeper()\nprocess_group.guard(a)\nfirst = supervisor()\n"
        + f"say(a, b, first); wait()\n{step}\nsay(supervisor()); wait()"
    )
    group, _, first = process.numbers()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: is_dead(first), DEADLINE, "the supervisor is dead")
    assert not is_dead(group)
    process.go_on()
    (second,) = process.numbers()
    assert second != first
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: is_dead(group), DEADLINE, "the group guarded by the first is killed by the second")


def test_stopped_supervisor_with_a_full_pipe_is_replaced(guarded: Callable[[str], Guarded]) -> None:
    process = guarded(
        START
        + """
a = sleeper()
process_group.guard(a)
first = supervisor()
os.kill(first, signal.SIGSTOP)
os.waitpid(first, os.WUNTRACED)
for _ in range(40000):
    process_group.guard(a)
    if supervisor() != first: break
say(a, first, supervisor()); wait()
"""
    )
    group, first, second = process.numbers()
    assert first != second
    assert is_dead(first)
    assert not is_dead(group)


def test_supervisor_ignores_signals_and_holds_nothing_of_the_parent(guarded: Callable[[str], Guarded]) -> None:
    process = guarded(START + "a = sleeper()\nprocess_group.guard(a)\nsay(a, supervisor()); wait()")
    group, supervisor = process.numbers()
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(supervisor, signum)
    assert os.getsid(supervisor) == supervisor
    assert os.getpgid(supervisor) != os.getpgid(process.pid)
    if sys.platform == "linux":

        def held() -> set[str]:
            return {str(path.readlink()) for path in Path(f"/proc/{supervisor}/fd").iterdir()}

        wait_until(
            lambda: all(target.startswith(("pipe:", "anon_inode:", "/dev/null")) for target in held()),
            DEADLINE,
            "only its pipe, its pidfd and /dev/null are open",
        )
        assert sum(target.startswith("pipe:") for target in held()) == 1
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: is_dead(group), DEADLINE, "the group is killed all the same")


def test_command_line_of_the_supervisor_is_not_the_guards(guarded: Callable[[str], Guarded]) -> None:
    process = guarded(START + "a = sleeper()\nprocess_group.guard(a)\nsay(a, supervisor()); wait()")
    _, supervisor = process.numbers()
    line = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(supervisor)], capture_output=True, text=True).stdout
    assert line.split()[-2:] == [str(REPOSITORY / "runner/process/supervisor.py"), str(process.pid)]


def test_entering_guards_before_the_program_starts(guarded: Callable[[str], Guarded]) -> None:
    process = guarded(
        START
        + """
with process_group.entering() as enter:
    child = subprocess.Popen(["sleep", "600"], start_new_session=True, preexec_fn=enter)
say(child.pid); wait()
"""
    )
    (group,) = process.numbers()
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: is_dead(group), DEADLINE, "the group is killed")


def test_child_that_enters_after_its_parents_death_is_killed(guarded: Callable[[str], Guarded]) -> None:
    """The parent dies between the start of its child and the child's registration."""
    process = guarded(
        START
        + """
def late():
    say(os.getpid())
    while os.getppid() == parent: time.sleep(0.001)
    enter()
parent = os.getpid()
with process_group.entering() as enter:
    subprocess.Popen(["sleep", "600"], start_new_session=True, preexec_fn=late)
"""
    )
    (child,) = process.numbers()
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: is_dead(child), DEADLINE, "the child is killed when it registers")


def test_a_start_that_fails_leaves_no_registration() -> None:
    with pytest.raises(FileNotFoundError), process_group.entering() as enter:
        subprocess.Popen(["/no/such/program"], start_new_session=True, preexec_fn=enter)
    assert not process_group._state.guarded


def test_guard_says_so_when_no_supervisor_can_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "supervisor.py"
    broken.write_text("raise SystemExit(1)")
    monkeypatch.setattr(process_group, "_SUPERVISOR", broken)
    monkeypatch.setattr(process_group, "_state", process_group._State())
    with pytest.raises(OSError, match="did not start"):
        process_group.guard(os.getpgrp())
    assert not process_group._state.guarded


def test_pool_with_guarded_children_shuts_down_and_their_groups_end() -> None:
    """A supervisor that held a pipe of the pool would keep it from ending."""
    code = """
import os, subprocess
from billiard.pool import Pool
from runner.process import group as process_group

def begin():
    os.setpgid(0, 0)
    process_group.guard(os.getpgrp())

def work(number):
    child = subprocess.Popen(["sleep", "600"], start_new_session=True).pid
    process_group.guard(child)
    return child, process_group._state.supervisor.pid

pool = Pool(2, begin)
for pids in pool.map(work, range(4)):
    print(*pids, flush=True)
pool.close()
pool.join()
print("joined")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=REPOSITORY)
    assert done.stdout.endswith("joined\n"), done.stderr
    for pid in {int(word) for line in done.stdout.splitlines()[:-1] for word in line.split()}:
        wait_until(partial(is_dead, pid), DEADLINE, f"{pid} ends with the pool")


# kill_group


def shell(script: str) -> subprocess.Popen[str]:
    """Start a script in a group of its own, and wait until it says that it is ready."""
    process = subprocess.Popen(["/bin/sh", "-c", script], start_new_session=True, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def reap(process: subprocess.Popen[str]) -> int:
    if process.stdout is not None:
        process.stdout.close()
    return process.wait(DEADLINE)


def test_kill_group_ends_it_with_the_signal() -> None:
    process = shell("sleep 600 & echo ready; wait")
    assert process_group.kill_group(process.pid, signal.SIGTERM, 10)
    assert reap(process) == -signal.SIGTERM


def test_kill_group_kills_after_grace_what_ignores_the_signal() -> None:
    process = shell("trap '' TERM; echo ready; while :; do sleep 600; done")
    assert process_group.kill_group(process.pid, signal.SIGTERM, 0.05)
    assert reap(process) == -signal.SIGKILL


def test_kill_group_waits_for_the_group_not_only_for_the_leader() -> None:
    process = shell("(trap '' TERM; sleep 600 & echo $! >&2; echo ready; wait; sleep 600) 2>/dev/null & wait")
    assert process_group.kill_group(process.pid, signal.SIGTERM, 0.05)
    assert not process_group.group_alive(process.pid)
    reap(process)


def test_kill_group_counts_an_unreaped_leader_as_dead() -> None:
    process = subprocess.Popen(["true"], start_new_session=True)
    wait_until(lambda: is_dead(process.pid), DEADLINE, "a zombie")
    assert not process_group.group_alive(process.pid)
    assert process_group.kill_group(process.pid, signal.SIGTERM, 60)
    process.wait(DEADLINE)


def test_kill_group_wakes_a_stopped_group() -> None:
    process = shell("echo ready; kill -STOP $$; sleep 600")
    os.waitpid(process.pid, os.WUNTRACED)
    assert process_group.kill_group(process.pid, signal.SIGTERM, 60)
    assert reap(process) == -signal.SIGTERM


def test_kill_group_of_nobody_is_true_at_once() -> None:
    process = subprocess.Popen(["true"], start_new_session=True)
    process.wait(DEADLINE)
    assert process_group.kill_group(process.pid, signal.SIGTERM, 60)


@pytest.mark.parametrize("proc", ["/proc", "/nowhere"])
def test_kill_group_waits_for_the_groups_that_its_leader_guarded(
    guarded: Callable[[str], Guarded], monkeypatch: pytest.MonkeyPatch, proc: str
) -> None:
    """As for a pool child and the command of its job: when this returns, both are dead."""
    monkeypatch.setattr(process_group, "_PROC", Path(proc))
    process = guarded(
        START
        + """
process_group.guard(os.getpgrp())
groups = [sleeper() for _ in range(20)]
for each in groups: process_group.guard(each)
say(supervisor(), *groups); wait()
"""
    )
    supervisor, *groups = process.numbers()
    assert process_group._supervisor_of(process.pid) == supervisor
    assert process_group.kill_group(process.pid, signal.SIGKILL, 0)
    assert not any(process_group.group_alive(group) for group in groups)
    assert not process_group.group_alive(supervisor)


@pytest.mark.parametrize("pgid", [-1, 0, 1])
def test_numbers_that_mean_other_things_are_refused(pgid: int) -> None:
    for call in (process_group.guard, process_group.release, lambda p: process_group.kill_group(p, 15, 0)):
        with pytest.raises(ValueError, match="not a process group"):
            call(pgid)


def test_own_group_is_refused() -> None:
    with pytest.raises(ValueError, match="own group"):
        process_group.kill_group(os.getpgrp(), signal.SIGTERM, 0)


def test_name_with_parentheses_is_read_right(tmp_path: Path) -> None:
    odd = tmp_path / "a) Z 1 (b"
    odd.write_text("#!/bin/sh\necho ready\nexec sleep 600\n")
    odd.chmod(0o755)
    process = subprocess.Popen([str(odd)], start_new_session=True, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert process_group.group_alive(process.pid)
    process_group.kill_group(process.pid, signal.SIGKILL, 0)
    reap(process)


def test_signals_are_held_back_also_when_another_thread_takes_them() -> None:
    """The kernel hands a signal of the process to any thread that does not block it."""
    handled: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda signum, _frame: handled.append(signum))
    try:
        with process_group.uninterrupted():
            # A thread inherits the mask of its starter, so it opens its own: that of a job's thread would be open.
            def signal_itself() -> None:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
                os.kill(os.getpid(), signal.SIGUSR1)

            thread = threading.Thread(target=signal_itself)
            thread.start()
            thread.join(DEADLINE)
            assert handled == []
        # Python calls the handler soon, and not before it returns from here.
        wait_until(lambda: handled == [signal.SIGUSR1], DEADLINE, "the signal is handled")
    finally:
        signal.signal(signal.SIGUSR1, before)
