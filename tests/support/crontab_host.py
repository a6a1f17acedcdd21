"""A host with a fake ``crontab`` program."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.support.project import Project, Result, runner_cli, write_project

CRONTAB = """\
#!/bin/sh
# Does what Debian's crontab does, with a file of the test.
table={table}
case $1 in
  -l) if [ -e "$table" ]; then cat "$table"; else echo "no crontab for me" >&2; exit 1; fi ;;
  -) cat > "$table.new" && mv "$table.new" "$table" ;;
  -r) rm "$table" ;;
  *) exit 2 ;;
esac
"""
JOBS = {
    "nightly": {"task": "os:getcwd", "schedule": "0 2 * * *"},
    "often": {"task": "os:getcwd", "schedule": [{"every": "15m"}, "@daily"]},
    "never": {"task": "os:getcwd", "schedule": "0 2 * * *", "enabled": False},
    "plain": {"task": "os:getcwd"},
}


class Host:
    """A user's crontab, and projects of that user that need no server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.table = folder / "table"
        program = folder / "bin" / "crontab"
        program.parent.mkdir()
        program.write_text(CRONTAB.format(table=shlex.quote(str(self.table))))
        program.chmod(0o755)
        self.env = {"PATH": f"{program.parent}:/usr/bin:/bin", "TZ": "Europe/Berlin"}

    def project(self, name: str = "p", jobs: object = None) -> Project:
        settings = {"timezone": "Europe/Berlin"}
        return write_project(self.folder / name, "embedded", JOBS if jobs is None else jobs, {}, settings)  # type: ignore[arg-type]

    def cli(self, project: Project, *words: str, **more: object) -> Result:
        return runner_cli(*words, project=project.path, cwd=Path("/"), env=self.env, **more)  # type: ignore[arg-type]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Return a host whose user has a crontab for the test."""
    return Host(tmp_path)
