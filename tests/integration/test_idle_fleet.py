"""How little an idle fleet asks of Redis, and what a submission to it costs. Calls of scripts are counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from runner.actions.project import Project as Opened
from runner.actions.submit import submit
from runner.ledger.scripts import digest
from tests.support.deadline import wait_until
from tests.support.project import Project

FLEET = 20
MOST_CALLS = 10
"""Scripts that a fleet calls in a second, however large it is."""
CONNECTIONS = 5
"""Of an idle worker: one each to wait for work, for messages of plain clients, and for remote control; one for all
commands that do not wait; and one of its only taker."""


def test_an_idle_fleet_asks_little_and_a_submission_costs_it_little(make_project: Callable[..., Project]) -> None:
    project = make_project({"note": {"task": "work:note"}}, {"work.py": "def note():\n    pass\n"})
    opened, client = Opened.open(project.path), project.redis()
    before = client.client_id()
    with ExitStack() as workers:
        # One after the other would take long; together they become ready in any order.
        started = [
            workers.enter_context(project.worker("-P", "solo", "-n", f"w{number}@%h", concurrency=None, ready=False))
            for number in range(FLEET)
        ]
        for worker in started:
            worker.wait_for("runner worker ready", 150.0)
        # Each waits for the rings of its queues, and for those of plain clients.
        wait_until(lambda: client.info("clients")["blocked_clients"] >= 2 * FLEET, 60.0, "all of them are idle")
        # Two threads of a worker may send a command at the same moment, by two connections.
        wait_until(
            lambda: sum(int(connection["id"]) > before for connection in client.client_list()) == CONNECTIONS * FLEET,
            30.0,
            f"each holds {CONNECTIONS} connections",
        )
        with client.monitor() as monitor:
            assert len(opened.ledger.workers()) == FLEET
            calls = script_calls(monitor, project.namespace)
            began, _ = next(calls)
            ended, total, beats = began, 0, 0
            while beats < 2 * FLEET:
                ended, script = next(calls)
                total, beats = total + 1, beats + (script == "beat")
            # By the server's clock: a machine that is busy makes them fewer, not more.
            assert total <= MOST_CALLS * (ended - began)

            run_id = submit(opened, "note", {}, trigger="api").id
            key = f"{project.namespace}:run:{run_id}"
            wait_until(lambda: client.hget(key, "state") in ("STARTED", "SUCCESS"), 60.0, "it runs")
            client.echo(run_id)
            until = [script for _, script in script_calls(monitor, project.namespace, until=run_id)]
            assert until.count("submit") == 1
            # Beats go on meanwhile, however long that takes.
            assert len([script for script in until if script != "beat"]) <= 10
    client.close()
    opened.ledger.close()


NAMES = {
    digest(f"runner.{room}", path.stem): path.stem
    for room in ("ledger", "delivery")
    for path in (Path(__file__).parents[2] / "runner" / room / "lua").glob("*.lua")
}
"""Scripts by their digests."""


def script_calls(monitor: Any, namespace: str, until: str | None = None) -> Iterator[tuple[float, str]]:
    """Yield the calls of scripts in a namespace until a client has asked for an echo: the time, and the script's name.

    Those are left out that scripts call.
    """
    while True:
        call = monitor.next_command()
        words = call["command"].split(" ")
        if words[0].upper() == "ECHO" and words[1] == until:
            return
        if call["client_type"] != "lua" and words[0].upper() in ("EVALSHA", "EVAL") and words[3:4] == [namespace]:
            yield call["time"], NAMES.get(words[1], "another")
