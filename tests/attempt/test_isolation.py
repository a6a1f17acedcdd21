"""``isolation: process``: each run has a process of its own, and all that any run has."""

from __future__ import annotations

import json
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.ledger.run_log import RunLog
from tests.support.deadline import wait_until
from tests.support.processes import is_alive, is_dead
from tests.support.project import Project, write_project
from tests.support.servers import Server
from tests.support.work import Work

MODULE = '''
import asyncio, builtins, ctypes, faulthandler, json, multiprocessing, os, random, signal, subprocess, sys, time
from pathlib import Path

from celery import shared_task
from celery.exceptions import SoftTimeLimitExceeded

from runner import current_run

COUNT = 0
USERS = []


def count():
    """Change the memory of the process, as only another process is without."""
    global COUNT
    COUNT += 1
    USERS.append(current_run().job)
    os.chdir("/")
    os.environ["LEFT"] = "1"
    sys.modules["json"] = subprocess.run = None
    return [COUNT, USERS, os.getpid(), os.getpgrp() == os.getpid(), os.getppid()]


def numbers():
    return [random.random(), random.randint(0, 10**9)]


def note(path, **fields):
    with open(path, "a") as notes:
        notes.write(json.dumps(fields) + "\\n")


def sleep(notes):
    note(notes, pid=os.getpid(), child=subprocess.Popen(["sleep", "300"]).pid)
    time.sleep(300)


def cleans_up(notes):
    note(notes, pid=os.getpid())
    try:
        time.sleep(300)
    except SoftTimeLimitExceeded:
        note(notes, cleaned=True)
        return "late"


def unwinds(notes):
    note(notes, pid=os.getpid(), child=subprocess.Popen(["sleep", "300"]).pid)
    try:
        time.sleep(300)
    finally:
        note(notes, cleaned=True)


def stubborn(notes):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note(notes, pid=os.getpid(), child=subprocess.Popen(["sleep", "300"]).pid)
    time.sleep(300)


def dies(how):
    print("last words")
    logging_words()
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    faulthandler.disable()
    if how == "segv":
        ctypes.string_at(1)
    elif how == "abort":
        os.abort()
    elif how == "exit":
        os._exit(3)
    elif how in ("SIGTERM", "SIGHUP", "SIGQUIT"):
        os.kill(os.getpid(), getattr(signal, how))
        time.sleep(300)
    os._exit(0)


def logging_words():
    import logging
    logging.getLogger("mine").warning("a warning")


def shows():
    print(os.environ["TOKEN"])
    current_run().progress(0.5, os.environ["TOKEN"])
    logging_words()
    subprocess.run(["echo", "from a program"])
    print("no end", end="")
    return {"token": os.environ["TOKEN"], "argv": sys.argv, "env": os.environ["MODE"]}


def fails():
    print("attempt", current_run().attempt)
    raise LookupError(os.environ["TOKEN"])


def hostile(what):
    """Leave the process so that hardly anything can be done in it."""
    {
        "forbids": lambda: sys.addaudithook(lambda *_: 1 / 0),
        "forbids-connections": lambda: sys.addaudithook(lambda event, _: 1 / 0 if "socket" in event else None),
        "clears": lambda: vars(builtins).clear(),
    }[what]()
    return 1


class Own(Exception):
    def __reduce__(self):
        raise RuntimeError("not to be pickled")


def own_error():
    raise Own("mine")


def returns(what):
    return {"large": "x" * 200_000, "none": None, "unstorable": object()}[what]


def leaves(code):
    sys.exit(code)


async def waits():
    await asyncio.sleep(0)
    return "waited"


def forks():
    if os.fork() == 0:
        sys.exit(0)
    os.wait()
    raise ValueError("of the parent")


def pools():
    with multiprocessing.Pool(2) as pool:
        return pool.map(abs, [-1, -2])


def leaves_behind():
    return subprocess.Popen(["sleep", "300"]).pid


@shared_task(bind=True)
def bound(self):
    if self.request.retries < 1:
        raise self.retry(countdown=0)
    return self.request.retries
'''

NOTES = {"params": {"notes": {"type": "string"}}}
JOBS: dict[str, Any] = {
    "count": {"task": "apart:count"},
    "shared-count": {"task": "apart:count", "isolation": None},
    "numbers": {"task": "apart:numbers"},
    "timeout": {"task": "apart:sleep", "timeout": "1s", **NOTES},
    "soft": {"task": "apart:cleans_up", "soft_timeout": "500ms", **NOTES},
    "sleep": {"task": "apart:sleep", **NOTES},
    "unwinds": {"task": "apart:unwinds", **NOTES},
    "stubborn": {"task": "apart:stubborn", **NOTES},
    "dies": {"task": "apart:dies", "max_deliveries": 1, "params": {"how": {"type": "string"}}},
    "shows": {"task": "apart:shows", "secrets": {"TOKEN": "env:HELD"}, "env": {"MODE": "full"}},
    "fails": {
        "task": "apart:fails",
        "secrets": {"TOKEN": "env:HELD"},
        "retry": {"max_retries": 1, "delay": "10ms", "for": ["LookupError"]},
    },
    "own-error": {"task": "apart:own_error"},
    "returns": {"task": "apart:returns", "params": {"what": {"type": "string"}}},
    "hostile": {"task": "apart:hostile", "params": {"what": {"type": "string"}}},
    "leaves": {"task": "apart:leaves", "params": {"code": {"type": "integer"}}},
    "waits": {"task": "apart:waits"},
    "forks": {"task": "apart:forks"},
    "pools": {"task": "apart:pools"},
    "leaves-behind": {"task": "apart:leaves_behind"},
    "bound": {"task": "apart:bound", "retry": {"max_retries": 2, "delay": "10ms"}},
    "shell": {"task": "runner.tasks.shell:run", "kwargs": {"script": "echo $$; exec sleep 300"}},
    "no-target": {"task": "apart:nothing_here"},
}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Iterator[Work]:
    settings = {"defaults": {"isolation": "process"}, "worker": {"lease": "3s"}}
    project = write_project(
        tmp_path_factory.mktemp("apart") / "p",
        redis_server.url,
        JOBS,
        {"apart.py": MODULE},
        settings,
        f"t{uuid.uuid4().hex[:10]}",
    )
    with project.worker(concurrency=1, env={"HELD": "s3cr3t-value"}):
        yield Work(project)


def texts(work: Work, run_id: str) -> list[str]:
    return [line.text for line in RunLog(work.opened.ledger, run_id).lines()]


def noted(notes: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in notes.read_text().splitlines()]


def test_each_run_has_a_process_that_no_other_run_has_used(work: Work) -> None:
    runs = [work.run(job).result for job in ("count", "count", "shared-count", "shared-count", "count", "shared-count")]
    apart = [runs[0], runs[1], runs[4]]
    assert [run[:2] for run in apart] == [[1, ["count"]]] * 3
    assert len({run[2] for run in runs}) == 5
    assert runs[2][2] == runs[3][2]
    assert all(run[3] for run in runs)
    assert not any(is_alive(run[2]) for run in apart)
    assert runs[0][4] == runs[1][4]


def test_each_run_draws_numbers_of_its_own(work: Work) -> None:
    assert work.run("numbers").result != work.run("numbers").result


def test_a_timeout_ends_all_that_the_run_has_started(work: Work, notes: Path) -> None:
    run = work.run("timeout", notes=str(notes))
    assert (run.state, run.reason) == ("FAILURE", "timeout")
    assert all(map(is_dead, noted(notes)[0].values()))


def test_a_soft_timeout_lets_the_run_clean_up(work: Work, notes: Path) -> None:
    run = work.run("soft", notes=str(notes))
    assert (run.state, run.result) == ("SUCCESS", "late"), run.error
    assert noted(notes)[-1] == {"cleaned": True}


@pytest.mark.parametrize("job", ["sleep", "unwinds", "stubborn"])
def test_a_run_is_terminated(work: Work, notes: Path, job: str) -> None:
    handle = work.submit(job, notes=str(notes))
    wait_until(notes.read_text, 30.0, "the run starts")
    handle.revoke(terminate=True)
    run = handle.wait(60.0)
    assert (run.state, run.reason) == ("REVOKED", "terminated")
    started, *cleaned = noted(notes)
    assert all(map(is_dead, started.values()))
    assert cleaned == ([{"cleaned": True}] if job == "unwinds" else [])


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("kill", ("SIGKILL", None)),
        ("segv", ("SIGSEGV", None)),
        ("abort", ("SIGABRT", None)),
        ("SIGTERM", ("SIGTERM", None)),
        ("SIGHUP", ("SIGHUP", None)),
        ("SIGQUIT", ("SIGQUIT", None)),
        ("exit", (None, 3)),
        ("well", (None, 0)),
    ],
)
def test_a_death_of_the_process_is_told_as_it_was(work: Work, how: str, told: tuple[str | None, int | None]) -> None:
    run = work.run("dies", how=how)
    assert (run.state, run.reason) == ("FAILURE", "poisoned")
    [death] = run.deaths
    assert (death["signal"], death["exit_code"]) == told
    assert texts(work, run.id) == ["last words", "a warning"]


def test_log_progress_secrets_and_result_are_those_of_any_run(work: Work) -> None:
    run = work.run("shows")
    assert run.result == {"token": "***", "argv": ["apart:shows"], "env": "full"}
    assert texts(work, run.id) == ["***", "a warning", "from a program", "no end"]
    assert run.progress == {"fraction": 0.5, "message": "***"}


def test_a_failure_is_retried_and_shows_no_secret(work: Work) -> None:
    run = work.run("fails")
    assert (run.state, run.attempts, run.retries) == ("FAILURE", 2, 1)
    assert run.error is not None
    assert (run.error["type"], run.error["message"]) == ("LookupError", "***")
    assert texts(work, run.id) == ["attempt 1", "attempt 2"]


def test_outcomes_of_all_kinds_arrive(work: Work) -> None:
    assert work.run("own-error").error["message"] == "mine"  # type: ignore[index]
    assert work.run("returns", what="large").result == "x" * 200_000
    assert work.run("returns", what="none").state == "SUCCESS"
    assert "JSON" in work.run("returns", what="unstorable").error["message"]  # type: ignore[index]
    assert work.run("leaves", code=0).state == "SUCCESS"
    assert "sys.exit(3)" in work.run("leaves", code=3).error["message"]  # type: ignore[index]
    assert work.run("waits").result == "waited"
    assert work.run("forks").error["message"] == "of the parent"  # type: ignore[index]
    assert work.run("pools").result == [1, 2]
    assert work.run("bound").result == 1
    assert work.run("no-target").reason == "import_error"


@pytest.mark.parametrize("what", ["forbids", "forbids-connections", "clears"])
def test_a_process_in_which_hardly_anything_can_be_done_tells_its_outcome(work: Work, what: str) -> None:
    run = work.run("hostile", what=what)
    assert (run.state, run.result, run.attempts, run.losses) == ("SUCCESS", 1, 1, 0), run.error


def test_what_a_run_leaves_behind_ends_with_it(work: Work) -> None:
    pid = work.run("leaves-behind").result
    wait_until(lambda: not is_alive(pid), 30.0, "what it has left behind is ended")


def test_what_a_shell_job_has_started_is_dead_when_its_run_ends(work: Work) -> None:
    handle = work.submit("shell")
    wait_until(lambda: texts(work, handle.id), 30.0, "the script starts")
    handle.revoke(terminate=True)
    assert handle.wait(60.0).reason == "terminated"
    assert not is_alive(int(texts(work, handle.id)[0]))


@pytest.mark.parametrize("victim", ["parent", "child", "run"])
def test_whoever_is_killed_the_run_starts_again(make_project: Callable[..., Project], notes: Path, victim: str) -> None:
    jobs = {"sleep": {**JOBS["sleep"], "isolation": "process"}}
    project = make_project(jobs, {"apart.py": MODULE}, {"worker": {"lease": "2s"}})
    with project.worker(concurrency=1) as worker, project.worker(concurrency=1) as other:
        run_id = project.submit("sleep", "-p", f"notes={notes}")
        wait_until(notes.read_text, 30.0, "the run starts")
        pid = noted(notes)[0]["pid"]
        child = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        owner = worker if f"-{worker.pid}-" in project.document(run_id)["worker"] else other
        os.kill({"parent": owner.pid, "child": child, "run": pid}[victim], signal.SIGKILL)
        wait_until(lambda: len(noted(notes)) == 2, 60.0, "the run starts again")
        assert not is_alive(pid)
        assert not is_alive(noted(notes)[0]["child"])
        project.cli("revoke", run_id, "--terminate").check()
        done = project.wait_for_state(run_id, "REVOKED")
        assert (done["losses"], done["attempts"]) == (1, 2)
    assert not any(is_alive(note[name]) for note in noted(notes) for name in ("pid", "child"))


@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_a_pool_without_processes_refuses_it_by_name(make_project: Callable[..., Project], pool: str) -> None:
    project = make_project({"apart": {"task": "os:getpid", "isolation": "process"}})
    done = project.cli("worker", "-P", pool)
    assert done.exit_code == 2
    assert "apart (isolation)" in done.stderr


def test_the_hook_is_called_in_each_process(make_project: Callable[..., Project]) -> None:
    hook = """
import os
from celery.signals import worker_process_init

CALLED = []


@worker_process_init.connect
def begin(**_):
    CALLED.append(os.getpid())


def setup():
    pass


def called():
    return [os.getpid(), CALLED[-1]]
"""
    jobs = {"called": {"task": "boot:called", "isolation": "process"}}
    project = make_project(jobs, {"boot.py": hook}, {"setup": "boot:setup"})
    with project.worker(concurrency=1):
        for _ in range(2):
            own, last = project.wait_for_state(project.submit("called"), "SUCCESS")["result"]
            assert own == last


def test_a_job_may_ask_for_it_while_the_worker_runs(make_project: Callable[..., Project]) -> None:
    project = make_project({"count": {"task": "apart:count"}}, {"apart.py": MODULE})
    with project.worker(concurrency=1) as worker:
        first, second = (project.wait_for_state(project.submit("count"), "SUCCESS")["result"] for _ in range(2))
        assert [first[0], second[0]] == [1, 2]
        seen = len(worker.lines())
        project.write({"jobs.d/jobs.yaml": "jobs: {count: {task: 'apart:count', isolation: process}}\n"})
        worker.wait_for("count", after=seen)
        for _ in range(2):
            assert project.wait_for_state(project.submit("count"), "SUCCESS")["result"][0] == 1


def test_a_run_takes_the_place_of_one_idle_process_only(make_project: Callable[..., Project], tmp_path: Path) -> None:
    module = """
import os, time

def together(folder):
    open(f"{folder}/{os.getpid()}", "w").close()
    while len(os.listdir(folder)) < 4:
        time.sleep(0.01)
    return os.getpid()

def apart():
    return os.getppid()
"""
    jobs = {
        "together": {"task": "crowd:together", "params": {"folder": {"type": "string"}}},
        "apart": {"task": "crowd:apart", "isolation": "process"},
    }
    project = make_project(jobs, {"crowd.py": module})

    def used(folder: Path) -> set[int]:
        folder.mkdir()
        ids = [project.submit("together", "-p", f"folder={folder}") for _ in range(4)]
        return {project.wait_for_state(run_id, "SUCCESS")["result"] for run_id in ids}

    with project.worker(concurrency=4):
        before = used(tmp_path / "0")
        for turn in range(1, 4):
            taken = project.wait_for_state(project.submit("apart"), "SUCCESS")["result"]
            assert taken not in before
            after = used(tmp_path / str(turn))
            assert len(before - after) == 1
            before = after
