"""Changes of files are noticed, whatever the system has to say."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.worker import follow as follow_module
from runner.worker.follow import follow
from tests.support.deadline import wait_until


class Follower(threading.Thread):
    """Follows folders; counts the turns."""

    def __init__(self, *paths: Path) -> None:
        super().__init__(daemon=True)
        self.ended = threading.Event()
        self.turns: list[bool] = []
        self._paths = paths

    def run(self) -> None:
        for changed in follow(self._paths, self.ended):
            self.turns.append(changed)

    def wait_for_turn(self, changed: bool) -> None:
        seen = len(self.turns)
        wait_until(lambda: changed in self.turns[seen:], 30.0, f"a turn that says {changed}")


@pytest.fixture
def follower(tmp_path: Path) -> Iterator[tuple[Path, Follower]]:
    folder = tmp_path / "jobs.d"
    folder.mkdir()
    found = Follower(folder)
    found.start()
    found.wait_for_turn(False)
    yield folder, found
    found.ended.set()
    found.join(30.0)
    assert not found.is_alive()


def test_what_is_written_below_is_told(follower: tuple[Path, Follower]) -> None:
    folder, found = follower
    (folder / "team").mkdir()
    found.wait_for_turn(True)
    (folder / "team" / "a.yaml").write_text("jobs: {}\n")
    wait_until(lambda: True in found.turns, 30.0, "told")


def test_a_folder_that_is_replaced_is_followed_again(follower: tuple[Path, Follower]) -> None:
    folder, found = follower
    folder.rename(folder.with_name("old"))
    found.wait_for_turn(False)
    folder.mkdir()
    found.wait_for_turn(False)
    for number in range(3):
        threading.Timer(0.3, (folder / f"{number}.yaml").touch).start()
        found.wait_for_turn(True)


def test_where_the_system_does_not_tell_turns_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> Iterator[object]:
        raise OSError("no inotify watches left")

    monkeypatch.setattr(follow_module, "_watch", refuse)
    found = Follower(tmp_path)
    found.start()
    for _ in range(3):
        found.wait_for_turn(False)
    found.ended.set()
    found.join(30.0)
    assert caplog.text.count("no inotify watches left") == 1
