"""The jobs of a worker while its files are edited: whoever looks gets an answer, and no change is lost."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from runner.app.factory import create_app
from runner.attempt.held import Looked
from runner.attempt.state import SharedState
from runner.catalog.catalog import load_catalog
from runner.settings import load_settings
from runner.worker import live_files
from runner.worker.live_files import LiveFiles
from tests.support.deadline import wait_until


class Told:
    """Takers, as far as files of jobs are about them."""

    def __init__(self) -> None:
        self.changes: list[Any] = []
        self.fails = False

    def __call__(self, changes: Any) -> None:
        if self.fails:
            raise RuntimeError("nobody thought of this")
        self.changes.append(changes)


def jobs(word: str) -> str:
    return f"jobs:\n  word: {{task: 'work:word', kwargs: {{word: '{word}'}}}}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "runner.yaml").write_text("redis_url: redis://127.0.0.1:1/0\n")
    (tmp_path / "jobs.d").mkdir()
    path = tmp_path / "jobs.d" / "word.yaml"
    path.write_text(jobs("first"))
    return path


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def files(file: Path, told: Told) -> LiveFiles:
    settings = load_settings(file.parents[1])
    app = create_app(settings, load_catalog(settings))
    claims: Any = None
    return LiveFiles(SharedState(app, "w", claims), "prefork", told)


def replace(path: Path, text: str) -> None:
    beside = path.with_name(".word.swp")
    beside.write_text(text)
    beside.rename(path)


def test_a_change_that_cannot_be_put_in_force_is_tried_again(
    files: LiveFiles, file: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_files, "APPLY_PAUSE", 0.05)
    told.fails = True
    replace(file, jobs("second"))
    assert files.look_for("word", "another") is Looked.UNSETTLED
    told.fails = False
    wait_until(lambda: files.apply() == {"word"}, 10.0, "the change")
    assert [changes["removed"] for changes in told.changes] == [[]]
    assert len(told.changes[0]["jobs"]) == 1


def test_nobody_goes_by_the_former_jobs_while_a_change_waits(files: LiveFiles, file: Path, told: Told) -> None:
    told.fails = True
    replace(file, jobs("second"))
    assert files.look_for("word", "another") is Looked.UNSETTLED
    # The pause before the next try is not over: the change is known, and not in force.
    assert files.look_for("word", "another") is Looked.UNSETTLED


def test_looking_never_fails_while_files_are_written_renamed_and_removed(
    files: LiveFiles, file: Path, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    ended = threading.Event()

    def edit() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            replace(file, jobs(f"{number}"))
            file.write_text(jobs(f"{number}")[: number % 40])
            file.unlink()
            (file.parent / "folder").mkdir(exist_ok=True)
            replace(file.parent / "folder" / "word.yaml", jobs("twice"))
            (file.parent / "folder" / "word.yaml").unlink()
            (file.parent / "folder").rmdir()
            file.touch()

    thread = threading.Thread(target=edit, daemon=True)
    with caplog.at_level(logging.ERROR):
        thread.start()
        try:
            for number in range(300):
                assert files.look_for("word", f"digest {number}") in Looked
        finally:
            ended.set()
            thread.join(10.0)
    assert [record for record in caplog.records if record.exc_info] == []
    replace(file, jobs("last"))

    def put_in_force() -> bool:
        files.look()
        return bool(files.apply() or told.changes)

    wait_until(put_in_force, 10.0, "the last state")


def test_a_run_waits_for_files_to_settle_but_not_for_ever(
    files: LiveFiles, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.catalog.live.UNSETTLED_SECONDS", 3600.0)

    def settled() -> bool:
        files.look()
        return not files.unsettled

    wait_until(settled, 20.0, "files have settled")
    assert files.look_for("word", "old") is Looked.SAME
    file.write_text("")
    files.look()
    # It was looked for before; it waits for what is being written all the same.
    for digest in ("old", "new"):
        assert files.look_for("word", digest) is Looked.UNSETTLED
    monkeypatch.setattr(live_files, "MOST_PATIENCE", 0.0)
    for digest in ("old", "new"):
        assert files.look_for("word", digest) is Looked.SAME
