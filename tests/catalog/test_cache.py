"""The cache of the catalog: the same answers, and no trust in what is not ours."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from runner.catalog import cache, catalog, files
from runner.catalog.catalog import Catalog, load_catalog
from runner.catalog.files import Found


@dataclasses.dataclass
class Project:
    project: Path
    jobs_dir: tuple[Path, ...]
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    files: tuple[Path, ...] = ()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were read, and not taken from the cache."""
    names: list[str] = []
    original = files.open_file

    def open_file(found: Found) -> Any:
        names.append(Path(found.path).name)
        return original(found)

    monkeypatch.setattr(catalog, "open_file", open_file)
    return names


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr(cache, "_FINE_SECONDS", 0)
    monkeypatch.setattr(cache, "_COARSE_SECONDS", 0)
    folder = tmp_path / "jobs.d"
    folder.mkdir(mode=0o755)
    for name in "ab":
        file = folder / f"{name}.yaml"
        file.write_text(
            f"jobs:\n  {name}:\n    task: a.b:c\n    kwargs: {{x: '$${{y}}', z: 'ü'}}\n"
            "    params: {day: {type: string, required: true}}\n    retry: {max_retries: 2, for: [ValueError]}\n"
        )
        file.chmod(0o644)
    (folder / "c.yaml").write_text("jobs:\n  c:\n    task: a.b:c\n    que: x\n")
    (folder / "c.yaml").chmod(0o644)
    return Project(tmp_path, (folder,))


def path_of(project: Project) -> Path:
    return project.project / ".runner" / "cache" / "catalog.jsonl"


def same(one: Catalog, other: Catalog) -> bool:
    return (
        dict(one.jobs) == dict(other.jobs)
        and one.problems == other.problems
        and (one.files, one.warnings, dict(one.broken)) == (other.files, other.warnings, dict(other.broken))
    )


def test_the_cache_gives_what_the_files_give(project: Project, opened: list[str]) -> None:
    cold = load_catalog(project, use_cache=False)
    assert not path_of(project).exists()
    first = load_catalog(project)
    opened.clear()
    cached = load_catalog(project)
    assert opened == []
    assert same(cold, first)
    assert same(cold, cached)
    assert isinstance(cached.jobs["a"].kwargs, MappingProxyType)
    assert cached.jobs["a"].kwargs["x"] == "$${y}"


def test_only_what_changed_is_read_again(project: Project, opened: list[str]) -> None:
    load_catalog(project)
    opened.clear()
    (project.jobs_dir[0] / "b.yaml").write_text("jobs:\n  b:\n    task: a.b:changed\n")
    assert load_catalog(project).jobs["b"].task == "a.b:changed"
    assert opened == ["b.yaml"]
    opened.clear()
    assert load_catalog(project).jobs["b"].task == "a.b:changed"
    assert opened == []


def test_a_new_and_a_removed_file(project: Project, opened: list[str]) -> None:
    load_catalog(project)
    (project.jobs_dir[0] / "a.yaml").unlink()
    (project.jobs_dir[0] / "d.yaml").write_text("jobs:\n  d:\n    task: a.b:c\n")
    (project.jobs_dir[0] / "d.yaml").chmod(0o644)
    assert sorted(load_catalog(project).jobs) == ["b", "d"]


def test_same_size_and_mtime_but_another_file(project: Project) -> None:
    load_catalog(project)
    file = project.jobs_dir[0] / "a.yaml"
    before = file.stat()
    other = file.with_name("other.tmp")
    other.write_text(file.read_text().replace("a.b:c", "x.y:z"))
    other.chmod(0o644)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert load_catalog(project).jobs["a"].task == "x.y:z"


def test_a_file_that_becomes_writable_for_all_is_refused(project: Project) -> None:
    load_catalog(project)
    (project.jobs_dir[0] / "a.yaml").chmod(0o646)
    assert "a" not in load_catalog(project).jobs


def test_other_defaults_another_cache(project: Project) -> None:
    load_catalog(project)
    project.defaults = {"queue": "other"}
    assert load_catalog(project).jobs["a"].queue == "other"


def test_young_files_are_not_cached(project: Project, opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_FINE_SECONDS", 3600)
    monkeypatch.setattr(cache, "_COARSE_SECONDS", 3600)
    load_catalog(project)
    opened.clear()
    load_catalog(project)
    assert opened == ["a.yaml", "b.yaml", "c.yaml"]


def test_a_file_dated_in_the_future_is_cached_all_the_same(project: Project, opened: list[str]) -> None:
    os.utime(project.jobs_dir[0] / "a.yaml", (4e9, 4e9))
    load_catalog(project)
    opened.clear()
    load_catalog(project)
    assert opened == []


def rewrite(path: Path, change: bytes) -> None:
    path.write_bytes(change)
    path.chmod(0o600)


@pytest.mark.parametrize("cut", [0, 1, 10, 200, -1, -50])
def test_a_damaged_cache_is_not_trusted(project: Project, opened: list[str], cut: int) -> None:
    load_catalog(project)
    data = path_of(project).read_bytes()
    rewrite(path_of(project), data[:cut])
    opened.clear()
    assert load_catalog(project).jobs["a"].task == "a.b:c"
    assert len(opened) == 3


def test_a_changed_byte_is_seen(project: Project, opened: list[str]) -> None:
    load_catalog(project)
    rewrite(path_of(project), path_of(project).read_bytes().replace(b"a.b:c", b"evil:x"))
    opened.clear()
    assert load_catalog(project).jobs["a"].task == "a.b:c"
    assert len(opened) == 3


def test_a_wrong_content_with_a_right_checksum_does_not_crash(project: Project) -> None:
    load_catalog(project)
    ours = cache.Cache(project.project, {})
    for content in (b"", b"[]", b"{}", b"[[1]]", b"null\n\n", b'[["a",[],5,[],[]]]', b"\xff\xfe"):
        rewrite(path_of(project), ours._header(content) + b"\n" + content)
        assert load_catalog(project).jobs["a"].task == "a.b:c"


def test_a_cache_of_another_project_is_not_trusted(project: Project, opened: list[str], tmp_path: Path) -> None:
    load_catalog(project)
    moved = tmp_path.with_name(tmp_path.name + "-moved")
    tmp_path.rename(moved)
    opened.clear()
    load_catalog(Project(moved, (moved / "jobs.d",)))
    assert len(opened) == 3


@pytest.mark.parametrize("mode", [0o666, 0o620, 0o602])
def test_a_cache_that_others_may_write_is_not_trusted(project: Project, opened: list[str], mode: int) -> None:
    load_catalog(project)
    path_of(project).chmod(mode)
    opened.clear()
    load_catalog(project)
    assert len(opened) == 3
    # It was replaced by one of ours.
    assert stat.S_IMODE(path_of(project).stat().st_mode) == 0o600


@pytest.mark.parametrize("folder", [".runner", ".runner/cache"])
def test_a_folder_that_others_may_write_is_not_trusted(project: Project, opened: list[str], folder: str) -> None:
    load_catalog(project)
    (project.project / folder).chmod(0o777)
    opened.clear()
    load_catalog(project)
    assert len(opened) == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_cache_of_another_user_is_not_trusted(project: Project, opened: list[str]) -> None:
    load_catalog(project)
    os.chown(path_of(project), 12345, -1)
    opened.clear()
    load_catalog(project)
    assert len(opened) == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_nothing_is_written_into_a_project_of_another_user(project: Project) -> None:
    os.chown(project.project, 12345, -1)
    load_catalog(project)
    assert not (project.project / ".runner").exists()


def test_a_link_in_place_of_the_cache_is_not_followed(project: Project, opened: list[str]) -> None:
    load_catalog(project)
    elsewhere = project.project / "elsewhere"
    path_of(project).rename(elsewhere)
    path_of(project).symlink_to(elsewhere)
    opened.clear()
    load_catalog(project)
    assert len(opened) == 3


def test_failing_to_write_is_silent(project: Project) -> None:
    (project.project / ".runner").write_text("a file where the folder should be")
    assert load_catalog(project).jobs["a"].task == "a.b:c"


def test_it_is_plain_text_in_a_folder_that_git_ignores(project: Project) -> None:
    load_catalog(project)
    lines = path_of(project).read_text(encoding="utf-8").split("\n")
    assert set(json.loads(lines[0])) == {"basis", "checksum"}
    assert len(json.loads(lines[1])) == 3
    assert (project.project / ".runner" / ".gitignore").read_text() == "*\n"
    assert stat.S_IMODE((project.project / ".runner").stat().st_mode) == 0o700
    assert [path.name for path in path_of(project).parent.iterdir()] == ["catalog.jsonl"]


def test_another_version_of_the_code_reads_again(
    project: Project, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load_catalog(project)
    monkeypatch.setattr(cache, "__version__", "0.0.0")
    opened.clear()
    load_catalog(project)
    assert len(opened) == 3
