"""A node of a Redis Cluster is refused, with the reason: alone, and as one of three."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import redis

from tests.support.deadline import wait_until
from tests.support.need import need
from tests.support.project import Project, write_project
from tests.support.running import Running
from tests.support.servers import free_port

pytestmark = pytest.mark.redis_server

SLOTS = 16384


def cluster(folder: Path, count: int, stack: ExitStack) -> list[int]:
    """Start a cluster of nodes that share all slots, and return their ports."""
    ports = [free_port() for _ in range(count)]
    clients = []
    for port in ports:
        (folder / str(port)).mkdir(parents=True)
        words = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder / str(port)), "--save", ""]
        words += ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
        stack.enter_context(Running([need("redis-server"), *words], cwd=folder))
        client = redis.Redis(port=port, decode_responses=True)
        clients.append(stack.enter_context(client))
        wait_until(partial(_answers, client), 30.0, "the node answers")
    bus = [int(client.config_get("cluster-port")["cluster-port"]) for client in clients]
    for number, client in enumerate(clients):
        first, last = (SLOTS * (number + offset) // count for offset in (0, 1))
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last - 1)
        for port, bus_port in zip(ports[:number], bus[:number], strict=True):
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", port, bus_port)
    for client in clients:
        wait_until(partial(_is_whole, client, count), 60.0, "the cluster is whole")
    return ports


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def _is_whole(client: redis.Redis, count: int) -> bool:
    info = client.execute_command("CLUSTER", "INFO")
    info = info if isinstance(info, dict) else dict(line.split(":") for line in info.split("\r\n") if line)
    return (info["cluster_state"], info["cluster_known_nodes"]) == ("ok", str(count))


@pytest.fixture(scope="module", params=[1, 3])
def ports(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[int]]:
    with ExitStack() as stack:
        yield cluster(tmp_path_factory.mktemp("cluster"), request.param, stack)


def test_a_node_is_refused(ports: list[int], tmp_path: Path) -> None:
    for port in ports:
        url = f"redis://127.0.0.1:{port}/0"
        project: Project = write_project(tmp_path / str(port), url, {"hello": {"task": "os:getpid"}})
        for words in (("submit", "hello"), ("runs",), ("worker", "-c", "1"), ("scheduler",), ("doctor",)):
            result = project.cli(*words).check(2)
            assert f"127.0.0.1:{port}" in result.stderr, words
            assert "is a node of a Redis Cluster, which is not supported" in result.stderr, words
            assert "hint: write the URL of one server" in result.stderr, words
            assert "Traceback" not in result.stderr, words
        refused = project.cli("submit", "hello", "--json").check(2).json["error"]
        assert refused["code"] == "cluster_refused"
        # Nothing of a run that was refused stands anywhere.
        assert all(_keys(node) == [] for node in ports)


def _keys(port: int) -> list[str]:
    with redis.Redis(port=port, decode_responses=True) as client:
        return [str(key) for key in client.scan_iter()]
