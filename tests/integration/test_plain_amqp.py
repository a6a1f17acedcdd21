"""A plain Celery client on RabbitMQ reaches jobs as one on Redis does, and so do Celery's own commands."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import amqp
import pytest
from celery import Celery
from celery.exceptions import TaskRevokedError

from tests.support.command import clean_environment
from tests.support.deadline import wait_until
from tests.support.project import Project
from tests.support.rabbit import VirtualHost
from tests.support.running import Running
from tests.support.servers import Server

JOBS = {
    "add": {
        "task": "work:add",
        "params": {"a": {"type": "integer", "required": True}, "b": {"type": "integer", "default": 10}},
    },
    "fail": {"task": "work:fail"},
    "hold": {"task": "work:hold"},
}
WORK = """
import time

def add(a, b):
    return a + b

def fail():
    raise ValueError("the invoice is missing")

def hold():
    time.sleep(300)
"""
PATIENCE = 30.0


@pytest.fixture
def project(make_project: Callable[..., Project], rabbit_host: VirtualHost) -> Project:
    return make_project(JOBS, {"work.py": WORK}, {"broker_url": rabbit_host.url})


@pytest.fixture
def client(rabbit_host: VirtualHost, redis_server: Server) -> Iterator[Celery]:
    app = Celery("stranger", broker=rabbit_host.url, backend=redis_server.celery_url, set_as_current=False)
    app.conf.broker_connection_retry_on_startup = False
    yield app
    app.close()


def test_a_client_reaches_jobs(project: Project, client: Celery, rabbit_host: VirtualHost) -> None:
    before = client.send_task("add", kwargs={"a": 1})
    with project.worker() as worker:
        assert before.get(timeout=PATIENCE) == 11, "what waited before a worker was there"
        soon = client.send_task("add", kwargs={"a": 2}, countdown=0.5, priority=9)
        later = client.send_task("add", kwargs={"a": 3}, eta=datetime.now(UTC) + timedelta(hours=1))
        assert soon.get(timeout=PATIENCE) == 12
        document = project.document(soon.id)
        assert (document["state"], document["trigger"], document["priority"]) == ("SUCCESS", "celery", 9)
        # It waits in the ledger and not in a worker's memory, and can be revoked there.
        assert project.wait_for_state(later.id, "PENDING")["eta"] is not None
        project.cli("revoke", later.id).check()
        with pytest.raises(TaskRevokedError):
            later.get(timeout=PATIENCE)
        with pytest.raises(ValueError, match="the invoice is missing"):
            client.send_task("fail").get(timeout=PATIENCE)
        # What nobody can act on is in the dead letters, and in no queue of RabbitMQ any more.
        client.send_task("os.system", args=["touch pwned"])
        rabbit_host.publish("celery", b"\xff garbage", b"{}", content_type="application/json")
        with project.redis() as redis:
            wait_until(lambda: redis.llen(f"{project.namespace}:dead-letters") == 3, PATIENCE, "three dead letters")
        assert client.send_task("add", kwargs={"a": 4}).get(timeout=PATIENCE) == 14
        assert not (project.path / "pwned").exists()
        assert rabbit_host.queues()["celery"] == 0
        assert worker.process.poll() is None
        assert worker.log.count("Traceback") == 1  # of the job that fails


class Crafted(amqp.Message):  # type: ignore[misc]
    """A message whose properties are these bytes."""

    def __init__(self, properties: bytes) -> None:
        super().__init__(b"[[], {}, {}]")
        self.crafted = properties

    def _serialize_properties(self) -> bytes:
        return self.crafted


def headers_of(key: bytes, value: bytes) -> Crafted:
    table = bytes((len(key),)) + key + value
    return Crafted(b"\x20\x00" + len(table).to_bytes(4, "big") + table)


def nested(depth: int) -> bytes:
    """Return an array in an array, and so on."""
    value = b"V"
    for _ in range(depth):
        value = b"A" + len(value).to_bytes(4, "big") + value
    return value


def hostile(body: bytes | str = b"[[], {}, {}]", **properties: Any) -> amqp.Message:
    """Return a message; its headers are those of a sound one, or these."""
    headers = {"task": "add", "id": str(uuid4()), **properties.pop("headers", {})}
    defaults = {"content_type": "application/json", "content_encoding": "utf-8", "application_headers": headers}
    return amqp.Message(body, **{**defaults, **properties})


HOSTILE = [
    hostile(headers={"task": ["add"]}),
    hostile(headers={"task": {"add": ["add"]}}),
    hostile(headers={"task": 7}),
    hostile(headers={"task": "\ud800"}),
    hostile(headers={"task": "x" * 100_000}),
    hostile(headers={"id": ["x"]}),
    hostile(headers={"id": {"x": {}}}),
    hostile(headers={"task": None, "id": None}),
    hostile(application_headers={}),
    hostile(application_headers={"compression": ["zlib"]}),
    hostile(rb"\ud800", content_encoding="unicode_escape"),
    hostile(rb"\ud800", content_encoding="unicode_escape", application_headers={}),
    hostile(b"\xff\xfe", content_encoding="utf-16"),
    hostile(b"[[], {}, {}]", content_encoding="no-such-codec"),
    hostile(b"\xff", content_encoding="utf-8"),
    hostile(b""),
    hostile(b"null"),
    hostile(b"\0" * 100),
    hostile(b"[" * 100_000),
    hostile(b'[[], {"a": ' + b"[" * 900 + b"]" * 900 + b"}, {}]", headers={"id": "not an id \ud800"}),
    Crafted(b"\x80\x00\x01\xff"),  # a content type that is not UTF-8
    headers_of(b"\xff", b"V"),
    headers_of(b"t", b"T" + b"\xff" * 8),
    *(headers_of(b"task", nested(depth)) for depth in (100, 300, 450, 600, 900, 940, 960, 980, 5000)),
]


def test_no_message_ends_a_worker(project: Project, client: Celery, rabbit_host: VirtualHost) -> None:
    with project.worker() as worker:
        wait_until(lambda: rabbit_host.consumers("celery"), PATIENCE, "the worker listens")
        with rabbit_host.connect() as connection:
            channel = connection.channel()
            for message in HOSTILE:
                channel.basic_publish_confirm(message, routing_key="celery")
        with project.redis() as redis:
            wait_until(
                lambda: redis.llen(f"{project.namespace}:dead-letters") >= len(HOSTILE) or worker.process.poll(),
                PATIENCE,
                "all of them are dead letters",
            )
            assert redis.llen(f"{project.namespace}:dead-letters") == len(HOSTILE)
        assert client.send_task("add", kwargs={"a": 4}).get(timeout=PATIENCE) == 14
        assert worker.process.poll() is None
        assert rabbit_host.queues()["celery"] == 0


def test_a_client_controls_workers(project: Project, client: Celery) -> None:
    with project.worker() as worker:
        (name,) = (record["name"] for record in project.cli("workers", "--json").check().json)
        wait_until(lambda: client.control.ping(timeout=1.0), PATIENCE, "the worker listens")
        holding = client.send_task("hold")
        wait_until(lambda: holding.state == "STARTED", PATIENCE, "it runs")
        active = client.control.inspect(timeout=5.0).active()
        assert [task["id"] for task in active[name]] == [holding.id]
        [answer] = client.control.broadcast("shutdown", reply=True, limit=1, timeout=PATIENCE)
        assert "shutdown is refused to a plain Celery client" in answer[name]["error"]
        holding.revoke(terminate=True)
        with pytest.raises(TaskRevokedError):
            holding.get(timeout=PATIENCE)
        assert worker.process.poll() is None


def test_celerys_own_commands_work(project: Project, rabbit_host: VirtualHost) -> None:
    celery = [sys.executable, "-m", "celery", "-A", "runner"]
    environment = clean_environment({"RUNNER_PROJECT": str(project.path)})
    with Running([*celery, "worker", "-c", "1", "-l", "INFO"], cwd=project.path, env=environment) as worker:
        worker.wait_for("runner worker ready", 60.0)
        assert rabbit_host.node.password not in worker.stderr + worker.stdout
        with Running([*celery, "inspect", "ping"], cwd=project.path, env=environment) as asked:
            assert asked.wait(60.0) == 0
            assert "pong" in asked.stdout
        with Running([*celery, "call", "add", "--kwargs", '{"a": 5}'], cwd=project.path, env=environment) as called:
            assert called.wait(60.0) == 0, called.stderr
        assert project.wait_for_state(called.stdout.split()[-1], "SUCCESS")["result"] == 15
