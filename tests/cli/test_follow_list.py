"""``-w``: a table that is redrawn on a terminal; elsewhere new and changed rows, each once."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from runner.cli.terminal.follow_list import print_changes
from runner.cli.terminal.listing import Column, Listed, Listing, ListOptions, Pace
from runner.cli.terminal.output import Output
from runner.cli.terminal.template import read_template
from tests.cli.jobs import FILES, JOBS
from tests.fault.server import RedisServer
from tests.support.project import Project, write_project
from tests.support.proxy import Proxy
from tests.support.terminal import on_terminal, screen

Row = dict[str, Any]

LISTING: Listing[Row] = Listing(
    [Column("NAME", lambda row: row["name"]), Column("STATE", lambda row: row["state"])],
    document=lambda row: row,
    fields=dict.fromkeys(("name", "state", "seen")),
    key=lambda row: row["name"],
    name=lambda row: row["name"],
    unsteady=["seen"],
)


def row(name: str, state: str, seen: int = 0) -> Row:
    return {"name": name, "state": state, "seen": seen}


READINGS: Sequence[Listed[Row] | None] = [
    Listed([row("b", "up"), row("a", "up")], ["one remark"]),
    None,
    Listed([row("b", "up", seen=1), row("a", "up", seen=1)], ["one remark"]),
    Listed([row("d", "lost, for good"), row("c", "up"), row("b", "down"), row("a", "up")]),
]


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        (ListOptions(), ["NAME  STATE", "b     up", "a     up", "b     down", "c     up", "d     lost, for good"]),
        (ListOptions("name"), ["b", "a", "c", "d"]),
        (ListOptions("csv"), ["name,state,seen", "b,up,0", "a,up,0", "b,down,0", "c,up,0", 'd,"lost, for good",0']),
        (ListOptions("template", read_template("{state}!")), ["up!", "up!", "down!", "up!", "lost, for good!"]),
    ],
)
def test_new_and_changed_rows_are_printed_once(
    options: ListOptions, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    print_changes(Output(), options, LISTING, iter(READINGS), Pace(1.0, newest_first=True))
    shown = capsys.readouterr()
    assert shown.out.splitlines() == lines
    assert shown.err == "one remark\n"


def test_changed_documents_are_printed_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_changes(Output(as_json=True), ListOptions("jsonl"), LISTING, iter(READINGS), Pace(1.0))
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [document["name"] for document in documents] == ["b", "a", "d", "c", "b"]


def test_runs_are_followed_that_are_not_on_the_page(project: Project) -> None:
    older = project.submit("unserved")
    first = project.submit("unserved")
    asked = ("--job", "unserved", "-o", "{id} {state}")
    with project.start("runs", "-w", "-n", "1", *asked) as following:
        following.wait_for(f"^{first} PENDING$", stream="out")
        second = project.submit("unserved")
        following.wait_for(f"^{second} PENDING$", stream="out")
        project.cli("revoke", first).check()
        following.wait_for(f"^{first} REVOKED$", stream="out")
        project.cli("revoke", older).check()
        following.wait_for(f"^{older} REVOKED$", stream="out")
        assert following.terminate() == 143
    lines = following.stdout.splitlines()
    assert lines == [f"{first} PENDING", f"{second} PENDING", f"{first} REVOKED", f"{older} REVOKED"]
    assert following.stderr == ""


def test_a_list_goes_on_after_redis_was_away(tmp_path: Path) -> None:
    with RedisServer(tmp_path, fsync="no") as server, Proxy(("127.0.0.1", server.port)) as proxy:
        project = write_project(tmp_path / "p", f"redis://127.0.0.1:{server.port}/0", JOBS, FILES)
        beyond = {"RUNNER_REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0"}
        first = project.submit("hello")
        with project.start("runs", "-w", "-o", "{id} {state}", env=beyond) as following:
            following.wait_for(f"{first} PENDING", stream="out")
            proxy.refuse()
            following.wait_for("the list continues as soon as it can be read")
            second = project.submit("hello")
            proxy.forward()
            following.wait_for(f"{second} PENDING", stream="out")
            assert following.terminate() == 143
        assert following.stdout.count("\n") == 1
        assert following.stderr.count("warning") == 1


def test_a_terminal_is_redrawn_in_place(project: Project) -> None:
    project.submit("unserved")
    with on_terminal("runs", "-w", "-n", "2", "--job", "unserved", cwd=project.path, height=10) as terminal:
        terminal.wait_for("PENDING")
        second = project.submit("unserved")
        terminal.wait_for(second[:8])
        heading, *rows = [line for line in screen(terminal.raw) if line]
        assert heading.split()[:3] == ["SUBMITTED", "ID", "JOB"]
        assert len(rows) == 2
        assert terminal.end(signal.SIGINT) == 130
        assert terminal.stderr.strip() == ""
