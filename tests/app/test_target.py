"""What a job may be: coroutine functions run, generators are refused, and a program's ``main`` finds its own world."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.project import write_project
from tests.support.servers import Server
from tests.support.work import Work

MODULE = '''
import argparse, asyncio, contextlib, functools, multiprocessing, os, signal, subprocess, sys, time, types
from pathlib import Path

from celery import shared_task
from celery.exceptions import SoftTimeLimitExceeded

from runner import current_run


async def coroutine(x=1):
    await asyncio.sleep(0)
    return x + 1


def decorator(function):
    @functools.wraps(function)
    def around(*args, **kwargs):
        return function(*args, **kwargs)
    return around


def bare_decorator(function):
    return lambda *args, **kwargs: function(*args, **kwargs)


decorated = decorator(coroutine)
hidden = bare_decorator(coroutine)
partial = functools.partial(functools.partial(coroutine), x=1)
partial_of_decorated = functools.partial(decorator(coroutine), 1)


class Waits:
    async def __call__(self, x=1):
        return await coroutine(x)

    async def method(self, x=1):
        return await coroutine(x)

    @classmethod
    async def of_class(cls, x=1):
        return await coroutine(x)

    @staticmethod
    async def static(x=1):
        return await coroutine(x)


WAITS = Waits()


class Awaitable:
    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        return 2


def returns_awaitable():
    return Awaitable()


def returns_coroutine():
    return coroutine(1)


async def forgets_to_await():
    return coroutine(1)


async def returns_task():
    return asyncio.ensure_future(coroutine(1))


@types.coroutine
def of_generator():
    yield from Awaitable().__await__()
    return 2


@shared_task
async def shared(x=1):
    return await coroutine(x)


@shared_task(bind=True)
async def bound(self, x=1):
    return await coroutine(x) if self.request.id else None


async def fails():
    await asyncio.sleep(0)
    raise LookupError("not there")


async def leaves():
    await asyncio.sleep(0)
    sys.exit(3)


async def knows_its_run():
    await asyncio.sleep(0)
    return current_run().job


async def cleans_up(path, how):
    try:
        if how == "waits":
            await asyncio.sleep(300)
        elif how == "blocks":
            time.sleep(300)
        elif how == "gathers":
            await asyncio.gather(asyncio.sleep(300), asyncio.sleep(300))
        else:
            async with asyncio.timeout(300):
                await asyncio.sleep(300)
    except SoftTimeLimitExceeded:
        await asyncio.sleep(0.01)
        Path(path).write_text("cleaned up")
        return "late"


def generator():
    Path("ran").touch()
    yield 1


async def async_generator():
    yield 1


async def returns_generator():
    return generator()


async def returns_async_generator():
    return async_generator()


@contextlib.contextmanager
def manager():
    Path("ran").touch()
    yield 1


async_manager = contextlib.asynccontextmanager(async_generator)


class Generates:
    def __call__(self):
        yield 1


GENERATES = Generates()
hidden_generator = bare_decorator(generator)
partial_generator = functools.partial(generator)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--day", default="today")
    return [sys.argv, parser.parse_args().day, parser.prog]


def zone():
    shell = subprocess.run(["date", "+%H"], env={**os.environ}, capture_output=True, text=True).stdout
    return [time.strftime("%H", time.localtime(0)), time.tzname[0], os.environ.get("TZ"), len(shell)]


ASK = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"


def ask(queue):
    queue.put(signal.getsignal(signal.SIGINT) is not signal.SIG_IGN)


def interruptible(how):
    """Whether a process that the job starts obeys SIGINT."""
    if how == "run":
        return subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True).stdout.strip()
    if how == "session":
        return subprocess.run(
            [sys.executable, "-c", ASK], capture_output=True, text=True, start_new_session=True
        ).stdout.strip()
    if how == "popen":
        with os.popen(f"{sys.executable} -c '{ASK}'") as pipe:
            return pipe.read().strip()
    process = subprocess.Popen(["sleep", "300"])
    process.send_signal(signal.SIGINT)
    return str(process.wait() == -signal.SIGINT)
'''

RUN = {
    "coroutine": "targets:coroutine",
    "decorated": "targets:decorated",
    "hidden": "targets:hidden",
    "partial": "targets:partial",
    "partial-of-decorated": "targets:partial_of_decorated",
    "object": "targets:WAITS",
    "method": "targets:WAITS.method",
    "of-class": "targets:Waits.of_class",
    "static": "targets:Waits.static",
    "awaitable": "targets:returns_awaitable",
    "returns-coroutine": "targets:returns_coroutine",
    "forgets-to-await": "targets:forgets_to_await",
    "returns-task": "targets:returns_task",
    "of-generator": "targets:of_generator",
    "shared": "targets:shared",
    "bound": "targets:bound",
}
REFUSED = {
    "generator": "targets:generator",
    "async-generator": "targets:async_generator",
    "generates": "targets:GENERATES",
    "hidden-generator": "targets:hidden_generator",
    "partial-generator": "targets:partial_generator",
    "returns-generator": "targets:returns_generator",
    "returns-async-generator": "targets:returns_async_generator",
}
MANAGERS = {
    "manager": "targets:manager",
    "async-manager": "targets:async_manager",
}

JOBS: dict[str, Any] = {
    **{name: {"task": path} for name, path in RUN.items()},
    # With `keep` they would fail all the same, since none of them is JSON.
    **{name: {"task": path, "result": "drop"} for name, path in {**REFUSED, **MANAGERS}.items()},
    "fails": {"task": "targets:fails", "retry": {"max_retries": 1, "delay": "10ms", "for": ["LookupError"]}},
    "leaves": {"task": "targets:leaves"},
    "knows": {"task": "targets:knows_its_run"},
    "cleans-up": {
        "task": "targets:cleans_up",
        "soft_timeout": "500ms",
        "params": {"path": {"type": "string"}, "how": {"type": "string"}},
    },
    "main": {"task": "targets:main"},
    "zone": {"task": "targets:zone"},
    "zone-of-tokyo": {"task": "targets:zone", "env": {"TZ": "Asia/Tokyo"}},
    "zone-of-calcutta": {"task": "targets:zone", "env": {"TZ": "IST-5:30"}},
    "interruptible": {"task": "targets:interruptible", "params": {"how": {"type": "string"}}},
    "interruptible-shell": {
        "task": "runner.tasks.shell:run",
        "kwargs": {"script": "sh -c 'kill -INT $$; exit 0'"},
    },
}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Iterator[Work]:
    namespace = f"t{uuid.uuid4().hex[:10]}"
    folder = tmp_path_factory.mktemp("targets")
    project = write_project(folder / "p", redis_server.url, JOBS, {"targets.py": MODULE}, namespace=namespace)
    with project.worker(concurrency=1, env={"TZ": None}):
        yield Work(project)


@pytest.mark.parametrize("name", RUN)
def test_what_is_awaitable_is_run(work: Work, name: str) -> None:
    run = work.run(name)
    assert (run.state, run.result) == ("SUCCESS", 2), run.error


def test_validate_refuses_what_would_not_run_and_nothing_else(work: Work) -> None:
    done = work.project.cli("validate", "--imports", "--json")
    faults = {
        problem["path"].split(".")[1] for problem in done.json["problems"] if "generator function" in problem["message"]
    }
    only_when_called = {"hidden-generator", "returns-generator", "returns-async-generator"}
    assert faults == (REFUSED.keys() | MANAGERS.keys()) - only_when_called


@pytest.mark.parametrize("name", REFUSED)
def test_a_generator_is_a_failure_that_says_so(work: Work, name: str) -> None:
    run = work.run(name)
    assert (run.state, run.reason) == ("FAILURE", "exception")
    assert run.error is not None
    assert "the job returned a generator" in run.error["message"]
    assert not (work.project.path / "ran").exists()


@pytest.mark.parametrize("name", MANAGERS)
def test_a_context_manager_is_a_failure_that_says_so(work: Work, name: str) -> None:
    run = work.run(name)
    assert (run.state, run.reason) == ("FAILURE", "exception")
    assert run.error is not None
    assert "the job returned a context manager that nobody has entered" in run.error["message"]
    assert not (work.project.path / "ran").exists()


def test_a_coroutine_may_fail_and_is_retried(work: Work) -> None:
    run = work.run("fails")
    assert (run.state, run.attempts) == ("FAILURE", 2)
    assert run.error is not None
    assert run.error["type"] == "LookupError"
    assert 'raise LookupError("not there")' in run.error["traceback"]


def test_a_coroutine_may_leave(work: Work) -> None:
    run = work.run("leaves")
    assert run.error is not None
    assert "sys.exit(3)" in run.error["message"]


def test_a_coroutine_knows_its_run(work: Work) -> None:
    assert work.run("knows").result == "knows"


@pytest.mark.parametrize("how", ["waits", "blocks", "gathers", "times"])
def test_a_coroutine_cleans_up_after_its_soft_timeout(work: Work, tmp_path: Path, how: str) -> None:
    run = work.run("cleans-up", path=str(tmp_path / "told"), how=how)
    assert (run.state, run.result) == ("SUCCESS", "late"), run.error
    assert (tmp_path / "told").read_text() == "cleaned up"


def test_argparse_finds_no_arguments_of_the_worker(work: Work) -> None:
    assert work.run("main").result == [["targets:main"], "today", "targets:main"]


def test_a_time_zone_of_env_is_that_of_the_run_alone(work: Work) -> None:
    before = work.run("zone").result
    assert work.run("zone-of-tokyo").result[:3] == ["09", "JST", "Asia/Tokyo"]
    assert work.run("zone").result == before
    assert work.run("zone-of-calcutta").result[:3] == ["05", "IST", "IST-5:30"]
    assert work.run("zone").result == before


@pytest.mark.parametrize("how", ["run", "session", "popen", "signal"])
def test_processes_that_a_job_starts_obey_sigint(work: Work, how: str) -> None:
    assert work.run("interruptible", how=how).result == "True"


def test_processes_of_a_shell_job_obey_sigint(work: Work) -> None:
    run = work.run("interruptible-shell")
    assert run.state == "FAILURE"
    assert run.error is not None
    assert "130" in run.error["message"]
