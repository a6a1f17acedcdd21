"""``runner up --systemd`` and ``up --await`` where there is no systemd, or it refuses, and what does not fit them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.crontab_host import Host
from tests.support.deadline import wait_until
from tests.support.project import Project, write_project
from tests.support.servers import free_port


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--user"], "add --systemd"),
        (["--await", "10s"], "--await needs -d"),
        (["--quiet"], "--quiet needs -d"),
        (["--systemd", "-d"], "leave them out"),
        (["--systemd", "--await", "10s"], "leave them out"),
        (["--systemd", "-c", "3"], "write worker.concurrency"),
        (["--systemd", "-Q", "far"], "a service reads runner.yaml"),
        (["--systemd", "frobnicate"], "frobnicate"),
        (["-d", "--await", "10"], "no unit"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_that_do_not_fit(host: Host, words: list[str], said: str) -> None:
    done = host.cli(host.project(), "up", *words).check(2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("action", ["enable", "status", "remove"])
def test_a_host_without_systemd(host: Host, action: str) -> None:
    if Path("/run/systemd/system").exists():
        pytest.skip("systemd runs this host")
    done = host.cli(host.project(), "up", "--systemd", action).check(2)
    assert "systemd does not run this host" in done.stderr
    assert "cron install --worker" in done.stderr


def test_what_systemd_refuses_is_told(host: Host) -> None:
    """The manager of another user, or one that was not reached by a login."""
    runtime = host.folder / "run"
    (runtime / "systemd").mkdir(parents=True)
    (runtime / "systemd" / "private").touch()
    program = host.folder / "bin" / "systemctl"
    program.write_text("#!/bin/sh\necho 'Failed to connect to bus: Permission denied' >&2\nexit 1\n")
    program.chmod(0o755)
    host.env |= {"XDG_RUNTIME_DIR": str(runtime), "XDG_CONFIG_HOME": str(host.folder / "config")}
    project = host.project()
    for action in ("enable", "status"):
        done = host.cli(project, "up", "--systemd", action, "--user").check(2)
        assert "Failed to connect to bus: Permission denied" in done.stderr
        assert "log in as this user" in done.stderr
    program.write_text("#!/bin/sh\ncase $* in *start*) echo 'Job failed.' >&2; exit 1;; esac\n")
    done = host.cli(project, "up", "--systemd", "--user").check(2)
    assert "Job failed." in done.stderr
    assert "journalctl --user" in done.stderr
    # A folder that cannot be written into.
    (host.folder / "other").write_text("a file")
    host.env["XDG_CONFIG_HOME"] = str(host.folder / "other")
    assert "cannot be written" in host.cli(project, "up", "--systemd", "--user").check(2).stderr


def test_await_waits_for_redis_and_gives_up(tmp_path: Path) -> None:
    project = write_project(tmp_path / "p", f"redis://127.0.0.1:{free_port()}/0", {"a": {"task": "os:getcwd"}})
    done = project.cli("up", "-d", "--await", "1s").check(69)
    assert "waiting for it" in done.stderr
    # Quiet is about what goes well.
    assert "error: " in project.cli("up", "-d", "--await", "1s", "--quiet").check(69).stderr


def test_quiet_says_nothing_while_all_is_well(make_embedded: Project) -> None:
    try:
        done = make_embedded.cli("up", "-d", "--await", "1m", "--quiet").check()
        assert (done.stdout, done.stderr) == ("", "")
        assert wait_until(lambda: make_embedded.cli("workers", "--json").check().json, 30.0, "the worker")
    finally:
        make_embedded.cli("down").check()


@pytest.fixture
def make_embedded(tmp_path: Path) -> Project:
    return write_project(tmp_path / "e", "embedded", {"a": {"task": "os:getcwd"}})
