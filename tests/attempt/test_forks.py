"""Processes that a job makes of its own: they settle no run, take none, and end with the process group of theirs."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.model.run import State
from tests.support.deadline import wait_until
from tests.support.project import Project, write_project
from tests.support.running import Running
from tests.support.servers import Server
from tests.support.work import Work

MODULE = '''
import multiprocessing, os, sys, threading, time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path


def wait_for(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def exits():
    if os.fork() == 0:
        sys.exit(0)
    raise_late()


def raise_late():
    os.wait()
    raise ValueError("of the parent")


def returns():
    if os.fork() == 0:
        return "of the fork"
    raise_late()


def raises():
    if os.fork() == 0:
        raise KeyError("of the fork")
    raise_late()


def aborts():
    if os.fork() == 0:
        raise KeyboardInterrupt
    raise_late()


def forks_in_a_fork():
    if os.fork() == 0:
        if os.fork() == 0:
            return "of the innermost"
        os.wait()
        return "of the fork"
    raise_late()


def forks_in_a_thread():
    def fork():
        if os.fork() == 0:
            return
        os.wait()
    thread = threading.Thread(target=fork)
    thread.start()
    thread.join()
    raise ValueError("of the parent")


def forks_while_it_handles_an_error():
    try:
        raise KeyError("handled")
    except KeyError:
        if os.fork() == 0:
            raise
        raise_late()


def forks_from_multiprocessing():
    def work():
        if os.fork() == 0:
            sys.exit(0)
        os.wait()
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    raise ValueError("of the parent")


async def forks_in_a_coroutine():
    import asyncio
    await asyncio.sleep(0)
    if os.fork() == 0:
        sys.exit(0)
    os.wait()
    await asyncio.to_thread(time.sleep, 0)
    raise ValueError("of the parent")


def codes(how):
    pid = os.fork()
    if pid == 0:
        if how == "return":
            return 7
        sys.exit({"none": None, "three": 3, "text": "sorry"}[how]) if how != "error" else 1 / 0
    return wait_for(pid)


def outlives():
    """Return while the fork still works; it then falls out of the job."""
    pid = os.fork()
    if pid == 0:
        time.sleep(0.5)
        return "late"
    return pid


def signaled(number):
    """Return how a fork ends that gets a signal."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, b"x")
            time.sleep(300)
        finally:
            os.write(writing, b"y")
    os.read(reading, 1)
    os.kill(pid, number)
    return wait_for(pid)


# -- multiprocessing

def square(number):
    return number * number


def note(path):
    Path(path).write_text("written")


def count(numbers, lock, total):
    for number in numbers:
        with lock:
            total.value += number


def parallel(method, how):
    context = multiprocessing.get_context(method)
    if how == "pool":
        with context.Pool(2) as pool:
            return pool.map(square, range(5))
    if how == "process":
        path = Path(f"note-{method}").absolute()
        process = context.Process(target=note, args=(str(path),))
        process.start()
        process.join()
        return [process.exitcode, path.read_text()]
    if how == "daemon":
        process = context.Process(target=time.sleep, args=(300,), daemon=True)
        process.start()
        process.terminate()
        process.join()
        return process.exitcode
    if how == "executor":
        with ProcessPoolExecutor(2, mp_context=context) as executor:
            return list(executor.map(square, range(5)))
    if how == "manager":
        with context.Manager() as manager:
            lock, total = manager.Lock(), manager.Value("i", 0)
            processes = [context.Process(target=count, args=(range(10), lock, total)) for _ in range(2)]
            for process in processes:
                process.start()
            for process in processes:
                process.join()
            return total.value
    queue = context.Queue()
    process = context.Process(target=queue_up, args=(queue,))
    process.start()
    got = queue.get()
    process.join()
    return got


def queue_up(queue):
    queue.put("queued")


def hang(path):
    with open(path, "a") as pids:
        pids.write(f"{os.getpid()}\\n")
    time.sleep(300)


def hangs(method, path):
    """Start processes in every way there is, and wait for ever."""
    context = multiprocessing.get_context(method)
    pool = context.Pool(1)
    pool.apply_async(hang, (path,))
    executor = ProcessPoolExecutor(1, mp_context=context)
    executor.submit(hang, path)
    process = context.Process(target=hang, args=(path,))
    process.start()
    manager = context.Manager()
    with open(path, "a") as pids:
        pids.write(f"{manager._process.pid}\\n{os.getpid()}\\n")
    time.sleep(300)


def own_pid():
    return os.getpid()
'''

FALLS_OUT = [
    "exits",
    "returns",
    "raises",
    "aborts",
    "forks_in_a_fork",
    "forks_in_a_thread",
    "forks_while_it_handles_an_error",
    "forks_from_multiprocessing",
    "forks_in_a_coroutine",
]
TEXT = {"type": "string"}
JOBS: dict[str, Any] = {name: {"task": f"forking:{name}"} for name in (*FALLS_OUT, "outlives", "own_pid")}
JOBS |= {
    "signaled": {"task": "forking:signaled", "params": {"number": {"type": "integer"}}},
    "codes": {"task": "forking:codes", "params": {"how": TEXT}},
    "parallel": {"task": "forking:parallel", "params": {"method": TEXT, "how": TEXT}, "timeout": "60s"},
    "hangs": {"task": "forking:hangs", "params": {"method": TEXT, "path": TEXT}, "max_deliveries": 1},
    "hangs-briefly": {"task": "forking:hangs", "params": {"method": TEXT, "path": TEXT}, "timeout": "8s"},
}
METHODS = ["fork", "spawn", "forkserver"]


@pytest.fixture(scope="module")
def forking(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Iterator[tuple[Work, Running]]:
    project = write_project(tmp_path_factory.mktemp("forking") / "p", redis_server.url, JOBS, {"forking.py": MODULE})
    with project.worker(concurrency=1) as worker:
        yield Work(project), worker


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("job", FALLS_OUT)
def test_a_fork_settles_nothing(forking: tuple[Work, Running], job: str) -> None:
    work, _ = forking
    child = work.run("own_pid").result
    run = work.run(job)
    assert (run.state, run.reason, run.attempts, run.losses) == (State.FAILURE, "exception", 1, 0)
    assert run.error is not None
    assert (run.error["type"], run.error["message"]) == ("ValueError", "of the parent")
    # No second consumer beside the child: it takes the next run itself.
    assert {work.run("own_pid").result for _ in range(3)} == {child}


@pytest.mark.parametrize(("how", "code"), [("none", 0), ("three", 3), ("text", 1), ("return", 0), ("error", 1)])
def test_a_fork_exits_as_python_does(forking: tuple[Work, Running], how: str, code: int) -> None:
    work, _ = forking
    assert work.run("codes", how=how).result == code


def test_a_fork_that_outlives_its_run_ends(forking: tuple[Work, Running]) -> None:
    work, _ = forking
    run = work.run("outlives")
    assert run.state is State.SUCCESS
    assert isinstance(run.result, int)
    wait_until(lambda: is_gone(run.result), 30.0, "the fork ends")
    assert work.opened.ledger.get(run.id).result == run.result


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, -signal.SIGTERM),
        (signal.SIGHUP, -signal.SIGHUP),
        (signal.SIGQUIT, -signal.SIGQUIT),
        (signal.SIGUSR1, -signal.SIGUSR1),
        (signal.SIGINT, 1),
    ],
)
def test_a_fork_has_the_default_handlers_of_signals(forking: tuple[Work, Running], number: int, code: int) -> None:
    work, _ = forking
    assert work.run("signaled", number=int(number)).result == code


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("pool", [0, 1, 4, 9, 16]),
        ("process", [0, "written"]),
        ("daemon", -signal.SIGTERM),
        ("executor", [0, 1, 4, 9, 16]),
        ("manager", 90),
        ("queue", "queued"),
    ],
)
def test_a_job_may_use_multiprocessing(forking: tuple[Work, Running], method: str, how: str, expected: object) -> None:
    work, _ = forking
    run = work.run("parallel", method=method, how=how)
    assert (run.state, run.result) == (State.SUCCESS, expected), run.error


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("end", ["timeout", "terminate", "kill"])
def test_processes_of_a_job_end_with_its_group(
    forking: tuple[Work, Running], tmp_path: Path, method: str, end: str
) -> None:
    work, _ = forking
    path = tmp_path / "pids"
    path.touch()
    handle = work.submit("hangs-briefly" if end == "timeout" else "hangs", method=method, path=str(path))

    def started() -> list[int] | None:
        pids = [int(line) for line in path.read_text().splitlines()]
        return pids if len(pids) == 5 else None

    pids = wait_until(started, 60.0, "all processes run")
    assert pids is not None
    if end == "terminate":
        handle.revoke(terminate=True)
    elif end == "kill":
        child = next(pid for pid in pids if os.getpgid(pid) == pid)
        os.kill(child, signal.SIGKILL)
    run = handle.wait(60.0)
    reasons = {"timeout": "timeout", "terminate": "terminated", "kill": "poisoned"}
    assert run.reason == reasons[end], json.dumps(run.document())
    wait_until(lambda: all(map(is_gone, pids)), 30.0, "all of its processes end")


@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_pools_without_children_let_jobs_fork_too(make_project: Callable[..., Project], pool: str) -> None:
    jobs = {name: JOBS[name] for name in ("exits", "raises", "own_pid")}
    parallel = {name: option for name, option in JOBS["parallel"].items() if name != "timeout"}
    project = make_project({**jobs, "parallel": parallel}, {"forking.py": MODULE})
    work = Work(project)
    with project.worker("-P", pool, concurrency=1) as worker:
        for job in ("exits", "raises"):
            run = work.run(job)
            assert (run.state, run.attempts) == (State.FAILURE, 1)
            assert run.error is not None
            assert run.error["message"] == "of the parent"
        for method in METHODS:
            assert work.run("parallel", method=method, how="pool").result == [0, 1, 4, 9, 16]
        assert work.run("own_pid").result == worker.pid
