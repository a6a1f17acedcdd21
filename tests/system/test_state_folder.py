"""The folder of state, ``.runner``: root trusts nothing that a user could have put there, and signals no stranger."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.host.process import started_at
from tests.support.deadline import wait_until
from tests.support.processes import processes
from tests.support.project import Project
from tests.support.users import STRANGER, root_only


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that leads a session, as a detached worker does."""
    process = subprocess.Popen(["sleep", "300"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project({"hello": {"task": "os:getpid"}})


@pytest.fixture
def state(project: Project) -> Path:
    folder = project.path / ".runner"
    folder.mkdir(mode=0o700)
    return folder


@pytest.mark.parametrize("start", ["", " 1", " {own}"])
def test_no_process_is_signaled_that_is_not_the_worker(
    project: Project, state: Path, sleeper: subprocess.Popen[bytes], start: str
) -> None:
    own = started_at(os.getpid())
    (state / "worker.pid").write_text(f"{sleeper.pid}{start.format(own=own)}\n")
    with (state / "worker.pid").open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = project.cli("down")
    assert sleeper.poll() is None
    assert done.exit_code == 69
    assert "is not the one it names" in done.stderr


@root_only
@pytest.mark.parametrize("what", ["folder", "file", "link", "folder-link"])
@pytest.mark.parametrize("verb", ["down", "up -d"])
def test_root_neither_signals_nor_writes_what_a_user_put_there(
    project: Project, sleeper: subprocess.Popen[bytes], tmp_path: Path, what: str, verb: str
) -> None:
    state, mine = project.path / ".runner", tmp_path / "mine"
    mine.mkdir()
    (mine / "worker.pid").write_text("precious\n")
    os.chown(project.path, STRANGER, STRANGER)
    pid = f"{sleeper.pid} {started_at(sleeper.pid)}\n"
    if what == "folder-link":
        state.symlink_to(mine)
        os.chown(state, STRANGER, STRANGER, follow_symlinks=False)
    else:
        state.mkdir(mode=0o700)
        if what == "link":
            (state / "worker.pid").symlink_to(mine / "worker.pid")
        else:
            (state / "worker.pid").write_text(pid)
        os.chown(state if what == "folder" else state / "worker.pid", STRANGER, STRANGER, follow_symlinks=False)
    holder = None
    if what in ("folder", "file"):
        holder = (state / "worker.pid").open("r+b")
        fcntl.flock(holder, fcntl.LOCK_EX)
    try:
        done = project.cli(*verb.split(), "--project", str(project.path), cwd=tmp_path)
    finally:
        if holder is not None:
            holder.close()
    assert sleeper.poll() is None
    assert done.exit_code == 2, done
    assert "not used" in done.stderr
    assert (mine / "worker.pid").read_text() == "precious\n"
    assert list(mine.iterdir()) == [mine / "worker.pid"]


@root_only
@pytest.mark.parametrize("name", ["log", "log/worker.log"])
def test_a_log_is_not_written_through_a_link(project: Project, state: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / "target"
    if name == "log":
        target.mkdir()
    else:
        (state / "log").mkdir()
        target.write_text("precious\n")
    (state / name).symlink_to(target)
    done = project.cli("up", "-d").check(2)
    assert "is a link" in done.stderr
    assert list(target.iterdir()) == [] if name == "log" else target.read_text() == "precious\n"


@root_only
def test_root_makes_no_folder_in_a_users_project(project: Project) -> None:
    os.chown(project.path, STRANGER, STRANGER)
    done = project.cli("up", "-d", "--project", str(project.path)).check(2)
    assert f"belongs to uid {STRANGER}" in done.stderr
    assert "RUNNER_STATE_DIR" in done.stderr
    assert not (project.path / ".runner").exists()


@pytest.mark.parametrize("make", ["pipe", "link", "huge"])
def test_an_odd_record_of_the_embedded_server_is_no_server(
    make_embedded_project: Callable[..., Project], make: str
) -> None:
    project = make_embedded_project({"hello": {"task": "os:getpid"}})
    project.cli("runs").check()
    record = project.path / ".runner" / "server.json"
    text = record.read_bytes()
    record.unlink()
    if make == "pipe":
        os.mkfifo(record)
    elif make == "link":
        (project.path / "copy.json").write_bytes(text)
        record.symlink_to(project.path / "copy.json")
    else:
        record.write_bytes(text + b" " * 1_000_000)
    project.cli("runs", timeout=30).check()
    assert not record.is_symlink()
    assert record.read_bytes()[:1] == b"{"


@root_only
def test_root_does_not_use_a_server_that_a_users_file_names(
    make_embedded_project: Callable[..., Project],
) -> None:
    project, other = make_embedded_project({}), make_embedded_project({}, name="other")
    other.cli("runs").check()
    os.chown(project.path, STRANGER, STRANGER)
    state = project.path / ".runner"
    state.symlink_to(other.path / ".runner")
    os.chown(state, STRANGER, STRANGER, follow_symlinks=False)
    for verb in (["runs"], ["down"]):
        done = project.cli(*verb, "--project", str(project.path)).check(69)
        assert f"belongs to {STRANGER}" in done.stderr
    assert "process" in other.cli("doctor").stdout
    state.unlink()
    os.chown(project.path, 0, 0)


@root_only
@pytest.mark.parametrize("words", [["scheduler"], ["worker"], ["up"], ["tick"], ["web"]])
def test_what_would_wait_for_redis_does_not_wait_for_a_server_that_is_another_users(
    make_embedded_project: Callable[..., Project], words: list[str]
) -> None:
    project = make_embedded_project({"hello": {"task": "os:getpid"}})
    os.chown(project.path, STRANGER, STRANGER)
    done = project.cli(*words, "--project", str(project.path), timeout=30).check(69)
    assert f"error: {project.path} belongs to {STRANGER}" in done.stderr
    assert "RUNNER_STATE_DIR" in done.stderr
    assert f"sudo -u '#{STRANGER}'" in done.stderr


def test_a_worker_of_an_older_version_is_stopped(make_embedded_project: Callable[..., Project]) -> None:
    project = make_embedded_project({"hello": {"task": "os:getpid"}})
    project.cli("up", "-d", "-c", "1").check()
    file = project.path / ".runner" / "worker.pid"
    pid = file.read_text().split()[0]
    file.write_text(f"{pid}\n")
    assert f"stopping worker {pid}" in project.cli("down").check().stderr
    wait_until(lambda: all(process.pid != int(pid) for process in processes()))


def test_state_can_be_kept_elsewhere(make_embedded_project: Callable[..., Project], tmp_path: Path) -> None:
    project = make_embedded_project({"hello": {"task": "os:getpid"}})
    env = {"RUNNER_STATE_DIR": str(tmp_path / "s")}
    up = project.cli("up", "-d", "-c", "1", env=env).check()
    pid = int(re.search(r"worker (\d+)", up.stderr)[1])  # type: ignore[index]
    assert str(tmp_path / "s" / "log" / "worker.log") in up.stderr
    project.cli("submit", "hello", "--wait", env=env).check()
    assert not (project.path / ".runner").exists()
    fields = (tmp_path / "s" / "worker.pid").read_text().split()
    assert fields == [str(pid), started_at(pid)]
    down = project.cli("down", env=env).check()
    assert f"stopping worker {pid}" in down.stderr
    wait_until(lambda: all(process.pid != pid for process in processes()))
