"""Limits of memory, and processes that are replaced, with a real worker."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.model.run import Run, State
from tests.support.deadline import wait_until
from tests.support.project import Project, write_project
from tests.support.servers import Server
from tests.support.work import Work

MIB = 1024**2

MODULE = '''
import os, subprocess, sys, time
from pathlib import Path

CODE = "import sys, time; held = bytearray(b'x') * (int(sys.argv[1]) << 20); print(flush=True); time.sleep(300)"
kept = []


def allocates(mib, notes=None):
    if notes:
        with open(notes, "a") as file:
            print(os.getpid(), file=file)
    held = bytearray(b"x") * (mib << 20)
    if mib > 100:
        time.sleep(300)
    return len(held)


def leaves(mib):
    """Hold memory that the next run of this process finds taken."""
    kept.append(bytearray(b"x") * (mib << 20))
    return os.getpid()


def starts(mib, session, notes):
    """Have a program hold the memory; in a session of its own it is in no group of this process."""
    child = subprocess.Popen([sys.executable, "-c", CODE, str(mib)], start_new_session=session, stdout=-1)
    Path(notes).write_text(str(child.pid))
    child.stdout.readline()
    time.sleep(300)


def runs_out():
    raise MemoryError("of its own")


def pid():
    return os.getpid()
'''

MEMORY = {"memory": "100MiB"}
NOTES = {"notes": {"type": "string"}}
JOBS: dict[str, Any] = {
    "allocates": {"task": "memory:allocates", **MEMORY, "params": {"mib": {"type": "integer"}, **NOTES}},
    "apart": {
        "task": "memory:allocates",
        **MEMORY,
        "isolation": "process",
        "params": {"mib": {"type": "integer"}},
    },
    "unlimited": {"task": "memory:leaves", "params": {"mib": {"type": "integer"}}},
    "starts": {
        "task": "memory:starts",
        **MEMORY,
        "params": {"mib": {"type": "integer"}, "session": {"type": "boolean"}, **NOTES},
    },
    "shell": {
        "task": "runner.tasks.shell:run",
        **MEMORY,
        "kwargs": {"script": "python3 -c \"import time; x = bytearray(b'x') * (300 << 20); time.sleep(300)\""},
    },
    "named": {
        "task": "memory:allocates",
        **MEMORY,
        "params": {"mib": {"type": "integer"}, **NOTES},
        "retry": {"max_retries": 1, "delay": "50ms", "jitter": False, "for": ["MemoryError"]},
    },
    "unnamed": {
        "task": "memory:allocates",
        **MEMORY,
        "params": {"mib": {"type": "integer"}, **NOTES},
        "retry": {"max_retries": 5, "delay": "50ms", "jitter": False},
    },
    "runs-out": {"task": "memory:runs_out", **MEMORY},
    "pid": {"task": "memory:pid"},
}


def project_of(folder: Path, redis_server: Server, worker: dict[str, Any]) -> Project:
    namespace = f"t{uuid.uuid4().hex[:10]}"
    settings = {"worker": worker}
    return write_project(folder / "p", redis_server.url, JOBS, {"memory.py": MODULE}, settings, namespace)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Iterator[Work]:
    project = project_of(tmp_path_factory.mktemp("memory"), redis_server, {})
    with project.worker(concurrency=1):
        yield Work(project)


def peak_of(run: Run) -> int:
    assert run.error is not None
    assert run.error["type"] == "MemoryError"
    words = run.error["message"].split()
    assert run.error["message"].startswith("the run needed more than its memory of 100MiB: its processes held ")
    return int(words[-2]) * MIB


def is_dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("job", ["allocates", "apart"])
def test_a_run_that_needs_more_than_its_memory_fails_with_its_peak(work: Work, job: str) -> None:
    run = work.run(job, mib=300)
    assert (run.state, run.reason, run.losses, run.deaths) == (State.FAILURE, "out_of_memory", 0, [])
    # It may have been killed while it was at it.
    assert 100 * MIB < peak_of(run) < 400 * MIB
    assert "held more memory than its job allows" in work.project.cli("why", run.id).check().stdout


def test_a_run_below_its_limit_is_left_alone(work: Work) -> None:
    assert work.run("allocates", mib=50).result == 50 * MIB


@pytest.mark.parametrize("session", [False, True], ids=["same group", "own session"])
def test_what_the_run_has_started_counts_and_ends_with_it(work: Work, tmp_path: Path, session: bool) -> None:
    run = work.run("starts", mib=300, session=session, notes=str(tmp_path / "child"))
    assert (run.state, run.reason) == (State.FAILURE, "out_of_memory")
    wait_until(lambda: is_dead(int((tmp_path / "child").read_text())), 10.0, "the program ends")


def test_the_command_of_a_shell_job_counts(work: Work) -> None:
    run = work.run("shell")
    assert (run.state, run.reason) == (State.FAILURE, "out_of_memory")


def test_it_is_retried_only_if_for_names_the_error(work: Work, tmp_path: Path) -> None:
    named, unnamed = tmp_path / "named", tmp_path / "unnamed"
    again, once = work.run("named", mib=300, notes=str(named)), work.run("unnamed", mib=300, notes=str(unnamed))
    assert (again.reason, again.retries, len(named.read_text().split())) == ("out_of_memory", 1, 2)
    assert (once.reason, once.retries, len(unnamed.read_text().split())) == ("out_of_memory", 0, 1)
    assert again.past_attempts[0]["error"].startswith("MemoryError: the run needed more than its memory of 100MiB")


def test_an_error_of_the_job_is_its_own(work: Work) -> None:
    assert work.run("runs-out").reason == "exception"


def test_what_another_run_has_left_is_no_trouble_of_the_next(work: Work) -> None:
    former = work.run("unlimited", mib=150).result
    run = work.run("allocates", mib=50)
    assert run.state is State.SUCCESS
    assert run.attempts == 1
    assert work.run("pid").result != former


@pytest.fixture
def worker_of(tmp_path: Path, redis_server: Server) -> Callable[[dict[str, Any]], Project]:
    return lambda recycle: project_of(tmp_path, redis_server, {"recycle": recycle})


def test_a_process_is_replaced_after_so_many_runs(worker_of: Callable[[dict[str, Any]], Project]) -> None:
    project = worker_of({"runs": 2})
    with project.worker(concurrency=1):
        work = Work(project)
        pids = [work.run("pid").result for _ in range(6)]
    assert [pids[0] == pids[1], pids[2] == pids[3], pids[4] == pids[5]] == [True] * 3
    assert len(set(pids)) == 3


def test_a_process_that_holds_much_is_replaced_before_its_next_run(
    worker_of: Callable[[dict[str, Any]], Project],
) -> None:
    project = worker_of({"memory": "150MiB"})
    with project.worker(concurrency=1):
        work = Work(project)
        first, second = work.run("unlimited", mib=20).result, work.run("unlimited", mib=200).result
        third = work.run("pid").result
        assert first == second != third
        wait_until(lambda: is_dead(second), 20.0, "the former process ends")


@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_a_pool_without_processes_refuses_to_replace_them(
    worker_of: Callable[[dict[str, Any]], Project], pool: str
) -> None:
    project = worker_of({"runs": 2})
    project.write({"jobs.d/jobs.yaml": "jobs: {pid: {task: 'memory:pid'}}\n"})
    result = project.cli("worker", "-P", pool)
    assert result.exit_code == 2
    assert "cannot honor worker.recycle" in result.stderr


@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_a_pool_without_processes_refuses_a_limit(worker_of: Callable[[dict[str, Any]], Project], pool: str) -> None:
    project = worker_of({})
    result = project.cli("worker", "-P", pool)
    assert result.exit_code == 2
    assert "allocates (memory)" in result.stderr
