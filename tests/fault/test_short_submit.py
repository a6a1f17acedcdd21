"""What ``runner submit`` says when answers are lost, or never come: it ends, and tells what is known."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault.server import RedisServer
from tests.support.project import Project, write_project
from tests.support.proxy import Command, Proxy, Verdict

ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")
PATIENCE = "socket_timeout=1&socket_connect_timeout=1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


class Losing:
    """Spoils the first ``times`` scripts that are called."""

    def __init__(self, verdict: Verdict, times: int) -> None:
        self.verdict: Verdict = verdict
        self.times = times

    def __call__(self, command: Command) -> Verdict:
        if command.name != "EVALSHA" or self.times == 0:
            return "pass"
        self.times -= 1
        return self.verdict


def behind(proxy: Proxy, folder: Path) -> Project:
    url = f"redis://127.0.0.1:{proxy.port}/0?{PATIENCE}"
    project = write_project(folder / "p", url, {"hello": {"task": "work:hello"}}, {"work.py": "def hello(): ..."})
    # The script is known to the server from here on, and one call is one command.
    project.submit("hello")
    return project


def known(server: RedisServer, project: Project) -> list[str]:
    with server.client() as client:
        return list(client.zrange(f"{project.namespace}:state:PENDING", 0, -1))


@pytest.mark.parametrize("verdict", ["cut-before", "cut-after"])
def test_one_lost_answer_is_asked_for_again(server: RedisServer, tmp_path: Path, verdict: Verdict) -> None:
    with Proxy(("127.0.0.1", server.port)) as proxy:
        project = behind(proxy, tmp_path)
        before = known(server, project)
        proxy.gate = Losing(verdict, 1)
        done = project.cli("submit", "hello").check()
        assert set(known(server, project)) - set(before) == {done.id}


@pytest.mark.parametrize(
    ("verdict", "recorded", "words"),
    [("cut-before", 0, "does not exist; submit again"), ("cut-after", 1, "was recorded all the same")],
)
def test_69_tells_whether_the_run_exists(
    server: RedisServer, tmp_path: Path, verdict: Verdict, recorded: int, words: str
) -> None:
    with Proxy(("127.0.0.1", server.port)) as proxy:
        project = behind(proxy, tmp_path)
        before = known(server, project)
        proxy.gate = Losing(verdict, 100)
        done = project.cli("submit", "hello").check(69)
        new = set(known(server, project)) - set(before)
        assert len(new) == recorded
        assert words in done.stderr
        assert not new or new <= set(ID.findall(done.stderr))


def test_69_tells_that_nobody_knows_where_nothing_answers(server: RedisServer, tmp_path: Path) -> None:
    with Proxy(("127.0.0.1", server.port)) as proxy:
        project = behind(proxy, tmp_path)
        proxy.black_hole()
        before = known(server, project)
        words = ("submit", "hello", "--key", "2026-11-23")
        done = project.cli(*words).check(69)
        assert "it is not known whether run" in done.stderr
        assert len(set(ID.findall(done.stderr))) == 1
        proxy.forward()
        # The same key again makes one run, whatever arrived meanwhile.
        again = project.cli(*words).check()
        assert set(known(server, project)) - set(before) == {again.id}
