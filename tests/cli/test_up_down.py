"""``runner up`` and ``runner down``: start a project, and stop it."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from tests.cli.folder import cli
from tests.support.deadline import wait_until
from tests.support.processes import is_alive, processes
from tests.support.project import COMMAND, Result, clean_environment, runner_cli
from tests.support.servers import free_port


def worker_of(up: Result) -> int:
    named = re.search(r"worker (\d+)", up.stderr)
    assert named is not None, up.stderr
    return int(named[1])


def test_init_up_submit_down(folder: Path) -> None:
    runner_cli("init", "demo", cwd=folder.parent).check()
    assert cli(folder, "validate").stdout == ""
    assert ".runner/" in (folder / ".gitignore").read_text().splitlines()
    up = cli(folder, "up", "-d", "-c", "1")
    pid = worker_of(up)
    assert is_alive(pid)
    assert os.getsid(pid) == pid
    again = cli(folder, "up", "-d", "-c", "1").stderr
    assert "up already" in again
    assert "warning" not in again
    # What has no effect is not passed over in silence.
    other = cli(folder, "up", "-d", "-c", "2", "-Q", "a,b").stderr
    assert f"up already: worker {pid}" in other
    assert "warning: the worker runs without your --concurrency and --queue; to restart it: runner down" in other
    done = cli(folder, "submit", "hello", "--wait", "--json", "-p", "name=you")
    assert done.json["result"] == "Hello, you!"
    down = cli(folder, "down")
    assert f"stopping worker {pid}" in down.stderr
    assert "server is stopped" in down.stderr
    assert not is_alive(pid)
    assert "nothing was running" in cli(folder, "down").stderr
    # What is recorded stays.
    assert cli(folder, "status", done.json["id"], "--json").json["state"] == "SUCCESS"


def test_up_runs_schedules(folder: Path) -> None:
    runner_cli("init", "demo", cwd=folder.parent).check()
    (folder / "jobs.d" / "often.yaml").write_text("jobs:\n  often: {task: 'os:getpid', schedule: {every: 1s}}\n")
    pid = worker_of(cli(folder, "up", "-d", "-c", "1"))

    def schedulers() -> list[int]:
        return [process.pid for process in processes() if f"scheduler --project {folder}" in process.command]

    def done() -> bool:
        return any(run["state"] == "SUCCESS" for run in cli(folder, "runs", "--job", "often", "--json").json)

    wait_until(done)
    [first] = schedulers()
    # One that ends is started again.
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: schedulers() not in ([], [first]))
    # One whose parent was killed ends by itself.
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not schedulers())


def test_a_killed_worker_is_not_mistaken_for_one_that_is_up(folder: Path) -> None:
    runner_cli("init", "demo", cwd=folder.parent).check()
    pid = worker_of(cli(folder, "up", "-d", "-c", "1"))
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid))
    wait_until(lambda: "up: worker" in cli(folder, "up", "-d", "-c", "1").stderr, what="it is up again")


def test_a_worker_that_cannot_start_is_reported(folder: Path) -> None:
    runner_cli("init", "demo", cwd=folder.parent).check()
    with (folder / "runner.yaml").open("a") as settings:
        settings.write("setup: no_such_module:setup\n")
    failed = runner_cli("up", "-d", cwd=folder)
    assert failed.exit_code == 70
    assert "no_such_module" in failed.stderr
    assert "nothing was running" not in cli(folder, "down").stderr


def test_down_names_the_embedded_server_that_redis_url_no_longer_names(folder: Path) -> None:
    runner_cli("init", "demo", cwd=folder.parent).check()
    cli(folder, "runs")  # starts the server
    settings = folder / "runner.yaml"
    other = f"redis_url: redis://127.0.0.1:{free_port()}/0"
    settings.write_text(settings.read_text("utf-8").replace("redis_url: embedded", other), "utf-8")
    left = cli(folder, "down").stderr
    named = re.fullmatch(
        r"warning: the embedded server \(process (\d+)\) is still running: redis_url does not name it any more; "
        rf"to stop it: RUNNER_REDIS_URL=embedded runner down --project {re.escape(str(folder))}\n",
        left,
    )
    assert named is not None, left
    assert is_alive(int(named[1]))
    # The command that was named does so.
    stopped = runner_cli("down", cwd=folder, env={"RUNNER_REDIS_URL": "embedded"}).check()
    assert stopped.stderr == "the embedded server is stopped; its data is kept\n"
    assert not is_alive(int(named[1]))
    assert cli(folder, "down").stderr == "nothing was running\n"


def test_up_in_the_foreground(folder: Path) -> None:
    from tests.support.running import Running

    runner_cli("init", "demo", cwd=folder.parent).check()
    with Running([*COMMAND, "up", "-c", "1"], cwd=folder, env=clean_environment()) as up:
        up.wait_for("runner worker ready")
        cli(folder, "submit", "hello", "--wait")
        up.signal(signal.SIGINT)
        assert up.wait() == 0
