"""The cache of the values of ``runner.yaml``: used when nothing has changed, and never trusted otherwise."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.errors import InvalidSettings
from runner.settings import document_cache, load_settings
from runner.yaml_reader.reader import read_bytes

SETTINGS = "redis_url: redis://localhost:1/0\ntimezone: Europe/Berlin\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "jobs.d").mkdir()
    (tmp_path / "runner.yaml").write_text(SETTINGS)
    (tmp_path / ".runner" / "cache").mkdir(parents=True)
    for folder in (tmp_path / ".runner", tmp_path / ".runner" / "cache"):
        folder.chmod(0o700)
    load_settings(tmp_path, {})
    return tmp_path


def cached(project: Path) -> Path:
    return project / ".runner" / "cache" / "runner.yaml.json"


def reads_cache(project: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Load the settings, and return whether their file was not parsed."""
    parsed = []

    def read_and_note(data: bytes, name: str, size: int) -> object:
        parsed.append(name)
        return read_bytes(data, name, size)

    with monkeypatch.context() as patch:
        patch.setattr(document_cache, "read_bytes", read_and_note)
        assert load_settings(project, {}).timezone == "Europe/Berlin"
    return not parsed


def test_the_parser_is_not_imported_for_a_cached_file(project: Path) -> None:
    code = "import sys, runner.settings as s; s.load_settings(sys.argv[1]); print('yaml' in sys.modules)"
    found = []
    for _ in range(2):
        run = subprocess.run([sys.executable, "-c", code, project], capture_output=True, text=True, check=True)
        found.append(run.stdout.strip())
        (project / "runner.yaml").write_text(SETTINGS + "# changed\n")
    assert found == ["False", "True"]


def change_bytes(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"Berlin", b"London"))


def open_file(path: Path) -> None:
    path.chmod(0o666)


def open_folder(path: Path) -> None:
    path.parent.chmod(0o777)


def link(path: Path) -> None:
    path.rename(path.with_suffix(".other"))
    path.symlink_to(path.with_suffix(".other"))


def cut(path: Path) -> None:
    os.truncate(path, 100)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [change_bytes, open_file, open_folder, link, cut, pipe, folder])
def test_a_cache_that_others_could_have_written_or_that_is_damaged_counts_as_absent(
    damage: Callable[[Path], None], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert reads_cache(project, monkeypatch)
    damage(cached(project))
    assert not reads_cache(project, monkeypatch)


def test_a_cached_file_that_has_become_invalid_is_reported_with_its_line(project: Path) -> None:
    text = SETTINGS + "python_path: [lib]\n"
    (project / "runner.yaml").write_text(text)
    (project / "lib").mkdir()
    load_settings(project, {})
    assert json.loads(cached(project).read_text().partition("\n")[2])["python_path"] == ["lib"]
    (project / "lib").rmdir()
    with pytest.raises(InvalidSettings, match=r"runner\.yaml:3:15: python_path\[0\]: there is no folder"):
        load_settings(project, {})


def test_values_that_json_would_change_and_other_state_folders_are_not_cached(project: Path) -> None:
    cached(project).unlink()
    (project / "runner.yaml").write_text(SETTINGS + "x-numbers: {1: one}\n")
    with contextlib.suppress(InvalidSettings):
        load_settings(project, {})
    assert not cached(project).exists()
    (project / "runner.yaml").write_text(SETTINGS + "state_dir: other\n")
    load_settings(project, {})
    assert not cached(project).exists()
    assert not (project / "other").exists()
