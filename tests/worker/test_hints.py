"""Workers with RabbitMQ: woken by hints, and by their own beats where hints are lost or RabbitMQ is away."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

import runner
from runner.api import RunHandle
from runner.errors import NotHandedOver, UnknownRun
from runner.ledger.admission import Origin, admit
from runner.ledger.hints import count_hints
from runner.model.run import State
from runner.model.submit_options import NO_OPTIONS
from tests.support.deadline import wait_until
from tests.support.project import Project, write_project
from tests.support.rabbit import USER, RabbitMQ, VirtualHost, virtual_host
from tests.support.servers import Server, free_port

MODULE = """
import time
from pathlib import Path
import runner
from runner import current_run

def echo(n=1):
    return n

def hold(path):
    Path(path + ".begun").touch()
    while not Path(path).exists():
        time.sleep(0.02)
    return "held"

def once_more():
    if current_run().attempt == 1:
        raise ValueError("not yet")
    return "done"

def nested():
    return runner.submit("echo", {"n": 5}).id
"""
JOBS = {
    "echo": {"task": "work:echo", "params": {"n": {"type": "integer", "default": 1}}},
    "hold": {"task": "work:hold", "params": {"path": {"type": "string", "required": True}}},
    "once-more": {"task": "work:once_more", "retry": {"max_retries": 1, "delay": "1s", "jitter": False}},
    "nested": {"task": "work:nested"},
    "fails": {"task": "work:missing", "hooks": {"failure": ["echo-run"]}},
    "echo-run": {"task": "work:echo_run", "params": {"run": {"type": "object"}}},
    "flow": {
        "steps": {
            "first": {"task": "work:echo"},
            "each": {"needs": ["first"], "each": [1, 2, 3], "task": "work:echo", "kwargs": {"n": "${item}"}},
        }
    },
}
LEASE = 3
"""Seconds."""


def write(folder: Path, server: Server, url: str, **worker: Any) -> Project:
    settings = {"broker_url": url, "worker": {"lease": f"{LEASE}s", **worker}}
    files = {"work.py": MODULE + "\n\ndef echo_run(run):\n    return run['id']\n"}
    return write_project(folder, server.url, JOBS, files, settings, None)


def submit(project: Project, job: str, **params: Any) -> RunHandle:
    return runner.submit(job, params, project=project.path)


@pytest.fixture(scope="module")
def host(rabbit_node: RabbitMQ) -> Iterator[VirtualHost]:
    with virtual_host(rabbit_node) as found:
        yield found


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, redis_server: Server, host: VirtualHost) -> Iterator[Project]:
    """A project with a worker that the tests of this module share."""
    made = write(tmp_path_factory.mktemp("hints"), redis_server, host.url)
    with made.worker():
        yield made


def queue_of(project: Project, name: str = "default") -> str:
    return f"{project.namespace}.{name}"


def test_a_hint_wakes_a_taker_and_is_acknowledged(project: Project, host: VirtualHost) -> None:
    wait_until(lambda: host.consumers(queue_of(project)) == 1, 20.0)
    assert submit(project, "echo", n=3).wait(timeout=20).result == 3
    wait_until(lambda: host.queues()[queue_of(project)] == 0, 10.0)


def test_a_run_holds_no_message(project: Project, host: VirtualHost, tmp_path: Path) -> None:
    go = tmp_path / "go"
    run = submit(project, "hold", path=str(go))
    wait_until(Path(f"{go}.begun").exists, 20.0)
    wait_until(lambda: host.queues()[queue_of(project)] == 0, 10.0)
    assert run.state == State.STARTED
    go.touch()
    assert run.wait(timeout=20).result == "held"


def test_retries_hooks_flows_and_submissions_of_jobs_go_through(project: Project) -> None:
    flow, retried = submit(project, "flow"), submit(project, "once-more")
    nested, failed = submit(project, "nested"), submit(project, "fails")
    assert flow.wait(timeout=30).state == State.SUCCESS
    assert retried.wait(timeout=30).result == "done"
    inner = runner.get_run(nested.wait(timeout=30).result, project=project.path)
    assert inner.wait(timeout=30).result == 5
    assert failed.wait(timeout=30).state == State.FAILURE

    def hooked() -> bool:
        return any(run["state"] == "SUCCESS" for run in project.cli("runs", "--job", "echo-run", "--json").json)

    wait_until(hooked, 30.0)
    ledger = project.ledger()
    try:
        wait_until(lambda: count_hints(ledger)[0] == 0, 20.0)
    finally:
        ledger.close()


def test_hints_that_are_doubled_forged_or_stale_change_nothing(project: Project, host: VirtualHost) -> None:
    run = submit(project, "echo", n=1)
    assert run.wait(timeout=20).attempts == 1
    hint = json.dumps({"id": run.id, "queue": "default", "priority": 5})
    host.publish(queue_of(project), hint, hint, "no hint at all", b"\xff\x00", hint)
    wait_until(lambda: host.queues()[queue_of(project)] == 0, 20.0)
    assert submit(project, "echo", n=2).wait(timeout=20).result == 2
    assert run.refresh().attempts == 1


def test_a_lost_hint_delays_a_run_until_the_next_beat(project: Project, host: VirtualHost) -> None:
    ledger = project.ledger()  # hands nothing over: as a client that died in between
    try:
        origin = Origin(trigger="cli", submitted_by="test")
        job = project.catalog.get("echo")
        ledger.submit(admit(job, {}, project.settings, run_id="lost-hint-1", origin=origin, options=NO_OPTIONS))
        wait_until(lambda: ledger.get("lost-hint-1").state == State.SUCCESS, 2 * LEASE + 5.0)
    finally:
        ledger.close()


def test_a_plain_celery_client_reaches_jobs_and_workers(project: Project, host: VirtualHost) -> None:
    app = Celery(broker=host.url, set_as_current=False)
    sent = app.send_task("echo", kwargs={"n": 11})
    app.send_task("nothing-declares-this", kwargs={})
    with app.connection_for_write() as connection, connection.Producer() as producer:
        producer.publish("no task", routing_key="celery", headers={"task": "echo"})
    found = wait_until(lambda: _known(project, sent.id), 30.0)
    assert found.wait(timeout=20).result == 11
    assert runner.get_run(sent.id, project=project.path).result == 11
    pong = wait_until(lambda: app.control.ping(timeout=1.0), 20.0)
    assert [list(reply.values()) for reply in pong] == [[{"ok": "pong"}]]
    client = project.redis()
    try:
        wait_until(lambda: client.llen(f"{project.namespace}:dead-letters") == 2, 20.0)
    finally:
        client.close()
    wait_until(lambda: host.queues()["celery"] == 0, 10.0)
    app.close()


def _known(project: Project, run_id: str) -> RunHandle | None:
    try:
        return runner.get_run(run_id, project=project.path)
    except UnknownRun:
        return None


def test_runner_run_needs_no_queue_in_rabbitmq(project: Project, host: VirtualHost) -> None:
    assert project.cli("run", "echo", "-p", "n=4").check().json == 4
    assert not [name for name in host.queues() if ".run-" in name]


def test_a_connection_that_is_closed_stops_nothing(project: Project, host: VirtualHost, tmp_path: Path) -> None:
    go = tmp_path / "go"
    run = submit(project, "hold", path=str(go))
    wait_until(Path(f"{go}.begun").exists, 20.0)
    assert host.close_connections() >= 2
    go.touch()
    assert run.wait(timeout=20).result == "held"
    assert submit(project, "echo", n=6).wait(timeout=20).result == 6
    wait_until(lambda: host.consumers(queue_of(project)) == 1, 20.0)


class Relay:
    """The way to RabbitMQ, which can be closed: nobody listens then, and connections end."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._ends: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.port = free_port()

    def open(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self._upstream))
                self._ends += client, server
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._copy, args=pair, daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for sock in (source, target):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        listener, self._listener = self._listener, None
        ends, self._ends = self._ends, []
        for end in ([listener] if listener is not None else []) + ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_rabbitmq_may_be_away_at_the_start_and_later(
    tmp_path: Path, redis_server: Server, rabbit_host: VirtualHost, pool: str
) -> None:
    node = rabbit_host.node
    relay = Relay(node.port)
    project = write(tmp_path / "p", redis_server, rabbit_host.url_of(USER, node.password, relay.port))
    with project.worker("-P", pool, concurrency=1 if pool == "solo" else 2, ready=False) as worker, closing(relay):
        worker.wait_for("Trying again")
        relay.open()
        worker.wait_for("runner worker ready")
        assert submit(project, "echo", n=1).wait(timeout=20).result == 1
        relay.close()
        with pytest.raises(NotHandedOver) as raised:
            submit(project, "once-more")
        found = _known(project, raised.value.run_id or "")
        assert found is not None
        assert found.wait(timeout=30).result == "done"
        relay.open()
        wait_until(lambda: rabbit_host.consumers(queue_of(project)) == 1, 30.0)
        assert submit(project, "echo", n=2).wait(timeout=20).result == 2
        so_far = len(worker.lines())
        relay.close()
        worker.wait_for("Trying again", after=so_far)
        assert worker.terminate(30.0) == 0


@pytest.mark.parametrize("answer", ["ACCESS_REFUSED", "NOT_ALLOWED"])
def test_a_worker_whose_user_is_refused_waits_patiently_and_comes_back(
    answer: str, redis_server: Server, rabbit_host: VirtualHost, tmp_path: Path
) -> None:
    user, password = f"u{rabbit_host.name}", "open sesame"
    node = rabbit_host.node
    node.add_user(user, password)
    rabbit_host.permit(user)
    url = rabbit_host.url_of(user, password)
    project = write_project(tmp_path / "p", redis_server.url, JOBS, {"work.py": MODULE}, {"broker_url": url})
    with project.worker(concurrency=1) as worker:
        if answer == "ACCESS_REFUSED":
            node.delete_user(user)
        else:
            rabbit_host.forbid(user)
        rabbit_host.close_connections()
        worker.wait_for(f"Cannot connect .*{answer}", 60.0)
        worker.wait_for("Trying again in 3.00 seconds", 60.0)
        if answer == "ACCESS_REFUSED":
            node.add_user(user, password)
        rabbit_host.permit(user)
        worker.wait_for("RabbitMQ is back", 60.0)
        project.cli("submit", "echo", "--wait").check()
        assert "Frequent restarts" not in worker.log
    node.delete_user(user)
