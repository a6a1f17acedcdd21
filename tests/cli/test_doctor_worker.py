"""``runner doctor --worker``, the health check: it finds the worker of this host or container, and its heartbeats."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.support.deadline import wait_until
from tests.support.need import need
from tests.support.project import COMMAND, Project, Result, clean_environment
from tests.support.running import Running
from tests.support.servers import free_port
from tests.support.users import root_only

JOBS = {"sleeps": {"task": "time:sleep", "args": [300]}}


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project(JOBS)


def check(project: Project, exit_code: int) -> str:
    """Return the only finding, and check that its level fits the exit code."""
    [found] = project.cli("doctor", "--worker", "--json").check(exit_code).json["checks"]
    assert (found["name"], found["level"]) == ("worker", "problem" if exit_code else "ok")
    return str(found["what"])


def test_a_worker_lives_freezes_drains_and_dies(project: Project) -> None:
    assert "no worker of this project runs on" in check(project, 1)
    with project.worker(concurrency=1) as worker:
        name = worker.wait_for(r"runner worker ready: (\S+)")[1]
        assert check(project, 0) == f"{name} (process {worker.pid}) is running, 0 of 1 place taken"
        assert "worker " in project.cli("doctor", "--worker").check(0).stdout

        worker.signal(signal.SIGSTOP)
        try:
            client = project.redis()
            # As if it had been frozen for a minute: nobody else writes its record.
            client.hincrby(f"{project.namespace}:worker:{name}", "seen_at", -60_000)
            client.close()
            assert "has been silent for 6" in check(project, 1)
        finally:
            worker.signal(signal.SIGCONT)
        wait_until(lambda: project.cli("doctor", "--worker").exit_code == 0, what="the worker beats again")

        # A worker that drains must not be taken for a sick one, and be killed.
        project.wait_for_state(project.submit("sleeps"), "STARTED")
        worker.signal(signal.SIGTERM)
        wait_until(lambda: "is stopping, 1 of 1 place taken" in check(project, 0), what="the worker stops")

        worker.kill()
        assert f"was {name}, heard of" in check(project, 1)


def test_redis_that_is_away_is_no_verdict(project: Project) -> None:
    project.write({"runner.yaml": f"redis_url: redis://127.0.0.1:{free_port()}/0\n"})
    result = project.cli("doctor", "--worker").check(69)
    assert result.stdout == ""
    assert "Connection refused" in result.stderr


def test_it_repairs_nothing(project: Project) -> None:
    assert "--repair" in project.cli("doctor", "--worker", "--repair").check(2).stderr


def test_a_name_without_the_host_is_found(project: Project) -> None:
    with project.worker("-n", "reports@elsewhere", concurrency=1):
        assert check(project, 0).startswith("reports@elsewhere ")


@root_only
def test_the_worker_of_another_container_does_not_count(project: Project) -> None:
    """Both containers have this host's name, and their workers have the same process id."""
    apart = [need("unshare"), "--pid", "--fork", "--kill-child", "--mount-proc"]
    words = [*COMMAND, "worker", "-c", "1"]
    with Running([*apart, *words], cwd=project.path, env=clean_environment({})) as worker:
        name = worker.wait_for(r"runner worker ready: (\S+)", 60.0)[1]
        [init] = _children(worker.pid)

        def inside() -> Result:
            return _run([need("nsenter"), "--target", str(init), "--pid", "--mount"], project)

        assert f"{name} (process 1) is running" in inside().check(0).stdout
        assert f"was {name}, heard of" in check(project, 1)
        assert f"was {name}, heard of" in _run([*apart, "sh", "-c", '"$@"; exit $?', "sh"], project).check(1).stdout
        # unshare leaves SIGTERM to its child, which is process 1 of its namespace.
        worker.kill()


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:  # noqa: PTH123
        return [int(word) for word in file.read().split()]


def _run(before: list[str], project: Project) -> Result:
    words = [*COMMAND, "doctor", "--worker", "--project", str(project.path)]
    with Running([*before, *words], cwd=project.path, env=clean_environment({**os.environ})) as done:
        code = done.wait()
    return Result(tuple(words), code, done.stdout, done.stderr)
