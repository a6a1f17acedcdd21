"""How Redis is reached: one round trip, and one error with a remedy for each thing that can be wrong."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from runner.embedded.program import find_program
from runner.errors import InvalidSettings, Unavailable
from runner.ledger.address import resolve_url
from runner.ledger.connection import connect
from runner.ledger.reach import reaching
from runner.settings import Settings
from tests.support.servers import kombu_url

PASSWORD = "hunter2"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[int, Path]]:
    """A server with a password and two databases, on a port and a Unix socket."""
    folder = Path(tempfile.mkdtemp(prefix="rc-", dir="/tmp"))
    port = free_port()
    path = folder / "r.sock"
    words = ["--port", str(port), "--bind", "127.0.0.1", "--unixsocket", str(path), "--save", "", "--dir", str(folder)]
    words += ["--requirepass", PASSWORD, "--databases", "2", "--logfile", str(folder / "log")]
    running = subprocess.Popen([find_program(), *words], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not path.exists():
            assert time.monotonic() < deadline
            time.sleep(0.005)
        yield port, path
    finally:
        running.terminate()
        running.wait(20)
        shutil.rmtree(folder)


def settings(url: str, folder: Path = Path("/nowhere")) -> Settings:
    return replace(Settings(project=folder), redis_url=url)


def failure(url: str, *command: str) -> Unavailable:
    made = settings(url)
    with pytest.raises(Unavailable) as caught, reaching(made):
        connect(made).execute_command(*(command or ("PING",)))
    assert caught.value.exit_code == 69
    assert PASSWORD not in f"{caught.value.message} {caught.value.hint}"
    assert caught.value.hint
    return caught.value


def test_tcp_and_unix_sockets_give_text(server: tuple[int, Path]) -> None:
    port, path = server
    for url in (
        f"redis://:{PASSWORD}@127.0.0.1:{port}/1",
        f"unix://:{PASSWORD}@{path}?db=1",
        f"redis+socket://:{PASSWORD}@{path}?virtual_host=1",
    ):
        client = connect(settings(url))
        client.set("name", "Grüße")
        assert client.get("name") == "Grüße"
        assert client.client_info()["db"] == 1


def test_a_new_connection_says_only_what_it_must(server: tuple[int, Path]) -> None:
    port, _ = server
    url = f"redis://:{PASSWORD}@127.0.0.1:{port}/0"
    observer = connect(settings(url))
    calls = {name: stat["calls"] for name, stat in observer.info("commandstats").items()}
    connect(settings(url)).incr("x")
    after = {name: stat["calls"] for name, stat in observer.info("commandstats").items()}
    made = {name.removeprefix("cmdstat_"): calls_now - calls.get(name, 0) for name, calls_now in after.items()}
    assert {name: count for name, count in made.items() if count and name != "info"} == {"auth": 1, "incrby": 1}


def test_refused() -> None:
    found = failure(f"redis://user:{PASSWORD}@127.0.0.1:{free_port()}/0")
    assert "redis://user:***@127.0.0.1" in found.message
    assert "is Redis running there" in str(found.hint)


def test_no_such_host() -> None:
    assert "host name" in str(failure("redis://no-such-host.invalid/0").hint)


def test_no_such_socket(tmp_path: Path) -> None:
    assert "there is no such socket" in str(failure(f"unix://{tmp_path}/none.sock").hint)


def test_password_missing_and_wrong(server: tuple[int, Path]) -> None:
    port, _ = server
    assert "password" in str(failure(f"redis://127.0.0.1:{port}/0").hint)
    assert "password is wrong" in str(failure(f"redis://:{PASSWORD}x@127.0.0.1:{port}/0").hint)


def test_too_few_databases(server: tuple[int, Path]) -> None:
    port, _ = server
    assert "fewer databases" in str(failure(f"redis://:{PASSWORD}@127.0.0.1:{port}/7").hint)


def test_something_that_is_no_redis() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        url = f"redis://127.0.0.1:{listening.getsockname()[1]}/0?socket_timeout=0.2"
        assert "no answer in time" in str(failure(url).hint)


def test_tls_to_a_port_without_it(server: tuple[int, Path]) -> None:
    port, _ = server
    assert "TLS" in str(failure(f"rediss://:{PASSWORD}@127.0.0.1:{port}/0?socket_timeout=0.5").hint)


def test_out_of_memory_and_replica(server: tuple[int, Path]) -> None:
    port, _ = server
    url = f"redis://:{PASSWORD}@127.0.0.1:{port}/0"
    client = connect(settings(url))
    client.config_set("maxmemory", "1")
    try:
        assert "out of memory" in str(failure(url, "SET", "a", "b").hint)
    finally:
        client.config_set("maxmemory", "0")
    client.replicaof("127.0.0.1", "1")
    try:
        assert "replica" in str(failure(url, "SET", "a", "b").hint)
    finally:
        client.replicaof("NO", "ONE")


def test_an_option_that_nobody_knows() -> None:
    with pytest.raises(InvalidSettings, match="redis_url") as caught:
        connect(settings(f"redis://:{PASSWORD}@127.0.0.1/0?no_such_option=1"))
    assert PASSWORD not in str(caught.value)


def test_forms_of_a_url() -> None:
    assert resolve_url(settings("redis+socket:///a/b.sock?virtual_host=3")) == "unix:///a/b.sock?db=3"
    assert kombu_url("unix:///a/b.sock?db=3") == "redis+socket:///a/b.sock?virtual_host=3"
    assert kombu_url("unix:///a/b.sock") == "redis+socket:///a/b.sock"
    assert kombu_url("redis://h/1") == "redis://h/1"


def test_other_errors_pass_through() -> None:
    with pytest.raises(ValueError, match="mine"), reaching(settings("redis://h")):
        raise ValueError("mine")
    with pytest.raises(Unavailable), reaching(settings("embedded")):
        raise redis.ConnectionError("Connection refused")
