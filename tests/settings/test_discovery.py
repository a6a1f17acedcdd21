"""Which folder is the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import InvalidSettings, NoProject
from runner.settings import load_settings


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    return home


def make(folder: Path, *, jobs: bool = True) -> Path:
    (folder / "jobs.d").mkdir(parents=True)
    if not jobs:
        (folder / "runner.yaml").touch()
    return folder


def find(cwd: Path, home: Path, **environ: str) -> Path:
    return load_settings(environ={"HOME": str(home), **environ}, cwd=cwd).project


def test_upwards_from_the_working_folder(home: Path) -> None:
    project = make(home / "shop")
    deep = project / "a" / "b"
    deep.mkdir(parents=True)
    assert find(deep, home) == project
    assert find(project, home) == project


def test_the_home_folder_is_the_last_that_is_looked_at(home: Path) -> None:
    make(home.parent, jobs=True)
    (home / "deep").mkdir()
    with pytest.raises(NoProject) as caught:
        find(home / "deep", home)
    assert caught.value.exit_code == 2
    assert "runner init" in str(caught.value.hint)
    make(home)
    assert find(home / "deep", home) == home


def test_outside_of_home_the_search_goes_on_to_the_root(tmp_path: Path, home: Path) -> None:
    project = make(tmp_path / "srv")
    (project / "deep").mkdir()
    assert find(project / "deep", home) == project


def test_the_nearest_wins(home: Path) -> None:
    make(home / "outer")
    inner = make(home / "outer" / "inner")
    assert find(inner, home) == inner


def test_a_variable_names_it_and_an_argument_wins(home: Path, tmp_path: Path) -> None:
    one, two = make(tmp_path / "one"), make(tmp_path / "two")
    environ = {"RUNNER_PROJECT": str(one), "HOME": str(home)}
    assert load_settings(environ=environ, cwd=two).project == one
    assert load_settings(two, environ=environ, cwd=one).project == two
    assert load_settings("two", environ=environ, cwd=tmp_path).project == two
    assert load_settings(two / "runner.yaml" if (two / "runner.yaml").exists() else two, environ={}).project == two


def test_the_settings_file_stands_for_its_folder(tmp_path: Path) -> None:
    project = make(tmp_path / "one", jobs=False)
    assert load_settings(project / "runner.yaml", environ={}).project == project


@pytest.mark.parametrize(
    ("name", "part"), [("nowhere", "there is no folder"), ("empty", "has neither"), ("file", "is not a folder")]
)
def test_a_named_folder_must_be_a_project(tmp_path: Path, name: str, part: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    make(tmp_path)
    with pytest.raises(NoProject, match=part):
        load_settings(tmp_path / name, environ={})
    with pytest.raises(NoProject, match="RUNNER_PROJECT"):
        load_settings(environ={"RUNNER_PROJECT": name}, cwd=tmp_path)


def test_the_wrong_extension_is_told(tmp_path: Path) -> None:
    (tmp_path / "runner.yml").touch()
    with pytest.raises(NoProject) as caught:
        load_settings(tmp_path, environ={})
    assert "rename" in str(caught.value.hint)


def test_a_found_project_that_anybody_can_write_to_is_refused(home: Path) -> None:
    project = make(home / "shop")
    project.chmod(0o777)
    (project / "deep").mkdir()
    with pytest.raises(InvalidSettings, match="anybody"):
        find(project / "deep", home)
