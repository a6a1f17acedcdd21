"""``runner cron``, with a stand-in for the program ``crontab``."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.crontab_host import Host
from tests.support.project import Project, clean_environment

OTHERS = b"# mine\nMAILTO=ops@example.org\nSHELL=/bin/bash\n0 2 * * * echo '100\\%' \xff\r\n\n5 5 * * * no line end"


def test_show_is_what_install_installs(host: Host) -> None:
    project = host.project()
    shown = host.cli(project, "cron", "show").check().stdout
    lines = [line for line in shown.splitlines() if not line.startswith("#")]
    assert len(lines) == 1
    assert lines[0].startswith("* * * * * /usr/bin/env SHELL=/bin/sh PATH=")
    assert lines[0].endswith(f"--project {project.path} tick")
    assert host.cli(project, "cron", "check").check(1).stdout
    assert not host.table.exists()
    host.cli(project, "cron", "install").check()
    assert host.table.read_text() == shown
    assert host.cli(project, "cron", "check").check().stdout == ""
    assert host.cli(project, "cron", "check", "--json").check().json == {
        "current": True,
        "installed": True,
        "difference": [],
    }
    assert host.cli(project, "cron", "install").check().stderr.startswith("installed already, nothing was changed\n")
    host.cli(project, "cron", "remove").check()
    assert not host.table.exists()
    assert "has no lines" in host.cli(project, "cron", "remove").check().stderr


def test_other_lines_stay_as_they_are(host: Host) -> None:
    host.table.write_bytes(OTHERS)
    one, other = host.project("one"), host.project("other % $x")
    host.cli(one, "cron", "install").check()
    host.cli(other, "cron", "install").check()
    both = host.table.read_bytes()
    assert both.startswith(OTHERS + b"\n")
    assert rb"other \% $x" in both
    host.cli(one, "cron", "install", "--per-job").check()
    assert host.table.read_bytes().startswith(OTHERS + b"\n")
    assert host.cli(other, "cron", "check").check().stdout == ""
    host.cli(other, "cron", "remove").check()
    host.cli(one, "cron", "remove").check()
    assert host.table.read_bytes() == OTHERS


def test_what_is_not_current_is_shown(host: Host) -> None:
    project = host.project()
    host.cli(project, "cron", "install", "--per-job").check()
    lines = [line for line in host.table.read_text().splitlines() if not line.startswith("#")]
    assert [line.split(" /usr")[0] for line in lines] == ["0 2 * * *", "*/15 * * * *", "0 0 * * *"]
    assert all("--wait --quiet --key" in line and "\\%" in line for line in lines)
    host.cli(project, "cron", "check").check()
    host.cli(project, "cron", "check", "--per-job").check()
    project.write({"jobs.d/more.yaml": 'jobs:\n  added: {task: "os:getcwd", schedule: "7 7 * * *"}\n'})
    difference = host.cli(project, "cron", "check").check(1)
    assert "+7 7 * * *" in difference.stdout
    assert "cron install" in difference.stderr
    # A schedule that cron can no longer express must not be reported as current.
    project.write({"jobs.d/more.yaml": 'jobs:\n  added: {task: "os:getcwd", schedule: "0 7 7 L * *"}\n'})
    assert "added: L" in host.cli(project, "cron", "check").check(1).stdout
    host.cli(project, "cron", "install").check()
    host.cli(project, "cron", "check").check()
    host.cli(project, "cron", "check", "--per-job").check(1)
    # Changed by hand.
    host.table.write_text(host.table.read_text().replace("* * * * *", "*/2 * * * *"))
    assert "-*/2 * * * *" in host.cli(project, "cron", "check").check(1).stdout


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        ({"cron": "0 2 * * *", "timezone": "Asia/Tokyo"}, "Asia/Tokyo"),
        ({"cron": "0 2 * * *", "jitter": "5m"}, "jitter"),
        ({"every": "7m"}, "every"),
    ],
)
def test_per_job_refuses_what_cron_can_not_say(host: Host, schedule: dict[str, str], why: str) -> None:
    project = host.project(jobs={"nightly": {"task": "os:getcwd", "schedule": schedule}})
    host.table.write_bytes(OTHERS)
    for action in ("show", "install"):
        done = host.cli(project, "cron", action, "--per-job").check(2)
        assert re.search(f"nightly: .*{why}", done.stderr)
        assert "hint: " in done.stderr
    assert host.table.read_bytes() == OTHERS
    host.cli(project, "cron", "install").check()


@pytest.mark.parametrize(("setting", "said"), [("SHELL=/usr/bin/fish", "SHELL"), ("CRON_TZ=Asia/Tokyo", "CRON_TZ")])
def test_per_job_looks_at_the_settings_above_it(host: Host, setting: str, said: str) -> None:
    project = host.project()
    host.table.write_text(f"{setting}\n")
    assert said in host.cli(project, "cron", "install", "--per-job").check(2).stderr
    host.cli(project, "cron", "install").check()


def test_problems_of_crontab_are_told(host: Host) -> None:
    project = host.project()
    host.table.write_text("# runner cron: begin /elsewhere\n")
    assert "has no end" in host.cli(project, "cron", "install").check(2).stderr
    program = host.folder / "bin" / "crontab"
    program.write_text("#!/bin/sh\necho 'You (me) are not allowed to use this program (crontab)' >&2\nexit 1\n")
    for action in ("install", "remove", "check"):
        assert "not allowed" in host.cli(project, "cron", action).check(2).stderr
    program.write_text("#!/bin/sh\n[ $1 = -l ] && exit 0\necho 'bad minute' >&2\nexit 1\n")
    assert "bad minute" in host.cli(project, "cron", "install").check(2).stderr


def test_a_host_without_crontab(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from runner.actions import crontab
    from runner.errors import CrontabError

    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setattr(crontab, "PLACES", str(tmp_path / "empty"))
    with pytest.raises(CrontabError) as raised:
        crontab.read()
    assert raised.value.exit_code == 2
    assert "runner cron show --systemd" in (raised.value.hint or "")


def test_six_projects_at_once(host: Host) -> None:
    host.table.write_bytes(OTHERS)
    projects = [host.project(f"p{number}") for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        for done in pool.map(lambda project: host.cli(project, "cron", "install"), projects):
            done.check()
    for project in projects:
        host.cli(project, "cron", "check").check()
    with ThreadPoolExecutor(6) as pool:
        for done in pool.map(lambda project: host.cli(project, "cron", "remove"), projects):
            done.check()
    assert host.table.read_bytes() == OTHERS


def test_units_of_systemd(host: Host, tmp_path: Path, needed: Callable[[str], str]) -> None:
    import subprocess

    project = host.project()
    shown = host.cli(project, "cron", "show", "--systemd").check().stdout
    for name in ("tick.timer", "tick.service", "worker.service", "scheduler.service"):
        assert f"-{name}\n" in shown
    folder = tmp_path / "units"
    folder.mkdir()
    host.cli(project, "cron", "show", "--systemd", "--per-job", "--into", str(folder)).check()
    files = sorted(folder.iterdir())
    assert len([file for file in files if file.suffix == ".timer"]) == 2
    done = subprocess.run(
        [needed("systemd-analyze"), "verify", "--man=no", *map(str, files)],
        capture_output=True,
        text=True,
        env=clean_environment({"LC_ALL": "C"}),
    )
    assert [line for line in done.stderr.splitlines() if any(file.name in line for file in files)] == []
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "words",
    [["show", "--user"], ["install", "--systemd"], ["remove", "--per-job"], ["show", "--into", "x"], ["frobnicate"]],
)
def test_options_that_do_not_fit(host: Host, words: list[str]) -> None:
    host.cli(host.project(), "cron", *words).check(2)
    assert not host.table.exists()


def test_a_line_that_starts_a_worker_with_the_host(host: Host) -> None:
    project = host.project()
    shown = host.cli(project, "cron", "show", "--worker").check().stdout
    [boot] = [line for line in shown.splitlines() if line.startswith("@reboot ")]
    assert boot.endswith(f"--project {project.path} up -d --await 10m --quiet")
    host.cli(project, "cron", "install", "--worker").check()
    assert host.table.read_text() == shown
    host.cli(project, "cron", "check").check()
    # It stays until it is taken out, also when the block is written anew.
    host.cli(project, "cron", "install").check()
    assert host.table.read_text() == shown
    host.cli(project, "cron", "install", "--no-worker").check()
    assert "@reboot" not in host.table.read_text()
    host.cli(project, "cron", "check").check()
    for words in (["install", "--worker", "--per-job"], ["check", "--worker"], ["show", "--systemd", "--worker"]):
        assert "--worker" in host.cli(project, "cron", *words).check(2).stderr


def test_install_says_what_is_still_missing(host: Host, make_project: Callable[..., Project]) -> None:
    project = host.project(jobs={"a": {"task": "os:getcwd", "schedule": "@daily", "queue": "far"}})
    stderr = host.cli(project, "cron", "install").check().stderr
    assert "still missing: a worker that takes from far." in stderr
    assert f"runner up -d --project {project.path}" in stderr
    assert not (project.path / ".runner" / "redis.sock").exists(), "a server was started to ask"
    jobs = {"near": {"task": "os:getcwd", "schedule": "@daily"}, "far": {"task": "os:getcwd", "queue": "far"}}
    reachable = make_project(jobs)
    with reachable.worker():
        assert "missing" not in host.cli(reachable, "cron", "install").check().stderr, "far has no schedule"
    reachable.write({"runner.yaml": "redis_url: redis://127.0.0.1:1/0\n"})
    assert "is not known" in host.cli(reachable, "cron", "install").check().stderr


def test_schedules_that_are_off_are_told(host: Host) -> None:
    project = host.project()
    project.write({"runner.yaml": "schedules: false\n"})
    assert "schedules: false" in host.cli(project, "cron", "install").check().stderr


# -- init --from-crontab


def test_no_celery_is_imported(host: Host) -> None:
    import subprocess

    project = host.project()
    code = (
        "import sys; from runner.cli.main import run; code = run(sys.argv[1:]);"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr); sys.exit(code)"
    )
    for words in (
        ["cron", "install"],
        ["cron", "check"],
        ["cron", "show", "--systemd"],
        ["init", "new", "--from-crontab"],
    ):
        if words[0] == "init":
            host.table.write_text("0 2 * * * x\n")
        done = subprocess.run(
            [sys.executable, "-c", code, *words, *(["--project", str(project.path)] if words[0] == "cron" else [])],
            cwd=host.folder,
            env={**os.environ, **clean_environment(host.env)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert not set(done.stderr.split()) & {"celery", "kombu", "redis", "billiard"}
