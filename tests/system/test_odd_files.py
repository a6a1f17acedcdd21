"""A pipe, a device, a socket, a folder, or an endless file where a file is read: told at once, never waited for."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.project import runner_cli


def pipe(path: Path) -> None:
    os.mkfifo(path, 0o644)


def listening(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    # By a short path: that of a socket has 107 bytes.
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
    os.close(folder)
    path.chmod(0o644)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def terminal(path: Path) -> None:
    path.symlink_to("/dev/ptmx")


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)
    path.chmod(0o644)


def folder(path: Path) -> None:
    path.mkdir(mode=0o755)


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


OBJECTS = [pipe, listening, endless, terminal, huge, folder, dangling, loop]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "p"
    (path / "jobs.d").mkdir(parents=True)
    (path / "jobs.d" / "a.yaml").write_text("jobs: {a: {task: 'os:getpid'}}\n")
    (path / "runner.yaml").write_text("redis_url: redis://127.0.0.1:1/0\n")
    return path


REASONS = ["regular file", "1 MiB", "8,192 bytes", "o such file", "does not exist", "symbolic links", "there is no"]
PLACES = ["runner.yaml", "runner.prod.yaml", "jobs.d/a.yaml", "url", "config.yaml"]
SOUND = [("jobs.d/a.yaml", folder), ("config.yaml", dangling), ("config.yaml", loop)]
"""A folder of jobs, and no file."""


@pytest.mark.parametrize(
    ("name", "make"), [(name, make) for name in PLACES for make in OBJECTS if (name, make) not in SOUND]
)
def test_every_file_that_is_read_at_the_start(project: Path, name: str, make: Callable[[Path], None]) -> None:
    path = project / name
    env = {"RUNNER_ENV": "prod"} if name == "runner.prod.yaml" else {}
    if name == "url":
        (project / "runner.yaml").write_text("redis_url: file:url\n")
    if name == "config.yaml":
        path = project / "runner" / "config.yaml"
        path.parent.mkdir()
        env = {"XDG_CONFIG_HOME": str(project)}
    path.unlink(missing_ok=True)
    make(path)
    done = runner_cli("validate", "--project", project, cwd=project, env=env, timeout=30).check(2)
    output = done.stdout + done.stderr
    assert path.name in output, output
    assert any(reason in output for reason in REASONS), output


@pytest.mark.parametrize("make", [pipe, listening, endless, huge, folder])
def test_secrets(project: Path, make: Callable[[Path], None]) -> None:
    from runner.app.secret_sources import complaints
    from runner.catalog.catalog import load_files

    make(project / "secret")
    (project / "jobs.d" / "a.yaml").write_text("jobs: {a: {task: 'os:getpid', secrets: {S: 'file:secret'}}}\n")
    [job] = load_files([project / "jobs.d" / "a.yaml"]).jobs.values()
    [complaint] = complaints(job, project, {})
    assert "not a regular file" in complaint or "more than 64 KiB" in complaint


@pytest.mark.parametrize("make", [pipe, endless, listening])
@pytest.mark.parametrize("name", [".gitignore", "schema/jobs.schema.json", ".runner/server.json", ".runner/cache"])
def test_files_that_the_runner_keeps(project: Path, name: str, make: Callable[[Path], None]) -> None:
    path = project / name
    path.parent.mkdir(mode=0o700, exist_ok=True)
    make(path)
    runner_cli("validate", "--project", project, cwd=project, timeout=30).check()
    (project / "runner.yaml").unlink()
    made = runner_cli("init", project, cwd=project, timeout=30)
    assert "a bug" not in made.stderr
    assert made.exit_code in (0, 2)


STATE = ["data", "log", "log/server.log", "redis.sock", "server.json", "last-server.json", ".server.json.new"]
LOCKS = ["server.lock", "start.lock"]


@pytest.mark.parametrize("name", [*STATE, *LOCKS])
@pytest.mark.parametrize("make", [pipe, folder, dangling])
def test_files_of_the_embedded_server(project: Path, name: str, make: Callable[[Path], None]) -> None:
    (project / "runner.yaml").write_text("redis_url: embedded\n")
    path = project / ".runner" / name
    (project / ".runner").mkdir(mode=0o700)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    make(path)
    try:
        for words in (["runs"], ["doctor"]):
            done = runner_cli(*words, cwd=project, timeout=60)
            assert done.exit_code in (0, 1, 69), done
            assert done.exit_code == 0 or str(path) in done.stdout + done.stderr, done
    finally:
        assert runner_cli("down", cwd=project, timeout=60).exit_code in (0, 69)


@pytest.mark.parametrize("make", [pipe, folder])
def test_units_are_written_to_regular_files_alone(project: Path, make: Callable[[Path], None]) -> None:
    units = project / "units"
    units.mkdir()
    runner_cli("cron", "show", "--systemd", "--into", units, cwd=project).check()
    [file, *_] = sorted(units.iterdir())
    file.unlink()
    make(file)
    done = runner_cli("cron", "show", "--systemd", "--into", units, cwd=project, timeout=30).check(2)
    assert file.name in done.stderr


@pytest.mark.parametrize(
    "words", [("submit", "a", "--params", "@/dev/zero"), ("init", "new", "--from-crontab", "/dev/zero")]
)
def test_an_endless_file_that_is_named(project: Path, words: tuple[str, ...]) -> None:
    done = runner_cli(*words, cwd=project, timeout=60).check(2)
    assert "MiB" in done.stderr
