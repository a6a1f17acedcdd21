"""A plain Celery client's messages start at once, and its remote control is answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from celery import Celery
from celery.exceptions import TaskRevokedError

from runner.app.commands import LOOKING
from runner.delivery.inbox_watch import InboxWatch
from tests.support.deadline import wait_until
from tests.support.project import Project, write_project
from tests.support.servers import Server, serving

JOBS: dict[str, Any] = {"add": {"task": "plain_work:add"}, "hold": {"task": "plain_work:hold"}}
WORK = """
import time

def block_long():
    from runner.delivery import transport
    transport.LONGEST_BLOCK = transport.UNWATCHED_BLOCK = 3600.0

def add():
    return 11

def hold():
    time.sleep(300)
"""
PATIENCE = 30.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving("redis-tcp", tmp_path_factory.mktemp("srv")) as running:
        yield running


@pytest.fixture
def write(server: Server, tmp_path: Any) -> Callable[..., Project]:
    def write(name: str, **worker: Any) -> Project:
        # A wait ends with a ring alone.
        settings = {"setup": "plain_work:block_long", "worker": worker}
        return write_project(tmp_path / name, server.url, JOBS, {"plain_work.py": WORK}, settings, namespace=name)

    return write


@pytest.fixture
def client(server: Server) -> Iterator[Celery]:
    app = Celery("stranger", broker=server.celery_url, backend=server.celery_url, set_as_current=False)
    yield app
    app.close()


def followers(server: Server) -> set[str]:
    """Return the ids of the connections that track keys."""
    return {connection["id"] for connection in server.client.client_list() if "t" in connection["flags"]}


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_message_of_any_priority_wakes_an_idle_worker(
    write: Callable[..., Project], client: Celery, pool: str
) -> None:
    with write("shop").worker("-P", pool, concurrency=1):
        for priority in (None, *range(10), 0, 9, 0):
            assert client.send_task("add", priority=priority).get(timeout=PATIENCE) == 11


def test_what_lies_there_before_the_worker_looks_is_found(write: Callable[..., Project], client: Celery) -> None:
    sent = [client.send_task("add", priority=priority) for priority in (0, 3, 6, 9)]
    with write("shop").worker(concurrency=1), write("other").worker(concurrency=1):
        assert [result.get(timeout=PATIENCE) for result in sent] == [11] * 4
        assert client.send_task("add").get(timeout=PATIENCE) == 11


def test_a_worker_whose_connection_was_cut_is_woken(
    write: Callable[..., Project], server: Server, client: Celery
) -> None:
    with write("shop").worker(concurrency=1):
        assert client.send_task("add").get(timeout=PATIENCE) == 11
        wait_until(lambda: followers(server) != set(), PATIENCE, "the worker follows the inbox")
        cut = followers(server)
        for connection_id in cut:
            server.client.client_kill_filter(_id=connection_id)
        wait_until(lambda: followers(server) - cut != set(), PATIENCE, "the worker follows the inbox again")
        assert client.send_task("add").get(timeout=PATIENCE) == 11


def test_a_worker_that_may_no_longer_follow_the_inbox_asks_by_itself(tmp_path: Any) -> None:
    with serving("redis-tcp", tmp_path / "srv") as own:
        project = write_project(tmp_path / "shop", own.url, JOBS, {"plain_work.py": WORK}, {}, namespace="shop")
        stranger = Celery("stranger", broker=own.celery_url, backend=own.celery_url, set_as_current=False)
        with project.worker(concurrency=1) as worker:
            wait_until(lambda: followers(own) != set(), PATIENCE, "the worker follows the inbox")
            own.client.execute_command("ACL", "SETUSER", "default", "-client|tracking")
            for _ in range(3):
                assert stranger.send_task("add").get(timeout=PATIENCE) == 11
            worker.wait_for("messages of plain Celery clients may wait for a second", PATIENCE)
        stranger.close()


def test_rings_are_heard_in_both_protocols(server: Server, write: Callable[..., Project]) -> None:
    ledger = write("ns").ledger()
    for protocol in (2, 3):
        direct = redis.Redis.from_url(server.url, protocol=protocol)
        watch = InboxWatch(ledger, "w@h")
        connection = direct.connection_pool.get_connection()
        connection.send_command("XREAD", "BLOCK", "1", "STREAMS", "nothing", "0-0")
        watch.hear(connection.read_response())
        assert watch.heard == "0-0"
        ring = direct.xadd(watch.bell, {"r": "1"})
        assert isinstance(ring, bytes)
        connection.send_command("XREAD", "STREAMS", "nothing", watch.bell, "0-0", "0-0")
        watch.hear(connection.read_response())
        assert watch.heard == ring.decode()
        direct.delete(watch.bell)
        connection.disconnect()
        direct.close()
    ledger.close()


def wait_until_heard(client: Celery, workers: int = 1) -> None:
    """Wait until ``workers`` workers listen: like Celery's own, they are ready a moment before their main loops do."""
    wait_until(lambda: len(client.control.ping(timeout=0.5)) >= workers, PATIENCE, "the workers listen")


ARGUMENTS: dict[str, dict[str, Any]] = {
    "query_task": {"ids": ["none"]},
    "revoke": {"task_id": "none"},
    "terminate": {"task_id": "none", "signal": "TERM"},
}
REFUSED = ["shutdown", "pool_grow", "rate_limit", "add_consumer", "memdump", "report", "no_such_command", "x" * 5000]


@pytest.mark.parametrize("mode", ["safe", "full"])
def test_remote_control_looks_and_does_no_more(write: Callable[..., Project], client: Celery, mode: str) -> None:
    project = write("shop", remote_control=mode)
    with project.worker(concurrency=1) as worker:
        (name,) = (record["name"] for record in project.cli("workers", "--json").check().json)

        def ask(command: str, **options: Any) -> Any:
            (answer,) = client.control.broadcast(
                command, arguments=ARGUMENTS.get(command), reply=True, limit=1, timeout=PATIENCE, **options
            )
            return answer[name]

        wait_until_heard(client)
        for command in sorted(LOOKING - {"revoke", "terminate"}):
            answer = ask(command)
            assert not (isinstance(answer, dict) and "error" in answer), command
        assert ask("ping", destination=[name]) == {"ok": "pong"}
        for command in ("revoke", "terminate"):
            assert "no run none" in ask(command)["error"]
        for command in REFUSED:
            assert f"{command[:100]} is refused to a plain Celery client" in ask(command)["error"]
            assert len(ask(command)["error"]) < 300
        # What workers of other Celery apps ask one another.
        assert client.control.broadcast("hello", arguments={"from_node": "x"}, reply=True, timeout=1) == []
        assert worker.process.poll() is None
        assert "Traceback" not in worker.log


def test_workers_of_all_projects_answer_but_for_silent_ones(write: Callable[..., Project], client: Celery) -> None:
    with (
        write("shop").worker(concurrency=1) as shop,
        write("other").worker(concurrency=1) as other,
        write("silent", remote_control="none").worker(concurrency=1),
    ):
        wait_until_heard(client, workers=2)
        answers = client.control.ping(timeout=5)
        names = sorted(name for answer in answers for name in answer)
        assert len(names) == len(set(names)) == 2
        for worker in (shop, other):
            assert any(f"celery-{worker.process.pid}-" in name for name in names)


@pytest.mark.parametrize("way", ["revoke", "revoke terminate", "terminate"])
def test_revoking_reaches_the_ledger(write: Callable[..., Project], client: Celery, way: str) -> None:
    project = write("shop")
    with project.worker(concurrency=2) as worker:
        holding = client.send_task("hold")
        wait_until(lambda: holding.state == "STARTED", PATIENCE, "it runs")
        wait_until_heard(client)
        waiting = client.send_task("add", countdown=3600)
        project.wait_for_state(waiting.id, "PENDING")
        waiting.revoke()
        assert project.wait_for_state(waiting.id, "REVOKED")["reason"] == "cancelled"
        if way == "terminate":
            client.control.terminate(holding.id)
        else:
            holding.revoke(terminate="terminate" in way)
        if way == "revoke":
            wait_until(lambda: project.document(holding.id)["revocation"], PATIENCE, "it is revoked")
            holding.revoke(terminate=True, signal="SIGKILL")
        with pytest.raises(TaskRevokedError):
            holding.get(timeout=PATIENCE)
        assert "Traceback" not in worker.log
