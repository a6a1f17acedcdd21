"""``runner init --from-crontab``, with a stand-in for the program ``crontab``."""

from __future__ import annotations

from tests.support.crontab_host import Host
from tests.support.project import Project, Result, runner_cli


def init(host: Host, *words: str, code: int = 0, **more: object) -> Result:
    return runner_cli("init", *words, cwd=host.folder, env=host.env, **more).check(code)  # type: ignore[arg-type]


def test_a_crontab_becomes_a_project(host: Host) -> None:
    host.table.write_text("@reboot start\n# Writes\n* * * * * echo it works; cat%in\n")
    stderr = init(host, "new", "--from-crontab").stderr
    assert "\n1 job: writes\n" in stderr
    assert f"\n  runner cron install --project {host.folder / 'new'}   # cron does, every minute\n" in stderr
    assert "\nstill missing: a worker that takes from default. To start one:\n" in stderr
    assert "line 1: @reboot start" in stderr
    new = Project(host.folder / "new", "runner", "embedded")
    assert host.cli(new, "validate").check().stdout == ""
    assert [job["name"] for job in host.cli(new, "jobs", "--json").check().json] == ["writes"]
    try:
        done = host.cli(new, "run", "writes").check()
    finally:
        # It started the embedded server of the new project.
        host.cli(new, "down")
    assert "it works\\nin\\n" in done.stdout
    assert host.table.read_text().startswith("@reboot")


def test_a_project_gains_the_file_alone(host: Host) -> None:
    project = host.project(jobs={"backup": {"task": "os:getcwd"}})
    before = {path for path in project.path.rglob("*") if ".runner" not in path.parts}
    source = host.folder / "etc"
    source.write_text("0 2 * * * root /srv/backup.sh\n")
    init(host, "p", "--from-crontab", "etc", "--system")
    after = {path for path in project.path.rglob("*") if ".runner" not in path.parts}
    assert after - before == {project.path / "jobs.d" / "crontab.yaml"}
    assert host.cli(project, "validate").check().stdout == ""
    names = [job["name"] for job in host.cli(project, "jobs", "--json").check().json]
    assert sorted(names) == ["backup", "backup-2"]
    again = init(host, "p", "--from-crontab", "-", code=2, input="0 2 * * * x\n")
    assert "nothing was written" in again.stderr
    assert "--system" in init(host, "--system", code=2).stderr


def test_from_crontab_without_anything_to_carry(host: Host) -> None:
    assert "has no crontab" in init(host, "new", "--from-crontab", code=2).stderr
    assert "@reboot x" in init(host, "new", "--from-crontab", "-", code=2, input="@reboot x\n").stderr
    assert "cannot be read" in init(host, "new", "--from-crontab", "gone", code=2).stderr
    assert not (host.folder / "new").exists()
