"""Redis refuses an outcome for good, or only for now: the first is a failure that says so, the second an outage."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis._parsers.base import BaseParser

from runner.app.factory import create_app
from runner.errors import Unavailable, WriteRefused
from runner.ledger.translation import translate
from tests.support.project import Project, write_project
from tests.support.servers import Server, serving

MODULE = """
import time
from pathlib import Path


def large(size):
    return "x" * size


def fails():
    raise ValueError("of the job")


def writes():
    print("to the log")
    return "done"


def waits(path):
    while not Path(path).exists():
        time.sleep(0.01)
    return "done"
"""
JOBS: dict[str, Any] = {
    "large": {"task": "refused:large", "params": {"size": {"type": "integer"}}},
    "fails": {"task": "refused:fails"},
    "writes": {"task": "refused:writes"},
    "waits": {"task": "refused:waits", "params": {"path": {"type": "string"}}},
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own, whose settings it may change."""
    with serving("redis-unix", tmp_path / "server") as server:
        yield server


@pytest.fixture
def project(server: Server, tmp_path: Path) -> Project:
    settings = {"limits": {"result": "16MiB"}, "worker": {"lease": "2s"}}
    return write_project(tmp_path / "p", server.url, JOBS, {"refused.py": MODULE}, settings)


def test_a_result_that_the_server_does_not_take_is_a_failure(project: Project, server: Server) -> None:
    server.client.config_set("proto-max-bulk-len", "1mb")
    with project.worker(concurrency=1) as worker:
        run = project.wait_for_state(project.submit("large", "-p", "size=8000000"), "SUCCESS", "FAILURE", deadline=60.0)
        assert (run["state"], run["reason"], run["attempts"], run["losses"]) == ("FAILURE", "exception", 1, 0)
        assert "Redis refuses to store its result" in run["error"]["message"]
        small = project.submit("large", "-p", "size=10")
        assert project.wait_for_state(small, "SUCCESS")["attempts"] == 1
        assert worker.process.poll() is None


def test_a_key_of_another_type_is_a_failure(project: Project, server: Server) -> None:
    server.client.set(f"{project.namespace}:job:writes:SUCCESS", "no sorted set")
    with project.worker(concurrency=1) as worker:
        run = project.wait_for_state(project.submit("writes"), "SUCCESS", "FAILURE", deadline=60.0)
        assert (run["state"], run["reason"], run["attempts"], run["losses"]) == ("FAILURE", "exception", 1, 0)
        assert "WRONGTYPE" in run["error"]["message"]
        assert project.wait_for_state(project.submit("fails"), "FAILURE")["error"]["message"] == "of the job"
        assert worker.process.poll() is None


def test_an_outcome_that_may_not_be_written_at_all_is_lost(project: Project, server: Server, tmp_path: Path) -> None:
    client = server.client
    with project.worker(concurrency=1) as worker:
        run_id = project.submit("waits", "-p", f"path={tmp_path / 'go'}")
        project.wait_for_state(run_id, "STARTED")
        client.execute_command("ACL", "SETUSER", "default", "resetkeys", f"~{project.namespace}:*")
        (tmp_path / "go").touch()
        # Nobody waits forever: the child gives up, and the outcome that could not be written is a lost attempt.
        worker.wait_for("its outcome cannot be written", 60.0)
        client.execute_command("ACL", "SETUSER", "default", "allkeys")
        run = project.wait_for_state(run_id, "SUCCESS", "FAILURE", deadline=60.0)
        assert (run["state"], run["result"], run["losses"]) == ("SUCCESS", "done", 1)
        assert worker.process.poll() is None


def test_a_log_that_cannot_be_written_keeps_no_other_waiting(project: Project, server: Server) -> None:
    with project.worker(concurrency=1) as worker:
        damaged = str(uuid.uuid4())
        server.client.set(f"{project.namespace}:log:{damaged}", "no stream")
        app = create_app(project.settings, project.catalog)
        app.send_task("writes", task_id=damaged)
        assert project.wait_for_state(damaged, "SUCCESS", deadline=60.0)["attempts"] == 1
        worker.wait_for(f"part of the log of run {damaged} is lost", 60.0)
        other = project.submit("writes")
        project.wait_for_state(other, "SUCCESS", deadline=60.0)
        assert "to the log" in project.cli("logs", other).stdout


ANSWERS = [
    ("WRONGTYPE Operation against a key holding the wrong kind of value", True),
    ("NOPERM User runner has no permissions to run the 'evalsha' command", True),
    ("ERR Protocol error: invalid bulk length", True),
    ("ERR unknown command 'EVALSHA', with args beginning with:", True),
    ("ERR user_script:7: Script attempted to access nonexistent global variable 'x'", True),
    ("LOADING Redis is loading the dataset in memory", False),
    ("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", False),
    ("UNKILLABLE Sorry the script already executed write commands", False),
    ("OOM command not allowed when used memory > 'maxmemory'.", False),
    ("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.", False),
    ("READONLY You can't write against a read only replica.", False),
    ("NOREPLICAS Not enough good replicas to write.", False),
    ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", False),
    ("CLUSTERDOWN The cluster is down", False),
    ("TRYAGAIN Multiple keys request during rehashing of slot", False),
    ("NOAUTH Authentication required.", False),
    ("WRONGPASS invalid username-password pair or user is disabled.", False),
    ("DENIED Redis is running in protected mode because protected mode is enabled", False),
    ("ERR max number of clients reached", False),
]


@pytest.mark.parametrize(("answer", "permanent"), ANSWERS, ids=lambda value: str(value).split()[0])
def test_only_a_temporary_refusal_is_an_outage(answer: str, permanent: bool) -> None:
    error = translate(BaseParser.parse_error(answer), "redis://localhost")
    assert isinstance(error, WriteRefused) is permanent


@pytest.mark.parametrize("make", [redis.ConnectionError, redis.TimeoutError, redis.exceptions.MaxConnectionsError])
def test_a_lost_connection_is_an_outage(make: Callable[[str], Exception]) -> None:
    error = translate(make("gone"), "redis://localhost")
    assert isinstance(error, Unavailable)
    assert not isinstance(error, WriteRefused)
