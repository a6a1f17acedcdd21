"""The image, run by podman: sealed, as an unknown user; its health check, its end, and the services of Compose."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner._version import __version__
from tests.deploy.manifests import DEPLOY
from tests.deploy.tools import TOOLS
from tests.support.deadline import wait_until
from tests.support.project import Project, runner_cli, write_project
from tests.support.servers import serving
from tests.support.users import STRANGER

IMAGE = os.environ["RUNNER_TEST_IMAGE"]
JOBS = {
    "who": {"task": "work:who", "timeout": "30s"},
    "gate": {"task": "work:gate", "timeout": "2m"},
}
WORK = """\
import os, pathlib, time

def who():
    return [os.getuid(), os.access("/", os.W_OK)]

def gate():
    while not pathlib.Path("/app/open").exists():
        time.sleep(0.05)
    return "through"
"""
SEALED = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "all", "--security-opt", "no-new-privileges"]
# podman looks at health by timers of systemd; here, tests ask for each look.
HERE = ["--cgroups=disabled", "--network", "host", "--health-interval", "disable"]

pytestmark = pytest.mark.timeout(240)


def podman(*words: str, timeout: float = 90.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["podman", *words], capture_output=True, text=True, timeout=timeout, check=False)


def said(*words: str) -> str:
    result = podman(*words)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout.strip()


@pytest.fixture
def project() -> Iterator[Project]:
    """A project that every user can read, with a server of its own."""
    folder = Path(tempfile.mkdtemp(prefix="runner-image-"))
    folder.chmod(0o755)
    try:
        with serving("redis-tcp", folder / "srv") as server:
            yield write_project(folder / "p", server.url, JOBS, {"work.py": WORK})
    finally:
        shutil.rmtree(folder)


@contextmanager
def container(project: Project, *options: str, command: Sequence[str] = ()) -> Iterator[str]:
    """Run a sealed container as a user that it does not know; remove it at the end."""
    options = (*HERE, *SEALED, "--user", f"{STRANGER}:{STRANGER}", "--volume", f"{project.path}:/app:ro", *options)
    name = said("run", "--detach", *options, IMAGE, *command)
    try:
        yield name
    finally:
        log = podman("logs", name)
        print(log.stdout, log.stderr)
        podman("rm", "--force", "--time", "0", name)


def is_healthy(name: str) -> bool:
    return podman("healthcheck", "run", name).returncode == 0


def test_the_image_is_what_the_dockerfile_says() -> None:
    [found] = json.loads(said("inspect", "--type", "image", IMAGE))
    config = found["Config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["runner"]
    assert config["Labels"]["org.opencontainers.image.version"] == __version__
    assert found["Healthcheck"]["Test"] == ["CMD", "runner", "doctor", "--worker"]
    output = said("run", "--rm", *HERE, *SEALED, "--no-healthcheck", IMAGE, "--version")
    assert __version__ in output


def test_a_sealed_worker_of_an_unknown_user(project: Project) -> None:
    with container(project) as name:
        wait_until(lambda: is_healthy(name), 60.0, "the worker is healthy")
        run_id = said("exec", name, "runner", "submit", "who", "--wait", "--quiet").split()
        assert run_id == []
        [run] = json.loads(said("exec", name, "runner", "runs", "--json"))
        assert run["result"] == [STRANGER, False]

        # Frozen, and silent: as if for a minute.
        [worker] = project.cli("workers", "--json").json
        pid = int(said("inspect", "--format", "{{.State.Pid}}", name))
        os.kill(pid, signal.SIGSTOP)
        try:
            client = project.redis()
            client.hincrby(f"{project.namespace}:worker:{worker['name']}", "seen_at", -60_000)
            client.close()
            assert not is_healthy(name)
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_until(lambda: is_healthy(name), what="the worker is healthy again")


def test_a_busy_container_ends_after_its_run(project: Project) -> None:
    with container(project) as name:
        run_id = project.submit("gate")
        project.wait_for_state(run_id, "STARTED", deadline=60.0)
        with subprocess.Popen(["podman", "stop", "--time", "60", name], stdout=subprocess.DEVNULL) as stop:
            try:
                wait_until(lambda: project.cli("workers", "--json").json[0]["state"] == "stopping")
            finally:
                (project.path / "open").touch()
            assert stop.wait(60.0) == 0
        run = project.document(run_id)
        assert (run["state"], run["result"], run["attempts"]) == ("SUCCESS", "through", 1)
        assert said("inspect", "--format", "{{.State.ExitCode}}", name) == "0"


def test_the_link_of_a_service_is_no_setting(project: Project) -> None:
    mounted = ["--volume", f"{project.path}:/app:ro", "--env", "RUNNER_WEB_PORT=tcp://10.0.0.1:80"]
    result = podman("run", "--rm", *HERE, *mounted, IMAGE, "runs")
    assert result.returncode == 2
    assert "RUNNER_WEB_PORT" in result.stderr


def test_compose(project: Project) -> None:
    secrets = project.path.parent / "secrets"
    secrets.mkdir(mode=0o700)
    (secrets / "redis.conf").write_text("requirepass sesame\n", "utf-8")
    (secrets / "redis_url").write_text("redis://:sesame@redis:6379/0\n", "utf-8")
    token = runner_cli("web", "--new-token", "ada", "--role", "read", "--json", cwd=project.path).check().json
    tokens = {"ada": {"sha256": token["sha256"], "role": "read"}}
    composed = write_project(
        project.path.parent / "c", "embedded", JOBS, {"work.py": WORK}, {"web": {"tokens": tokens}}
    )
    environment = {
        **os.environ,
        "SECRETS": str(secrets),
        "PROJECT": str(composed.path),
        "RUNNER_IMAGE": IMAGE,
        "REDIS_IMAGE": os.environ["RUNNER_TEST_REDIS_IMAGE"],
    }

    def compose(*words: str) -> str:
        program = [str(TOOLS / "podman-compose"), "--podman-run-args=--cgroups=disabled", *words]
        folder = DEPLOY / "compose"
        result = subprocess.run(
            program, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    names = {f"runner_{service}_1" for service in ("redis", "worker", "scheduler", "web")}
    try:
        compose("up", "--detach", "--no-build")
        checked = ("runner_redis_1", "runner_worker_1", "runner_web_1")
        wait_until(lambda: all(map(is_healthy, checked)), 90.0, "all are healthy")
        assert set(said("ps", "--format", "{{.Names}}").split()) == names
        run_id = compose("exec", "-T", "scheduler", "runner", "submit", "who").strip()
        assert "SUCCESS" in compose("exec", "-T", "scheduler", "runner", "wait", run_id, "--json")
        assert "sesame" not in said("inspect", *sorted(names))
        # What Redis acknowledged outlives it.
        said("kill", "--signal", "KILL", "runner_redis_1")
        said("start", "runner_redis_1")
        wait_until(lambda: is_healthy("runner_worker_1"), 90.0, "the worker is back")
        assert "SUCCESS" in compose("exec", "-T", "scheduler", "runner", "status", run_id, "--json")
    finally:
        for name in names:
            print(name, podman("logs", "--tail", "20", name))
        compose("down", "--volumes", "--timeout", "30")
