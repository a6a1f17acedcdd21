"""A container: any user number without an entry or a home, a project of somebody else, nothing to write to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deadline import wait_until
from tests.support.need import need
from tests.support.project import COMMAND, Project, clean_environment, write_project
from tests.support.running import Running
from tests.support.servers import Server, serving
from tests.support.users import STRANGER, as_user, root_only, run_as, with_mounts

pytestmark = [root_only, pytest.mark.redis_server]

JOBS = {
    "hello": {"task": "work:hello", "timeout": "30s", "schedule": "0 5 * * *"},
    "typed": {"task": "runner.tasks.shell:run", "kwargs": {"script": "cat", "stdin": "typed"}},
}
WORK = {"work.py": "import os\ndef hello():\n    return os.getuid()\n"}
BARE = dict.fromkeys(("HOME", "LOGNAME", "USER", "USERNAME", "LNAME"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that every user can reach."""
    with serving("redis-tcp", tmp_path_factory.mktemp("srv")) as running:
        yield running


@pytest.fixture
def project(open_folder: Path, server: Server) -> Project:
    return write_project(open_folder / "p", server.url, JOBS, WORK)


COMMANDS = [
    *("jobs", "validate", "validate --imports", "submit hello", "runs", "run hello", "run hello --quiet", "run typed"),
    *(
        "up -d",
        "down",
        "doctor",
        "doctor --repair",
        "tick",
        "upcoming",
        "cron show",
        "cron show --systemd",
        "cron check",
    ),
    *("cron install", "init new", "init --from-crontab /dev/null", "init --from-crontab", "new x work:hello", "plan"),
    *("workers", "queues", "metrics", "metrics --into m.prom", "completion bash", "pause hello", "resume --all"),
    *("worker --pool prefork", "up", "audit", "schema jobs", "watch abcdefgh", "jobs --project ~/p", "init ~/p"),
]


@pytest.mark.parametrize(
    ("redis_url", "command"),
    [("server", command) for command in COMMANDS]
    + [("embedded", command) for command in ("up -d", "runs", "down", "doctor", "run hello")],
)
def test_every_command_works_or_says_what_is_missing(
    project: Project, server: Server, command: str, redis_url: str
) -> None:
    if redis_url == "embedded":
        project.write({"runner.yaml": "redis_url: embedded\n"})
    done = run_as(command.split(), cwd=project.path, sealed=True)
    assert "a bug in the runner" not in done.stderr, done
    assert "Traceback" not in done.stderr + done.stdout, done
    assert done.exit_code in (0, 1, 2, 4, 69), done
    if done.exit_code not in (0, 1):
        assert re.search(r"^error: ", done.stderr, re.MULTILINE), done


@pytest.mark.parametrize("job", ["hello", "typed"])
def test_shared_memory_is_enough_for_a_run(project: Project, job: str) -> None:
    done = run_as(["run", job], cwd=project.path, sealed=True, spare="/dev/shm").check()
    assert str(STRANGER) in done.stdout or "typed" in done.stdout


def test_what_is_missing_is_named(project: Project) -> None:
    message = run_as(["run", "hello"], cwd=project.path, sealed=True).check(2).stderr
    assert "temporary files" in message
    assert "TMPDIR" in message
    message = run_as(["run", "hello"], cwd=project.path, read_only=["/dev/shm"]).check(2).stderr
    assert "semaphore" in message
    assert "/dev/shm" in message
    assert run_as(["runs", "--json"], cwd=project.path).check().json == []


def test_up_and_down_with_the_state_elsewhere(project: Project, open_folder: Path) -> None:
    project.write({"runner.yaml": "redis_url: embedded\n"})
    open_folder.chmod(0o1777)
    env = {"RUNNER_STATE_DIR": str(open_folder / "state")}
    run_as(["up", "-d", "-c", "1"], cwd=project.path, env=env).check()
    try:
        done = run_as(["submit", "hello", "--wait", "--json"], cwd=project.path, env=env).check()
        assert done.json["result"] == STRANGER
        assert done.json["submitted_by"].startswith(f"{STRANGER}@")
    finally:
        run_as(["down"], cwd=project.path, env=env).check()


def test_a_unit_names_the_users_number(project: Project) -> None:
    assert f"User={STRANGER}\n" in run_as(["cron", "show", "--systemd"], cwd=project.path).check().stdout


def worker(project: Project, *args: str) -> Running:
    """Start a worker as process 1 of a process namespace of its own, on this host's name."""
    words = [*COMMAND, "worker", "-c", "1", *args]
    return Running(
        [need("unshare"), "--pid", "--fork", "--kill-child", "--mount-proc", *as_user(words)],
        cwd=project.path,
        env=clean_environment(BARE),
    )


def test_workers_of_one_host_name_and_number_have_names_of_their_own(project: Project) -> None:
    with worker(project) as one, worker(project) as two:
        names = {process.wait_for(r"runner worker ready: (\S+)", 60.0)[1] for process in (one, two)}
        assert len(names) == 2
        listed = wait_until(lambda: found if len(found := project.cli("workers", "--json").json) == 2 else None)
        assert {record["name"] for record in listed} == names
        assert {record["pid"] for record in listed} == {1}
        assert len({record["host"] for record in listed}) == 1
        run_id = project.submit("hello")
        assert project.wait_for_state(run_id, "SUCCESS")["worker"] in names


def test_a_name_that_was_given_is_kept_and_a_namesake_told(project: Project) -> None:
    with worker(project, "-n", "reports@%h") as one:
        name = one.wait_for(r"runner worker ready: (\S+)", 60.0)[1]
        assert name.startswith("reports@")
        wait_until(lambda: project.cli("workers", "--json").json)
        with worker(project, "--name", "reports@%h") as two:
            two.wait_for(f"another worker is named {re.escape(name)}", 60.0)


def test_up_is_not_misled_by_a_worker_that_was_killed(project: Project, open_folder: Path) -> None:
    """In a container that starts again, processes get the same numbers, and the host's name is the same."""
    open_folder.chmod(0o1777)
    environment = clean_environment({**BARE, "RUNNER_STATE_DIR": str(open_folder / "state")})
    words = [*COMMAND, "up", "-d", "-c", "1"]
    apart = [need("unshare"), "--pid", "--fork", "--kill-child", "--mount-proc", *as_user(words)]
    with Running(apart, cwd=project.path, env=environment) as first:
        assert first.wait() == 0
    project.write({"runner.yaml": f"{(project.path / 'runner.yaml').read_text()}setup: nowhere:to_be_found\n"})
    with Running(apart, cwd=project.path, env=environment) as second:
        assert second.wait() != 0
        second.wait_for("ended with exit code")


def test_mounts_are_of_use(project: Project) -> None:
    words = with_mounts(as_user(["sh", "-c", "touch /tmp/x-$$ || touch /dev/shm/x-$$ && exit 3"]), sealed=True)
    with Running(words, cwd=project.path) as process:
        assert process.wait() == 1


def test_a_config_map_that_changes_is_taken_over(project: Project) -> None:
    jobs = project.path / "jobs.d"
    (jobs / "jobs.yaml").unlink()

    def publish(version: str, name: str) -> None:
        """Change the files as the kubelet does: a new folder, and one link that is replaced."""
        (jobs / version).mkdir()
        (jobs / version / "jobs.yaml").write_text(f"jobs: {{{name}: {{task: 'work:hello'}}}}\n")
        (jobs / "..data_tmp").symlink_to(version)
        (jobs / "..data_tmp").replace(jobs / "..data")

    publish("..one", "first")
    (jobs / "jobs.yaml").symlink_to("..data/jobs.yaml")
    jobs.chmod(0o1777)
    env = {"RUNNER_TRUSTED_FOLDERS": str(jobs)}
    with project.worker(concurrency=1, env=env) as running:
        project.cli("submit", "first", "--wait", env=env).check()
        publish("..two", "second")
        running.wait_for("second", 30.0)
        project.cli("submit", "second", "--wait", env=env).check()
