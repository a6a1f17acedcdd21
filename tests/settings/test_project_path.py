"""A control character in a project's path is refused before any text is made of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.project import runner_cli

CONTROL = ["\n", "\r", "\t", "\x1b", "\x7f", "\x01", "\x85", "\u2028", "\n* * * * * touch x"]


@pytest.mark.parametrize("char", CONTROL)
@pytest.mark.parametrize("words", ["cron show", "cron show --systemd", "cron show --systemd --user", "jobs"])
def test_a_project_whose_path_has_one_is_refused(tmp_path: Path, char: str, words: str) -> None:
    folder = tmp_path / f"a{char}b".replace("/", "")
    (folder / "jobs.d").mkdir(parents=True)
    for options in (["--project", str(folder)], []):
        done = runner_cli(*words.split(), *options, cwd=folder).check(2)
        assert "control character" in done.stderr
        assert done.stdout == ""


@pytest.mark.parametrize("char", CONTROL)
def test_none_is_made_there(tmp_path: Path, char: str) -> None:
    folder = tmp_path / f"a{char}b"
    done = runner_cli("init", str(folder), cwd=tmp_path).check(2)
    assert "control character" in done.stderr
    assert not folder.exists()


@pytest.mark.parametrize("name", ["LOGNAME", "USER"])
def test_a_users_name_with_one_reaches_no_unit(tmp_path: Path, name: str) -> None:
    (tmp_path / "jobs.d").mkdir()
    env = {"LOGNAME": None, "USER": None, name: "me\nExecStartPre=/bin/true"}
    done = runner_cli("cron", "show", "--systemd", cwd=tmp_path, env=env)
    assert "ExecStartPre" not in done.stdout
