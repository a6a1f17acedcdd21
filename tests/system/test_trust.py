"""Whose files are obeyed: a project that a search found must be one's own, and nobody else may write to it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.need import need
from tests.support.project import COMMAND, Result, clean_environment, runner_cli
from tests.support.users import STRANGER, as_user, root_only, run_as

EVIL = "import pathlib\npathlib.Path({mark!r}).touch()\ndef main():\n    return 1\n"
JOBS = "jobs:\n  evil: {task: 'evil:main', schedule: '* * * * *'}\n"


@pytest.fixture
def mark(open_folder: Path) -> Path:
    return open_folder / "executed"


@pytest.fixture
def project(open_folder: Path, mark: Path) -> Path:
    """A project whose code leaves a mark when it is imported, with a folder in it."""
    folder = open_folder / "p"
    (folder / "jobs.d").mkdir(parents=True)
    (folder / "deep").mkdir()
    (folder / "runner.yaml").write_text("redis_url: redis://127.0.0.1:1/0\nsetup: evil:main\n")
    (folder / "jobs.d" / "jobs.yaml").write_text(JOBS)
    (folder / "evil.py").write_text(EVIL.format(mark=str(mark)))
    return folder


def own(uid: int, *paths: Path) -> None:
    for path in paths:
        for entry in (path, *path.rglob("*")) if path.is_dir() else (path,):
            os.chown(entry, uid, uid, follow_symlinks=False)


def refused(done: Result, folder: Path) -> None:
    assert done.exit_code == 2, done
    assert f"belongs to uid {STRANGER}" in done.stderr + done.stdout, done
    assert f"--project {folder}" in done.stderr + done.stdout, done
    assert f"RUNNER_TRUSTED_FOLDERS={folder}" in done.stderr + done.stdout, done
    assert "trusted_folders" in done.stderr + done.stdout, done


COMMANDS = [
    *("submit evil", "run evil", "status abcdefgh", "runs", "jobs", "validate", "validate --imports", "worker", "up"),
    *("up -d", "down", "tick", "scheduler", "upcoming", "cron show", "cron show --systemd", "web", "plan", "workers"),
    *("doctor", "new other evil:main", "validate --imports ../jobs.d", "logs abcdefgh", "metrics", "run evil --json"),
]


@root_only
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_uses_a_project_of_another_user_that_it_found(project: Path, mark: Path, command: str) -> None:
    own(STRANGER, project)
    refused(runner_cli(*command.split(), cwd=project / "deep"), project)
    assert not mark.exists()


@root_only
@pytest.mark.parametrize(
    "code",
    ["import runner; runner.submit('evil')", "import runner.celery", "import runner; runner.get_run('abcdefgh')"],
)
def test_neither_does_python(project: Path, mark: Path, code: str) -> None:
    own(STRANGER, project)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=project / "deep", env=clean_environment(), capture_output=True, text=True)
    assert "InvalidSettings" in done.stderr
    assert f"belongs to uid {STRANGER}" in done.stderr
    assert not mark.exists()


@root_only
def test_what_is_named_is_used(project: Path, tmp_path: Path) -> None:
    own(STRANGER, project)
    home = tmp_path / "home"
    settings = home / ".config" / "runner" / "config.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text(f"trusted_folders: [{project}]\n")
    deep = project / "deep"
    cases: list[tuple[list[str | Path], dict[str, str]]] = [
        (["--project", project], {}),
        (["--project", ".."], {}),
        ([], {"RUNNER_PROJECT": str(project)}),
        ([], {"RUNNER_TRUSTED_FOLDERS": str(project)}),
        ([], {"RUNNER_TRUSTED_FOLDERS": f"/nowhere:{project.parent}"}),
        ([], {"HOME": str(home)}),
        ([], {"XDG_CONFIG_HOME": str(home / ".config")}),
        ([], {"SUDO_UID": str(STRANGER)}),
    ]
    for words, env in cases:
        done = runner_cli("jobs", *words, cwd=deep, env=env)
        assert "evil" in done.check().stdout, (words, env)
    refused(runner_cli("jobs", cwd=deep, env={"RUNNER_TRUSTED_FOLDERS": f"{project}/deep"}), project)


@root_only
@pytest.mark.parametrize("kind", ["another user's", "open to all", "one's own"])
def test_init_tells_how_to_use_what_it_made(open_folder: Path, kind: str) -> None:
    folder = open_folder / "my app"
    folder.mkdir()
    if kind == "another user's":
        os.chown(folder, STRANGER, STRANGER)
    elif kind == "open to all":
        folder.chmod(0o1777)
    made = runner_cli("init", cwd=folder).check()
    [go] = [line.removeprefix("now: ") for line in made.stderr.splitlines() if line.startswith("now: ")]
    assert ("RUNNER_PROJECT" in go) == (kind != "one's own")
    script = go.partition("runner up")[0] + shlex.join([*COMMAND, "jobs"])
    done = subprocess.run(["sh", "-c", script], cwd=folder, env=clean_environment(), capture_output=True, text=True)
    assert "hello" in done.stdout, done


@root_only
def test_ones_own_and_roots_projects_are_used(project: Path) -> None:
    assert "evil" in run_as(["jobs"], cwd=project / "deep").check().stdout
    own(STRANGER, project)
    assert "evil" in run_as(["jobs"], cwd=project / "deep").check().stdout
    other = run_as(["jobs"], cwd=project / "deep", uid=STRANGER + 1)
    refused(other, project)


def of_another(path: Path) -> Callable[[], None]:
    return lambda: own(STRANGER, path)


@root_only
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("runner.yaml", "decides what code runs"),
        ("runner.prod.yaml", "decides what code runs"),
        ("jobs.d", "folder belongs to"),
        ("jobs.d/jobs.yaml", "file belongs to"),
        ("jobs.d/more/deeper.yaml", "file belongs to"),
        ("outside.yaml", "file belongs to"),
    ],
)
def test_each_file_of_a_project_that_was_found_must_be_ones_own(project: Path, name: str, part: str) -> None:
    (project / "jobs.d" / "more").mkdir()
    (project / "jobs.d" / "more" / "deeper.yaml").write_text("jobs: {deep: {task: 'evil:main'}}\n")
    (project / "runner.prod.yaml").write_text("namespace: prod\n")
    (project / "outside.yaml").write_text("jobs: {outside: {task: 'evil:main'}}\n")
    (project / "jobs.d" / "link.yaml").symlink_to("../outside.yaml")
    env = {"RUNNER_ENV": "prod"}
    runner_cli("validate", cwd=project, env=env).check()
    target = project / name
    os.chown(target, STRANGER, STRANGER)
    done = runner_cli("validate", cwd=project, env=env).check(2)
    assert f"uid {STRANGER}" in done.stdout + done.stderr
    assert part in done.stdout + done.stderr or name == "runner.yaml"
    runner_cli("validate", "--project", project, cwd=project, env=env).check()
    runner_cli("validate", cwd=project, env={**env, "RUNNER_TRUSTED_FOLDERS": str(project)}).check()


@root_only
def test_a_cache_made_under_another_rule_does_not_count(project: Path) -> None:
    os.chown(project / "jobs.d" / "jobs.yaml", STRANGER, STRANGER)
    assert "evil" in runner_cli("jobs", "--project", project, cwd=project).check().stdout
    assert "evil" not in runner_cli("jobs", cwd=project).check().stdout
    assert "evil" in runner_cli("jobs", "--project", project, cwd=project).check().stdout


@root_only
def test_a_process_that_ours_starts_obeys_the_same_rule(project: Path, tmp_path: Path) -> None:
    os.chown(project / "jobs.d" / "jobs.yaml", STRANGER, STRANGER)
    handed = {"RUNNER_PROJECT": str(project), "RUNNER_PROJECT_FOUND": str(project)}
    assert "evil" not in runner_cli("jobs", cwd=tmp_path, env=handed).check().stdout
    assert "evil" not in runner_cli("jobs", "--project", project, cwd=tmp_path, env=handed).check().stdout


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("trusted_folders: [relative]\n", "not an absolute path"),
        ("trusted: [/x]\n", "did you mean"),
        ("[", "config.yaml"),
    ],
)
def test_a_wrong_settings_file_of_the_user_is_told(project: Path, tmp_path: Path, value: str, part: str) -> None:
    settings = tmp_path / "xdg" / "runner" / "config.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text(value)
    done = runner_cli("jobs", cwd=project, env={"XDG_CONFIG_HOME": str(tmp_path / "xdg")}).check(2)
    assert part in done.stderr


# -- folders that anybody may write to


@pytest.fixture
def config_map(project: Path) -> Path:
    """``jobs.d`` as Kubernetes mounts a ConfigMap, with its modes."""
    jobs = project / "jobs.d"
    (jobs / "jobs.yaml").unlink()
    (jobs / "..2026_11_27").mkdir()
    (jobs / "..2026_11_27" / "jobs.yaml").write_text(JOBS)
    (jobs / "..data").symlink_to("..2026_11_27")
    (jobs / "jobs.yaml").symlink_to("..data/jobs.yaml")
    (jobs / "..2026_11_27" / "jobs.yaml").chmod(0o666)
    (jobs / "..2026_11_27").chmod(0o777)
    return jobs


@root_only
@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_a_config_map_that_is_mounted_read_only_is_read(project: Path, config_map: Path, mode: int) -> None:
    config_map.chmod(mode)
    for uid in (None, STRANGER):
        assert "evil" in run_as(["jobs"], cwd=project, uid=uid, read_only=[config_map]).check().stdout


@root_only
@pytest.mark.parametrize("mode", [0o777, 0o1777])
@pytest.mark.parametrize("name", ["config_map", "plain"])
def test_what_others_can_write_to_is_refused_and_the_setting_named(
    project: Path, config_map: Path, mode: int, name: str
) -> None:
    if name == "plain":
        (config_map / "..data").unlink()
        (config_map / "jobs.yaml").unlink()
        (config_map / "jobs.yaml").write_text(JOBS)
    config_map.chmod(mode)
    # A file of a third user: somebody else is here.
    own(STRANGER + 1, config_map)
    done = run_as(["validate", "--project", project], cwd=project).check(2)
    assert "anybody may write" in done.stdout + done.stderr
    assert f"RUNNER_TRUSTED_FOLDERS={config_map}" in done.stdout + done.stderr
    trusting = {"RUNNER_TRUSTED_FOLDERS": str(config_map)}
    run_as(["validate", "--project", project], cwd=project, env=trusting).check()
    with (project / "runner.yaml").open("a") as file:
        file.write("trusted_folders: [jobs.d]\n")
    run_as(["validate", "--project", project], cwd=project).check()


@root_only
@pytest.mark.parametrize("other", [False, True])
@pytest.mark.parametrize("contained", [False, True])
def test_a_config_map_is_read_where_nobody_else_is(
    project: Path, config_map: Path, other: bool, contained: bool
) -> None:
    config_map.chmod(0o1777)
    beside = f"{shlex.join(as_user(['sleep', '300'], STRANGER + 1))} & " if other else ""
    # A machine of its own kind: its processes, and the variable that Kubernetes sets.
    line = f"{beside}{shlex.join([*as_user(COMMAND), 'validate', '--project', '.'])}"
    env = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"} if contained else {}
    done = subprocess.run(
        [need("unshare"), "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", line],
        cwd=project,
        env=clean_environment(env),
        capture_output=True,
        text=True,
        timeout=60,
    )
    if contained and not other:
        assert done.returncode == 0, done
    elif other:
        assert done.returncode == 2, done
        assert f"RUNNER_TRUSTED_FOLDERS={config_map}" in done.stdout + done.stderr
