"""Which files a watch names, and when each has settled: decisions without a server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.model.watch import Watch
from runner.triggers import files
from runner.triggers.files import WatchFault, find_files, folder_of, seconds_left


def names(watch: Watch, project: Path) -> list[str]:
    return [file.name for file in find_files(watch, project)[0]]


def test_regular_files_that_fit_the_path(tmp_path: Path) -> None:
    inbox = tmp_path / "in[box]" / "deep"
    inbox.mkdir(parents=True)
    for number, name in enumerate(("b.csv", "a.csv", ".hidden.csv", "c.txt")):
        (inbox / name).write_text(name)
        os.utime(inbox / name, (number, number))
    (inbox / "folder.csv").mkdir()
    os.mkfifo(inbox / "pipe.csv")
    (inbox / "to-nothing.csv").symlink_to("none")
    (inbox / "linked.csv").symlink_to("c.txt")
    folder = "in[[]box]"
    assert names(Watch(path=f"{folder}/deep/*.csv"), tmp_path) == [
        "in[box]/deep/b.csv",
        "in[box]/deep/a.csv",
        "in[box]/deep/linked.csv",
    ]
    assert len(names(Watch(path="**/*.csv"), tmp_path)) == 3
    assert names(Watch(path=f"{inbox.parent.parent}/*/deep/c.txt"), Path("/")) == [str(inbox / "c.txt")]
    assert names(Watch(path="nowhere/*.csv"), tmp_path) == []
    with pytest.raises(WatchFault):
        find_files(Watch(path="~nobody-of-this-name/*.csv"), tmp_path)


def test_a_version_is_name_inode_time_and_size(tmp_path: Path) -> None:
    file = tmp_path / "a"

    def key() -> str:
        [found], _ = find_files(Watch(path="a"), tmp_path)
        assert found.key.startswith("watch:")
        return found.key

    file.write_text("one")
    os.utime(file, (5, 5))
    first = key()
    file.chmod(0o600)
    assert key() == first
    os.utime(file, (5, 6))
    assert key() != first
    file.write_text("long")
    os.utime(file, (5, 5))
    assert key() != first
    other = tmp_path / "other"
    other.write_text("one")
    os.utime(other, (5, 5))
    other.rename(file)
    assert key() != first


def test_so_many_files_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_FILES", 3)
    for number in range(3):
        (tmp_path / str(number)).touch()
    assert find_files(Watch(path="*"), tmp_path)[1] is False
    (tmp_path / "3").touch()
    found, more = find_files(Watch(path="*"), tmp_path)
    assert (len(found), more) == (3, True)


def test_the_folder_that_must_be_there(tmp_path: Path) -> None:
    assert folder_of(Watch(path="in/box/*.csv"), tmp_path) == tmp_path / "in" / "box"
    assert folder_of(Watch(path="in/*/box/a.csv"), tmp_path) == tmp_path / "in"
    assert folder_of(Watch(path="/srv/a.csv"), tmp_path) == Path("/srv")


@pytest.mark.parametrize(
    ("unchanged", "age", "left"),
    [
        # Seen for the first time: one that has been there for long is confirmed within a second.
        (0.0, 3600.0, 1.0),
        (0.0, 0.0, 5.0),
        (0.0, 3.0, 2.0),
        (1.0, 3600.0, 0.0),
        # A file system whose clock is far ahead, or a time in the future: what was observed counts.
        (4.0, -3600.0, 1.0),
        (5.0, -3600.0, 0.0),
    ],
)
def test_when_a_file_has_settled(unchanged: float, age: float, left: float) -> None:
    assert seconds_left(5.0, unchanged, 10_000.0 - age, 10_000.0) == left


def test_a_short_time_to_settle_needs_no_longer_observation() -> None:
    assert seconds_left(0.2, 0.0, 0.0, 10_000.0) == 0.2
