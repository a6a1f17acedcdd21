"""Celery's signals: each is sent, in the process that Celery's docs name, with what they promise."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.contract.listening import LISTENING, Heard
from tests.support.deadline import wait_until
from tests.support.project import clean_environment, write_project
from tests.support.running import Running
from tests.support.servers import Server

WORK = """
import logging, os, signal, time

import listening
from celery import current_task, shared_task
from runner import current_run


def where(day=None):
    logging.getLogger("shop").warning("a word of the job")
    return {
        "pid": os.getpid(),
        "prepared": listening.prepared,
        "task": current_task.name,
        "id": current_task.request.id,
    }

def fail():
    raise ValueError("the invoice is missing")

def flaky():
    if current_run().attempt < 2:
        raise ConnectionError("not yet")
    return "at last"

@shared_task(bind=True)
def again(self):
    if self.request.retries < 1:
        raise self.retry(exc=ConnectionError("again"))
    return os.getpid()

def sleep():
    time.sleep(60)

def die():
    os.kill(os.getpid(), signal.SIGKILL)
"""
RETRY = {"max_retries": 1, "delay": "50ms", "jitter": False}
JOBS: dict[str, Any] = {
    "where": {"task": "work:where", "params": {"day": {"type": "string"}}},
    "fail": {"task": "work:fail"},
    "flaky": {"task": "work:flaky", "retry": RETRY},
    "again": {"task": "work:again", "retry": RETRY},
    "spoiled": {"task": "work:where"},
}
IN_CHILDREN: dict[str, Any] = {
    "apart": {"task": "work:where", "isolation": "process"},
    "slow": {"task": "work:sleep", "soft_timeout": "300ms", "timeout": "60s"},
    "die": {"task": "work:die", "max_deliveries": 1},
}
POOLS = ["prefork", "threads", "solo"]
FILES = {"work.py": WORK, "listening.py": LISTENING}

Start = Callable[[str], Heard]


@pytest.fixture(scope="module")
def listening(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Iterator[Start]:
    """Start a worker of a pool, when a test first asks for it."""
    with ExitStack() as stack:

        @cache
        def start(pool: str) -> Heard:
            jobs = {**JOBS, **IN_CHILDREN} if pool == "prefork" else JOBS
            settings = {"setup": "listening:connect"}
            project = write_project(tmp_path_factory.mktemp(pool) / "p", redis_server.url, jobs, FILES, settings)
            stack.enter_context(project.worker("-P", pool, "-n", "w@shop", concurrency=1))
            return Heard(project)

        yield start


def names(lines: list[dict[str, Any]]) -> list[str]:
    return [line["signal"] for line in lines]


@pytest.mark.parametrize("pool", POOLS)
def test_a_run_that_succeeds(listening: Start, pool: str) -> None:
    heard = listening(pool)
    run = heard.run("where", day="monday")
    lines = prerun, success, postrun = heard.of_run(run.id)
    assert names(lines) == ["task_prerun", "task_success", "task_postrun"]
    assert {line["sender"] for line in lines} == {"where"}
    # In the process of the job, around it, and with its task as the current one.
    assert {line["pid"] for line in lines} == {run.result["pid"]}
    assert (run.result["task"], run.result["id"]) == ("where", run.id)
    for line in (prerun, postrun):
        arguments = line["told"]
        assert {"task_id", "task", "args", "kwargs"} <= set(arguments)
        assert arguments["task_id"] == run.id
        assert arguments["task"] == {"name": "where", "id": run.id, "retries": 0}
    assert success["told"]["result"] == run.result
    assert (postrun["told"]["state"], postrun["told"]["retval"]) == ("SUCCESS", run.result)


@pytest.mark.parametrize("pool", POOLS)
def test_a_run_that_fails(listening: Start, pool: str) -> None:
    heard = listening(pool)
    run = heard.run("fail")
    lines = _, failure, postrun = heard.of_run(run.id)
    assert names(lines) == ["task_prerun", "task_failure", "task_postrun"]
    assert {line["sender"] for line in lines} == {"fail"}
    assert len({line["pid"] for line in lines}) == 1
    error = {"type": "ValueError", "text": "the invoice is missing"}
    arguments = failure["told"]
    assert {"task_id", "exception", "args", "kwargs", "traceback", "einfo"} <= set(arguments)
    assert (arguments["task_id"], arguments["exception"]) == (run.id, error)
    assert arguments["traceback"][-1] == "fail"
    assert arguments["einfo"]["exception"] == error
    assert "the invoice is missing" in arguments["einfo"]["traceback"]
    assert (postrun["told"]["state"], postrun["told"]["retval"]) == ("FAILURE", error)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize(("job", "text"), [("flaky", "not yet"), ("again", "again")])
def test_a_run_that_is_retried(listening: Start, pool: str, job: str, text: str) -> None:
    heard = listening(pool)
    run = heard.run(job)
    lines = heard.of_run(run.id, attempts=2)
    assert names(lines) == [
        *("task_prerun", "task_retry", "task_postrun"),
        *("task_prerun", "task_success", "task_postrun"),
    ]
    assert {line["sender"] for line in lines} == {job}
    arguments = lines[1]["told"]
    assert {"request", "reason", "einfo"} <= set(arguments)
    assert arguments["request"]["id"] == run.id
    assert arguments["reason"]["type"] == "Retry"
    assert arguments["reason"]["exc"] == {"type": "ConnectionError", "text": text}
    assert text in arguments["einfo"]["traceback"]
    assert [line["told"]["state"] for line in lines if line["signal"] == "task_postrun"] == ["RETRY", "SUCCESS"]
    assert lines[-1]["told"]["task"]["retries"] == 1


@pytest.mark.parametrize("pool", POOLS)
def test_a_receiver_that_raises_changes_nothing(listening: Start, pool: str) -> None:
    heard = listening(pool)
    run = heard.run("spoiled")
    assert (run.state, run.attempts, run.result["task"]) == ("SUCCESS", 1, "spoiled")
    assert names(heard.of_run(run.id)) == ["task_prerun", "task_success", "task_postrun"]


@pytest.mark.parametrize("pool", POOLS)
def test_each_attempt_is_received(listening: Start, pool: str) -> None:
    heard = listening(pool)
    run = heard.run("flaky")
    heard.of_run(run.id, attempts=2)
    requests = [line["told"]["request"] for line in heard.lines("task_received")]
    assert [request for request in requests if request["id"] == run.id] == [{"id": run.id, "name": "flaky"}] * 2


def test_a_soft_timeout_is_a_failure(listening: Start) -> None:
    heard = listening("prefork")
    run = heard.run("slow")
    lines = heard.of_run(run.id)
    assert names(lines) == ["task_prerun", "task_failure", "task_postrun"]
    assert lines[1]["told"]["exception"]["type"] == "SoftTimeLimitExceeded"
    assert "sleep" in lines[1]["told"]["traceback"]


def test_a_run_in_a_process_of_its_own(listening: Start) -> None:
    heard = listening("prefork")
    runs = [heard.run("apart") for _ in range(2)]
    assert runs[0].result["pid"] != runs[1].result["pid"]
    for run in runs:
        # What a receiver of worker_process_init has made is there.
        assert run.result["prepared"] >= 1
        assert_prepared(heard, run.result["pid"])
        lines = heard.of_run(run.id)
        assert names(lines) == ["task_prerun", "task_success", "task_postrun"]
        assert {line["pid"] for line in lines} == {run.result["pid"]}


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_each_process_is_prepared_once_before_its_first_run(listening: Start, pool: str) -> None:
    heard = listening(pool)
    if pool == "prefork":
        assert heard.run("die").reason == "poisoned"
    run = heard.run("where")
    assert run.result["prepared"] == 1
    assert_prepared(heard, run.result["pid"])


def assert_prepared(heard: Heard, pid: int) -> None:
    """Check that receivers have prepared a process once, before its first run."""
    lines = [line for line in heard.lines() if line["pid"] == pid]
    inits = [line for line in lines if line["signal"] == "worker_process_init"]
    assert [line["sender"] for line in inits] == ["w@shop"]
    assert names(lines).index("worker_process_init") < names(lines).index("task_prerun")


def test_the_signals_of_a_workers_life(make_project: Callable[..., Any]) -> None:
    boot = """
import logging
from celery import signals
from runner.celery import app
import listening

@signals.after_setup_logger.connect
def add_file(logger, **_):
    logger.addHandler(logging.FileHandler("worker.log"))

listening.connect()
"""
    project = make_project(JOBS, {**FILES, "boot.py": boot})
    command = [sys.executable, "-m", "celery", "-A", "boot", "worker", "-c", "2", "-l", "INFO", "-n", "w@shop"]
    with Running(command, cwd=project.path, env=clean_environment()) as worker:
        worker.wait_for("runner worker ready", 40.0)
        heard = Heard(project)
        heard.wait_for(lambda lines: names(lines).count("worker_process_init") == 2, "both children")
        heard.wait_for(lambda lines: {"worker_ready", "heartbeat_sent"} <= set(names(lines)), "the worker is ready")
        heard.run("where")
        # Root's handlers have what the worker logs and what jobs log.
        log: Path = project.path / "worker.log"
        wait_until(lambda: "runner worker ready" in log.read_text(), 30.0, "the file of the log")
        wait_until(lambda: "a word of the job" in log.read_text(), 30.0, "a word of the job in the log")
        assert worker.terminate() == 0
    lines = heard.lines()
    begin = ["celeryd_init", "worker_init", "after_setup_logger", "after_setup_task_logger", "celeryd_after_setup"]
    assert names(lines)[: len(begin)] == begin
    assert names(lines).count("worker_ready") == names(lines).count("worker_shutdown") == 1
    assert names(lines).index("worker_ready") < names(lines).index("task_prerun")
    assert names(lines).index("worker_before_create_process") < names(lines).index("worker_process_init")
    by = {line["signal"]: line for line in lines}
    for name in (*begin, "worker_ready", "heartbeat_sent", "worker_shutdown"):
        assert by[name]["pid"] == worker.pid, name
    assert by["celeryd_init"]["sender"] == by["celeryd_after_setup"]["sender"] == "w@shop"
    assert by["celeryd_init"]["told"]["options"]["concurrency"] == 2
    assert {"instance", "conf", "options"} <= set(by["celeryd_init"]["told"])
    assert {"instance", "conf"} <= set(by["celeryd_after_setup"]["told"])
    assert {"logger", "loglevel", "logfile", "format", "colorize"} <= set(by["after_setup_logger"]["told"])
    assert by["after_setup_logger"]["told"]["loglevel"] == logging.INFO
    assert by["worker_init"]["sender"] == by["worker_ready"]["sender"] == by["worker_shutdown"]["sender"] == "w@shop"
    children = {line["pid"] for line in lines if line["signal"] == "worker_process_init"}
    assert len(children) == 2
    assert worker.pid not in children
    ended = [line for line in lines if line["signal"] == "worker_process_shutdown"]
    assert {line["pid"] for line in ended} == children
    for line in ended:
        assert (line["sender"], line["told"]["pid"]) == ("w@shop", line["pid"])
        assert "exitcode" in line["told"]


def test_a_process_that_is_replaced_is_shut_down(make_project: Callable[..., Any]) -> None:
    boot = "from runner.celery import app\nimport listening\nlistening.connect()\n"
    project = make_project(JOBS, {**FILES, "boot.py": boot})
    command = [sys.executable, "-m", "celery", "-A", "boot", "worker", "-c", "1", "-n", "w@shop"]
    with Running(
        [*command, "-l", "INFO", "--max-tasks-per-child", "1"], cwd=project.path, env=clean_environment()
    ) as worker:
        worker.wait_for("runner worker ready", 40.0)
        heard = Heard(project)
        pids = [heard.run("where").result["pid"] for _ in range(2)]

        def ended(lines: list[dict[str, Any]]) -> bool:
            return {line["pid"] for line in lines} >= set(pids)

        heard.wait_for(ended, "both processes have ended", "worker_process_shutdown")
        for pid in pids:
            assert_prepared(heard, pid)
            # What a receiver sends off at the end is all that its runs have left.
            assert names([line for line in heard.lines() if line["pid"] == pid])[-1] == "worker_process_shutdown"


def test_a_receiver_of_setup_logging_has_the_log_to_itself(make_project: Callable[..., Any]) -> None:
    boot = """
import logging
from celery import signals
from runner.celery import app

@signals.setup_logging.connect
def set_up(loglevel, logfile, format, colorize, **_):
    logging.basicConfig(filename="own.log", level=logging.INFO, format="mine: %(message)s", force=True)
"""
    project = make_project(JOBS, {**FILES, "boot.py": boot})
    command = [sys.executable, "-m", "celery", "-A", "boot", "worker", "-c", "1", "-l", "INFO"]
    with Running(command, cwd=project.path, env=clean_environment()) as worker:
        log: Path = project.path / "own.log"
        wait_until(
            lambda: log.exists() and "mine: runner worker ready" in log.read_text(), 40.0, "the worker's own log"
        )
        run_id = project.submit("where")
        wait_until(lambda: f"mine: Task where[{run_id}] succeeded" in log.read_text(), 40.0, "the end of the run")
        assert "mine: a word of the job" in log.read_text()
        worker.signal(signal.SIGTERM)
        assert worker.wait(40.0) == 0
        assert "runner worker ready" not in worker.log
