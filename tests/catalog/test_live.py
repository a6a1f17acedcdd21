"""The catalog that follows its files: what counts after each kind of edit."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.catalog import live as live_module
from runner.catalog.catalog import load_catalog
from runner.catalog.live import LiveCatalog, catalog_digest
from runner.settings import load_settings
from tests.support.deadline import wait_until

Live = tuple[Path, LiveCatalog]


def declare(**tasks: str) -> str:
    return "jobs:\n" + "".join(f"  {name}: {{task: 'm:{task}'}}\n" for name, task in tasks.items())


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Live:
    monkeypatch.setattr(live_module, "UNSETTLED_SECONDS", 0.0)
    (tmp_path / "runner.yaml").write_text("namespace: live\n")
    folder = tmp_path / "jobs.d"
    folder.mkdir()
    (folder / "a.yaml").write_text(declare(a1="old", a2="old"))
    (folder / "b.yaml").write_text(declare(b="old"))
    settings = load_settings(tmp_path)
    found = LiveCatalog(settings, load_catalog(settings))
    found.look()
    return folder, found


def tasks(live: LiveCatalog) -> dict[str, str]:
    return {name: live.catalog.jobs[name].import_path.removeprefix("m:") for name in live.catalog.jobs}


def settle(live: LiveCatalog) -> None:
    for _ in range(3):
        live.look()


def test_nothing_changed(live: Live) -> None:
    assert not live[1].look()
    assert tasks(live[1]) == {"a1": "old", "a2": "old", "b": "old"}


def test_edits_additions_removals(live: Live) -> None:
    folder, found = live
    (folder / "a.yaml").write_text(declare(a1="new"))
    (folder / "c.yml").write_text(declare(c="new"))
    (folder / "b.yaml").unlink()
    settle(found)
    assert tasks(found) == {"a1": "new", "c": "new"}
    assert found.catalog.digests() == load_catalog(load_settings(folder.parent)).digests()


def test_a_file_with_problems_keeps_its_last_good_state(live: Live) -> None:
    folder, found = live
    (folder / "a.yaml").write_text(declare(a1="new", a2="new", a3="new") + "  a4: {timeout: 3}\n")
    (folder / "b.yaml").write_text(declare(b="new"))
    settle(found)
    assert tasks(found) == {"a1": "old", "a2": "old", "b": "new"}
    assert found.kept == ("jobs.d/a.yaml",)
    assert found.catalog.problems
    (folder / "a.yaml").write_text(declare(a1="new"))
    settle(found)
    assert tasks(found) == {"a1": "new", "b": "new"}
    assert [*found.kept, *found.catalog.problems] == []


def test_a_file_that_breaks_before_the_first_look_keeps_what_was_read_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "runner.yaml").write_text("namespace: live\n")
    (tmp_path / "jobs.d").mkdir()
    file = tmp_path / "jobs.d" / "a.yaml"
    file.write_text(declare(a1="old", a2="old"))
    found = LiveCatalog(load_settings(tmp_path), load_catalog(load_settings(tmp_path)))
    file.write_text(declare(a1="new", a2="new") + "  a3: {timeout: 3}\n")
    found.look()
    assert tasks(found) == {"a1": "old", "a2": "old"}
    assert found.kept == ("jobs.d/a.yaml",)


def test_a_file_that_never_was_good_gives_its_sound_jobs(live: Live) -> None:
    folder, found = live
    (folder / "c.yaml").write_text(declare(c="new") + "  d: {timeout: 3}\n")
    settle(found)
    assert tasks(found)["c"] == "new"
    assert found.kept == ()


def test_a_job_that_moves_between_files_stays(live: Live) -> None:
    folder, found = live
    (folder / "b.yaml").write_text(declare(b="old", a2="moved"))
    settle(found)
    assert tasks(found)["a2"] == "old"
    assert found.catalog.problems
    (folder / "a.yaml").write_text(declare(a1="old"))
    settle(found)
    assert tasks(found) == {"a1": "old", "a2": "moved", "b": "old"}


@pytest.mark.parametrize(
    "half",
    [
        lambda path: path.write_text(""),
        lambda path: path.unlink(),
        lambda path: path.write_text(path.read_text()[:20]),
    ],
    ids=["emptied", "removed", "cut"],
)
def test_what_may_be_half_written_counts_only_after_a_while(
    live: Live, half: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, found = live
    monkeypatch.setattr(live_module, "UNSETTLED_SECONDS", 3600.0)
    half(folder / "a.yaml")
    settle(found)
    assert found.unsettled
    assert tasks(found) == {"a1": "old", "a2": "old", "b": "old"}
    (folder / "a.yaml").write_text(declare(a1="new"))
    settle(found)
    assert tasks(found) == {"a1": "new", "b": "old"}


@pytest.mark.parametrize("text", ["", "jobs:\n  c: {task: 'm:", "jobs: {}"])
def test_a_new_file_that_goes_before_it_counts_is_not_waited_for(
    live: Live, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(live_module, "UNSETTLED_SECONDS", 60.0)
    folder, found = live
    new = folder / "c.yaml"
    new.write_text(text)
    found.look()
    assert found.unsettled
    new.unlink()
    # The other files have just been written, too.
    wait_until(lambda: found.look() or not found.unsettled, 20.0, "all files count")
    assert tasks(found) == {"a1": "old", "a2": "old", "b": "old"}


def test_a_folder_that_is_away_removes_no_job(live: Live) -> None:
    folder, found = live
    shutil.move(folder, folder.parent / "away")
    settle(found)
    assert set(tasks(found)) == {"a1", "a2", "b"}
    assert found.catalog.problems
    shutil.move(folder.parent / "away", folder)
    (folder / "b.yaml").unlink()
    settle(found)
    assert set(tasks(found)) == {"a1", "a2"}


def test_a_change_that_leaves_no_trace_is_seen(live: Live) -> None:
    folder, found = live
    path = folder / "b.yaml"
    path.write_text(declare(b="one"))
    status = path.stat()
    found.look()
    path.write_text(declare(b="two"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    settle(found)
    assert tasks(found)["b"] == "two"


def test_defaults_of_the_project(live: Live) -> None:
    folder, found = live
    (folder.parent / "runner.yaml").write_text("namespace: live\ndefaults: {queue: other}\n")
    found.follow(load_settings(folder.parent))
    assert found.look()
    assert {job.queue for job in found.catalog.jobs.values()} == {"other"}


def test_the_digest_of_a_catalog_is_that_of_its_jobs(live: Live) -> None:
    digests = live[1].catalog.digests()
    assert catalog_digest(digests) == catalog_digest(dict(reversed(digests.items())))
    assert catalog_digest(digests) != catalog_digest({**digests, "b": "sha256:0"})
