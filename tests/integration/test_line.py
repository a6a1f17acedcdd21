"""Bare connections do what redis-py does: the same answers, the same errors, as many tries, and no mixed-up answers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from runner.errors import Unavailable
from runner.ledger.ledger import Ledger
from runner.ledger.line import read_address
from runner.settings import Settings
from tests.fault.server import RedisServer
from tests.support.project import Project, clean_environment
from tests.support.proxy import Command, Proxy, Verdict
from tests.support.servers import free_port

PASSWORD = "pass word/%"
QUOTED = "pass%20word%2F%25"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    folder = tmp_path_factory.mktemp("redis")
    with RedisServer(folder) as server:
        with server.client() as client:
            client.config_set("requirepass", PASSWORD)
            client.acl_setuser("ann", enabled=True, passwords=[f"+{PASSWORD}"], keys=["*"], categories=["+@all"])
        yield server


def direct(server: RedisServer) -> redis.Redis:
    return redis.Redis(port=server.port, password=PASSWORD, decode_responses=True)


def ledger(url: str, *, lightly: bool, namespace: str = "") -> Ledger:
    made = replace(Settings(project=Path("/nowhere")), redis_url=url, namespace=namespace or f"n{uuid.uuid4().hex}")
    return Ledger.open_lightly(made) if lightly else Ledger.open(made)


@pytest.mark.parametrize("login", [f":{QUOTED}@", f"ann:{QUOTED}@", f"default:{QUOTED}@"])
@pytest.mark.parametrize(
    "database", ["", "/0", "/3", "/3?db=2", "?db=5", "/1?socket_timeout=3&socket_connect_timeout=2"]
)
def test_it_logs_in_as_redis_py_does(server: RedisServer, login: str, database: str) -> None:
    url = f"redis://{login}127.0.0.1:{server.port}{database}"
    light = ledger(url, lightly=True)
    full = ledger(url, lightly=False, namespace=light.namespace)
    # Bytes that are not UTF-8 are written as they were read.
    light.script("pause", "job", "ann", "", "é\udcff")
    ((_, act),) = full.client.xrange(f"{light.namespace}:audit") or []
    assert (act or {})["comment"] == "é\udcff"
    assert light.script("workers")[1] == full.script("workers")[1] == []
    for opened in (light, full):
        opened.close()


@pytest.mark.parametrize(
    "url",
    [
        "rediss://h/0",
        "sentinel://h:1/m",
        "redis://h/0?client_name=x",
        "redis://h/0?protocol=3",
        "redis://h/x",
        "redis://ann@h/0",
        "unix:///r.sock?ssl=1",
    ],
)
def test_what_it_does_not_know_is_left_to_redis_py(url: str) -> None:
    assert read_address(url) is None


def test_a_socket_of_a_file() -> None:
    address = read_address(f"unix://:{QUOTED}@/run/a%20b.sock?db=2")
    assert address is not None
    assert (address.place, address.login, address.database) == ("/run/a b.sock", (PASSWORD,), 2)


URLS = {
    "refused": "redis://127.0.0.1:{free}/0",
    "no such host": "redis://no-such-host.invalid:6379/0",
    "no such socket": "unix:///nowhere/redis.sock",
    "no password": "redis://127.0.0.1:{port}/0",
    "wrong password": "redis://:wrong@127.0.0.1:{port}/0",
    "wrong user": "redis://bob:wrong@127.0.0.1:{port}/0",
    "too few databases": f"redis://:{QUOTED}@127.0.0.1:{{port}}/4000",
}


@pytest.mark.parametrize("name", URLS)
def test_an_error_has_the_same_words(server: RedisServer, name: str) -> None:
    url = URLS[name].format(port=server.port, free=free_port())
    errors = []
    for lightly in (True, False):
        with pytest.raises(Unavailable) as caught:
            ledger(url, lightly=lightly).script("workers")
        errors.append((type(caught.value), caught.value.message, caught.value.hint, type(caught.value.__cause__)))
    assert errors[0] == errors[1]


HARMS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "none": (("PING",), ("PING",)),
    "out of memory": (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
    "replica": (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
}


def told_by(opened: Ledger, script: str, *arguments: str) -> tuple[object, ...] | None:
    try:
        opened.script(script, *arguments)
    except Unavailable as error:
        return (type(error), error.message, error.hint, type(error.__cause__))
    return None


@pytest.mark.parametrize("harm", HARMS)
def test_errors_of_scripts_have_the_same_words(server: RedisServer, harm: str) -> None:
    url = f"redis://:{QUOTED}@127.0.0.1:{server.port}/0"
    light = ledger(url, lightly=True)
    full = ledger(url, lightly=False, namespace=light.namespace)
    spoil, mend = HARMS[harm]
    with direct(server) as client:
        client.set(f"{light.namespace}:workers", "of another type")
        client.execute_command(*spoil)
        try:
            for words in (("workers",), ("resume", "job"), ("submit", "", "")):
                error = told_by(light, *words)
                assert error == told_by(full, *words)
                assert error is not None or words[0] == "resume"
        finally:
            client.execute_command(*mend)
    for opened in (light, full):
        opened.close()


class Counting:
    """Spoils the scripts that come, from the first on."""

    def __init__(self, verdict: Verdict, times: int) -> None:
        self.verdict, self.times, self.seen = verdict, times, 0

    def __call__(self, command: Command) -> Verdict:
        if command.name != "EVALSHA":
            return "pass"
        self.seen += 1
        return self.verdict if self.seen <= self.times else "pass"


@pytest.fixture
def proxied(server: RedisServer) -> Iterator[tuple[Proxy, str]]:
    with Proxy(("127.0.0.1", server.port)) as proxy:
        yield proxy, f"redis://:{QUOTED}@127.0.0.1:{proxy.port}/0?socket_timeout=1&socket_connect_timeout=1"


@pytest.mark.parametrize("verdict", ["cut-before", "cut-after"])
@pytest.mark.parametrize("times", [1, 2])
def test_it_tries_as_often(proxied: tuple[Proxy, str], verdict: Verdict, times: int) -> None:
    proxy, url = proxied
    seen = []
    for lightly in (True, False):
        opened = ledger(url, lightly=lightly)
        opened.script("workers")
        proxy.gate = gate = Counting(verdict, times)
        try:
            opened.script("workers")
            seen.append((gate.seen, "answered"))
        except Unavailable as error:
            seen.append((gate.seen, error.message))
        proxy.gate = None
        opened.script("workers")
        opened.close()
    assert seen[0] == seen[1]


def test_a_black_hole_takes_as_long(proxied: tuple[Proxy, str]) -> None:
    proxy, url = proxied
    opened = ledger(url, lightly=True)
    opened.script("workers")
    proxy.black_hole()
    with pytest.raises(Unavailable, match="Timeout"):
        opened.script("workers")
    proxy.forward()
    opened.script("workers")
    opened.close()


def test_a_connection_that_was_closed_meanwhile_is_not_used(server: RedisServer) -> None:
    opened = ledger(f"redis://:{QUOTED}@127.0.0.1:{server.port}/0", lightly=True)
    opened.script("workers")
    with direct(server) as client:
        client.client_kill_filter(skipme=True, _type="normal")
        before = int(client.info("stats")["total_connections_received"])
        opened.script("workers")
        # One new connection: redis-py did not have to be asked.
        assert int(client.info("stats")["total_connections_received"]) == before + 1
    assert opened._client is None
    opened.close()


def test_each_thread_gets_its_own_answers(server: RedisServer) -> None:
    opened = ledger(f"redis://:{QUOTED}@127.0.0.1:{server.port}/0", lightly=True)
    assert opened._lines is not None
    lines = opened._lines

    def ask(number: int) -> list[str]:
        return [lines.ask("ECHO", f"{number} {turn}") for turn in range(50)]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert answers == [[f"{number} {turn}" for turn in range(50)] for number in range(8)]
    opened.close()


def test_a_forked_process_has_connections_of_its_own(server: RedisServer) -> None:
    opened = ledger(f"redis://:{QUOTED}@127.0.0.1:{server.port}/0", lightly=True)
    assert opened._lines is not None
    ours = opened._lines.ask("CLIENT", "ID")
    child = os.fork()
    if child == 0:
        os._exit(0 if opened._lines.ask("CLIENT", "ID") != ours else 1)
    assert opened._lines.ask("CLIENT", "ID") == ours
    assert os.waitpid(child, 0)[1] == 0
    opened.close()


def test_an_answer_that_an_interrupt_left_behind_is_for_nobody(server: RedisServer) -> None:
    opened = ledger(f"redis://:{QUOTED}@127.0.0.1:{server.port}/0", lightly=True)
    assert opened._lines is not None
    opened._lines.ask("PING")

    class Interrupted(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(Interrupted):
            opened._lines.ask("BLPOP", f"nobody-pushes-{uuid.uuid4()}", 5)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert opened._lines.ask("ECHO", "mine") == "mine"
    opened.close()


def test_long_answers_and_long_commands_are_whole(server: RedisServer) -> None:
    opened = ledger(f"redis://:{QUOTED}@127.0.0.1:{server.port}/0", lightly=True)
    assert opened._lines is not None
    text = "é" * 3_000_000
    assert opened._lines.ask("ECHO", text) == text
    opened.close()


def test_a_submission_imports_no_redis_py(make_project: Callable[..., Project]) -> None:
    project = make_project({"hello": {"task": "work:hello"}}, {"work.py": "def hello(): ..."})
    program = (
        "import sys\n"
        "from runner.cli.main import run\n"
        "code = run(['submit', 'hello'])\n"
        "found = {name.partition('.')[0] for name in sys.modules} & "
        "{'redis', 'asyncio', 'opentelemetry', 'celery', 'kombu', 'jsonschema', 'rich', 'ssl', 'email'}\n"
        "sys.exit(code or ' '.join(sorted(found)) or 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=project.path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
