"""Redis behind Sentinel: a primary dies, a replica takes over, and everything goes on; and what ``replicated`` adds."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis

from tests.support.deadline import wait_until
from tests.support.need import need
from tests.support.project import Project, write_project
from tests.support.running import Running
from tests.support.work import FILES, JOBS

PASSWORD = "in/the open"

pytestmark = pytest.mark.redis_server


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class Fleet:
    """A primary, a replica, and three Sentinels."""

    folder: Path
    stack: ExitStack
    ports: list[int] = field(default_factory=lambda: [free_port(), free_port()])
    sentinels: list[int] = field(default_factory=lambda: [free_port() for _ in range(3)])
    running: dict[int, Running] = field(default_factory=dict)

    def start(self) -> None:
        primary, replica = self.ports
        self._server(primary)
        self._server(replica, "--replicaof", f"127.0.0.1 {primary}")
        wait_until(lambda: self.client(replica).info()["master_link_status"] == "up", 30.0, "the replica follows")
        for port in self.sentinels:
            config = self.folder / f"sentinel-{port}.conf"
            config.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {self.folder}\nsentinel monitor main 127.0.0.1 {primary} 2\n"
                f"sentinel auth-pass main {PASSWORD!r}\nsentinel down-after-milliseconds main 1000\n"
                "sentinel failover-timeout main 3000\n".replace("'", '"')
            )
            self._run(port, [need("redis-server"), str(config), "--sentinel"])
        asked = redis.Redis(port=self.sentinels[0], decode_responses=True)
        wait_until(lambda: self._complete(asked), 30.0, "the Sentinels know each other and the replica")

    def _complete(self, asked: redis.Redis) -> bool:
        try:
            state = asked.sentinel_master("main")
        except redis.RedisError:
            return False
        return isinstance(state, dict) and (state["num-other-sentinels"], state["num-slaves"]) == (2, 1)

    def _server(self, port: int, *more: str) -> None:
        folder = self.folder / str(port)
        folder.mkdir()
        words = [need("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
        words += ["--requirepass", PASSWORD, "--masterauth", PASSWORD, "--repl-diskless-sync-delay", "0", *more]
        self._run(port, words)
        wait_until(lambda: self._answers(port), 30.0, "the server answers")

    def _run(self, port: int, words: list[str]) -> None:
        self.running[port] = self.stack.enter_context(Running(words, cwd=self.folder))

    def _answers(self, port: int) -> bool:
        try:
            return bool(self.client(port).ping())
        except redis.RedisError:
            return False

    def client(self, port: int) -> redis.Redis:
        return redis.Redis(port=port, password=PASSWORD, decode_responses=True)

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        return f"sentinel://:{PASSWORD.replace('/', '%2F').replace(' ', '%20')}@{hosts}/main/0"

    def signal(self, port: int, signum: int) -> None:
        os.kill(self.running[port].pid, signum)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with ExitStack() as stack:
        found = Fleet(tmp_path / "fleet", stack)
        found.folder.mkdir()
        found.start()
        yield found


@pytest.fixture
def make(tmp_path: Path, fleet: Fleet) -> Callable[..., Project]:
    def make(**settings: object) -> Project:
        jobs = {name: JOBS[name] for name in ("shared", "sleep")}
        jobs["once"] = {**JOBS["sleep"], "delivery": "at_most_once"}
        return write_project(tmp_path / "p", fleet.url, jobs, FILES, {"worker": {"lease": "3s"}, **settings})

    return make


def test_a_failover_stops_nobody(fleet: Fleet, make: Callable[..., Project], tmp_path: Path) -> None:
    project = make()
    with ExitStack() as stack, project.worker() as worker:
        project.cli("submit", "shared", "--wait").check()
        notes = tmp_path / "notes"
        notes.touch()
        running = project.cli("submit", "sleep", "-p", "seconds=6", "-p", f"notes={notes}").check().id
        wait_until(notes.read_text, 30.0, "it runs")
        waiting = stack.enter_context(project.start("wait", running))
        waiting.wait_for("STARTED", 30.0)
        fleet.signal(fleet.ports[0], signal.SIGKILL)
        wait_until(lambda: fleet.client(fleet.ports[1]).info()["role"] == "master", 60.0, "the replica takes over")
        assert waiting.process.wait(90) == 0, waiting.stderr
        assert notes.read_text().count("started") == 1, "it started once"
        # The worker goes on with the new primary.
        project.cli("submit", "shared", "--wait", "--timeout", "60s").check()
        assert PASSWORD not in worker.stderr


def test_replicated_confirms_or_says_that_it_could_not(fleet: Fleet, make: Callable[..., Project]) -> None:
    project = make(durability="replicated")
    run_id = project.cli("submit", "shared").check().id
    # What was confirmed outlives its primary.
    assert fleet.client(fleet.ports[1]).exists(f"{project.namespace}:run:{run_id}")
    fleet.signal(fleet.ports[1], signal.SIGSTOP)
    refused = project.cli("submit", "shared", "--json").check(69)
    error = refused.json["error"]
    assert error["code"] == "unconfirmed"
    assert "accepted, not confirmed" in error["message"]
    accepted = error["hint"].split("runner status ")[-1] if "runner status " in error["hint"] else error["hint"]
    assert accepted
    result = project.cli("revoke", run_id).check(69)
    assert "accepted, not confirmed" in result.stderr
    fleet.signal(fleet.ports[1], signal.SIGCONT)
    wait_until(
        lambda: fleet.client(fleet.ports[1]).hget(f"{project.namespace}:run:{run_id}", "state") == "REVOKED",
        30.0,
        "the replica has it after all",
    )


def test_what_must_not_start_twice_starts_once_a_replica_knows(
    fleet: Fleet, make: Callable[..., Project], tmp_path: Path
) -> None:
    project = make(durability="replicated")
    notes = tmp_path / "notes"
    notes.touch()
    submit = ("submit", "once", "-p", "seconds=0", "-p", f"notes={notes}")
    with project.worker() as worker:
        project.cli(*submit, "--wait").check()
        fleet.signal(fleet.ports[1], signal.SIGSTOP)
        project.cli(*submit).check(69)
        worker.wait_for("waits until a replica has its start", 60.0)
        assert notes.read_text().count("started") == 1, "the second has not begun"
        fleet.signal(fleet.ports[1], signal.SIGCONT)
        wait_until(lambda: notes.read_text().count("started") == 2, 30.0, "it begins")
        # A worker that ends meanwhile gives the run back, and no failure is recorded.
        fleet.signal(fleet.ports[1], signal.SIGSTOP)
        refused = project.cli(*submit).check(69)
        run_id = re.findall(r"[0-9a-f-]{36}", refused.stderr)[0]
        wait_until(lambda: worker.stderr.count("waits until a replica has its start") == 2, 60.0, "it waits")
    fleet.signal(fleet.ports[1], signal.SIGCONT)
    assert notes.read_text().count("started") == 2
    with project.worker():
        project.cli("wait", run_id, "--timeout", "60s").check()
    assert notes.read_text().count("started") == 3


def test_the_doctor_and_the_status_reach_it_too(fleet: Fleet, make: Callable[..., Project]) -> None:
    project = make()
    project.cli("submit", "shared").check()
    checked = project.cli("doctor", "--json")
    assert checked.exit_code in (0, 1)
    assert PASSWORD not in checked.stdout + checked.stderr
    for port in fleet.sentinels:
        fleet.signal(port, signal.SIGKILL)
    gone = project.cli("runs").check(69)
    assert PASSWORD not in gone.stderr
    assert "Sentinel" in gone.stderr or "refused" in gone.stderr
